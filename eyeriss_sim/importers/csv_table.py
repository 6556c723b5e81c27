"""A table of layers → Network: our own columns, or a SCALE-Sim topology."""

import csv
from pathlib import Path

from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.product_maps import squarest_map

NEEDED = ("layer", "M", "C", "H", "W", "R", "S", "U")
OPTIONAL = ("N", "V", "groups", "dilation", "padding", "steps")
# How SCALE-Sim heads what we need; None: a column that is passed over.
SCALE_CONV = {
    "Layer name": "layer", "IFMAP Height": "H", "IFMAP Width": "W",
    "Filter Height": "R", "Filter Width": "S", "Channels": "C", "Num Filter": "M",
    "Strides": "U"}
SCALE_GEMM = {"Layer": "layer", "M": "rows", "N": "filters", "K": "inner"}
# Its releases differ in case, spaces and plurals, and add columns.
ALSO_CONV = {
    "Layer": "layer", "Channel": "C", "Num Filters": "M", "Stride": "U",
    "Stride Height": "U", "Stride Width": "V", "Batch Size": "N", "Batch": "N"}
ALSO_GEMM = {"Layer name": "layer"}
SPARSITY = {"Sparsity": None, "Sparsity Ratio": None, "Sparsity Support": None}


def network_from_csv(path, batch=None):
    """Read a table with one layer per row.

    Blank lines and lines that begin with ``#`` are skipped. The header decides:

    - ours: ``layer, M, C, H, W, R, S, U`` and, where wanted, ``N, V, groups,
      dilation, padding, steps``. C counts the channels of one filter; H and W include
      the padding. A dilation is ``2`` or ``2x1`` (vertical x horizontal), a padding
      ``1`` or ``0x1x0x1`` (top x bottom x left x right). An empty cell of an optional
      column is its default.
    - a SCALE-Sim topology: ``Layer name, IFMAP Height, IFMAP Width, Filter Height,
      Filter Width, Channels, Num Filter, Strides``. Its sizes include the padding too.
      Sparsity is passed over: it is no shape.
    - SCALE-Sim's products: ``Layer, M, N, K``, for M x K by K x N; the M rows are the
      pixels of the squarest map, as those of every other matrix product.

    Parameters
    ----------
    path : str or Path
    batch : int, optional
        Replaces the N of every row.

    Returns
    -------
    Network
        Named after the file; its batch is the N of the rows if they agree, else 1.

    Raises
    ------
    ValueError
        An unknown or missing column, a bad cell, an empty file, no text.
    """
    path = Path(path)
    header, rows = _read(path)
    layers, seen = [], {}
    columns, kind = _columns(path, header)
    for line, cells in rows:
        sizes = _sizes(f"{path}:{line}", header, columns, cells)
        if "rows" in sizes:
            H, W = squarest_map(sizes["rows"])
            sizes = {"name": sizes["name"], "M": sizes["filters"], "C": sizes["inner"],
                     "H": H, "W": W, "R": 1, "S": 1}
        if batch is not None:
            sizes["N"] = batch
        name = sizes["name"]
        if name in seen:
            raise ValueError(f"{path}:{line}: layer {name!r} is on line {seen[name]} "
                             "already; rename one")
        seen[name] = line
        try:
            layers.append(ConvLayer(**sizes))
        except ValueError as problem:
            raise ValueError(f"{path}:{line}: {problem}") from problem
    batches = {layer.N for layer in layers}
    return Network(path.stem, layers, batch=batches.pop() if len(batches) == 1 else 1,
                   source=f"{kind} of {path.name}")


def _read(path):
    """Header cells, and (line, cells) of every row after it."""
    rows = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            # SCALE-Sim comes with tables parted by tabs, too.
            tabs = "\t" in (first := file.readline()) and "," not in first
            file.seek(0)
            reader = csv.reader(file, delimiter="\t" if tabs else ",")
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if len(cells) > 1 and cells[-1].startswith("#"):
                    cells.pop()         # as SCALE-Sim marks depthwise layers
                if any(cells) and not cells[0].startswith("#"):
                    rows.append((reader.line_num, cells))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise ValueError(f"{path}: is no CSV text: {problem}") from problem
    if len(rows) < 2:
        found = "a header but no layers" if rows else "no rows"
        raise ValueError(f"{path}: has {found}; write a header and one row per layer")
    return rows[0][1], rows[1:]


def _columns(path, header):
    """What each column holds (None: nothing of use), and the kind of table."""
    while header and not header[-1]:        # SCALE-Sim ends its lines with a comma
        header = header[:-1]
    plain = [_plain(cell) for cell in header]
    if {"m", "n", "k"} <= set(plain):
        kind, needed, also = "SCALE-Sim GEMM table", SCALE_GEMM, ALSO_GEMM | SPARSITY
    elif any(cell.startswith("ifmap") for cell in plain):
        kind, needed, also = "SCALE-Sim topology", SCALE_CONV, ALSO_CONV | SPARSITY
    else:
        kind = "layer table"
        needed, also = dict(zip(NEEDED, NEEDED)), dict(zip(OPTIONAL, OPTIONAL))
    known = {_plain(key): field for key, field in (needed | also).items()}
    columns = []
    for cell, key in zip(header, plain):
        if key not in known:
            raise ValueError(f"{path}: unknown column {cell!r}; the columns of a "
                             f"{kind} are " + ", ".join(needed | also))
        if known[key] is not None and known[key] in columns:
            raise ValueError(f"{path}: column {cell!r} repeats another; drop or rename "
                             "one")
        columns.append(known[key])
    for title, field in needed.items():
        if field not in columns:
            raise ValueError(f"{path}: column {title!r} is missing; a {kind} needs "
                             + ", ".join(needed))
    return columns, kind


def _plain(title):
    """A column's title without case, spaces and underscores."""
    return "".join(filter(str.isalnum, title.lower()))


def _sizes(where, titles, columns, cells):
    """Arguments of ConvLayer in one row."""
    if any(cells[len(columns):]):
        raise ValueError(f"{where}: {len(cells)} cells, but the header has "
                         f"{len(columns)}; is a comma wrong?")
    cells = cells + [""] * (len(columns) - len(cells))
    sizes = {}
    for title, column, cell in zip(titles, columns, cells):
        if column is None:
            continue
        if not cell:
            if column in OPTIONAL:
                continue
            raise ValueError(f"{where}: column {title!r} is empty; give a value")
        if column == "layer":
            sizes["name"] = cell
            continue
        count = {"dilation": 2, "padding": 4}.get(column, 1)
        parts = cell.lower().split("x")
        if len(parts) not in (1, count) or not all(
                part.strip().isdecimal() and len(part) < 100 for part in parts):
            form = {2: "a whole number or two as in 2x1",
                    4: "a whole number or top x bottom x left x right as in 0x1x0x1",
                    1: "a whole number"}[count]
            shown = cell if len(cell) < 100 else f"{cell[:20]}..."
            raise ValueError(f"{where}: column {title!r} holds {shown!r}; write {form}")
        values = tuple(map(int, parts))
        sizes[column] = values if len(values) > 1 else values[0]
    return sizes
