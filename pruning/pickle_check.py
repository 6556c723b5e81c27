"""A look at a pickle before it is read: whether it stays as small as it is."""

import pickle
import pickletools
from typing import Any, cast

PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
GETS = {"GET", "BINGET", "LONG_BINGET"}
# What makes values that hold no others, or, an object, none that Python looks into.
PLAIN = {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
         "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
         "GLOBAL", "STACK_GLOBAL", "REDUCE"}


def check_growth(content: bytes) -> None:
    """Refuse a pickle that makes Python work or remember far more than it has bytes.

    A tuple of twice the same tuple, sixty deep, is hashed and shown 2^60 times; so
    nothing may refer to a tuple, list or dictionary again. The memo is a table up to
    its largest number; so that may not exceed the steps so far.

    Parameters
    ----------
    content : bytes

    Raises
    ------
    pickle.UnpicklingError
    ValueError
        No pickle.
    """
    plain: dict[Any, bool] = {}
    before = None
    for step, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in PUTS:
            place = len(plain) if opcode.name == "MEMOIZE" else cast(int, argument)
            if place > step:
                raise pickle.UnpicklingError(
                    f"it numbers what it remembers up to {place:.3g}")
            plain[place] = before in PLAIN
        elif opcode.name == "DUP" or (opcode.name in GETS and not plain.get(argument)):
            raise pickle.UnpicklingError("it refers twice to one tuple, list or "
                                         "dictionary")
        before = opcode.name
