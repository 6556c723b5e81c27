"""Workloads: what a file says of zeros and widths reaches all who ask for a network."""

import pandas as pd
import pytest

from eyeriss_sim import Bits, Densities, EnergyOracle, load_hardware, simulate
from eyeriss_sim.cli import main
from eyeriss_sim.importers import as_workload, load_network, load_workload
from eyeriss_sim.sweep.evaluate import evaluate_chunk
from eyeriss_sim.sweep.spec import make_spec

# Two layers of one image; a third of the ifmap and half of the weights of the first are
# zero, and its weights have 8 bits.
TEXT = """1, 9,9,6,1,162,16, 3,3,6,8,216,8, 7,7,8,1,98,16, 1,1, 0,0,0,0
2, 7,7,8,1,98,16, 1,1,8,4,0,16, 7,7,4,1,0,16, 1,1, 0,0,0,0
"""
TOOL = load_hardware("eap_tool")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "net.txt"
    path.write_text(TEXT)
    return str(path)


def test_a_workload_says_what_its_file_says(text):
    workload = load_workload(text, batch=3)
    assert workload.network == load_network(text, 3)
    assert [layer.N for layer in workload.network.layers] == [3, 3]
    assert workload.densities["LAYER1"] == Densities(2 / 3, 0.5, 0.75)
    assert workload.bits == {"LAYER1": Bits(16, 8, 16), "LAYER2": Bits(16, 16, 16)}
    assert as_workload(workload, 1).network.batch == 1


def test_every_question_sees_the_zeros_and_widths_of_a_file(text):
    simulated = simulate(text, TOOL).total_uJ
    assert simulated < simulate(load_network(text), TOOL).total_uJ
    assert EnergyOracle(TOOL).energy(text).total_uJ == simulated
    assert simulate(load_workload(text), TOOL).total_uJ == simulated
    spec = make_spec([text], {"array.rows": [TOOL.rows]}, TOOL)
    row, = evaluate_chunk(spec, 0).to_pandas().itertuples()
    assert row.total_uJ == pytest.approx(simulated, rel=1e-12)


@pytest.mark.parametrize("handling", ["dense", "gate_ifmap", "skip_either"])
def test_a_sweep_over_handlings_of_zeros_uses_the_densities_that_each_counts(
        text, handling):
    spec = make_spec([text], {"zeros": [handling]}, "eyeriss_chip")
    row, = evaluate_chunk(spec, 0).to_pandas().itertuples()
    assert row.total_uJ == pytest.approx(
        simulate(text, zeros=handling).total_uJ, rel=1e-12)


def test_what_is_said_beside_a_file_goes_before_what_it_says(text):
    own = {"LAYER1": Densities(0.5, 0.25, 0.5)}
    table = simulate(text, TOOL, densities=own, bits=4).table
    assert table.filter_density.tolist() == [0.25, 1.0]
    assert table.ifmap_density.tolist() == [0.5, 0.75]
    oracle = EnergyOracle(TOOL, bits=4)
    assert oracle.energy(text, own).total_uJ == simulate(
        text, TOOL, densities=own, bits=4).total_uJ
    said, not_said = (make_spec([text], {"rows": [12]}, TOOL, bits=bits).described()
                      for bits in (16, None))
    assert "bits of net" in not_said and "bits of net" not in said


def test_the_machine_steps_a_layer_of_the_pruning_tools_text(text, tmp_path, capsys):
    main(["machine", text, "LAYER2", "--out", str(tmp_path / "out.json")])
    assert "LAYER2 of net" in capsys.readouterr().out
    assert pd.read_json(tmp_path / "out.json", typ="series") is not None
