"""The reader of all CSV tables: rows of text with their lines, or columns of numbers.

What spreadsheets and pandas write is read: commas, semicolons or tabs, a byte-order
mark, ``sep=;``, quoted cells.
"""

import re
from collections.abc import Iterator, Sequence
from io import TextIOBase
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t]*', re.IGNORECASE)
MOST_COLUMNS = 10_000       # more in one line are no table of this program
ROWS_AT_ONCE = 10_000       # of a long file, so that it needn't fit into memory


class _WithoutComments(TextIOBase):
    """A text file whose lines that begin with # are blank: quotes in them are none."""

    def __init__(self, lines):
        self._lines = lines

    def readline(self, size=-1):
        line = self._lines.readline(size)
        return "\n" if line.startswith("#") else line


def text_rows(lines: TextIO, path: str | PathLike) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row, the header's too, read as they are asked for.

    Blank rows and those that begin with # are skipped; spaces around a cell go.

    Parameters
    ----------
    lines : text file
        A file opened with ``newline=""``, or a StringIO: it is gone through twice.
    path : str or Path
        Name of the file in errors.

    Yields
    ------
    line : int
        The first is 1; the last line of a row whose quoted cells hold several.
    cells : list of str
        As many as the row has.

    Raises
    ------
    ValueError
        A file that is no text, a quote that is not closed, too many columns.
    """
    import pandas as pd  # it would delay the commands that read no table
    try:
        separator, said, most = _layout(lines)
        if most > MOST_COLUMNS:
            raise pd.errors.ParserError(f"a line of {most} cells; a table has at most "
                                        f"{MOST_COLUMNS} columns")
        if not most:
            return
        lines.seek(0)
        line = 0
        if said:
            lines.readline()
            line = 1
        # This engine tells a cell that a row does not have from one that is empty.
        for chunk in pd.read_csv(
                _WithoutComments(lines), sep=separator, header=None,
                names=range(most), index_col=False, dtype=str, keep_default_na=False,
                skipinitialspace=True, skip_blank_lines=False, engine="python",
                chunksize=ROWS_AT_ONCE):
            for row in chunk.itertuples(index=False, name=None):
                cells = [cell for cell in row if isinstance(cell, str)]
                line += 1 + sum(cell.count("\n") for cell in cells)
                cells = [cell.strip() for cell in cells]
                if any(cells) and not cells[0].startswith("#"):
                    yield line, cells
    except (UnicodeDecodeError, pd.errors.ParserError) as problem:
        raise ValueError(f"{path}: is no CSV text: {problem}") from None


def _layout(lines):
    """Separator, whether a first line says it, and the most cells of a line."""
    separator, said, most = None, False, 0
    for number, line in enumerate(lines):
        if not number and (found := SEPARATOR.fullmatch(line.strip())):
            separator, said = found[1], True
            continue
        if line.strip() and not line.startswith("#"):
            separator = separator or max(",;\t", key=line.count)
            most = max(most, 1 + line.count(separator))
    return separator, said, most


def read_text_table(path: str | PathLike) -> "pd.DataFrame":
    """The table of a CSV file, each cell a str; one that a row does not have is empty.

    Columns without a title are called ``Unnamed: 0`` and so on, by their place.

    Raises
    ------
    ValueError
        A file without a row, a row longer than the header, a column that repeats
        another, or as ``text_rows``.
    OSError
        A file that cannot be opened.
    """
    import pandas as pd
    with Path(path).open(encoding="utf-8-sig", newline="") as lines:
        rows = list(text_rows(lines, path))
    if not rows:
        raise ValueError(f"{path}: has no rows; write a header and a row of cells for "
                         "each entry")
    (_, header), *rows = rows
    titles = [title or f"Unnamed: {place}" for place, title in enumerate(header)]
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"{path}: column {title!r} repeats another; drop or "
                             "rename one")
    for line, cells in rows:
        if len(cells) > len(titles):
            raise ValueError(
                f"{path}: rows have more cells than the header, line {line} the first; "
                "take the last commas away, or name every column")
        cells += [""] * (len(titles) - len(cells))
    return pd.DataFrame([cells for _, cells in rows], columns=titles)


def read_table(path: str | PathLike) -> "pd.DataFrame":
    """The table of a CSV file, with numbers in the columns that hold nothing else.

    Empty cells are NaN.

    Raises
    ------
    ValueError, OSError
        As ``read_text_table``.
    """
    table = read_text_table(path)
    return table.apply(_numbers_or_text) if len(table) else table


def _numbers_or_text(column):
    import pandas as pd
    given = column[column != ""]
    if given.isin(["True", "False"]).all() and len(given):
        return column.map({"True": True, "False": False})
    try:
        # Reindexed, the empty cells come back as NaN.
        return pd.to_numeric(given).reindex(column.index)
    except ValueError:
        return given.reindex(column.index)


def read_number_table(path: str | PathLike, needed: Sequence[str],
                      optional: Sequence[str] = ()) -> "pd.DataFrame":
    """The table of a CSV file as ``as_numbers`` gives it, with the file in its errors.

    Raises
    ------
    ValueError, OSError
        As ``read_text_table`` and ``as_numbers``.
    """
    table = read_text_table(path)
    try:
        return as_numbers(table, needed, optional)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def as_numbers(table: "pd.DataFrame", needed: Sequence[str],
               optional: Sequence[str] = ()) -> "pd.DataFrame":
    """The table with those columns as finite float64, all but ``name``.

    Parameters
    ----------
    table : pandas.DataFrame
        A table of a user, or of ``read_text_table``.
    needed, optional : sequence of str
        Columns; others are left as they are.

    Raises
    ------
    ValueError
        A column that is missing; the row, column and text of a cell that is no number.
    """
    import pandas as pd
    for column in needed:
        if column not in table:
            raise ValueError(f"column {column} is missing; there are "
                             + (", ".join(map(str, table.columns)) or "none"))
    table = table.copy()
    for column in (*needed, *optional):
        if column not in table or column == "name":
            continue
        numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            row = table.iloc[wrong[0]]
            who = f" ({row['name']})" if "name" in table else ""
            raise ValueError(f"row {wrong[0] + 1}{who}: {column} is "
                             f"{str(row[column])!r}, which is no number; write one")
        table[column] = numbers
    return table
