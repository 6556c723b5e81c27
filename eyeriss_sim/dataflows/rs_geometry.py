"""A layer cut to a row-stationary array, and the array itself, as kernels read them."""

from dataclasses import dataclass
from functools import lru_cache

from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.plain import ceil_div
from eyeriss_sim.product_maps import laid


@dataclass(frozen=True, eq=False)
class Geometry:
    """A layer cut to an array, segments and strips, as kernels read it.

    Parameters
    ----------
    shape : rs_kernels.Shape
    """

    shape: kernels.Shape


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
    taps = geometry.shape.S_full
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
    R_last = R - (row_segments - 1) * R_full
    S_last = S - (S_segments - 1) * S_full
    span_full, span_last = ((taps - 1) * dilation_w + 1 for taps in (S_full, S_last))
    whole = kernels.Shape(
        N=N, G=G, M=M, C=C, E=layer_shape.E, F=layer_shape.F, W=W,
        R_segs=row_segments, R_full=R_full, R_last=R_last, S_segs=S_segments,
        S_full=S_full, S_last=S_last, span_full=span_full, span_last=span_last,
        cols_full=(layer_shape.F - 1) * V + span_full,
        cols_last=(layer_shape.F - 1) * V + span_last, V=V, U=U, D=dilation_h,
        column_strips=1, F_last=layer_shape.F, W_all=W, span=layer_shape.S_span)
    return Geometry(kernels.cut_columns(whole, column_strips))


@lru_cache(maxsize=256)
def limits(hardware):
    """Sizes of the chip's storage and array, as kernels read them."""
    values = hardware.values
    return kernels.Limits(
        rows=hardware.rows, cols=hardware.cols, spad_i=values.ifmap_spad,
        spad_f=values.filter_spad, spad_p=values.psum_spad, banks=hardware.glb_banks,
        bank_ifmaps=values.bank_ifmaps, bank_psums=values.bank_psums,
        glb_f=values.filter_buffer)


@lru_cache(maxsize=256)
def timing(hardware):
    """Networks and choices of the micro-architecture, as kernels read them."""
    values = hardware.values
    # The way up is the wires': it takes as long behind however many psums.
    hop_cycles = max(0, hardware.hop_cycles - hardware.psum_out_net_words
                     + values.psum_out_net)
    return kernels.Timing(
        net_i=values.ifmap_net, net_f=values.filter_net, net_p_in=values.psum_in_net,
        net_p_out=values.psum_out_net, hop_cycles=hop_cycles,
        bubbles=int(hardware.accumulate_bubbles),
        stride_cycles=int(hardware.stride_bubbles),
        image_gap=hardware.image_gap_cycles, filters_first=int(hardware.filters_first),
        window_first=int(hardware.window_first), ifmap_fifo=values.ifmap_fifo,
        filter_fifo=values.filter_fifo, psum_fifo=values.psum_in_fifo,
        psum_out_fifo=values.psum_out_fifo, glb_ports=hardware.glb_ports,
        glb_row=values.row_psums, ifmap_row=values.row_ifmaps,
        all_banks=hardware.glb_banks, ifmaps_of_bank=values.bank_ifmaps,
        pass_overlap=int(hardware.pass_overlap),
        downwards=int(hardware.first_row_on_top))


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
    ifmap_words = n * channels * rows * shape.W
    psum_words = n * m * e * shape.F
    return {
        "ifmap_words": ifmap_words,
        "psum_words": psum_words,
        "ifmap_banks": ceil_div(ifmap_words, hardware.values.bank_ifmaps),
        "psum_banks": ceil_div(psum_words, hardware.values.bank_psums),
        "filter_words": (filters * channels * shape.R_full * shape.S_full),
    }
