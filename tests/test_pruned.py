"""What prune() returns: saved, loaded, told on any machine, shown while one waits."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from pruning_nets import batches, make, pictures

import pruning
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.oracle import EnergyOracle
from pruning import Energy, Loaders, Params, Recipe, prune
from pruning.compare import collect, panels_of
from pruning.models import make_model
from pruning.report import usual_oracles, with_code

RECIPE = Recipe(epochs=1, lr=0.01, precision="float32")


def test_a_user_finds_in_the_package_what_a_user_needs():
    assert {"prune", "Pruned", "load", "climb", "Rung", "Recipe", "Loaders", "Masks",
            "Energy", "METHODS", "MODELS", "DATASETS"} <= set(dir(pruning))
    assert set(pruning.__all__) <= set(dir(pruning))


@pytest.mark.parametrize("method, target", [
    ("energy_budget", Energy(0.8)), ("channels", Params(0.7))])
def test_a_pruned_network_is_saved_and_loaded_with_all_that_is_known_of_it(
        tmp_path, method, target):
    found = prune(make("option A"), method, target,
                  data=Loaders(batches(1), batches(1, 2)), recipe=RECIPE)
    found.save(tmp_path / "one")
    again = pruning.load(tmp_path / "one", make("option A", seed=3))
    assert torch.equal(again.network(pictures()), found.network(pictures()))
    assert again.masks == found.masks
    assert list(again.shrinks) == list(found.shrinks)
    assert again.report == json.loads(json.dumps(found.report))
    assert again.history == found.history
    pd.testing.assert_frame_equal(again.layers, found.layers.reset_index(drop=True),
                                  check_dtype=False)
    again.save(tmp_path / "two")            # without the dense network's costs
    assert pruning.load(tmp_path / "two", make("option A")).report == again.report
    with pytest.raises(ValueError, match="one holds a result already"):
        again.save(tmp_path / "one")
    with pytest.raises(ValueError, match=r"none of resnet.*give load"):
        pruning.load(tmp_path / "one")


def test_a_network_of_the_collection_is_loaded_by_the_folder_alone(tmp_path):
    torch.manual_seed(0)
    model = make_model("resnet20", 4, (1, 12, 10)).eval()
    images = torch.randn(8, 1, 12, 10)
    found = prune(model, "magnitude_global", pruning.Density(0.5),
                  data=[(images, torch.arange(8) % 4)],
                  reports={"tool": EnergyOracle("eap_tool")})
    found.save(tmp_path, {"network": "resnet20", "num_classes": 4})
    again = pruning.load(tmp_path)
    assert torch.equal(again.network(images), found.network(images))


def test_a_report_is_made_by_whatever_oracles_are_given():
    mine = replace(load_hardware("eap_tool"), name="mine", dram_MAC=100)
    reports = {"mine": EnergyOracle(mine), "chip_b4": EnergyOracle(batch=4)}
    model = make("chain")
    found = prune(model, "magnitude_global", pruning.Density(0.5), data=batches(1),
                  reports=reports)
    assert {key for key in found.report if key.startswith("energy_rel_")} == {
        "energy_rel_mine", "energy_rel_chip_b4"}
    images = found.baseline.images
    for key, oracle in reports.items():
        total = oracle(found.network, images).total_uJ
        assert found.report[f"total_uJ_{key}"] == pytest.approx(total, rel=1e-12)
        assert found.report[f"energy_rel_{key}"] == pytest.approx(
            total / oracle(model, images).total_uJ, rel=1e-12)
    assert set(found.layers.hardware) == {"mine", "eyeriss_chip"}


def test_a_code_of_weights_is_told_beside_each_machine_that_stores_weights_in_one():
    assert list(with_code(usual_oracles(), None)) == [
        "eap_tool", "eyeriss_chip", "preset_dense", "eap_tool_b16", "eyeriss_chip_b16",
        "preset_dense_b16"]
    assert list(with_code(usual_oracles(), "periodic")) == [
        "eap_tool", "eyeriss_chip", "preset_dense", "eap_tool_periodic", "eap_tool_b16",
        "eyeriss_chip_b16", "preset_dense_b16", "eap_tool_periodic_b16"]
    mine = EnergyOracle("eyeriss_chip", zeros="skip_either", batch=4, bits=8,
                        objective="joules")
    coded = with_code({"mine_b4": mine}, "periodic")["mine_periodic_b4"]
    assert (coded.hardware.filter_code, coded.hardware.zeros, coded.batch, coded.bits,
            coded.objective) == ("periodic", "skip_either", 4, mine.bits, "joules")


@pytest.mark.parametrize("reports, told", [
    ({}, "needs an oracle at least"), ({"a": "eap_tool"}, "a must be an EnergyOracle"),
    ({"a b": EnergyOracle("eap_tool")}, "'a b' is no name of a column")])
def test_what_is_no_set_of_oracles_is_refused_before_anything_is_trained(reports, told):
    with pytest.raises(ValueError, match=told):
        prune(make("chain"), "random", Energy(0.8), data=batches(1), reports=reports,
              folder="nowhere")


def test_results_on_further_machines_are_compared_in_panels_of_their_own(tmp_path):
    found = prune(make("chain"), "magnitude_global", pruning.Density(0.5),
                  data=batches(1), reports=usual_oracles() | {
                      "mine": EnergyOracle("eap_tool", bits=8)})
    found.save(tmp_path, {"network": "small", "data": "noise"})
    table = collect([tmp_path])
    assert list(panels_of(table)) == ["energy_rel_eap_tool", "energy_rel_eyeriss_chip",
                                      "energy_rel_mine"]
    assert table.energy_rel_mine.iloc[0] == found.report["energy_rel_mine"]
    assert not list(panels_of(table.drop(columns="energy_rel_mine")))[2:]


def test_progress_is_shown_where_stderr_is_a_terminal_unless_it_is_not_wanted(
        monkeypatch, capsys):
    call = dict(data=Loaders(batches(1), batches(1, 2)), recipe=RECIPE)
    for terminal, wanted, shown in ((False, None, False), (True, None, True),
                                    (True, False, False), (False, True, True)):
        monkeypatch.setattr("sys.stderr.isatty", lambda shown=terminal: shown,
                            raising=False)
        prune(make("chain"), "magnitude_global", pruning.Density(0.5),
              progress=wanted, **call)
        assert ("epoch   1 of 1  loss" in capsys.readouterr().err) is shown
    told = []
    prune(make("chain"), "magnitude_global", pruning.Density(0.5), progress=told.append,
          **call)
    assert told[0] == "magnitude_global: choosing"
    assert any(text.startswith("epoch   1 of 1  loss") for text in told)
    assert not capsys.readouterr().err
