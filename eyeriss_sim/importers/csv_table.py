"""A table of layers → Workload: our own columns, or a SCALE-Sim topology."""

from dataclasses import replace
from pathlib import Path

from eyeriss_sim.layer import ConvLayer, Network, UncountedOp
from eyeriss_sim.layer_csv import RESULT, layer_rows, whole
from eyeriss_sim.product_maps import squarest_map
from eyeriss_sim.workload import Workload
from eyeriss_sim.zeros import Densities

NEEDED = ("layer", "M", "C", "H", "W", "R", "S", "U")
OPTIONAL = ("N", "V", "groups", "dilation", "padding", "steps", "dynamic_filters")
TRUTHS = {"true": True, "false": False, "1": True, "0": False}
# How SCALE-Sim heads what we need, in the order in which it reads it.
SCALE_CONV = {
    "Layer name": "layer", "IFMAP Height": "H", "IFMAP Width": "W",
    "Filter Height": "R", "Filter Width": "S", "Channels": "C", "Num Filter": "M",
    "Strides": "U"}
SCALE_GEMM = {"Layer": "layer", "M": "rows", "N": "filters", "K": "inner"}
# Its releases differ in case, spaces and plurals, and add columns.
ALSO_CONV = {
    "Layer": "layer", "Channel": "C", "Num Filters": "M", "Stride": "U",
    "Stride Height": "U", "Stride Width": "V", "Batch Size": "N", "Batch": "N",
    "Sparsity": "sparsity"}
BEHIND = ("V", "N", "sparsity")     # of use after the eight columns
DEPTHWISE = "DP"        # in the names of layers that SCALE-Sim runs channel by channel
SHOWN = 3


def network_from_csv(path, batch=None):
    """The Network of the workload of a table; see ``workload_from_csv``."""
    return workload_from_csv(path, batch).network


def workload_from_csv(path, batch=None, weights=True):
    """Read a table with one layer per row.

    Blank lines and lines that begin with ``#`` are skipped; a name that stands there
    again gets a ``#2``. The header decides:

    - ours: ``layer, M, C, H, W, R, S, U`` and, where wanted, ``N, V, groups, dilation,
      padding, steps, dynamic_filters``. C counts the channels of one filter; H and W
      include the padding. A dilation is ``2`` or ``2x1`` (vertical x horizontal), a
      padding ``1`` or ``0x1x0x1`` (top x bottom x left x right). ``dynamic_filters`` is
      true of a product of two activations, whose groups, not N, count the images. An
      empty cell of an optional column is its default. A result table has these columns
      among its own, and says its batch.
    - a SCALE-Sim topology: ``Layer name, IFMAP Height, IFMAP Width, Filter Height,
      Filter Width, Channels, Num Filter, Strides``, by position as SCALE-Sim reads
      them, whatever their titles say. Its sizes include the padding too. A row of a
      name alone is a title; one with ``DP`` in its name is depthwise, Num Filter
      filters for each channel; what else it holds is passed over.
    - SCALE-Sim's products: ``Layer, M, N, K``, for M x K by K x N; the M rows are the
      pixels of the squarest map, as those of every other matrix product.

    A column ``Sparsity`` of SCALE-Sim states densities of weights. Its cells are N:M,
    for N of every M weights that are not zero; an empty one is 1:1.

    Where windows leave trailing pixels, SCALE-Sim rounds the ofmap's size up; what that
    adds there is listed with what is not counted.

    Parameters
    ----------
    path : str or Path
    batch : int, optional
        Replaces the N of every row; where groups count images, or a result says its
        own batch, the layers are rescaled to it instead.
    weights : bool
        Whether densities of weights are wanted.

    Returns
    -------
    Workload
        Its network is named after the file; the batch is a result's own, or the N of
        the rows that count images by N, if they agree, else 1.

    Raises
    ------
    ValueError
        An unknown or missing column, a bad cell, an empty file, no text.
    """
    network, densities = _read_table(Path(path), batch)
    return Workload(network, densities if weights else {})


def _read_table(path, batch):
    """Network and densities of a table."""
    header, rows = _read(path)
    names: set[str] = set()
    layers, batches, densities = [], set(), {}
    columns, kind = _columns(path, header)
    for line, cells in rows:
        if cells[:len(header)] == header or ("SCALE" in kind and not any(cells[1:])):
            continue                # a header again, or a title
        where = f"{path}:{line}"
        sizes = _sizes(where, header, columns, cells, loose="layer table" not in kind)
        density = sizes.pop("sparsity", 1.0 if "sparsity" in columns else None)
        if "rows" in sizes:
            H, W = squarest_map(sizes["rows"])
            sizes = {"name": sizes["name"], "M": sizes["filters"], "C": sizes["inner"],
                     "H": H, "W": W, "R": 1, "S": 1}
        elif kind == "SCALE-Sim topology" and DEPTHWISE in sizes["name"]:
            sizes |= {"groups": sizes["C"], "C": 1, "M": sizes["M"] * sizes["C"]}
        if sizes.get("batch", 1) < 1:
            raise ValueError(f"{where}: column 'batch' holds {sizes['batch']}; write a "
                             "positive whole number")
        batches.add(sizes.pop("batch", None if sizes.get("dynamic_filters") else
                              sizes.get("N", 1)))
        sizes["name"] = _unique(sizes["name"], names)
        if density is not None:
            densities[sizes["name"]] = Densities(filter=density)
        try:
            layers.append(ConvLayer(**sizes))
        except ValueError as problem:
            raise ValueError(f"{where}: {problem}") from problem
    if not layers:
        raise ValueError(f"{path}: has titles but no layers; write one row per layer")
    batches.discard(None)
    own = batches.pop() if len(batches) == 1 else 1
    by_groups = any(layer.dynamic_filters for layer in layers)
    if batch is not None and "batch" not in columns and not by_groups:
        layers, own = _with_N(layers, batch, path), batch
    network = Network(
        path.stem, layers, _rounded_up(layers) if "topology" in kind else (),
        batch=own, source=f"{kind} of {path.name}")
    return network if batch is None else network.with_batch(batch), densities


def _with_N(layers, batch, path):
    try:
        return [replace(layer, N=batch) for layer in layers]
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem


def _unique(name, names):
    unique, runs = name, 1
    while unique in names:
        runs += 1
        unique = f"{name}#{runs}"
    names.add(unique)
    return unique


def _rounded_up(layers):
    """Ofmap values that SCALE-Sim counts where windows leave trailing pixels."""
    found, more = [], 0
    for layer in layers:
        E, F = (-(-(size - reach + step) // step) for size, reach, step in (
            (layer.H, layer.R, layer.U), (layer.W, layer.S, layer.V)))
        if (E, F) != (layer.E, layer.F):
            found.append(f"{layer.name} {E}x{F}, here {layer.E}x{layer.F}")
            more += layer.N * layer.M * (E * F - layer.E * layer.F)
    if not found:
        return ()
    rest = len(found) - SHOWN
    shown = "; ".join(found[:SHOWN]) + (f"; {rest} more" if rest > 0 else "")
    return (UncountedOp(f"rounding up of ofmaps, as SCALE-Sim does ({shown})",
                        len(found), more),)


def _read(path):
    """Header cells, and (line, cells) of every row after it."""
    rows = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for line, cells in layer_rows(file, path):
                if len(cells) > 1 and cells[-1].startswith("#"):
                    cells.pop()         # as SCALE-Sim marks depthwise layers
                rows.append((line, cells))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    while len(rows) > 1 and not any(rows[0][1][1:]):
        rows.pop(0)                     # a title above the header
    if len(rows) < 2:
        found = "a header but no layers" if rows else "no rows"
        raise ValueError(f"{path}: has {found}; write a header and one row per layer")
    return rows[0][1], rows[1:]


def _columns(path, header):
    """Content of each column (None: nothing of use), and the kind of table."""
    while header and not header[-1]:        # SCALE-Sim ends its lines with a comma
        header.pop()
    plain = [_plain(cell) for cell in header]
    if RESULT in header:
        known = dict.fromkeys((*NEEDED, *OPTIONAL, "batch"))
        kind, needed = "layer table among results", {key: key for key in NEEDED}
        columns = [cell if cell in known else None for cell in header]
    elif {"m", "n", "k"} <= set(plain):
        kind, needed = "SCALE-Sim GEMM table", SCALE_GEMM
        known = {"m": "rows", "n": "filters", "k": "inner", "sparsity": "sparsity"}
        columns = ["layer", *(known.get(cell) for cell in plain[1:])]
    elif any(cell.startswith("ifmap") for cell in plain):
        kind, needed = "SCALE-Sim topology", SCALE_CONV
        columns = _by_position(path, header, plain)
    else:
        kind, needed = "layer table", {key: key for key in NEEDED}
        known = {_plain(key): key for key in NEEDED + OPTIONAL}
        for cell, key in zip(header, plain, strict=True):
            if key not in known:
                raise ValueError(f"{path}: unknown column {cell!r}; the columns of a "
                                 f"{kind} are " + ", ".join(NEEDED + OPTIONAL))
        columns = [known[key] for key in plain]
    for cell, column in zip(header, columns, strict=True):
        if column is not None and columns.count(column) > 1:
            raise ValueError(f"{path}: column {cell!r} repeats another; drop or rename "
                             "one")
    for title, field in needed.items():
        if field not in columns:
            raise ValueError(f"{path}: column {title!r} is missing; a {kind} needs "
                             + ", ".join(needed))
    return columns, kind


def _by_position(path, header, plain):
    """Columns of a SCALE-Sim topology; those after the eight by their titles."""
    titles, fields = list(SCALE_CONV), list(SCALE_CONV.values())
    known = {_plain(key): field for key, field in (SCALE_CONV | ALSO_CONV).items()}
    # A header may have fewer columns, which is told later, or more.
    for place, (cell, key, title, field) in enumerate(
            zip(header, plain, titles, fields, strict=False), 1):
        found = known.get(key)
        if found not in (None, field) and plain.count(key) == 1 and found in fields:
            raise ValueError(f"{path}: column {place} is {cell!r}, where SCALE-Sim "
                             f"reads {title!r}; bring them into its order, "
                             + ", ".join(titles))
    later = [known.get(key) for key in plain[len(fields):]]
    return [*fields[:len(plain)], *(column if column in BEHIND else None
                                    for column in later)]


def _plain(title):
    """A column's title without case, spaces and underscores."""
    return "".join(filter(str.isalnum, title.lower()))


def _sizes(where, titles, columns, cells, loose):
    """Arguments of ConvLayer in one row; ``loose``: cells may follow the header's."""
    if any(cells[len(columns):]) and not loose:
        raise ValueError(f"{where}: {len(cells)} cells, but the header has "
                         f"{len(columns)}; is a comma wrong?")
    cells = cells + [""] * (len(columns) - len(cells))
    sizes = {}
    for title, column, cell in zip(titles, columns, cells[:len(columns)], strict=True):
        if column is None:
            continue
        if not cell:
            if column in OPTIONAL or column == "sparsity":
                continue
            raise ValueError(f"{where}: column {title!r} is empty; give a value")
        if column == "layer":
            sizes["name"] = cell
            continue
        if column == "sparsity":
            sizes[column] = _share(where, title, cell)
            continue
        if column == "dynamic_filters":
            sizes[column] = _truth(where, title, cell)
            continue
        count = {"dilation": 2, "padding": 4}.get(column, 1)
        values = tuple(whole(part.strip()) for part in cell.lower().split("x"))
        if len(values) not in (1, count) or None in values:
            form = {2: "a whole number or two as in 2x1",
                    4: "a whole number or top x bottom x left x right as in 0x1x0x1",
                    1: "a positive whole number"}[count]
            shown = cell if len(cell) < 100 else f"{cell[:20]}..."
            raise ValueError(f"{where}: column {title!r} holds {shown!r}; write {form}")
        sizes[column] = values if len(values) > 1 else values[0]
    return sizes


def _share(where, title, cell):
    """The share of weights that are not zero in an N:M of SCALE-Sim."""
    kept, _, block = cell.partition(":")
    kept, block = whole(kept.strip()), whole(block.strip())
    if kept is None or block is None or not 1 <= kept <= block:
        shown = cell if len(cell) < 100 else f"{cell[:20]}..."
        raise ValueError(f"{where}: column {title!r} holds {shown!r}; write N:M as in "
                         "2:4, for N of every M weights that are not zero")
    return kept / block


def _truth(where, title, cell):
    """True or false, as spreadsheets and pandas write them."""
    if cell.lower() not in TRUTHS:
        raise ValueError(f"{where}: column {title!r} holds {cell:.40}; write true or "
                         "false")
    return TRUTHS[cell.lower()]
