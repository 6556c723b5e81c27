"""Names and numbers as readers see them: in tables, figures and pages."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite

from rich.cells import cell_len

WORD = re.compile(r"[^\W\d_]+")
CAUSE_NAMES = {
    "mac": "MACs", "ramp": "ramp", "psum_net": "psum network", "glb": "GLB",
    "dram_filter": "DRAM filters", "dram_fmap": "DRAM fmaps"}


def printable(name: str, encoding: str = "utf-8") -> str:
    r"""The name, with what a terminal or an XML file would choke on spelt out.

    Examples
    --------
    >>> print(printable("conv\x1b[31m\n"))
    conv\x1b[31m\n
    >>> print(printable("größe", "ascii"))
    gr\xf6\xdfe
    """
    spelt = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in name)
    return spelt.encode(encoding, "backslashreplace").decode(encoding)


def shorten(names: Sequence[str], width: int) -> list[str]:
    """Names of at most ``width`` terminal cells, if they can be had without two alike.

    Words lose their last letters; digits and separators, which tell layers apart, stay.
    Names that fit stay whole.

    Parameters
    ----------
    names : list of str
    width : int
        Terminal cells; a wide character takes two.

    Returns
    -------
    list of str
        The names as they were if none can be shortened enough.

    Examples
    --------
    >>> shorten(["inception_3a/3x3_reduce", "inception_3a/5x5_reduce", "fc"], 14)
    ['inc_3a/3x3_red', 'inc_3a/5x5_red', 'fc']
    """
    for letters in range(width, 0, -1):
        short = [
            name if cell_len(name) <= width else WORD.sub(
                lambda word: word[0][:letters], name)   # noqa: B023  called here
            for name in names]
        if max(map(cell_len, short)) <= width and len(set(short)) == len(set(names)):
            return short
    return list(names)


def clip_middle(name: str, width: int) -> str:
    """Cut a text to ``width`` characters, its middle replaced by an ellipsis.

    Examples
    --------
    >>> clip_middle("abcdefghij", 6)
    'ab…hij'
    """
    if len(name) <= width:
        return name
    tail = width // 2
    return f"{name[:width - tail - 1]}…{name[-tail:]}"


def pick_unit(largest: float, units: Mapping[str, float], home: str,
              limit: float = 1e5) -> str:
    """The unit to print numbers up to ``largest`` in.

    Parameters
    ----------
    largest : float
    units : dict of str to float
        Size of each unit, smallest first.
    home : str
        Taken whenever the largest number lies in [1, limit) of it.
    limit : float

    Returns
    -------
    str

    Examples
    --------
    >>> units = {"k": 1e3, "M": 1e6, "G": 1e9}
    >>> [pick_unit(x, units, "M") for x in (0, 4e4, 9e10, 9e11, 9e15)]
    ['M', 'k', 'M', 'G', 'G']
    """
    largest = abs(largest)
    if not isfinite(largest) or largest == 0:
        return home
    if largest < units[home]:
        below = [unit for unit, size in units.items() if size <= largest]
        return below[-1] if below else next(iter(units))
    above = [unit for unit, size in units.items() if size >= units[home]]
    return next((unit for unit in above if largest < limit * units[unit]), above[-1])


def decimals(largest: float, digits: int, most: int = 2) -> int:
    """Decimals that leave numbers up to ``largest`` about ``digits`` digits.

    Examples
    --------
    >>> decimals(15470.3, 5), decimals(346.8, 5), decimals(0.6, 5)
    (0, 2, 2)
    """
    whole = len(f"{abs(largest):.0f}")
    return min(max(digits - whole, 0), most)


def field_text(value: object) -> str:
    """A number or word as a user would write it, told apart from its neighbours.

    Examples
    --------
    >>> field_text(1048576.0), field_text(0.1 + 0.2), field_text("energy")
    ('1048576', '0.3', 'energy')
    >>> field_text(True)
    'true'
    """
    if str(value) in ("True", "False"):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:.12g}"
