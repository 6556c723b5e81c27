"""Functional mode on random words, and the counting model told of their zeros."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eyeriss_sim.codes import WORD_BITS, fmap_strips_words
from eyeriss_sim.counts import count
from eyeriss_sim.cycles import Cycles, count_cycles
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import DRAM, IFMAP, PSUM, READ, RF, WRITE
from eyeriss_sim.machine.dram import words_on_link
from eyeriss_sim.machine.layer_run import LayerRun, run_layer
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.strips import ifmap_strips, ofmap_strips
from eyeriss_sim.zeros import Savings, count_zeros

# Share of the ifmap's words that are not zero, about what ReLUs leave.
IFMAP_DENSITY = 0.5


@dataclass(frozen=True, eq=False)
class ModelOfRun:
    """Expectation of the counting model of a run with those zeros.

    Parameters
    ----------
    accesses : int64 ndarray, shape (4, 3, 5), words
        After gating and before coding, as ``LayerRun.accesses``.
    cycles : Cycles
    ifmap_dram_words, ofmap_dram_words : int or float
        16-bit words that cross the DRAM link, coded as the hardware says.
    """

    accesses: np.ndarray
    cycles: Cycles
    ifmap_dram_words: int | float
    ofmap_dram_words: int | float


def run_on_random_words(layer: ConvLayer, hardware: Hardware, mapping: Mapping,
                        first_layer: bool, progress: Callable | None = None,
                        on_run: Callable | None = None) -> tuple[LayerRun, ModelOfRun]:
    """Run a layer on random words, half of the ifmap's zero, with a ReLU behind it.

    Parameters
    ----------
    layer, hardware, mapping, first_layer, progress, on_run
        Arguments of ``run_layer``.

    Returns
    -------
    LayerRun, ModelOfRun

    Raises
    ------
    ValueError
        Arguments of ``run_layer``.
    """
    rng = np.random.default_rng(0)
    ifmap, filt = (
        rng.integers(-2**(bits - 1), 2**(bits - 1), shape, dtype=np.int16)
        for bits, shape in (
            (min(WORD_BITS, hardware.ifmap_bits),
             (layer.N, layer.groups * layer.C, layer.H, layer.W)),
            (min(WORD_BITS, hardware.filter_bits),
             (layer.M, layer.C, layer.R, layer.S))))
    ifmap[rng.random(ifmap.shape, np.float32) >= IFMAP_DENSITY] = 0
    run = run_layer(layer, hardware, mapping, ifmap, filt, relu=True,
                    first_layer=first_layer, progress=progress, on_run=on_run)
    return run, model_of_run(layer, hardware, mapping, ifmap, filt, run, first_layer)


def model_of_run(layer: ConvLayer, hardware: Hardware, mapping: Mapping,
                 ifmap: np.ndarray, filt: np.ndarray, run: LayerRun,
                 first_layer: bool) -> ModelOfRun:
    """Expectation of the counting model of tensors, their zeros counted exactly.

    Returns
    -------
    ModelOfRun
    """
    counts = count(layer, hardware, mapping)
    accesses = counts.accesses.copy()
    left = layer.macs
    if hardware.zero_handling.skips:
        nonzero = count_zeros(layer, ifmap, filt, run.ofmap).nonzero_macs
        left = hardware.zero_handling.exact_macs_left(nonzero)
        accesses[RF, :, READ] = left
        accesses[RF, PSUM, WRITE] = left
    coded = hardware.coded("ifmap")
    ifmap_words, ofmap_words = (
        crossing(int(values), hardware.stored_bits(kind), fmap, strips, code)
        for values, kind, fmap, strips, code in (
            (accesses[DRAM, IFMAP, READ], "ifmap", ifmap,
             ifmap_strips(layer, hardware, mapping), coded and not first_layer),
            (accesses[DRAM, PSUM, WRITE], "ofmap", run.ofmap,
             ofmap_strips(layer, hardware, mapping), coded)))
    savings = Savings(
        left / layer.macs,
        ifmap_words / words_on_link(int(accesses[DRAM, IFMAP, READ]),
                                    hardware.stored_bits("ifmap")), 1.0,
        ofmap_words / words_on_link(int(accesses[DRAM, PSUM, WRITE]),
                                    hardware.stored_bits("ofmap")))
    return ModelOfRun(accesses, count_cycles(layer, hardware, mapping, counts, savings),
                      ifmap_words, ofmap_words)


def crossing(values: int, bits: int, fmap: np.ndarray, strips: Sequence[tuple],
             coded: bool) -> int | float:
    """16-bit words on the link for so many values of an fmap, maybe coded."""
    if not coded:
        return words_on_link(values, bits)
    of_code, once = fmap_strips_words(fmap, strips)
    return words_on_link(values, bits, values // once * of_code)
