"""A CSV file with one row a layer: every row with its place, for errors to name.

A column of row numbers, as pandas writes one, is passed over, and ``8.0`` is whole.
"""

import re
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import TextIO

from eyeriss_sim.number_table import text_rows

# A point or comma and three zeros would be eight, or eight thousand.
WHOLE = re.compile(r"([0-9]{1,99})(?:[.,]0{1,2}|\.0{4,})?")
INDEX = ("", "Unnamed: 0")      # how pandas heads its row numbers, or heads them again
# Only the tables that this program writes have this column.
RESULT = "mapping_source"


def whole(cell: str) -> int | None:
    """The whole number in a cell, or None.

    Examples
    --------
    >>> whole("8"), whole("8.0"), whole("8,00"), whole("8.5"), whole("1,000")
    (8, 8, 8, None, None)
    """
    found = WHOLE.fullmatch(cell)
    return int(found[1]) if found else None


def layer_rows(lines: TextIO, path: str | PathLike) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row of ``text_rows``, without pandas' row numbers.

    Parameters
    ----------
    lines : text file
    path : str or Path
        Named in errors.

    Raises
    ------
    ValueError
        As ``text_rows``.
    """
    numbered = None
    for line, cells in text_rows(lines, path):
        if numbered is None:
            numbered = cells[0] in INDEX and any(
                cell.lower().startswith("layer") for cell in cells[1:])
        yield line, cells[1:] if numbered else cells


def read_rows(lines: TextIO, path: str | PathLike, columns: Sequence[str],
              needed: Sequence[str],
              of_result: bool = False) -> Iterator[tuple[str, dict[str, str]]]:
    """Cells by column of each row; blank lines and lines that begin with # are skipped.

    Parameters
    ----------
    lines : text file
    path : str or Path
        Named in errors.
    columns, needed : sequence of str
        Columns that may stand there, and those that must; ``layer`` is one.
    of_result : bool
        Whether a result of ours is such a table too; its other columns are passed over.

    Yields
    ------
    where : str
        File and line.
    cells : dict
        Text by column.

    Raises
    ------
    ValueError
        An unknown, missing or repeated column, a row of another length, a layer that
        stands there twice, no row, no text.
    """
    header, seen = None, set()
    for line, cells in layer_rows(lines, path):
        if header is None:
            header = cells[:len(cells) - _empty_at_end(cells)]
            checked_header(header, path, columns, needed, of_result)
            continue
        where = f"{path}, line {line}"
        if any(cells[len(header):]) or len(cells) < len(header):
            raise ValueError(f"{where}: {len(cells)} cells, but the header has "
                             f"{len(header)} columns")
        cell_of = dict(zip(header, cells[:len(header)], strict=True))
        if cell_of["layer"] in seen:
            raise ValueError(f"{where}: layer {cell_of['layer']!r} stands here twice")
        seen.add(cell_of["layer"])
        yield where, cell_of
    if not seen:
        raise ValueError(f"{path}: no layer in it; the columns are {','.join(columns)}")


def _empty_at_end(cells):
    count = 0
    while count < len(cells) and not cells[-1 - count]:
        count += 1
    return count


def checked_header(cells: list[str], path: str | PathLike, columns: Sequence[str],
                   needed: Sequence[str], of_result: bool) -> list[str]:
    """The header, if its columns are known, complete and different."""
    unknown = [cell for cell in cells if cell not in columns]
    for kind, names in (
            ("unknown", [] if of_result and RESULT in cells else unknown),
            ("missing", [name for name in needed if name not in cells]),
            ("repeated", [cell for cell in cells if cells.count(cell) > 1])):
        if names:
            raise ValueError(f"{path}: {kind} column {names[0]!r}; the columns are "
                             + ",".join(columns))
    return cells
