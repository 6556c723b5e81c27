"""The waveform, parsed back by another reader than the one who wrote it."""

import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from draws import CHIP
from vcd.reader import TokenKind, tokenize

from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array
from eyeriss_sim.machine.layer_run import run_layer
from eyeriss_sim.machine.trace import PassRecorder, record_passes
from eyeriss_sim.machine.waveform import write_vcd
from eyeriss_sim.mapping import Mapping

LAYER = ConvLayer(name="conv", N=2, M=6, C=4, H=9, W=9, R=3, S=3)
MAPPING = Mapping(6, 2, 7, 3, 2, 2, 2)
PERIOD_ps = 5000        # 200 MHz


def parse(path):
    """Changes of each variable: lists of (time in ps, value) by scope and name."""
    scopes, names, changes, now = [], {}, defaultdict(list), 0
    times = []
    with open(path, "rb") as file:
        for token in tokenize(file):
            if token.kind is TokenKind.SCOPE:
                scopes.append(token.scope.ident)
            elif token.kind is TokenKind.UPSCOPE:
                scopes.pop()
            elif token.kind is TokenKind.VAR:
                names[token.var.id_code] = ".".join([*scopes, token.var.reference])
            elif token.kind is TokenKind.CHANGE_TIME:
                now = token.time_change
                times.append(now)
            elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR,
                                TokenKind.CHANGE_STRING):
                change = token.data
                changes[names[change.id_code]].append((now, change.value))
    return dict(changes), times


def at_each_cycle(changes, cycles):
    """The value that holds in each cycle."""
    times, values = zip(*changes, strict=True)
    places = np.searchsorted(times, np.arange(cycles) * PERIOD_ps, side="right") - 1
    return [values[place] for place in places]


@pytest.fixture(scope="module")
def waveform(tmp_path_factory):
    path = tmp_path_factory.mktemp("vcd") / "conv.vcd"
    passes = record_passes(LAYER, CHIP, MAPPING, 2)
    write_vcd(path, passes, LAYER, CHIP)
    return passes, *parse(path)


def test_every_pe_of_the_waveform_spends_its_macs(waveform):
    (one,), changes, _ = waveform
    rows, columns = one.pes.shape[1:3]
    assert (rows, columns) == (2 * 3, 2 * 7)
    for row in range(rows):
        for column in range(columns):
            does = at_each_cycle(
                changes[f"machine.array.row{row:02}.col{column:02}.activity"],
                one.cycles)
            assert does.count("mac") == 2 * LAYER.F * 3 * 2 * LAYER.S
            assert does[-1] == "finished"


def test_words_on_the_networks_of_the_waveform_are_those_of_the_pass(waveform):
    (one,), changes, _ = waveform
    for scope, words in (("psum_out", 2 * 6 * 7 * 7), ("filter", 6 * 4 * 9),
                         ("ifmap", 2 * 4 * 9 * 9)):
        moved = at_each_cycle(changes[f"machine.networks.{scope}.words"], one.cycles)
        assert sum(moved) == words
        valid, blocked = (
            at_each_cycle(changes[f"machine.networks.{scope}.{name}"], one.cycles)
            for name in ("valid", "blocked"))
        for carried, offers, waits in zip(moved, valid, blocked, strict=True):
            assert (carried > 0) == (offers == "1" and waits == "0")


def test_time_of_the_waveform_only_rises_and_the_clock_has_every_cycle(waveform):
    passes, changes, times = waveform
    cycles = sum(one.cycles for one in passes)
    assert all(before < after for before, after in itertools.pairwise(times))
    assert times[-1] == cycles * PERIOD_ps
    rises = [now for now, value in changes["machine.clk"] if value == "1"]
    assert rises == [cycle * PERIOD_ps for cycle in range(cycles)]


def test_signals_of_the_waveform_are_the_trace(waveform):
    (one,), changes, _ = waveform
    for name, axis in (("ifmap_fifo", array.IN_IFMAP_FIFO),
                       ("psum_out_fifo", array.IN_PSUM_OUT_FIFO)):
        fills = at_each_cycle(changes[f"machine.array.row03.col05.{name}"], one.cycles)
        assert fills == one.pes[:, 3, 5, axis].tolist()


def test_psums_of_the_waveform_hold_between_macs_and_may_be_negative(tmp_path):
    layer = ConvLayer(name="row", M=1, C=1, H=1, W=6, R=1, S=1)
    ifmap = np.array([3, -4, 5, 0, -1, 2], np.int16).reshape(1, 1, 1, 6)
    recorder = PassRecorder(layer, CHIP, Mapping(1, 1, 1, 1, 1, 1, 1), 1)
    run = run_layer(layer, CHIP, recorder.mapping, ifmap,
                    np.full((1, 1, 1, 1), 7, np.int16), on_run=recorder)
    write_vcd(tmp_path / "row.vcd", recorder.passes, layer, CHIP)
    changes, _ = parse(tmp_path / "row.vcd")
    psums = [value for _, value in changes["machine.array.row00.col00.psum"]]
    signed = [value - 2**16 if value >= 2**15 else value for value in psums]
    assert signed == [0, *run.ofmap[0, 0, 0].tolist()] == [0, 21, -28, 35, 0, -7, 14]


def test_a_psum_of_zero_is_shown_after_a_wait(tmp_path):
    layer = ConvLayer(name="half zero", M=8, C=4, H=8, W=8, R=3, S=3)
    mapping = Mapping(8, 1, 6, 4, 2, 2, 2)
    draw = np.random.default_rng(0)
    ifmap = draw.integers(-9, 9, (1, 4, 8, 8), np.int16)
    ifmap[draw.random(ifmap.shape) < 0.5] = 0
    recorder = PassRecorder(layer, CHIP, mapping, 1)
    run_layer(layer, CHIP, mapping, ifmap, draw.integers(-9, 9, (8, 4, 3, 3), np.int16),
              on_run=recorder)
    write_vcd(tmp_path / "zero.vcd", recorder.passes, layer, CHIP)
    changes, _ = parse(tmp_path / "zero.vcd")
    one, = recorder.passes
    zeros = 0
    for row in range(one.pes.shape[1]):
        for column in range(one.pes.shape[2]):
            shown = at_each_cycle(
                changes[f"machine.array.row{row:02}.col{column:02}.psum"], one.cycles)
            for value, traced in zip(shown, one.pes[:, row, column], strict=True):
                if traced[array.DOING] in (array.MAC_CYCLE, array.ACCUMULATING):
                    zeros += traced[array.PSUM_VALUE] == 0
                    assert value == int(traced[array.PSUM_VALUE]) & 0xFFFF
    assert zeros > 500


def test_every_word_of_a_wide_ifmap_network_is_shown():
    wide = replace(CHIP, ifmap_net_words=2)
    layer = ConvLayer(name="wide", M=1, C=1, H=1, W=6, R=1, S=1)
    ifmap = np.array([3, -4, 5, 1, -1, 2], np.int16).reshape(1, 1, 1, 6)
    recorder = PassRecorder(layer, wide, Mapping(1, 1, 1, 1, 1, 1, 1), 1)
    run_layer(layer, wide, recorder.mapping, ifmap,
              np.full((1, 1, 1, 1), 7, np.int16), on_run=recorder)
    nets = recorder.passes[0].networks[:, array.IFMAP_NET]
    carried = [nets[cycle, array.DATA + word] for cycle in range(len(nets))
               for word in range(nets[cycle, array.WORDS])]
    assert nets[:, array.WORDS].max() == 2
    assert carried == ifmap.flatten().tolist()


def test_passes_of_other_sizes_are_numbered_and_follow_each_other(tmp_path):
    # Five channels by two a pass: the last pass has one PE set less.
    layer = ConvLayer(name="ragged", M=2, C=5, H=5, W=5, R=3, S=3)
    passes = record_passes(layer, CHIP, Mapping(2, 1, 3, 2, 1, 2, 1), 9)
    assert [one.pes.shape[1] for one in passes] == [6, 6, 3]
    write_vcd(tmp_path / "ragged.vcd", passes, layer, CHIP)
    changes, _ = parse(tmp_path / "ragged.vcd")
    starts = np.cumsum([0, *(one.cycles for one in passes)]) * PERIOD_ps
    assert changes["machine.pass"] == [
        (start, place) for place, start in enumerate(starts[:3].tolist())]
    upper = changes["machine.array.row05.col00.activity"]
    assert upper[-1] == (max(now for now, _ in upper), "finished")
    assert upper[-1][0] <= starts[2]


def test_a_waveform_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "old.vcd"
    path.write_text("old")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_vcd(path, record_passes(LAYER, CHIP, MAPPING, 1), LAYER, CHIP, stop)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
