"""The name that a user probably meant, for messages about an unknown one."""

import difflib
from collections.abc import Iterable


def hint(name: object, known: Iterable[str]) -> str:
    """A question that names the nearest known name, or nothing where none is near.

    Case doesn't count, since many slips are ones of case.

    Examples
    --------
    >>> hint("rowz", ["rows", "cols"]), hint("voltage", ["rows", "cols"])
    ('did you mean rows? ', '')
    """
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f"did you mean {by_lower[near[0]]}? " if near else ""
