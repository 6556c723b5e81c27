"""The leaderboard asks for every method, resumes, and reads what its ladders wrote."""

import json

import pandas as pd
import pytest
import torch

import pruning.datasets
from benchmarks import pruning_leaderboard
from benchmarks.pruning_leaderboard import (
    COLUMNS,
    EVERYTHING,
    SEVERAL_SEEDS,
    arguments,
    best_methods,
    draw_leaderboard,
    leaderboard,
    left_out,
    pieces,
    results,
    write,
)
from pruning.datasets import Split, Splits, pixel_statistics
from pruning.dense import train_dense
from pruning.methods import METHODS
from pruning.recipe import Recipe

FLOOR = {"resnet20": {1: 0.3, 16: 0.5}}


def finished_rung(folder, method, rung, accuracy, seed=0, network="resnet20",
                  **metrics):
    """A result folder as far as the leaderboard reads it."""
    folder.mkdir(parents=True)
    shares = {f"energy_rel_{name}{ending}": value for name, ending, value in (
        ("eap_tool", "", 0.55), ("eap_tool", "_b16", 0.6),
        ("eyeriss_chip", "", 0.99), ("eyeriss_chip", "_b16", 0.98))}
    (folder / "metrics.json").write_text(json.dumps({
        "method": method, "rung": rung, "seed": seed, "accuracy": accuracy,
        "test_accuracy": accuracy - 0.01, "control": None, "floor": 0.29,
        "weights_rel": 0.4, "macs_rel": 0.5, "params_rel": 0.4, "minutes": 3.5,
        **shares, **metrics}))
    (folder / "config.json").write_text(json.dumps(
        {"network": network, "data": "noise"}))


@pytest.fixture
def runs(tmp_path):
    dense = dense_folder(tmp_path / "dense", "resnet20")
    out = tmp_path / "out"
    for place, method in enumerate(SEVERAL_SEEDS[:3]):
        for share in (0.7, 0.55, 0.45, 0.4):
            finished_rung(out / "resnet20" / f"{method}_s0" / f"energy={share}", method,
                          f"energy={share}", 0.8 + 0.01 * place)
    finished_rung(out / "resnet20" / "dense_s0" / "density=1", "magnitude_global",
                  "density=1", 0.95)
    return out, dense


def test_every_method_of_the_package_has_its_pieces():
    assert set(EVERYTHING) == {"dense", *METHODS}
    asked = pieces(EVERYTHING, 3)
    assert len(asked) == len(set(asked)) == 1 + 3 * 4 + 7
    assert sum(seed == 0 for _, seed in asked) == 1 + len(METHODS)


def test_ladders_are_asked_for_mildest_first_and_psconv_at_its_own_levels():
    (ladder,) = arguments("resnet20", "energy_aware", 2)
    assert [word for word in ladder if "energy=" in word] == [
        "energy=0.7", "energy=0.55", "energy=0.45", "energy=0.4"]
    calls = arguments("resnet20", "psconv", 2, fresh_epochs=6)
    assert [call[call.index("--option") + 1] for call in calls] == [
        "support=4", "support=3", "support=2", "support=1"]
    assert all("--target" not in call and "--fresh-epochs" in call for call in calls)
    assert "--fresh-epochs" not in arguments("resnet20", "random", 2, 6)[0]
    (dense,) = arguments("resnet20", "dense", 2)
    assert dense[dense.index("--steps") + 1] == "4"


def test_a_result_is_a_row_at_each_batch_with_that_batchs_energies(runs):
    out, dense = runs
    table = leaderboard(results(out, {"resnet20": dense}), FLOOR)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * (1 + 1 + 12)
    rows = table[(table.method == "energy_aware") & (table.target == "energy=0.4")
                 ].set_index("batch")
    assert rows.energy_rel_eap_tool.to_dict() == {1: 0.55, 16: 0.6}
    assert rows.energy_rel_eyeriss_chip.to_dict() == {1: 0.99, 16: 0.98}
    assert rows.floor_rel.to_dict() == FLOOR["resnet20"]
    assert (rows.accuracy == 0.79).all() and (rows.minutes == 3.5).all()
    targets = set(table[table.method == "dense"].target)
    assert targets == {"dense", "density=1"}


def test_the_floor_beside_a_result_is_its_own_networks(runs):
    out, dense = runs
    finished_rung(out / "resnet20" / "channels_s0" / "energy=0.7", "channels",
                  "energy=0.7", 0.8, floor_rel_eap_tool=0.2, floor_rel_eap_tool_b16=0.4)
    table = leaderboard(results(out, {"resnet20": dense}), FLOOR)
    floors = table.groupby(["method", "batch"]).floor_rel.unique()
    assert floors["channels", 1] == [0.2] and floors["channels", 16] == [0.4]
    # The dense network's training does not say; its floor is measured.
    assert floors["dense", 1] == [0.3] and floors["dense", 16] == [0.5]


def test_controls_and_what_was_not_tested_stay_out_of_the_table(runs):
    out, dense = runs
    before = leaderboard(results(out, {"resnet20": dense}), FLOOR)
    place = out / "resnet20" / "channels_s0"
    finished_rung(place / "energy=0.7", "channels", "energy=0.7", 0.8, control="reinit")
    finished_rung(place / "energy=0.5", "channels", "energy=0.5", 0.8,
                  test_accuracy=None)
    table = results(out, {"resnet20": dense})
    assert leaderboard(table, FLOOR).equals(before)
    finished_rung(out / "resnet20" / "energy_aware_c_s0" / "energy=0.7", "energy_aware",
                  "energy=0.7", 0.1, control="reinit")
    assert best_methods(results(out, {"resnet20": dense})) == best_methods(table)
    assert sorted(table.folder[left_out(table)]) == [
        str(place / "energy=0.5"), str(place / "energy=0.7")]


def test_the_best_are_chosen_by_the_choosing_images_among_whole_ladders(runs):
    out, dense = runs
    finished_rung(out / "resnet20" / "random_s0" / "energy=0.7", "random", "energy=0.7",
                  0.99)
    table = results(out, {"resnet20": dense})
    assert best_methods(table) == list(reversed(SEVERAL_SEEDS[:3]))
    with pytest.raises(ValueError, match="of which 3 are finished; name resnet20"):
        best_methods(table, count=4)


def test_table_and_figure_are_written_whole(runs):
    out, dense = runs
    write(out, results(out, {"resnet20": dense}), FLOOR)
    lines = (out / "pruning_leaderboard.csv").read_text().splitlines()
    assert lines[0].split(",") == list(COLUMNS) and len(lines) == 1 + 28
    assert (out / "pruning_leaderboard_resnet20.png").stat().st_size > 10_000


def test_the_figure_has_the_dense_network_with_and_without_further_epochs(runs):
    out, dense = runs
    table = results(out, {"resnet20": dense})

    def stars(rows):
        lines = draw_leaderboard(rows).axes[0].get_lines()
        return {line.get_label(): line.get_ydata()[0] for line in lines
                if line.get_label().startswith("dense")}

    assert stars(table) == pytest.approx(
        {"dense (as trained)": 89.0, "dense (further epochs)": 94.0})
    assert list(stars(table[table.rung != "density=1"])) == ["dense"]


def without_work(monkeypatch, refused=()):
    """Nothing is loaded, measured or pruned; gives the methods that are asked for."""
    calls = []

    def run(words):
        method = words[words.index("--method") + 1]
        calls.append(method)
        if method in refused:
            raise SystemExit(2)

    class Splits:
        class fit:
            images = ()
        normalise = staticmethod(lambda images: images)

    monkeypatch.setattr(pruning_leaderboard, "load", lambda name, path: Splits)
    monkeypatch.setattr(pruning_leaderboard, "floors",
                        lambda *given: FLOOR["resnet20"])
    monkeypatch.setattr(pruning_leaderboard, "eyeriss_prune", run)
    return calls


def dense_folder(folder, network, **metrics):
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({
        "seed": 0, "choosing_accuracy": 0.9, "test_accuracy": 0.89, **metrics}))
    (folder / "config.json").write_text(json.dumps(
        {"network": network, "data": "noise"}))
    return folder


@pytest.mark.parametrize("asked, seeds", [
    ([], {"resnet20": 3, "vgg16": 1}), (["--seeds", "2"], {"resnet20": 2, "vgg16": 2})])
def test_seeds_that_are_asked_for_count_on_every_network(
        tmp_path, monkeypatch, asked, seeds):
    for network in seeds:
        dense = dense_folder(tmp_path / network, network)
        calls = without_work(monkeypatch)
        pruning_leaderboard.main(["--data", "d", "--dense", str(dense), "--out",
                                  str(tmp_path / "out"), "--only", "energy_aware",
                                  *asked])
        assert len(calls) == seeds[network]


def test_a_learning_rate_is_handed_on_to_each_piece_and_none_where_none_is_named(
        tmp_path, monkeypatch):
    dense = dense_folder(tmp_path / "dense", "resnet20")
    without_work(monkeypatch)
    asked = []
    monkeypatch.setattr(pruning_leaderboard, "eyeriss_prune", asked.append)
    common = ["--data", "d", "--dense", str(dense), "--out", str(tmp_path / "out"),
              "--seeds", "1", "--only", "random"]
    pruning_leaderboard.main([*common, "--lr", "0.05"])
    pruning_leaderboard.main(common)
    named, unnamed = asked
    assert named[named.index("--lr") + 1] == "0.05" and "--lr" not in unnamed


@pytest.mark.parametrize("names, told", [
    (["resnet18"], "no levels are known for resnet18; known: resnet20, vgg16"),
    (["."], "no finished training in this very folder; eyeriss-prune train makes one"),
    (["untested"], "run its eyeriss-prune train resnet20 again without --no-test"),
    (["pruned"], "a network pruned by channels; name the dense one"),
    (["vgg16", "again"], "a second vgg16, beside")])
def test_dense_networks_that_are_of_no_use_are_refused_before_any_work(
        tmp_path, capsys, names, told):
    for name, network, metrics in (
            ("resnet18", "resnet18", {}), ("vgg16", "vgg16", {}),
            ("again", "vgg16", {}), ("untested", "resnet20", {"test_accuracy": None}),
            ("pruned", "resnet20", {"method": "channels", "rung": "energy=0.7"})):
        dense_folder(tmp_path / name, network, **metrics)
    with pytest.raises(SystemExit) as stopped:
        pruning_leaderboard.main([
            "--data", "nowhere", "--out", str(tmp_path / "out"), "--dense",
            *(str(tmp_path / name) for name in names)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert told in error and len(error.splitlines()) == 1


def test_pieces_that_cannot_be_had_do_not_stop_the_others(
        runs, tmp_path, monkeypatch, capsys):
    out, dense = runs
    finished_rung(out / "vgg16" / "random_s0" / "energy=0.3", "random", "energy=0.3",
                  0.9, network="vgg16")
    calls = without_work(monkeypatch, refused=("channels",))
    with pytest.raises(SystemExit) as stopped:
        pruning_leaderboard.main([
            "--data", "d", "--dense", str(dense), "--out", str(out), "--only",
            "channels", "energy_budget", "--seeds", "2"])
    assert calls == ["channels", "energy_budget", "energy_budget"]
    told = capsys.readouterr().out.replace("\n", " ")
    assert "stopped short: resnet20 channels seed 0;" in stopped.value.code
    assert "without vgg16, whose dense network --dense does not name" in told
    assert set(pd.read_csv(out / "pruning_leaderboard.csv").network) == {"resnet20"}


@pytest.mark.slow
def test_real_ladders_on_noise_are_climbed_once_and_then_only_read(
        tmp_path, monkeypatch):
    def part(images):
        return Split(torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8),
                     torch.arange(images) % 10)

    torch.manual_seed(0)
    parts = [part(images) for images in (24, 10, 10, 20)]
    splits = Splits(*parts, **pixel_statistics(parts[0].images))
    for module in (pruning.datasets, pruning_leaderboard):
        monkeypatch.setattr(module, "load", lambda name, path: splits)
    monkeypatch.setattr(pruning_leaderboard, "RUNGS", {"resnet20": (0.9, 0.8)})
    monkeypatch.setattr(pruning_leaderboard, "SUPPORTS", (4,))
    dense, out = tmp_path / "dense", tmp_path / "out"
    train_dense("resnet20", splits, Recipe(epochs=1, batch=8), dense, progress=False)
    command = ["--data", "x", "--dense", str(dense), "--out", str(out), "--epochs", "1",
               "--fresh-epochs", "2", "--only", "dense", "energy_budget", "psconv"]
    pruning_leaderboard.main([*command, "--seeds", "1"])
    first = (out / "pruning_leaderboard.csv").read_text()
    epochs = {file.parent.name: len(file.read_text().splitlines()) - 1
              for file in out.rglob("epochs.csv")}
    # The dense network has as many further epochs as both rungs together.
    assert epochs == {"density=1": 2, "energy=0.9": 1, "energy=0.8": 1, "support=4": 2}
    table = pd.read_csv(out / "pruning_leaderboard.csv")
    assert len(table) == 2 * 5 and table.notna().sum()["floor_rel"] == 10
    assert (table[table.target == "density=1"].weights_rel == 1).all()
    monkeypatch.setattr("pruning.ladder.prune", None)
    pruning_leaderboard.main([*command, "--seeds", "1"])
    assert (out / "pruning_leaderboard.csv").read_text() == first
