"""Arrays that are remembered and handed out many times."""

import numpy as np


def read_only(array: np.ndarray) -> np.ndarray:
    """The array itself, which nobody can write to any more.

    What a cache hands out belongs to all who will ask for it: an element that one of
    them sets would be the next one's answer.

    Examples
    --------
    >>> import numpy as np
    >>> read_only(np.zeros(2))[0] = 1
    Traceback (most recent call last):
    ...
    ValueError: assignment destination is read-only
    """
    array.flags.writeable = False
    return array
