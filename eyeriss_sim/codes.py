"""Codes that store tensors without their zeros: sizes of each, and the chip's codec."""

from collections.abc import Sequence
from math import ceil, expm1, log1p, log2
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from eyeriss_sim import zero_kernels

if TYPE_CHECKING:
    from eyeriss_sim.layer import ConvLayer
    from eyeriss_sim.mapping import Mapping

WORD_BITS = 16                  # of every word of the chip
WORD_B = WORD_BITS // 8
# A pair of a 5-bit run and a 16-bit value; three pairs and a flag in 64 bits.
RLC_WORD_BITS = 64
RLC_BITS_PER_VALUE = RLC_WORD_BITS / zero_kernels.PAIRS_PER_WORD
POINTER_BITS = 32           # of CSR and CSC row and column starts
LONGEST_PERIOD = 64

FMAP_CODES = ("none", "rlc", "significance_map")
FILTER_CODES = ("none", "rlc", "significance_map", "csr", "csc", "periodic")


def nonzero_mask(tensor: np.ndarray) -> np.ndarray:
    """uint8, C order, 1 where a value is not zero: what the counting kernels read."""
    return np.ascontiguousarray(tensor != 0).view(np.uint8)


def rlc_encode(stream: ArrayLike) -> np.ndarray:
    """The chip's run-length code of a stream of 16-bit values.

    Parameters
    ----------
    stream : int16 array_like, any shape
        Taken in C order.

    Returns
    -------
    uint64 ndarray, 1-D

    Examples
    --------
    >>> words = rlc_encode(np.array([0, 0, 7, 0], np.int16))
    >>> len(words), rlc_decode(words, 4).tolist()
    (1, [0, 0, 7, 0])
    """
    stream = np.asarray(stream)
    if stream.dtype != np.int16:
        raise ValueError(f"run-length coding takes int16 values, got {stream.dtype}; "
                         f"quantise first")
    stream = np.ascontiguousarray(stream).ravel()
    words = np.empty(stream.size // zero_kernels.PAIRS_PER_WORD + 1, np.uint64)
    return words[:zero_kernels.encode(stream, words)].copy()


def rlc_decode(words: np.ndarray, length: int) -> np.ndarray:
    """The ``length`` int16 values that ``rlc_encode`` made ``words`` of.

    Raises
    ------
    ValueError
        The words end early, or hold more than that many values.
    """
    stream = np.empty(length, np.int16)
    words = np.ascontiguousarray(words, np.uint64)
    read = zero_kernels.decode(words, stream)
    if read != len(words):
        raise ValueError(f"run-length code of {len(words)} words does not hold a "
                         f"stream of {length} values")
    return stream


def expected_ratio(code: str, density: float, bits: int = WORD_BITS) -> float:
    """Coded over uncoded size of a stream of that density, expected.

    The run-length code is switched off where it would not shrink a stream, as the
    chip does for the first layer's input; the significance map, one bit a zero and
    1 + bits a non-zero, is always there (Yang et al., Asilomar 2017).

    Examples
    --------
    >>> expected_ratio("rlc", 1.0), round(expected_ratio("rlc", 0.375), 6)
    (1.0, 0.5)
    >>> expected_ratio("significance_map", 0.5)
    0.5625
    """
    if code == "none":
        return 1.0
    if code == "rlc":
        # A wider value is a run of words, each of which takes a pair.
        return min(1.0, pairs_per_value(density) * RLC_BITS_PER_VALUE
                   / min(bits, WORD_BITS))
    if code == "significance_map":
        return density + 1 / bits
    raise ValueError(f"code {code!r} needs the filters themselves, not their density; "
                     f"codes that need no more: {', '.join(FMAP_CODES)}")


def pairs_per_value(density: float) -> float:
    """Run-length pairs for each value of a long stream of independent zeros.

    A pair ends at a non-zero, or after 32 zeros: it stands for
    (1 - (1 - density)^32) / density values on average.
    """
    longest = zero_kernels.LONGEST_RUN + 1
    if density * longest < 1e-9:
        return 1 / longest
    return density / -expm1(longest * log1p(-density)) if density < 1 else 1.0


def significance_map_ratio(nonzeros: int, values: int, bits: int = WORD_BITS) -> float:
    """One bit a value, and its ``bits`` where it is not zero, over ``bits`` a value."""
    return (values + bits * nonzeros) / (bits * values)


def fmap_strips_words(fmap: np.ndarray, strips: Sequence[tuple]) -> tuple[int, int]:
    """16-bit words of run-length coded strips, as loads or dumps move them.

    Parameters
    ----------
    fmap : ndarray, shape (N, channels, H, W), padding included
    strips : sequence of (int64 ndarray, slice)
        Rows and columns of each strip, as ``strips.py`` has them.

    Returns
    -------
    coded, uncoded : int
    """
    rows = np.concatenate([rows for rows, _ in strips])
    starts = np.cumsum([0, *(len(rows) for rows, _ in strips)])
    columns = np.array([(of.start, of.stop) for _, of in strips])
    coded = zero_kernels.count_strip_words(nonzero_mask(fmap), rows, starts, columns)
    words = np.diff(starts) @ np.diff(columns, axis=1)[:, 0]
    return (coded * RLC_WORD_BITS // WORD_BITS,
            fmap.shape[0] * fmap.shape[1] * int(words))


def fmap_strips_ratio(fmap: np.ndarray, strips: Sequence[tuple],
                      bits: int = WORD_BITS) -> float:
    """Run-length coded over uncoded size of the strips that loads or dumps move.

    At most 1: the code is switched off for an fmap that it would not shrink, such as
    one of narrow values, for each of which it stores 16 bits. ``bits`` are those of an
    uncoded value, the other parameters as of ``fmap_strips_words``.
    """
    coded, uncoded = fmap_strips_words(fmap, strips)
    return min(1.0, coded * WORD_BITS / (uncoded * min(bits, WORD_BITS)))


def filter_ratio(code: str, filt: np.ndarray, layer: "ConvLayer", mapping: "Mapping",
                 bits: int = WORD_BITS) -> float:
    """Coded over uncoded size of real filters.

    Parameters
    ----------
    code : str
        One of ``FILTER_CODES``. ``csr`` and ``csc`` store the M x C R S matrix by its
        rows or columns; ``periodic`` the kept values and, once, the supports that
        kernel (m, c) takes in turn by (m + c) mod period (pSConv).
    filt : ndarray, shape (M, C, R, S)
    layer : ConvLayer
    mapping : Mapping
        Orders the stream that ``rlc`` codes.
    bits : int
        Bits of a weight.

    Returns
    -------
    float
    """
    M, C, R, S = filt.shape
    nonzeros = int(np.count_nonzero(filt))
    if code == "none":
        return 1.0
    if code == "significance_map":
        return significance_map_ratio(nonzeros, filt.size, bits)
    if code == "rlc":
        words = zero_kernels.count_filter_words(
            nonzero_mask(filt), layer.groups, mapping.m, mapping.p, mapping.q,
            mapping.r, mapping.t)
        return min(1.0, words * RLC_WORD_BITS / (filt.size * min(bits, WORD_BITS)))
    if code == "periodic":
        stored = bits * nonzeros + period(filt, layer.name) * R * S
    else:
        rows, columns = (M, C * R * S) if code == "csr" else (C * R * S, M)
        index_bits = max(1, ceil(log2(columns)))
        stored = nonzeros * (bits + index_bits) + (rows + 1) * POINTER_BITS
    return stored / (filt.size * bits)


def period(filt: np.ndarray, name: str) -> int:
    """The smallest period of kernel supports along (m + c).

    Raises
    ------
    ValueError
        There is none of at most 64, so that the supports can't be stored once.
    """
    M, C, R, S = filt.shape
    # One integer a kernel tells its support.
    kernels = (filt != 0).reshape(M * C, R * S)
    _, support = np.unique(kernels, axis=0, return_inverse=True)
    support = support.reshape(M, C)
    place = np.add.outer(np.arange(M), np.arange(C))
    for length in range(1, LONGEST_PERIOD + 1):
        slot = place % length
        first = np.zeros(length, support.dtype)
        first[slot.ravel()[::-1]] = support.ravel()[::-1]
        if (first[slot] == support).all():
            return length
    raise ValueError(f"{name}: its kernel supports do not repeat along m + c with a "
                     f"period of at most {LONGEST_PERIOD}; use another filter code")
