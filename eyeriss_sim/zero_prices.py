"""Price of one more zero weight: what it saves of MACs, spads and storage."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from eyeriss_sim.codes import WORD_BITS, expected_ratio
from eyeriss_sim.counts import count
from eyeriss_sim.energy import width_factors
from eyeriss_sim.layer import Shape
from eyeriss_sim.levels import DRAM, FILTER, KINDS, PSUM, READ, RF, WRITE
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.widths import Bits, at_widths
from eyeriss_sim.zeros import Savings

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware
    from eyeriss_sim.measure import MeasuredLayer


@dataclass(frozen=True)
class LayerWork:
    """One layer as the oracle prices it: hashable, so that its price is kept.

    Parameters
    ----------
    shape : Shape
    mapping : Mapping
    savings : Savings
        What its zeros leave.
    bits : Bits
    weights : int
        Weights that are not zero.
    steps : int
        Times that the layer runs.
    """

    shape: Shape
    mapping: Mapping
    savings: Savings
    bits: Bits
    weights: int
    steps: int = 1


@lru_cache(maxsize=65536)
def mean_price_uJ(work: LayerWork, hardware: "Hardware") -> float:
    """Energy that one more zero weight saves, the mean of a layer's weights.

    Parameters
    ----------
    work : LayerWork
    hardware : Hardware

    Returns
    -------
    float
        uJ of the whole batch, DRAM included; 0 where a zero weight saves nothing.
    """
    if not hardware.zero_handling.counts_weights or work.weights == 0:
        return 0.0
    macs = work.steps * work.shape.macs * work.savings.macs_left / work.weights
    return (macs * _mac_pJ(work, hardware) + _stored_pJ(work, hardware)) * 1e-6


def tap_prices_uJ(work: LayerWork, measured: "MeasuredLayer",
                  hardware: "Hardware") -> np.ndarray:
    """Energy that one weight of each tap costs while it is not zero.

    Parameters
    ----------
    work : LayerWork
    measured : MeasuredLayer
        Measurements of the same layer.
    hardware : Hardware

    Returns
    -------
    float64 ndarray, shape (groups * C, R, S)
        uJ of the whole batch; 0 where a zero weight saves nothing.
    """
    met, handling = measured.met, hardware.zero_handling
    if not handling.counts_weights:
        return np.zeros(met.shape)
    if "ifmap" not in handling.skips:
        met = np.full(met.shape, measured.windows)
    macs = met * (work.steps * work.shape.macs / measured.nonzero_macs.all)
    return (macs * _mac_pJ(work, hardware) + _stored_pJ(work, hardware)) * 1e-6


def _mac_pJ(work, hardware):
    """Energy of one MAC with its spad accesses."""
    hardware = at_widths(hardware, work.bits, "the layer")
    counts = count(work.shape, hardware, work.mapping)
    of_access, of_mac = width_factors(hardware)
    prices = np.array([hardware.cost_pJ("rf", kind) for kind in KINDS]) * of_access[RF]
    datapath = counts.accesses[RF, :, READ].copy()
    datapath[PSUM] += counts.accesses[RF, PSUM, WRITE]
    return (float((datapath * prices).sum()) / counts.macs
            + of_mac * hardware.cost_pJ("alu"))


def _stored_pJ(work, hardware):
    """DRAM energy of one more weight that is not zero, over all trips of its filter."""
    if work.weights == 0:
        return 0.0
    hardware = at_widths(hardware, work.bits, "the layer")
    counts = count(work.shape, hardware, work.mapping)
    trips = counts.accesses[DRAM, FILTER, READ] / work.shape.filter_words
    shrinks = code_bits_per_weight(hardware.filter_code, work,
                                   hardware.stored_bits("filter"))
    return work.steps * trips * shrinks / WORD_BITS * hardware.cost_pJ("dram")


def code_bits_per_weight(code: str, work: LayerWork, bits: int) -> float:
    """Bits by which a filter of weights that wide shrinks with one more zero weight."""
    shape = work.shape
    if code == "none":
        return 0.0
    if code == "rlc":
        words = shape.filter_words
        with_it, without = (expected_ratio("rlc", weights / words, bits)
                            for weights in (work.weights, work.weights - 1))
        return bits * words * (with_it - without)
    if code in ("csr", "csc"):
        columns = shape.C * shape.R * shape.S if code == "csr" else shape.M
        return bits + max(1, int(np.ceil(np.log2(columns))))
    return float(bits)
