"""Numbers as users give them: numpy's kinds are numbers too, and some are endless."""

from math import log10
from typing import Any

import numpy as np

MOST_BITS = 128         # of a number that messages write out
ENDLESS = 10**300       # near the largest float; what is above can't be computed with


def plain(value: Any) -> Any:
    """The value as Python's own number or truth value, where it is one of numpy's.

    Examples
    --------
    >>> plain(np.int64(3)), plain(np.bool_(True)), plain("3")
    (3, True, '3')
    """
    return value.item() if isinstance(value, np.generic) else value


def is_whole(value: object, least: int) -> bool:
    """True if a value is an int, and no truth value, of at least ``least``."""
    return (isinstance(value, int) and not isinstance(value, bool)
            and value >= least)


def shown(value: object) -> str:
    """The value as a message quotes it: of endless numbers only their length.

    Examples
    --------
    >>> shown(12), shown("a"), shown(10**400)
    ('12', "'a'", 'a number of some 400 digits')
    """
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        # Python writes out no more than 4300 digits.
        return f"a number of some {int(value.bit_length() * log10(2))} digits"
    return repr(value)


def ceil_div(a: int, b: int) -> int:
    """The smallest whole number not below a / b, for positive b.

    Examples
    --------
    >>> ceil_div(7, 2), ceil_div(6, 2)
    (4, 3)
    """
    return -(-a // b)
