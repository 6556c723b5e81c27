"""Zeros of a layer, and what they save on a machine."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eyeriss_sim import zero_kernels
from eyeriss_sim.codes import expected_ratio, nonzero_mask
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.layer_csv import read_rows
from eyeriss_sim.widths import BITS_16, Bits, stored_operands

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware


@dataclass(frozen=True)
class Densities:
    """Shares of a layer's values that are not zero, each in 0..1, over padded fmaps."""

    ifmap: float = 1.0
    filter: float = 1.0
    ofmap: float = 1.0

    def check(self, layer_name: str) -> None:
        """Refuse a density that is no share."""
        for key in ("ifmap", "filter", "ofmap"):
            value = getattr(self, key)
            if not 0 <= value <= 1:
                raise ValueError(f"{layer_name}: {key} density must be in 0..1, "
                                 f"got {value!r}")


@dataclass(frozen=True)
class Savings:
    """Savings by the zeros of one layer on one machine.

    Parameters
    ----------
    macs_left : float
        Share of the MACs, and of their spad accesses, that are not skipped.
    ifmap_ratio, filter_ratio, ofmap_ratio : float
        Bits that cross the DRAM link over bits of the uncoded stream.
    """

    macs_left: float
    ifmap_ratio: float
    filter_ratio: float
    ofmap_ratio: float


NO_SAVINGS = Savings(1.0, 1.0, 1.0, 1.0)


def savings_of(hardware: "Hardware", densities: Densities, first_layer: bool,
               bits: Bits = BITS_16) -> Savings:
    """Expected savings on a machine by densities.

    Parameters
    ----------
    hardware : Hardware
        Its zero handling and codes.
    densities : Densities
    first_layer : bool
        The network's input is not run-length coded (JSSC 2017).
    bits : Bits
        Widths of the operands.

    Returns
    -------
    Savings
    """
    bits = stored_operands(bits, hardware.pack)

    def ratio(stream, code):
        raw = stream == "ifmap" and first_layer and code == "rlc"
        if raw or not hardware.coded(stream):
            return 1.0
        return expected_ratio(code, getattr(densities, stream), getattr(bits, stream))

    return Savings(hardware.zero_handling.macs_left(densities),
                   ratio("ifmap", hardware.fmap_code),
                   ratio("filter", hardware.filter_code),
                   ratio("ofmap", hardware.fmap_code))


class NonzeroMacs(NamedTuple):
    """MACs by which of their operands are not zero.

    Parameters
    ----------
    all : int
    ifmaps, filters : int
        With a non-zero ifmap value; with a non-zero weight.
    pairs : int
        With neither operand zero.
    """

    all: int
    ifmaps: int
    filters: int
    pairs: int


@dataclass(frozen=True, eq=False)
class LayerZeros:
    """Exact zeros of one layer's real tensors.

    Parameters
    ----------
    layer : ConvLayer
        N counts the images that were measured.
    met : int64 ndarray, shape (groups * C, R, S)
        Non-zero ifmap values that each tap meets, over all images and windows.
    taps : int64 ndarray, shape (groups * C, R, S)
        Non-zero weights at each tap, over the filters of the group.
    ifmap_nonzeros, filter_nonzeros, ofmap_nonzeros : int
        Padding counts as zeros of the ifmap.
    """

    layer: ConvLayer
    met: np.ndarray
    taps: np.ndarray
    ifmap_nonzeros: int
    filter_nonzeros: int
    ofmap_nonzeros: int

    @property
    def nonzero_macs(self) -> NonzeroMacs:
        """MACs that each handling of zeros leaves."""
        layer = self.layer
        return NonzeroMacs(
            layer.macs, int(self.met.sum()) * layer.M_group,
            self.filter_nonzeros * layer.N * layer.E * layer.F,
            int((self.met * self.taps).sum()))

    @property
    def densities(self) -> Densities:
        """The shares that a density table would hold."""
        layer = self.layer
        return Densities(self.ifmap_nonzeros / layer.ifmap_words,
                         self.filter_nonzeros / layer.filter_words,
                         self.ofmap_nonzeros / layer.ofmap_words)


def count_zeros(layer: ConvLayer, ifmap: np.ndarray, filt: np.ndarray,
                ofmap: np.ndarray) -> LayerZeros:
    """Exact zeros of a layer, from its tensors.

    No MAC is visited: the products with two non-zero operands are, summed over channels
    and taps, (non-zero weights at the tap) x (non-zero ifmap values that meet it).

    Parameters
    ----------
    layer : ConvLayer
    ifmap : ndarray, shape (N, groups * C, H, W)
        Padding included.
    filt : ndarray, shape (M, C, R, S)
    ofmap : ndarray, shape (N, M, E, F)
        Values that the chip writes.

    Returns
    -------
    LayerZeros

    Raises
    ------
    ValueError
        A shape that is not the layer's, or NaN or infinite values.
    """
    expected = {
        "ifmap": (ifmap, (layer.N, layer.groups * layer.C, layer.H, layer.W)),
        "filter": (filt, (layer.M, layer.C, layer.R, layer.S)),
        "ofmap": (ofmap, (layer.N, layer.M, layer.E, layer.F))}
    for kind, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"{layer.name}: {kind} of shape {tensor.shape}, but the "
                             f"layer has {shape}")
    if ifmap.dtype.kind == "f" and not np.isfinite(ifmap).all():
        raise ValueError(f"{layer.name}: the ifmap holds NaN or infinite values")
    met = np.zeros((layer.groups * layer.C, layer.R, layer.S), np.int64)
    ifmap_nonzeros = zero_kernels.count_met(
        nonzero_mask(ifmap), layer.U, layer.V, *layer.dilation, layer.E, layer.F, met)
    taps = count_taps(layer, filt)
    return LayerZeros(layer, met, taps, int(ifmap_nonzeros), int(taps.sum()),
                      int(np.count_nonzero(ofmap)))


def count_taps(layer: ConvLayer, filt: np.ndarray) -> np.ndarray:
    """Non-zero weights at each tap, over the filters of its group.

    Parameters
    ----------
    layer : ConvLayer
    filt : ndarray, shape (M, C, R, S)

    Returns
    -------
    int64 ndarray, shape (groups * C, R, S)

    Raises
    ------
    ValueError
        NaN or infinite weights.
    """
    filt = np.ascontiguousarray(filt)
    nonzero = np.empty((layer.groups, layer.C * layer.R * layer.S), np.int32)
    odd = zero_kernels.count_taps(
        filt.reshape(layer.groups, layer.M_group, nonzero.shape[1]), nonzero)
    if odd:
        raise ValueError(f"{layer.name}: the filter holds NaN or infinite values")
    return nonzero.astype(np.int64).reshape(-1, layer.R, layer.S)


def read_shares(path: str | PathLike) -> dict[str, dict[str, float]]:
    """Shares of values that are not zero, from a CSV file with the columns layer,
    ifmap, filter, ofmap; what a file leaves out is not in them.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to dict of str to float
        ``{"CONV1": {"ifmap": 0.6}}`` where there is no column but ``ifmap``.

    Raises
    ------
    ValueError
        File, line and column of a bad cell; unknown columns list the known ones.
    OSError
        A file that can't be read.
    """
    shares = {}
    with Path(path).open(encoding="utf-8-sig", newline="") as lines:
        for where, cell_of in read_rows(
                lines, path, ("layer", "ifmap", "filter", "ofmap"), ("layer",)):
            name = cell_of.pop("layer")
            shares[name] = {
                key: _share(cell, where, key) for key, cell in cell_of.items()}
    return shares


def _share(cell, where, key):
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{where}, column {key}: a density must be a number in 0..1, "
                         f"got {cell!r}")
    return value
