"""The recorder of the machine: it sees every MAC and word, and changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from draws import CHIP, legal_triples
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeriss_sim.counts import count
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array, trace
from eyeriss_sim.machine.layer_run import run_layer
from eyeriss_sim.machine.timing import time_layer
from eyeriss_sim.machine.trace import PassRecorder, record_passes, runs
from eyeriss_sim.mapping import Mapping

LAYER = ConvLayer(name="conv", N=2, M=6, C=4, H=9, W=9, R=3, S=3)
MAPPING = Mapping(6, 2, 7, 3, 2, 2, 2)


@settings(max_examples=60, deadline=None)
@given(triple=legal_triples())
def test_a_trace_adds_up_to_what_the_pass_counts(triple):
    layer, hardware, mapping = triple
    hardware = replace(hardware, pass_overlap=0)    # each pass has its own words only
    one, = record_passes(layer, hardware, mapping, 1)
    images, columns_out, rows_out, filters, channels, R, S = next(
        runs(layer, hardware, mapping))
    did = one.pes[..., array.DOING]
    assert len(one.pes) == len(one.networks) == one.cycles
    psums = images * filters * rows_out * columns_out
    macs = psums * channels * R * S
    assert (did == array.MAC_CYCLE).sum() == macs
    sent = one.networks[..., array.WORDS]
    assert sent[:, array.PSUM_IN_NET].sum() == psums
    assert sent[:, array.PSUM_OUT_NET].sum() == psums
    assert sent[:, array.FILTER_NET].sum() == filters * channels * R * S
    fills = one.pes[..., array.IN_FILTER_FIFO:array.PSUM_VALUE]
    depths = one.micro[[array.FILTER_FIFO, array.IFMAP_FIFO, array.PSUM_IN_FIFO,
                        array.PSUM_OUT_FIFO]]
    assert (fills >= 0).all() and (fills <= depths).all()
    assert not fills[-1].any()
    offered, carried = (one.networks[..., axis] for axis in (array.OFFERED,
                                                             array.CARRIED))
    # Nothing is carried that was not there; and the last psum leaves in the last cycle.
    assert (carried <= offered).all()
    assert carried[-1, array.PSUM_OUT_NET] == 1


@settings(max_examples=60, deadline=None)
@given(triple=legal_triples(), overlap=st.sampled_from([0, 1]))
def test_runs_in_their_order_are_all_passes_of_the_layer(triple, overlap):
    layer, hardware, mapping = triple
    hardware = replace(hardware, pass_overlap=overlap)
    passes = macs = 0
    for images, columns_out, rows_out, filters, channels, R, S in runs(
            layer, hardware, mapping):
        passes += -(-filters // (mapping.p * mapping.t))
        macs += images * columns_out * rows_out * filters * channels * R * S
    assert passes == count(layer, hardware, mapping).passes
    assert macs == layer.macs


@settings(max_examples=60, deadline=None)
@given(triple=legal_triples())
def test_accesses_of_timing_mode_are_the_counting_models(triple):
    layer, hardware, mapping = triple
    assert (time_layer(layer, hardware, mapping).accesses
            == count(layer, hardware, mapping).accesses).all()


def test_recording_changes_neither_cycles_nor_words():
    rng = np.random.default_rng(0)
    ifmap = rng.integers(-2**15, 2**15, (2, 4, 9, 9)).astype(np.int16)
    filt = rng.integers(-2**15, 2**15, (6, 4, 3, 3)).astype(np.int16)
    recorder = PassRecorder(LAYER, CHIP, MAPPING, 2)
    plain, recorded = (run_layer(LAYER, CHIP, MAPPING, ifmap, filt, on_run=on_run)
                       for on_run in (None, recorder))
    assert (plain.ofmap == recorded.ofmap).all()
    assert (plain.pass_cycles == recorded.pass_cycles).all()
    assert [one.cycles for one in recorder.passes] == plain.pass_cycles[:2].tolist()


def test_psums_on_the_output_network_are_the_ofmap():
    # One pass that ends in an ofmap of one image, one filter and one row.
    layer = ConvLayer(name="row", M=1, C=1, H=3, W=9, R=3, S=3)
    rng = np.random.default_rng(0)
    ifmap = rng.integers(-2**15, 2**15, (1, 1, 3, 9)).astype(np.int16)
    filt = rng.integers(-2**15, 2**15, (1, 1, 3, 3)).astype(np.int16)
    recorder = PassRecorder(layer, CHIP, Mapping(1, 1, 1, 1, 1, 1, 1), 1)
    run = run_layer(layer, CHIP, recorder.mapping, ifmap, filt, on_run=recorder)
    out = recorder.passes[0].networks[:, array.PSUM_OUT_NET]
    words = out[out[:, array.CARRIED] == 1, array.DATA]
    assert words.tolist() == run.ofmap[0, 0, 0].tolist()
    # The top PE makes the same words, a cycle before they leave.
    top = recorder.passes[0].pes[:, -1, 0]
    last = (top[:, array.DOING] == array.MAC_CYCLE).nonzero()[0][2::3]
    assert top[last, array.PSUM_VALUE].tolist() == words.tolist()


@pytest.mark.parametrize("preset", ["eyeriss_chip", "eyeriss_rtl"])
def test_a_long_pass_is_recorded_up_to_the_limit(monkeypatch, preset):
    hardware = load_hardware(preset)
    whole, = record_passes(LAYER, hardware, MAPPING, 1)
    monkeypatch.setattr(trace, "MOST_PE_CYCLES", 50 * whole.pes[0, ..., 0].size)
    cut, = record_passes(LAYER, hardware, MAPPING, 1)
    assert len(cut.pes) == 50 and cut.cycles == whole.cycles
    assert (cut.pes == whole.pes[:50]).all()
    assert (cut.networks == whole.networks[:50]).all()


def test_the_limit_is_one_of_all_passes_and_what_is_left_out_is_told(monkeypatch):
    layer = ConvLayer(name="ragged", M=2, C=5, H=5, W=5, R=3, S=3)
    mapping = Mapping(2, 1, 3, 2, 1, 2, 1)
    whole = record_passes(layer, CHIP, mapping, 3)
    assert len(whole) == 3 and trace.cut_short(whole, 3) == ""
    first, second, _ = (one.pes[..., 0].size for one in whole)
    for room, cycles in ((first + second // 2, [whole[0].cycles, whole[1].cycles // 2]),
                         (first, [whole[0].cycles])):
        monkeypatch.setattr(trace, "MOST_PE_CYCLES", room)
        kept = record_passes(layer, CHIP, mapping, 3)
        assert [len(one.pes) for one in kept] == cycles
        assert trace.cut_short(kept, 3).startswith(
            f"recorded: {len(kept)} of 3 passes, {cycles[-1]} of {kept[-1].cycles} ")


def test_passes_that_run_on_into_each_other_are_recorded_one_by_one():
    hardware = load_hardware("eyeriss_rtl")
    layer = ConvLayer(name="conv", M=24, C=2, H=9, W=9, R=3, S=3)
    mapping = Mapping(24, 1, 7, 3, 2, 1, 2)
    traces = record_passes(layer, hardware, mapping, 3)
    assert len(traces) == 3
    rng = np.random.default_rng(0)
    ifmap = rng.integers(1, 2**15, (1, 2, 9, 9)).astype(np.int16)
    filt = rng.integers(1, 2**15, (24, 2, 3, 3)).astype(np.int16)
    run = run_layer(layer, hardware, mapping, ifmap, filt)
    assert [one.cycles for one in traces] == run.pass_cycles[:3].tolist()
    # Each pass ends with its own last psum; the ifmaps of the next are under way.
    out = array.PSUM_OUT_NET, array.WORDS
    assert [one.networks[:, *out].sum() for one in traces] == [6 * 7 * 7] * 3
    assert traces[0].networks[:, array.IFMAP_NET, array.WORDS].sum() > 2 * 9 * 9
