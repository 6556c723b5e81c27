"""Ladders resume and are kept; results are read again; compare draws what there is."""

import json
import os
import re
import stat
from dataclasses import replace

import pandas as pd
import pytest
import torch
from pruning_nets import batches, make, pictures
from safetensors.torch import save

from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.widths import Bits
from pruning import Density, Energy, Loaders, Masks, Recipe, prune
from pruning.checkpoint import KEY, load_model
from pruning.compare import collect, draw, print_table
from pruning.identity import oracle_hash
from pruning.ladder import Rung, check_falling, climb
from pruning.result import finished, load_result
from pruning.settling import SettlingMasks
from pruning.training import TrainingDiverged

RECIPE = Recipe(epochs=1, lr=0.01, precision="float32")
CALLS = []


def ladder(folder, method, rungs, **options):
    def test(network):
        CALLS.append(1)
        return 0.25

    CALLS.clear()
    return climb(make("option A"), method, rungs, folder,
                 data=Loaders(batches(), batches(1, 2)),
                 config={"network": "small", "data": "noise"},
                 make_fresh=lambda: make("option A", seed=5),
                 **{"test": test, "recipe": RECIPE, **options})


def energies(*shares):
    return [Rung(Energy(share)) for share in shares]


def test_a_finished_control_of_another_fresh_recipe_is_not_taken(tmp_path):
    call = dict(control="reinit", dense_epochs=1)
    fresh = [Recipe(epochs=1, lr=lr, precision="float32") for lr in (0.1, 0.001)]
    ladder(tmp_path, "magnitude_global", energies(0.9), fresh_recipe=fresh[0], **call)
    with pytest.raises(ValueError, match="another fresh_recipe"):
        ladder(tmp_path, "magnitude_global", energies(0.9), fresh_recipe=fresh[1],
               **call)


@pytest.mark.parametrize("method", ["energy_budget", "channels"])
def test_each_rung_starts_from_the_one_before_and_is_kept(tmp_path, method):
    first = ladder(tmp_path, method, energies(0.9, 0.8))
    assert len(CALLS) == 2
    assert [one["rung"] for one in first] == ["energy=0.9", "energy=0.8"]
    assert all(one["met"] <= share
               for one, share in zip(first, (0.9, 0.8), strict=True))
    again = ladder(tmp_path, method, energies(0.9, 0.8, 0.7))
    assert again[:2] == first and len(CALLS) == 1
    names = {file.name for file in (tmp_path / "energy=0.7").iterdir()}
    assert {"weights.safetensors", "masks.safetensors", "config.json", "metrics.json",
            "metrics.csv", "epochs.csv", "layers.csv"} <= names
    loaded = [load_result(tmp_path / one["rung"], make("option A")) for one in again]
    sizes = [masks.kept for _, masks, _ in loaded]
    assert sizes == sorted(sizes, reverse=True)
    for network, masks, _ in loaded:
        assert Masks.of(network, masks).nested_in(masks)
        assert network(pictures()).shape == (8, 5)
    if method == "energy_budget":
        assert loaded[2][1].nested_in(loaded[1][1])
    else:
        assert [len(shrinks) for _, _, shrinks in loaded] == [1, 2, 3]


def test_a_machine_of_the_same_name_with_other_figures_is_refused(tmp_path):
    chip = EnergyOracle("eyeriss_chip", zeros="skip_either")
    ladder(tmp_path, "energy_budget", energies(0.9), oracle=chip)
    again = EnergyOracle(replace(chip.hardware, name="eyeriss_chip"))
    ladder(tmp_path, "energy_budget", energies(0.9), oracle=again)
    assert not CALLS
    for other in (EnergyOracle(replace(chip.hardware, dram_MAC=100)),
                  EnergyOracle(chip.hardware, bits=Bits(8, 8, 8))):
        with pytest.raises(ValueError, match="with another oracle_hash"):
            ladder(tmp_path, "energy_budget", energies(0.9), oracle=other)


def test_what_a_machine_has_no_use_for_changes_no_digest_of_its_figures():
    def digest(hardware, **options):
        return oracle_hash(EnergyOracle(hardware, **options))

    # Of the folders that were written before machines had widths.
    assert digest("eyeriss_chip") == "2f0cfca8e995135e"
    tool = load_hardware("eap_tool")
    assert digest(tool) == digest(replace(tool, pack=False)) == "f0d44c41ab3bbea6"
    assert digest(tool, bits=8) != digest(replace(tool, pack=False), bits=8)
    larger = replace(tool, rf_words=300)
    assert digest(larger) == digest(replace(larger, priced_sizes=None))
    assert digest(replace(larger, price_by_size=True)) != digest(
        replace(larger, priced_sizes=None, price_by_size=True))


def test_a_rung_of_an_earlier_version_is_read_under_the_names_of_today(tmp_path):
    (now,) = ladder(tmp_path, "energy_budget", energies(0.9))
    for key in ("eap_tool", "eyeriss_chip_b16", "preset_dense", "preset_dense_b16"):
        images = 16 if key.endswith("_b16") else 1
        chip, dram, total, one = (now[f"{column}_{key}"] for column in (
            "chip_uJ", "dram_uJ", "total_uJ", "total_uJ_per_image"))
        assert chip + dram == pytest.approx(total, rel=1e-12) and min(chip, dram) > 0
        assert one * images == pytest.approx(total, rel=1e-12)
    assert not {key for key in now if key.startswith("energy_uJ") or "rel_dense" in key}
    path = tmp_path / "energy=0.9" / "metrics.json"
    path.write_text(json.dumps({
        key.replace("total_uJ_per_image", "energy_uJ").replace("preset_dense", "dense"):
        value for key, value in now.items()
        if not key.startswith(("chip_uJ", "dram_uJ", "total_uJ_e", "total_uJ_p", "obj"))
        or key.startswith("total_uJ_per_image")}))
    (again,) = ladder(tmp_path, "energy_budget", energies(0.9))
    assert again.keys() < now.keys()
    assert again == {key: "energy" if key.startswith("objective_") else now[key]
                     for key in again}
    assert {"total_uJ_per_image_preset_dense", "energy_rel_preset_dense_b16",
            "floor_rel_preset_dense"} <= again.keys()


def test_methods_at_initialisation_start_each_rung_from_fresh_weights(tmp_path):
    results = ladder(tmp_path, "psconv", [Rung(None, {"support": 4}),
                                          Rung(None, {"support": 2})],
                     fresh_recipe=Recipe(epochs=2, lr=0.01, precision="float32"))
    assert [one["rung"] for one in results] == ["support=4", "support=2"]
    rows = (tmp_path / "support=2" / "epochs.csv").read_text().splitlines()
    assert len(rows) == 3
    mild, sparse = results
    assert sparse["energy_rel_eap_tool_periodic"] < mild["energy_rel_eap_tool"]


def test_compositions_and_controls_start_from_the_dense_network(tmp_path):
    found = ladder(tmp_path / "both", "channels+energy_budget",
                   [Rung((Energy(0.9), Energy(0.8)))])
    assert found[0]["rung"] == "energy=0.9_energy=0.8"
    network, masks, shrinks = load_result(
        tmp_path / "both" / "energy=0.9_energy=0.8", make("option A"))
    assert len(shrinks) == 1 and Masks.of(network, masks).nested_in(masks)
    ladder(tmp_path / "shuffled", "energy_budget", energies(0.9), control="shuffle")
    config = json.loads((tmp_path / "shuffled" / "energy=0.9" / "config.json"
                         ).read_text())
    assert config["control"] == "shuffle" and config["image_shape"] == [3, 8, 8]


@pytest.mark.parametrize("method, rungs", [
    ("energy_budget", [Rung(Energy(0.9)), Rung(Energy(0.8))]),
    ("channels", [Rung(Energy(0.9))]), ("psconv", [Rung(None, {"support": 2})])])
def test_rungs_that_were_not_tested_are_tested_once_when_asked_for_again(
        tmp_path, method, rungs):
    plain = ladder(tmp_path, method, rungs, test=None)
    assert {one["test_accuracy"] for one in plain} == {None} and not CALLS
    files = {file: file.read_bytes() for file in tmp_path.rglob("*.*")
             if file.is_file()}
    found = ladder(tmp_path, method, rungs)
    assert len(CALLS) == len(rungs)
    assert found == [{**one, "test_accuracy": 0.25} for one in plain]
    assert {file.name for file, content in files.items()
            if file.read_bytes() != content} == {"metrics.json", "metrics.csv"}
    assert pd.read_csv(tmp_path / rungs[0].name / "metrics.csv").test_accuracy[0] == .25
    assert ladder(tmp_path, method, rungs) == found and not CALLS
    assert ladder(tmp_path, method, rungs, test=None) == found


def test_a_rung_is_tested_later_with_the_network_that_it_has(tmp_path):
    seen = []

    def test(network):
        with torch.no_grad():
            seen.append(network(pictures()))
        return 0.5

    ladder(tmp_path / "a", "energy_budget", energies(0.9), test=test)
    ladder(tmp_path / "b", "energy_budget", energies(0.9), test=None)
    ladder(tmp_path / "b", "energy_budget", energies(0.9), test=test)
    assert torch.equal(*seen)


def test_a_control_of_rungs_pruned_one_from_another_is_refused(tmp_path):
    with pytest.raises(ValueError, match=(
            r"control 'shuffle' of 2 targets: each is pruned from the one before, .*; "
            r"name one target at a time")) as told:
        ladder(tmp_path, "random", energies(0.9, 0.8), control="shuffle")
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())
    found = ladder(tmp_path, "psconv", [Rung(None, {"support": 4}), Rung(
        None, {"support": 2})], control="reinit", dense_epochs=1)
    assert len(found) == 2              # each from fresh weights, its control, too


def test_a_ladder_from_fresh_weights_says_that_it_needs_some(tmp_path):
    with pytest.raises(ValueError, match="synflow starts from fresh weights; give mak"):
        climb(make("chain"), "synflow", energies(0.9), tmp_path, data=batches(),
              config={}, recipe=RECIPE, make_fresh=None)


def test_targets_of_a_rung_may_come_as_a_list_and_names_only_once():
    rung = Rung([Energy(0.8), Energy(0.6)])
    assert rung.name == "energy=0.8_energy=0.6"
    assert rung.targets == Rung((Energy(0.8), Energy(0.6))).targets
    for rungs in (energies(0.9, 0.8, 0.9), energies(0.9, 0.9)):
        with pytest.raises(ValueError, match=r"^energy=0\.9 is named 2 times; a lad"):
            check_falling(rungs, one_method=True)


def test_the_files_of_a_result_are_for_all_who_may_read_the_folder(tmp_path):
    before = os.umask(0o022)
    try:
        ladder(tmp_path, "channels", energies(0.9))
    finally:
        os.umask(before)
    modes = {file.name: stat.filemode(file.stat().st_mode)
             for file in tmp_path.rglob("*.*") if file.is_file()}
    assert {"weights.safetensors", "masks.safetensors", "channels1.safetensors",
            "training.safetensors"} <= modes.keys()
    assert set(modes.values()) == {"-rw-r--r--"}


def test_a_refused_call_removes_no_folder_that_was_there_before(tmp_path):
    folder = tmp_path / "mine" / "empty"
    folder.mkdir(parents=True)
    for place, left in ((folder, True), (tmp_path / "new" / "one", False)):
        with pytest.raises(ValueError, match="cannot be reached"):
            prune(make("chain"), "random", Energy(0.01), data=batches(), folder=place)
        assert place.exists() == place.parent.exists() == left
    assert not list(folder.iterdir())


def test_a_folder_with_another_pruning_is_refused(tmp_path):
    ladder(tmp_path, "random", energies(0.9))
    with pytest.raises(ValueError, match=r"holds a pruning with another steps|options"):
        ladder(tmp_path, "random", energies(0.9), steps=2)
    with pytest.raises(ValueError, match="another method; random, not synflow"):
        ladder(tmp_path, "synflow", energies(0.9))
    asked = json.loads((tmp_path / "energy=0.9" / "config.json").read_text())
    for recipe, told in ((RECIPE.as_dict() | {"cutout": 4}, "cutout None, not 4"),
                         (None, "not None; name another folder")):
        with pytest.raises(ValueError, match=f"another recipe; .*{told}"):
            finished(tmp_path / "energy=0.9", asked | {"recipe": recipe})


def test_rungs_of_other_dense_weights_or_defaults_are_refused(tmp_path):
    ladder(tmp_path, "energy_aware", energies(0.9), rows=64)
    path = tmp_path / "energy=0.9" / "config.json"
    config = json.loads(path.read_text())
    for key, value in (("dense_weights", "0"),
                       ("settings", [{**config["settings"][0], "ridge": 1e-6}])):
        path.write_text(json.dumps(config | {key: value}))
        with pytest.raises(ValueError, match=f"another {key}; "):
            ladder(tmp_path, "energy_aware", energies(0.9), rows=64)
        path.write_text(json.dumps({
            name: one for name, one in config.items() if name != key}))
        assert ladder(tmp_path, "energy_aware", energies(0.9), rows=64)  # an older one


def test_a_pruning_that_was_begun_is_not_taken_up_by_another(tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pruning.ladder.save_result", killed)
        with pytest.raises(KeyboardInterrupt):
            ladder(tmp_path, "random", energies(0.9))
    with pytest.raises(ValueError, match=(
            r"energy=0\.9/training holds a pruning with another options; "
            r"exclude None, not ")):
        ladder(tmp_path, "random", energies(0.9), exclude=["fc"])
    assert ladder(tmp_path, "random", energies(0.9))[0]["met"] <= 0.9
    for exclude in (["nothing"], ["fc"]):       # one that is refused binds nobody
        with pytest.raises(ValueError, match=r"matches no layer|cannot be reached"):
            ladder(tmp_path / "other", "random", energies(0.01), exclude=exclude)
        assert not (tmp_path / "other").exists()


def test_a_rung_that_diverges_after_its_masks_were_settled_binds_nobody(
        tmp_path, monkeypatch):
    def diverged(model):
        raise TrainingDiverged("nan")

    with monkeypatch.context() as patch:
        settle = SettlingMasks.settle
        patch.setattr(SettlingMasks, "settle", lambda self, model, done: (
            settle(self, model, done),
            patch.setattr("pruning.training.check_finite", diverged)))
        with pytest.raises(TrainingDiverged):
            ladder(tmp_path, "random", energies(0.9))
    assert list(tmp_path.rglob("masks*.safetensors"))
    other = replace(RECIPE, lr=0.001)
    assert ladder(tmp_path, "random", energies(0.9), recipe=other)[0]["met"] <= 0.9


def test_results_that_are_damaged_are_refused_in_one_line(tmp_path):
    ladder(tmp_path, "random", energies(0.9))
    folder = tmp_path / "energy=0.9"
    with pytest.raises(ValueError, match="does not fit Sequential") as caught:
        load_result(folder, make("chain"))
    assert "\n" not in str(caught.value)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        load_result(folder, make("option A"))


@pytest.mark.parametrize("metrics, config, told", [
    ('{"loss": 0.1}', '{"network": "x"}', "metrics.json: the metrics of no training"),
    ("[1]", "{}", "metrics.json: a list where a result has names and values"),
    ('{"method": "random"}', "[]", "config.json: a list where"),
    ('{"method": "random"}', "{", "config.json: damaged"),
    ('{"method": "random"}', None, "config.json: no result file: No such file")])
def test_files_of_other_programs_are_no_dense_networks(tmp_path, metrics, config, told):
    (tmp_path / "metrics.json").write_text(metrics)
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=told):
        collect([tmp_path])


@pytest.mark.parametrize("header", [
    '{"x": 1}', "[]", "1", "{", '{"network": 5}', '{"network": null}'])
def test_a_header_of_another_shape_is_no_checkpoint(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save({"x": torch.zeros(1)}, {KEY: header}))
    with pytest.raises(ValueError, match="not a checkpoint of eyeriss-prune"):
        load_model(path)


def test_compare_draws_every_method_once(tmp_path, capsys):
    for method in ("random", "energy_budget"):
        ladder(tmp_path / method, method, energies(0.9, 0.8))
    table = collect([tmp_path / "random", tmp_path / "energy_budget"])
    assert len(table) == 4 and set(table.images) == {"test"}
    assert (table.accuracy == 0.25).all()
    figure = draw(table)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["random", "energy_budget"]
    assert len(figure.axes[0].lines) == 2 + 1           # and the floor
    of_two = pd.concat([table.assign(first=first, rung=f"{first}_" + table.rung)
                        for first in ("energy=0.9", "energy=0.8")])
    figure = draw(of_two)       # a line for each first target, one name for both
    assert len(figure.axes[0].lines) == 4 + 1
    assert len(figure.legends[0].get_texts()) == 2
    assert figure.axes[0].get_ylim()[0] < 25
    fallen = table.assign(accuracy=[0.9, 0.89, 0.9, 0.1])
    figure = draw(fallen)       # the others are not squeezed into one line by it
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["random", "energy_budget (down to 10.0 %)"]
    assert figure.axes[1].get_ylim()[0] == pytest.approx(83)
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert "25.00 %" in lines[2] and "energy=0.8" in lines[2]
    with pytest.raises(ValueError, match="no result in it"):
        (tmp_path / "empty").mkdir()
        collect([tmp_path / "empty"])
    with pytest.raises(ValueError, match="no such folder"):
        collect([tmp_path / "nowhere"])


def result(folder, rung, seed=0, accuracy=0.8, energy=0.5, test=True, target=None,
           periodic=None, **config):
    """A result folder as far as compare reads it."""
    (folder / rung).mkdir(parents=True)
    (folder / rung / "metrics.json").write_text(json.dumps({
        "method": "energy_aware", "rung": rung, "seed": seed, "control": None,
        "target": target or rung, "accuracy": accuracy + 0.01,
        "test_accuracy": accuracy if test else None, "floor_rel_eap_tool": 0.3,
        "energy_rel_eap_tool_periodic": periodic,
        **dict.fromkeys((
            "energy_rel_eap_tool", "energy_rel_eyeriss_chip", "energy_rel_eap_tool_b16",
            "energy_rel_eyeriss_chip_b16", "weights_rel", "macs_rel"), energy)}))
    (folder / rung / "config.json").write_text(json.dumps(
        {"network": "small", "data": "noise", "recipe": {"epochs": 2, "seed": seed},
         "options": {"seed": str(seed)}, **config}))


def test_compare_refuses_shares_of_mappings_that_were_searched_for_other_objectives(
        tmp_path):
    for name, objective in (("old", None), ("older", "energy"), ("new", "joules")):
        result(tmp_path / name, "energy=0.7")
        file = tmp_path / name / "energy=0.7" / "metrics.json"
        told = json.loads(file.read_text())
        if objective:
            told["objective_eyeriss_chip"] = objective
        file.write_text(json.dumps(told))
    table = collect([tmp_path / "old", tmp_path / "older"])
    assert set(table.objective_eyeriss_chip) == {"energy"}
    with pytest.raises(ValueError, match=r"energies on eyeriss_chip: the mappings of "
                       r".*old.* were searched for energy, .*new.* for joules; "):
        collect([tmp_path / "old", tmp_path / "new"])


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_compare_averages_seeds_of_one_experiment_and_nothing_else(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for seed, accuracy in ((0, 0.8), (1, 0.9)):
        result(a / f"ea_s{seed}", "energy=0.7", seed, accuracy)
    result(b / "ea_s0", "energy=0.7", accuracy=0.5)
    figure = draw(collect([a, b]))
    lines = figure.axes[0].lines[:2]
    assert [line.get_ydata().tolist() for line in lines] == [
        [pytest.approx(85)], [pytest.approx(50)]]
    assert [name.split(" (down")[0] for name in legend(figure)] == [
        "energy_aware (a/ea)", "energy_aware (b/ea)"]
    # One name, but other epochs: no seed of the same.
    result(a / "ea_s2", "energy=0.7", 2, 0.7, recipe={"epochs": 3, "seed": 2})
    figure = draw(collect([a]))
    assert legend(figure)[0] == "energy_aware (ea_s0 and ea_s1)"
    assert legend(figure)[1].startswith("energy_aware (ea_s2)")
    two = draw(collect([a / "ea_s0", a / "ea_s1"]))
    assert legend(two) == ["energy_aware"]


def test_a_ladder_with_an_option_of_its_method_is_a_line_of_its_own(tmp_path):
    for share in (0.7, 0.5):
        result(tmp_path / "ea_s0", f"energy={share}", target=f"energy={share}")
        result(tmp_path / "ea_s0", f"energy={share}_rows=4096", energy=share,
               target=f"energy={share}")
    figure = draw(collect([tmp_path]))
    assert [len(line.get_xdata()) for line in figure.axes[0].lines[:2]] == [2, 2]
    assert legend(figure) == ["energy_aware (ea)", "energy_aware (ea/rows=4096)"]


def test_compare_marks_accuracies_of_the_images_to_choose_by(tmp_path, capsys):
    result(tmp_path / "ea_s0", "energy=0.7", accuracy=0.8)
    whole = collect([tmp_path])
    print_table(whole)
    assert "°" not in capsys.readouterr().out
    assert draw(whole).axes[0].get_ylabel() == "accuracy on test images, %"
    result(tmp_path / "ea_s1", "energy=0.7", 1, accuracy=0.7, test=False)
    mixed = collect([tmp_path])
    print_table(mixed)
    lines = capsys.readouterr().out.splitlines()
    assert "80.00 % " in lines[2] and "71.00 %°" in lines[3]
    assert "° on the images to choose by" in lines[-1]
    figure = draw(mixed)        # and no mean of one kind and the other
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines[:2]] == [
        [pytest.approx(80)], [pytest.approx(71)]]
    assert legend(figure) == ["energy_aware", "energy_aware° (down to 71.0 %)"]
    assert figure.axes[0].get_ylabel() == "accuracy on test or choosing° images, %"


def test_what_a_stored_period_saves_stands_below_the_table(tmp_path, capsys):
    result(tmp_path / "a", "energy=0.7", energy=0.7)
    print_table(collect([tmp_path]))
    assert "stored once" not in capsys.readouterr().out
    result(tmp_path / "b", "support=2", energy=0.577, periodic=0.561)
    print_table(collect([tmp_path]))
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.endswith("of a period stored once: energy_aware support=2 0.561")


@pytest.mark.parametrize("width", (80, 100))
def test_compare_cuts_no_name_short_and_names_only_controls_that_there_are(
        width, capsys, monkeypatch):
    # What rich takes for a terminal of so many columns.
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [{"network": "resnet20", "method": "channels+magnitude_global",
             "control": control, "rung": "energy=0.9_energy=0.8", "seed": 0,
             "accuracy": 0.5, "energy_rel_eap_tool": 0.8, "weights_rel": 0.5,
             "energy_rel_eap_tool_b16": 0.7, "energy_rel_eyeriss_chip": 0.9,
             "macs_rel": 0.4, "floor": 0.2, "images": "test",
             "energy_rel_periodic": None} for control in (None, "scratch")]
    print_table(pd.DataFrame(rows))
    text = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert all(len(line) <= width for line in text.splitlines())
    assert text.splitlines()[0] == "resnet20, seed 0"
    assert text.count("magnitude_global") == text.count("energy=0.8") == 2
    assert text.count("50.00 %  ") == text.count(" 0.900 ") == 2
    assert text.count("(") == text.count("(scratch)") == 1


def test_a_network_that_was_loaded_again_gives_the_same_outputs(tmp_path):
    from pruning import prune
    from pruning.result import save_result
    model = make("option A")
    pruned = prune(model, "channels", Energy(0.8), data=batches())
    save_result(tmp_path, pruned, {}, {})
    network, _, _ = load_result(tmp_path, make("option A", seed=3))
    with torch.no_grad():
        assert torch.allclose(network(pictures()), pruned.network(pictures()))


def composite(*shares, first=0.9):
    return [Rung((Energy(first), Energy(share))) for share in shares]


def test_channels_of_a_composition_go_once_and_weights_go_on_rung_by_rung(tmp_path):
    found = ladder(tmp_path, "channels+energy_budget", composite(0.75, 0.65))
    assert [one["rung"] for one in found] == [
        "energy=0.9_energy=0.75", "energy=0.9_energy=0.65"]
    assert [one["target"] for one in found] == [
        "energy=0.9+energy=0.75", "energy=0.9+energy=0.65"]
    assert {one["method"] for one in found} == {"channels+energy_budget"}
    assert all(share - 1e-2 < one["met"] <= share
               for one, share in zip(found, (0.75, 0.65), strict=True))
    places = [tmp_path / one["rung"] for one in found]
    steps = [(place / "epochs.csv").read_text().splitlines()[1:] for place in places]
    assert [len(one) for one in steps] == [2, 1]        # channels trained only once
    loaded = [load_result(place, make("option A")) for place in places]
    assert loaded[1][1].nested_in(loaded[0][1])
    assert loaded[0][2][0] == loaded[1][2][0]
    config = json.loads((places[1] / "config.json").read_text())
    assert config["before"] == ["energy=0.9_energy=0.75"]
    again = ladder(tmp_path, "channels+energy_budget", composite(0.75, 0.65, 0.6))
    assert again[:2] == found and len(CALLS) == 1


def test_a_rung_of_other_channels_starts_from_the_dense_network(tmp_path):
    rungs = [*composite(0.75), *composite(0.65, first=0.8)]
    found = ladder(tmp_path, "channels+magnitude_global", rungs)
    config = json.loads((tmp_path / found[1]["rung"] / "config.json").read_text())
    assert config["before"] == []
    rows = (tmp_path / found[1]["rung"] / "epochs.csv").read_text().splitlines()
    assert len(rows) == 1 + 2


def test_options_of_a_composition_name_their_method(tmp_path):
    rungs = [Rung(one.target, {"channels.per_energy": False, "rows": 512})
             for one in composite(0.75, 0.65)]
    found = ladder(tmp_path, "channels+energy_aware", rungs)
    assert found[1]["met"] <= 0.65
    with pytest.raises(ValueError, match=r"channels\+energy_aware has no option 'x\.row"
                       r"s'; it has channels\.per_energy, energy_aware\.removed"):
        ladder(tmp_path / "x", "channels+energy_aware",
               [Rung((Energy(0.8), Energy(0.7)), {"x.rows": 1})])


def test_every_result_has_the_energy_floor_of_its_own_network(tmp_path):
    for method, rung in (
            ("channels", Rung(Energy(0.8))), ("random", Rung(Density(0.5))),
            ("psconv", Rung(None, {"support": 2}))):
        (one,) = ladder(tmp_path / method, method, [rung])
        for batch in ("", "_b16"):
            key = f"floor_rel_eap_tool{batch}"
            assert 0 < one[key] < one[f"energy_rel_eap_tool{batch}"]
        # Where no zero weight saves, there is nothing to fall to.
        assert one["floor_rel_eyeriss_chip"] == one["energy_rel_eyeriss_chip"]
        if method == "channels":
            assert one["floor"] < one["met"]        # one channel a layer
            channels = one
    random, psconv = collect([tmp_path / "random", tmp_path / "psconv"]).floor
    assert channels["floor_rel_eap_tool"] < min(random, psconv)


def test_a_rung_may_not_ask_for_more_than_the_one_before_has_left(tmp_path):
    with pytest.raises(ValueError, match=r"energy=0\.9 comes after energy=0\.8, from"):
        ladder(tmp_path, "energy_budget", energies(0.8, 0.9))
    assert not list(tmp_path.iterdir())
    # Of other channels a rung starts from the dense network, and may have more.
    check_falling([Rung((Energy(0.8), Energy(0.6))), Rung((Energy(0.7), Energy(0.65)))],
                  one_method=False)
    with pytest.raises(ValueError, match="mildest rung first"):
        check_falling([Rung((Energy(0.8), Energy(0.6))),
                       Rung((Energy(0.8), Energy(0.65)))], one_method=False)


@pytest.mark.parametrize("method, shares", [
    ("energy_budget", [0.9, 0.01]), ("synflow", [0.9, 0.01]),
    ("channels+magnitude_global", [(0.9, 0.8), (0.9, 0.7), (0.9, 0.01)])])
def test_a_rung_out_of_reach_is_refused_before_others_are_trained(
        tmp_path, method, shares):
    rungs = [Rung(tuple(map(Energy, share)) if isinstance(share, tuple)
                  else Energy(share)) for share in shares]
    with pytest.raises(ValueError, match=r"energy=0.01 cannot be reached: with all "
                       r"prunable weights at zero 0\.\d+ of the energy .*; ask for"):
        ladder(tmp_path, method, rungs)
    # What channels leave without weights is only known once they have gone.
    assert len(CALLS) == ("+" in method)
    ladder(tmp_path, method, rungs[:-1])


def test_a_rungs_minutes_are_those_of_all_its_epochs(tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pruning.ladder.save_result", killed)
        with pytest.raises(KeyboardInterrupt):
            ladder(tmp_path, "random", energies(0.9))
    state = tmp_path / "energy=0.9" / "training" / "random" / "step1"
    assert (state / "training.safetensors").exists()
    monkeypatch.setattr("pruning.training_state.json.loads", slow(json.loads))
    (found,) = ladder(tmp_path, "random", energies(0.9))
    assert found["minutes"] >= 60


def slow(loads):
    """As if the epochs before a resume had taken an hour."""
    def read(text):
        found = loads(text)
        for row in found.get("rows", ()):
            row["wall_s"] += 3600
        return found
    return read
