"""Recurrent layers: closed forms against runs of every step, one layer with steps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from eyeriss_sim import EnergyOracle, simulate
from eyeriss_sim.cli import main
from eyeriss_sim.importers import torch_module
from eyeriss_sim.importers.csv_table import network_from_csv
from eyeriss_sim.importers.torch_module import network_from_module
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.sweep.evaluate import evaluate_chunk
from eyeriss_sim.sweep.spec import make_spec

PRESETS = ("eyeriss_chip", "isca16_256", "eap_tool", "dense")
SUMS = ("macs", "passes", "cycles", "ramp_cycles", "dram_fmap_cycles", "glb_MB",
        "dram_MB", "energy_MAC", "chip_uJ", "dram_uJ", "clock_uJ", "total_uJ")
KINDS = [
    (nn.LSTM, {}), (nn.GRU, {"num_layers": 2}), (nn.RNN, {"bidirectional": True}),
    (nn.LSTM, {"proj_size": 3, "num_layers": 2, "bidirectional": True}),
    (nn.GRU, {"batch_first": True, "bias": False}),
    (nn.RNN, {"batch_first": True, "nonlinearity": "relu"}),
    (nn.LSTM, {"batch_first": True, "bidirectional": True})]


class Head(nn.Module):
    """A recurrent layer whose last step alone goes on."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.fc = steps, nn.LazyLinear(3)

    def forward(self, x):
        return self.fc(self.steps(x)[0][:, -1])


def run_each_step(monkeypatch):
    monkeypatch.setattr(torch_module, "is_long", lambda func, args: False)


def one_layer_a_step(monkeypatch):
    run_each_step(monkeypatch)
    monkeypatch.setattr(torch_module, "runs_at_each_step", lambda name: False)
    # A first step from zeros, now a layer of its own, would be taken for a constant.
    monkeypatch.setattr(torch_module, "_done_once", lambda *given: frozenset())


@pytest.mark.parametrize("kind, options", KINDS)
@pytest.mark.parametrize("shape", [(2, 7, 8), (5, 4, 8)])
def test_closed_form_is_the_network_that_a_run_of_every_step_gives(
        kind, options, shape, monkeypatch):
    module = Head(kind(8, 6, **options))
    closed = network_from_module(module, shape)
    run_each_step(monkeypatch)
    # Operators that are not counted as well: their calls and values.
    assert closed == network_from_module(module, shape)
    assert max(layer.steps for layer in closed.layers) == (
        shape[1] if options.get("batch_first") else shape[0])


def test_a_call_with_names_runs_every_step():
    class Direct(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 6)

        def forward(self, x):
            state = x.new_zeros(1, x.shape[0], 6)
            weights = self.lstm._flat_weights
            return torch.lstm(x, (state, state), weights, True, 1, 0.0, train=False,
                              bidirectional=False, batch_first=True)[0]

    assert [layer.steps for layer in network_from_module(Direct(), (2, 7, 8)).layers
            ] == [1, 7]


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.fc = nn.LSTMCell(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        state = None
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.fc(state[0])


@pytest.mark.parametrize("hardware", PRESETS)
@pytest.mark.parametrize("module", [
    Cells(), *(Head(kind(8, 6, **options)) for kind, options in KINDS[:4])])
def test_steps_cost_what_a_layer_for_each_of_them_costs(module, hardware, monkeypatch):
    network = network_from_module(module, (2, 7, 8))
    one_layer_a_step(monkeypatch)
    apart = network_from_module(module, (2, 7, 8))
    assert len(apart.layers) > len(network.layers)
    assert {layer.steps for layer in apart.layers} == {1}
    ours, theirs = (simulate(one, hardware).table[list(SUMS)].sum()
                    for one in (network, apart))
    for column in SUMS[:5]:
        assert ours[column] == theirs[column], column
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-12)


def test_a_hundred_thousand_steps_are_read_and_simulated_at_once():
    network = network_from_module(nn.LSTM(24, 40, 2, batch_first=True), (1, 10**5, 24))
    assert [layer.steps for layer in network.layers] == [1, 10**5, 1, 10**5]
    assert network.macs == 10**5 * 4 * 40 * (24 + 40 + 40 + 40)
    assert simulate(network).table.macs.sum() == network.macs


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "eap_tool"])
def test_measured_zeros_of_all_steps_are_those_of_each(hardware, monkeypatch):
    torch.manual_seed(0)
    module = nn.RNN(8, 6, batch_first=True, nonlinearity="relu")
    images = torch.randn(3, 5, 8).relu()
    oracle = EnergyOracle(hardware, batch=3)
    together = oracle(module, images)
    again = together.table.set_index("layer").loc["weight_hh_l0"]
    one_layer_a_step(monkeypatch)
    apart = oracle(module, images).table
    steps = apart[apart.layer.str.startswith("weight_hh_l0")]
    assert (again.steps, len(steps)) == (5, 5)
    assert again.ifmap_density == pytest.approx(steps.ifmap_density.mean())
    for column in ("macs", "passes", "dram_MB", "energy_MAC", "alu_uJ", "dram_uJ"):
        assert again[column] == pytest.approx(steps[column].sum(), rel=1e-12), column
    # Words on the link are rounded up once a step.
    assert abs(again.cycles - steps.cycles.sum()) <= 2 * 5


def test_a_zero_weight_saves_its_products_at_every_step():
    torch.manual_seed(0)
    module = nn.LSTM(8, 6, batch_first=True)
    images = torch.randn(2, 5, 8)
    oracle = EnergyOracle("eap_tool")
    before = oracle(module, images)
    saves = oracle.marginal(oracle.works(before)["weight_hh_l0"])
    prices = oracle.weight_prices(module)["weight_hh_l0"]
    assert saves == pytest.approx(prices.mean(), rel=1e-9)
    layer = before.layers.set_index("layer").loc["weight_hh_l0"]
    assert 0 < saves < layer.total_uJ / (24 * 6)


def test_the_network_s_first_layer_stays_by_itself():
    layers = network_from_module(Cells(), (2, 7, 8)).layers
    assert [(layer.name, layer.steps) for layer in layers] == [
        ("cell.weight_hh", 1), ("cell.weight_ih", 7), ("cell.weight_hh#2", 6),
        ("fc", 1)]


def test_steps_stand_in_tables_of_shapes_and_of_results(tmp_path, capsys):
    path = tmp_path / "net.csv"
    path.write_text("layer,M,C,H,W,R,S,U,steps\nin,24,8,2,4,1,1,1,\n"
                    "again,24,6,1,1,1,1,1,8\n")
    network = network_from_csv(path)
    assert [layer.steps for layer in network.layers] == [1, 8]
    main(["simulate", str(path), "--out", str(tmp_path / "out.csv")])
    assert "steps, one after the other, of: again 8" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "out.csv").steps.tolist() == [1, 8]
    main(["explain", str(path), "again"])
    assert "8 steps" in capsys.readouterr().out
    main(["machine", str(path), "again"])
    assert "one of its 8 steps" in capsys.readouterr().out


def test_a_sweep_counts_every_step():
    once = ConvLayer(name="again", M=24, C=6, H=1, W=1, R=1, S=1)
    network = Network("net", (once, replace(once, name="more", steps=8)))
    spec = make_spec([network], {"rows": [8, 12]}, layers=True)
    rows = evaluate_chunk(spec, 0).to_pandas()
    for rows_of_machine, (_, ours) in zip((8, 12), rows.groupby("point"), strict=True):
        result = simulate(network, replace(spec.hardware, rows=rows_of_machine))
        whole = ours[ours.layer.isna()].iloc[0]
        assert whole.cycles == result.table.cycles.sum()
        assert whole.total_uJ == pytest.approx(result.total_uJ)
        assert ours.steps.dropna().tolist() == [1, 8]


def test_accesses_of_steps_are_counted_and_their_number_checked():
    once = ConvLayer(name="again", M=24, C=6, H=1, W=1, R=1, S=1)
    one, = simulate(Network("net", (once,))).by_layer
    eight, = simulate(Network("net", (replace(once, steps=8),))).by_layer
    assert eight.layer.macs == 8 * once.macs
    assert np.array_equal(eight.counts.accesses, 8 * one.counts.accesses)
    assert eight.cycles.total == 8 * one.cycles.total
    for steps in (0, True, 2.0, 10**15):
        with pytest.raises(ValueError, match=r"again: (steps|.*MACs may take)"):
            replace(once, steps=steps)


class Packed(nn.Module):
    """Sequences of different lengths, packed without their ends."""

    def __init__(self, steps, lengths=None):
        super().__init__()
        self.steps, self.lengths = steps, lengths

    def forward(self, x, lengths=None):
        lengths = self.lengths if lengths is None else lengths
        if lengths is None:
            lengths = (x.abs().sum(2) > 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(
            self.steps(packed)[0], batch_first=True)[0]


@pytest.mark.parametrize("kind, gates", [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("lengths", [[4, 4, 4], [2, 5, 3]])
def test_packed_sequences_run_only_the_steps_that_they_have(kind, gates, lengths):
    def make():
        return kind(6, 5, batch_first=True, bidirectional=True)
    network = network_from_module(Packed(make(), lengths), (3, 5, 6))
    assert network.macs == 2 * sum(lengths) * gates * 5 * (6 + 5)
    assert not network.notes
    # The lengths in an input: the same layers, by a run on these values.
    run = network_from_module(Packed(make()), [(3, 5, 6), torch.tensor(lengths)])
    assert run.layers == network.layers
    assert run.notes[0].startswith("values decide in the network (pack_padded_sequence")


def test_packed_sequences_of_one_length_are_the_layer_unpacked():
    gru = nn.GRU(6, 5, batch_first=True)
    whole = network_from_module(gru, (3, 7, 6))
    packed = network_from_module(Packed(gru, torch.tensor([7] * 3)), (3, 7, 6))
    assert packed.layers == tuple(
        replace(layer, name=f"steps.{layer.name}") for layer in whole.layers)


def test_lengths_that_an_image_decides_are_those_of_a_run():
    network = network_from_module(Packed(nn.RNN(6, 5, batch_first=True)), (2, 7, 6))
    assert network.macs == 2 * 7 * 5 * (6 + 5)
    note, = network.notes
    assert "(pack_padded_sequence)" in note and "weight_ih_l0 7" in note
    assert "--proposals" not in note
