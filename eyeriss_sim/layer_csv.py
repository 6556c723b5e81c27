"""A CSV file with one row a layer: every row with its place, for errors to name."""

import csv


def read_rows(lines, path, columns, needed):
    """Cells by column of each row; blank lines and lines that begin with # are skipped.

    Parameters
    ----------
    lines : text file
    path : str or Path
        Named in errors.
    columns, needed : sequence of str
        Columns that may stand there, and those that must; ``layer`` is one.

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
    reader = csv.reader(lines, skipinitialspace=True)
    header, seen = None, set()
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if header is None:
                header = checked_header(cells, path, columns, needed)
                continue
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(header):
                raise ValueError(f"{where}: {len(cells)} cells, but the header has "
                                 f"{len(header)} columns")
            cell_of = dict(zip(header, cells))
            if cell_of["layer"] in seen:
                raise ValueError(
                    f"{where}: layer {cell_of['layer']!r} stands here twice")
            seen.add(cell_of["layer"])
            yield where, cell_of
    except (UnicodeDecodeError, csv.Error) as problem:
        raise ValueError(f"{path}: not a CSV file: {problem}") from None
    if not seen:
        raise ValueError(f"{path}: no layer in it; the columns are {','.join(columns)}")


def checked_header(cells, path, columns, needed):
    """The header, if its columns are known, complete and different."""
    for kind, names in (
            ("unknown", [cell for cell in cells if cell not in columns]),
            ("missing", [name for name in needed if name not in cells]),
            ("repeated", [cell for cell in cells if cells.count(cell) > 1])):
        if names:
            raise ValueError(f"{path}: {kind} column {names[0]!r}; the columns are "
                             + ",".join(columns))
    return cells
