"""Row-stationary mappings: what fits where on the array, and why not."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from os import PathLike
from pathlib import Path

import numpy as np

from eyeriss_sim import kernels
from eyeriss_sim.codes import WORD_BITS
from eyeriss_sim.kernels import ceil_div
from eyeriss_sim.layer import EXACT, ConvLayer
from eyeriss_sim.layer_csv import RESULT, read_rows, whole
from eyeriss_sim.plain import is_whole, plain, shown
from eyeriss_sim.product_maps import check_map, laid
from eyeriss_sim.read_only import read_only

CHIP_TABLES = ("published", "published-table3", "inferred-table6")
# The least that each number of a mapping can be.
LEAST = {**dict.fromkeys("mnepqrt", 1), "row_segments": 0, "column_strips": 1,
         "map_H": 0, "map_W": 0}


@dataclass(frozen=True)
class Mapping:
    """How a layer runs on the array, in the letters of JSSC 2017 Table III.

    Parameters
    ----------
    m : int
        Ofmap channels whose psums stay in the global buffer.
    n : int
        Ifmaps of a processing pass.
    e : int
        Ofmap rows of a strip, the width of a PE set; on ``isca16`` hardware, whose
        analysis strips the other direction, ofmap columns.
    p, q : int
        Filters and channels interleaved in a PE.
    r, t : int
        PE sets that work on different channels and add up; on different filters.
    row_segments : int
        Pieces of nearly equal height that the filter rows are cut into, each a filter
        of its own whose psums meet in the global buffer; 0 for the fewest that the
        array is high enough for, which is one unless the filter is higher than it.
    column_strips : int
        Strips of nearly equal width that the ofmap's columns are cut into, run one
        after the other like narrower layers: each loads the ifmap columns under its
        own windows, those that neighbours share once more, and all filters.
    map_H, map_W : int
        Height and width of the map that the rows of a matrix product are laid on, where
        that is not the layer's own (``product_maps.py``); 0 for the layer's own.
    """

    m: int
    n: int
    e: int
    p: int
    q: int
    r: int
    t: int
    row_segments: int = 0
    column_strips: int = 1
    map_H: int = 0
    map_W: int = 0

    def __post_init__(self):
        for key in LEAST:
            object.__setattr__(self, key, plain(getattr(self, key)))

    @property
    def letters(self):
        """The numbers m n e p q r t, in that order."""
        return self.m, self.n, self.e, self.p, self.q, self.r, self.t

    @property
    def cuts(self):
        """Pieces that filter rows R and ofmap columns F are cut into, as ``R2 F41``.

        Before them the map of a matrix product, as ``11x18``.
        """
        own_map = [f"{self.map_H}x{self.map_W}"] if self.map_H else []
        return " ".join(own_map + [f"{what}{pieces}" for what, pieces in (
            ("R", self.row_segments), ("F", self.column_strips)) if pieces > 1])

    def __str__(self):
        text = " ".join(f"{key}={getattr(self, key)}" for key in "mnepqrt")
        if self.row_segments:
            text += f" row_segments={self.row_segments}"
        if self.column_strips > 1:
            text += f" column_strips={self.column_strips}"
        if self.map_H:
            text += f" map_H={self.map_H} map_W={self.map_W}"
        return text


@dataclass(frozen=True, eq=False)
class Geometry:
    """A layer cut to an array, segments and strips, as kernels read it.

    Parameters
    ----------
    shape : int64 ndarray, shape (24,), read-only
        Axes as in ``kernels.py``.
    """

    shape: np.ndarray


def shape_key(layer):
    """All that the array sees of a layer, its name left out; hashable."""
    return (layer.N, layer.groups, layer.M_group, layer.C, layer.H, layer.W, layer.R,
            layer.S, layer.U, layer.V, layer.dilation)


@lru_cache(maxsize=4096)
def layer_of(key):
    """A layer of that shape, for those who have only the key."""
    N, groups, M_group, C, H, W, R, S, U, V, dilation = key
    return ConvLayer(name="a layer", N=N, M=M_group * groups, C=C, H=H, W=W, R=R, S=S,
                     U=U, V=V, groups=groups, dilation=dilation)


def cut(layer, hardware, row_segments=0, column_strips=1):
    """Cut a layer into what the array, the ifmap spads and the GLB can hold.

    A filter higher than the array is cut into row segments of nearly equal height, one
    whose row is wider than the ifmap spad into column segments. Each segment is a
    filter of its own whose psums meet in the global buffer.

    Parameters
    ----------
    layer, hardware
    row_segments, column_strips : int
        As in ``Mapping``.

    Raises
    ------
    ValueError
        A filter spad too small for one row of filter taps, row segments or column
        strips that the layer can't be cut into.
    """
    known = even_cuts(layer.R, hardware.rows)
    if row_segments and row_segments not in known:
        raise ValueError(
            f"{layer.name}: row_segments = {row_segments} is no even cut of R = "
            f"{layer.R} filter rows for the {hardware.rows} array rows; "
            f"give one of {', '.join(map(str, known))}, or 0 for the fewest")
    if column_strips not in even_cuts(layer.F, layer.F):
        fewer = max((cuts for cuts in even_cuts(layer.F, layer.F)
                     if cuts < column_strips), default=1)
        raise ValueError(
            f"{layer.name}: column_strips = {column_strips} is no even cut of F = "
            f"{layer.F} ofmap columns; give {fewer}, or 1 for none")
    geometry = cut_shape(shape_key(layer), row_segments or known[0], column_strips,
                         hardware.values.ifmap_spad)
    taps = int(geometry.shape[kernels.S_FULL])
    if taps > hardware.values.filter_spad:
        raise ValueError(
            f"{layer.name}: one filter row of {taps} words exceeds the "
            f"{hardware.values.filter_spad}-word filter spad of {hardware.name}; "
            f"enlarge [spad_words] filter")
    return geometry


@lru_cache(maxsize=4096)
def even_cuts(length, most):
    """Numbers of pieces of nearly equal length, none longer than ``most``, ascending.

    Examples
    --------
    >>> even_cuts(5, 12)     # 5, 3 + 2, 2 + 2 + 1, or five single ones
    (1, 2, 3, 5)
    >>> even_cuts(5, 2)
    (3, 5)
    """
    cuts, longest = [], min(length, most)
    while longest:
        pieces = -(-length // longest)
        cuts.append(pieces)
        # The longest piece of that many, and then one shorter.
        longest = -(-length // pieces) - 1
    return tuple(cuts)


def row_segments_of(layer, hardware, mapping):
    """Row segments that the filters of a layer are cut into; 1 for whole filters."""
    if hardware.accounting == "isca16":
        return 1
    return mapping.row_segments or even_cuts(layer.R, hardware.rows)[0]


@lru_cache(maxsize=16384)
def cut_shape(key, row_segments, column_strips, spad_words):
    """``cut`` for a ``shape_key``, remembered; the filter spad is not looked at."""
    N, G, M, C, H, W, R, S, U, V, (dilation_h, dilation_w) = key
    E = (H - (R - 1) * dilation_h - 1) // U + 1
    F = (W - (S - 1) * dilation_w - 1) // V + 1
    R_full = ceil_div(R, row_segments)
    taps_that_fit = (spad_words - 1) // dilation_w + 1
    S_full = ceil_div(S, ceil_div(S, taps_that_fit))
    S_segments = ceil_div(S, S_full)
    shape = np.zeros(kernels.SHAPE_AXES, np.int64)
    shape[[kernels.N, kernels.G, kernels.M, kernels.C]] = N, G, M, C
    shape[[kernels.E, kernels.F, kernels.W, kernels.W_ALL]] = E, F, W, W
    shape[kernels.SPAN] = (S - 1) * dilation_w + 1
    shape[[kernels.V, kernels.U, kernels.D]] = V, U, dilation_h
    R_last = R - (row_segments - 1) * R_full
    S_last = S - (S_segments - 1) * S_full
    shape[[kernels.R_SEGS, kernels.R_FULL, kernels.R_LAST]] = (
        row_segments, R_full, R_last)
    shape[[kernels.S_SEGS, kernels.S_FULL, kernels.S_LAST]] = S_segments, S_full, S_last
    for axis, taps in ((0, S_full), (1, S_last)):
        shape[kernels.SPAN_FULL + axis] = (taps - 1) * dilation_w + 1
    kernels.cut_columns(shape, column_strips)
    return Geometry(read_only(shape))


@lru_cache(maxsize=256)
def limits(hardware):
    """Sizes of the chip's storage and array, as kernels read them."""
    values = hardware.values
    return read_only(np.array([
        hardware.rows, hardware.cols, values.ifmap_spad, values.filter_spad,
        values.psum_spad, hardware.glb_banks, values.bank_ifmaps, values.filter_buffer,
        values.bank_psums], np.int64))


@lru_cache(maxsize=256)
def timing(hardware):
    """Networks and choices of the micro-architecture, as kernels read them."""
    values = hardware.values
    # The way up is the wires': it takes as long behind however many psums.
    hop_cycles = max(0, hardware.hop_cycles - hardware.psum_out_net_words
                     + values.psum_out_net)
    return read_only(np.array([
        values.ifmap_net, values.filter_net, values.psum_in_net, values.psum_out_net,
        hop_cycles, hardware.accumulate_bubbles,
        hardware.stride_bubbles, hardware.image_gap_cycles, hardware.filters_first,
        hardware.window_first, values.ifmap_fifo, hardware.glb_ports,
        values.row_psums, hardware.pass_overlap, hardware.glb_banks, values.bank_ifmaps,
        values.filter_fifo, values.psum_in_fifo, values.psum_out_fifo,
        hardware.first_row_on_top], np.int64))


def glb_use(layer, hardware, mapping):
    """Words and banks of the global buffer that a mapping fills ("chip").

    Returns
    -------
    dict
        ``ifmap_words``, ``psum_words`` and, each kind rounded up on its own,
        ``ifmap_banks``, ``psum_banks``; ``filter_words`` of one pass.
    """
    layer = laid(layer, mapping)
    geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
    shape = geometry.shape
    m, n, e, p, q, r, t = mapping.letters
    channels, filters = min(q * r, layer.C), min(p * t, m)
    rows = int(kernels.strip_rows(shape, kernels.WHOLE_FILTER, e))
    ifmap_words = n * channels * rows * int(shape[kernels.W])
    psum_words = n * m * e * int(shape[kernels.F])
    return {
        "ifmap_words": ifmap_words,
        "psum_words": psum_words,
        "ifmap_banks": ceil_div(ifmap_words, hardware.values.bank_ifmaps),
        "psum_banks": ceil_div(psum_words, hardware.values.bank_psums),
        "filter_words": (filters * channels * int(shape[kernels.R_FULL])
                         * int(shape[kernels.S_FULL])),
    }


def check_mapping(layer, hardware, mapping):
    """Refuse a mapping that the hardware cannot run.

    Raises
    ------
    ValueError
        Names the layer, the limit, by how much it is exceeded, and what to lower.
    """
    for key, least in LEAST.items():
        value = getattr(mapping, key)
        if not is_whole(value, least):
            raise ValueError(
                f"{layer.name}: {key} must be a whole number of at least {least}, "
                f"got {shown(value)}")
        if value > EXACT:
            raise ValueError(f"{layer.name}: {key} = {shown(value)} is more than any "
                             f"array has room for; lower {key}")
    check_map(layer, mapping)
    layer = laid(layer, mapping)
    check = _check_chip if hardware.accounting == "chip" else _check_isca16
    for quantity, value, limit, what, cure in check(layer, hardware, mapping):
        if value > limit:
            raise ValueError(f"{layer.name}: {quantity} = {value} exceeds {what} of "
                             f"{limit} by {value - limit}; {cure}")


def _check_chip(layer, hardware, mapping):
    """(quantity, value, limit, what the limit is, cure), in order of severity."""
    m, n, e, p, q, r, t = mapping.letters
    shape = cut(layer, hardware, mapping.row_segments, mapping.column_strips).shape
    R, S, span = (int(shape[axis]) for axis in (
        kernels.R_FULL, kernels.S_FULL, kernels.SPAN_FULL))
    yield "n", n, layer.N, "the batch", "lower n"
    yield "e", e, layer.E, "the ofmap height", "lower e"
    yield "m", m, layer.M_group, "the filters of one group", "lower m"
    yield "p", p, m, "the filters in the GLB m", "lower p or raise m"
    yield "(t-1)*p + 1", (t - 1) * p + 1, m, "the filters in the GLB m", "lower t"
    yield "q", q, layer.C, "the channels", "lower q"
    yield ("(r-1)*q + 1", (r - 1) * q + 1, layer.C, "the channels", "lower r")
    yield ("q*S", q * span, hardware.values.ifmap_spad, "the ifmap spad words",
           "lower q")
    yield ("p*q*S", p * q * S, hardware.values.filter_spad, "the filter spad words",
           "lower p or q")
    yield "p", p, hardware.values.psum_spad, "the psum spad words", "lower p"
    yield "R*r", R * r, hardware.rows, "the array rows", "lower r"
    columns = hardware.rows // (R * r) * hardware.cols
    yield ("e*t", e * t, columns, "the array columns, folded,", "lower e or t")
    use = glb_use(layer, hardware, mapping)
    yield ("filter words of a pass", use["filter_words"], hardware.values.filter_buffer,
           "the filter buffer words", "lower p, q, r or t")
    banks = use["ifmap_banks"] + use["psum_banks"]
    yield (f"GLB banks, {use['ifmap_banks']} of ifmaps and {use['psum_banks']} of "
           f"psums,", banks, hardware.glb_banks, "the GLB banks",
           "lower m, n or e" + (", or raise column_strips"
                                if mapping.column_strips < layer.F else ""))


def _check_isca16(layer, hardware, mapping):
    """The limits of the ISCA 2016 analysis; e is its f, ofmap columns in a strip."""
    m, n, f, p, q, r, t = mapping.letters
    width = (f - 1) * layer.V + layer.S_span
    yield ("row_segments", mapping.row_segments, 0,
           "the analysis, which cuts no filter,", "leave it out")
    yield ("column_strips", mapping.column_strips, 1,
           "the analysis, whose e counts columns,", "leave it out")
    yield "n", n, layer.N, "the batch", "lower n"
    yield "e", f, layer.F, "the ofmap width", "lower e"
    yield "m", m, layer.M_group, "the filters of one group", "lower m"
    yield "p*t", p * t, m, "the filters in the GLB m", "lower p or t"
    yield "q*r", q * r, layer.C, "the channels", "lower q or r"
    ifmap, filt, psum = (hardware.stored_bits(kind)
                         for kind in ("ifmap", "filter", "psum"))
    words = WORD_BITS == ifmap == filt == psum
    unit, per = ("words", WORD_BITS) if words else ("bits", 1)
    yield ("p*q*R + q*R + p" + (" in bits" if per == 1 else ""),
           (p * q * layer.R * filt + q * layer.R * ifmap + p * psum) // per,
           hardware.rf_words * WORD_BITS // per, f"the RF {unit}", "lower p or q")
    yield "S*e*r*t", layer.S * f * r * t, hardware.pes, "the PEs", "lower e, r or t"
    yield (f"GLB {unit}",
           n * (m * layer.E * f * psum + q * r * layer.H * width * ifmap) // per,
           hardware.glb_words * WORD_BITS // per, f"the GLB {unit}",
           "lower m, n or e")


def chosen_mappings(mapping, hardware):
    """Mappings by layer name, and where they come from, for all ways to give them.

    Parameters
    ----------
    mapping : str, Path or dict
        ``search`` for none, else as in ``read_mappings``, or Mappings by layer name.
    hardware : Hardware
        That they are for: the tables are the chip's.

    Returns
    -------
    mappings : dict
    source : str
    """
    if not isinstance(mapping, (str, PathLike)):
        return mapping, "given"
    source = str(mapping)
    if source == "search":
        return {}, source
    if source in CHIP_TABLES and hardware.accounting != "chip":
        raise ValueError(
            f"mapping {source!r} is the chip's, whose e counts ofmap rows; on "
            f"{hardware.name} e counts ofmap columns, so leave it out to search")
    return read_mappings(source, hardware.accounting), source


def read_mappings(text, accounting="chip"):
    """Mappings by layer name, from a CSV file or one of the chip's tables.

    Parameters
    ----------
    text : str
        ``published`` and ``published-table3`` (AlexNet), ``inferred-table6`` (VGG-16),
        or the path of a CSV file with the columns layer, m, n, e, p, q, r, t and,
        optionally, row_segments, column_strips, map_H and map_W: a
        result table, too.
    accounting : {"chip", "isca16"}
        Of the hardware that they are for, which a result table must share.

    Raises
    ------
    ValueError
        File, line and column of a bad cell; unknown names list the known ones.
    """
    if text in CHIP_TABLES:
        source = resources.files("eyeriss_sim") / "mappings" / f"{text}.csv"
    elif text.endswith(".csv"):
        source = Path(text)
    else:
        raise ValueError(f"unknown mapping {text!r}; known: search, "
                         f"{', '.join(CHIP_TABLES)}, or a .csv file")
    with source.open(encoding="utf-8-sig", newline="") as lines:
        return _parse_mappings(lines, text, accounting)


def _parse_mappings(lines, text, accounting):
    needed = ("layer", *"mnepqrt")
    mappings = {}
    for where, cell_of in read_rows(lines, text, ("layer", *LEAST), needed,
                                    of_result=True):
        layer = cell_of.pop("layer")
        own = cell_of.pop("accounting", accounting)
        if own != accounting:
            raise ValueError(
                f"{where}, column accounting: these mappings are of {own} hardware, "
                f"where e counts other strips than on {accounting}; search anew")
        values = {}
        for key in LEAST:
            if key not in cell_of:
                continue
            values[key], least = whole(cell_of[key]), LEAST[key]
            if values[key] is None or values[key] < least:
                raise ValueError(f"{where}, column {key}: must be a whole number of at "
                                 f"least {least}, got {cell_of[key][:100]!r}")
        if accounting == "isca16" and RESULT in cell_of:
            values["row_segments"] = 0      # a result says 1 of whole filters
        mappings[layer] = Mapping(**values)
    return mappings
