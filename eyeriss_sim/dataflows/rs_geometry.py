"""A layer cut to a row-stationary array, and the array itself, as kernels read them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.plain import ceil_div
from eyeriss_sim.product_maps import laid
from eyeriss_sim.read_only import read_only


@dataclass(frozen=True, eq=False)
class Geometry:
    """A layer cut to an array, segments and strips, as kernels read it.

    Parameters
    ----------
    shape : int64 ndarray, shape (24,), read-only
        Axes as in ``kernels.py``.
    """

    shape: np.ndarray


def cut(layer, hardware, row_segments=0, column_strips=1):
    """Cut a layer into what the array, the ifmap spads and the GLB can hold.

    A filter higher than the array is cut into row segments of nearly equal height, one
    whose row is wider than the ifmap spad into column segments. Each segment is a
    filter of its own whose psums meet in the global buffer.

    Parameters
    ----------
    layer, hardware
    row_segments, column_strips : int
        Numbers of a ``Mapping``.

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
    geometry = cut_shape(layer.shape, row_segments or known[0], column_strips,
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


@lru_cache(maxsize=16384)
def cut_shape(layer_shape, row_segments, column_strips, spad_words):
    """``cut`` for a Shape, remembered; the filter spad is not looked at."""
    N, G, M, C, _, W, R, S, U, V, (dilation_h, dilation_w) = layer_shape
    R_full = ceil_div(R, row_segments)
    taps_that_fit = (spad_words - 1) // dilation_w + 1
    S_full = ceil_div(S, ceil_div(S, taps_that_fit))
    S_segments = ceil_div(S, S_full)
    shape = np.zeros(kernels.SHAPE_AXES, np.int64)
    shape[[kernels.N, kernels.G, kernels.M, kernels.C]] = N, G, M, C
    shape[[kernels.E, kernels.F, kernels.W, kernels.W_ALL]] = (
        layer_shape.E, layer_shape.F, W, W)
    shape[kernels.SPAN] = layer_shape.S_span
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
        hardware.first_row_on_top, values.row_ifmaps], np.int64))


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
