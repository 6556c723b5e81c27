"""A CSV file with one row a layer: every row with its place, for errors to name.

What spreadsheets and pandas write is read: commas, semicolons or tabs, a byte-order
mark, ``sep=;``, a column of row numbers, whole numbers as ``8.0``.
"""

import csv
import re

SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t]*', re.IGNORECASE)
# A point or comma and three zeros would be eight, or eight thousand.
WHOLE = re.compile(r"([0-9]{1,99})(?:[.,]0{1,2}|\.0{4,})?")
INDEX = ("", "Unnamed: 0")      # how pandas heads its row numbers, or heads them again
# Only the tables that this program writes have this column.
RESULT = "mapping_source"


def whole(cell):
    """The whole number in a cell, or None.

    Examples
    --------
    >>> whole("8"), whole("8.0"), whole("8,00"), whole("8.5"), whole("1,000")
    (8, 8, 8, None, None)
    """
    found = WHOLE.fullmatch(cell)
    return int(found[1]) if found else None


def table_rows(lines):
    """(line number, cells) of each row; blank ones and those that begin with # go.

    Parameters
    ----------
    lines : text file

    Raises
    ------
    UnicodeDecodeError, csv.Error
        No text, or none of cells.
    """
    text = lines.read().splitlines(keepends=True)
    separator = None
    if text and (found := SEPARATOR.fullmatch(text[0].strip())):
        separator, text[0] = found[1], "\n"
    first = next((line for line in text
                  if line.strip() and not line.startswith("#")), "")
    separator = separator or max(",;\t", key=first.count)
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True)
    index = None
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if index is None:
            index = cells[0] in INDEX and any(
                cell.lower().startswith("layer") for cell in cells[1:])
        yield reader.line_num, cells[1:] if index else cells


def read_rows(lines, path, columns, needed, of_result=False):
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
    try:
        for line, cells in table_rows(lines):
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
                raise ValueError(
                    f"{where}: layer {cell_of['layer']!r} stands here twice")
            seen.add(cell_of["layer"])
            yield where, cell_of
    except (UnicodeDecodeError, csv.Error) as problem:
        raise ValueError(f"{path}: not a CSV file: {problem}") from None
    if not seen:
        raise ValueError(f"{path}: no layer in it; the columns are {','.join(columns)}")


def _empty_at_end(cells):
    count = 0
    while count < len(cells) and not cells[-1 - count]:
        count += 1
    return count


def checked_header(cells, path, columns, needed, of_result):
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
