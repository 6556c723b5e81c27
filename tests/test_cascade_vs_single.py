"""The benchmark reads savings off curves as a reader of its csv would."""

import pandas as pd
import pytest

from benchmarks import cascade_vs_single
from benchmarks.cascade_vs_single import (
    METHODS,
    WANTED,
    ladders_of,
    saved_on_curve,
    summary,
)
from cascade.bench import COLUMNS
from pruning.methods import METHODS as PRUNING_METHODS


def curve(network="vgg16", seed=0, split="test"):
    rows = [("dense", 0.90, 1.0), ("single", 0.895, 0.5), ("single", 0.87, 0.2),
            ("margin", 0.892, 0.25), ("margin", 0.88, 0.15), ("margin", 0.85, 0.1),
            ("perfect", 0.95, 0.05), ("hull", 0.89, 0.4)]
    table = pd.DataFrame(rows, columns=["system", "accuracy", "energy_rel"])
    table["energy_rel"] += 0.02 * seed
    table = table.assign(network=network, method="energy_aware", hardware="eap_tool",
                         objective="energy", batch=1, seed=seed, split=split)
    return table.reindex(columns=COLUMNS)


def test_a_saving_is_the_largest_that_loses_no_more():
    saved = saved_on_curve(curve(), 1).droplevel([0, 1, 2, 3, 4, 5])
    assert saved.to_dict() == pytest.approx({"margin": 0.75, "single": 0.5})
    saved = saved_on_curve(curve(), 3).droplevel([0, 1, 2, 3, 4, 5])
    assert saved.to_dict() == pytest.approx({"margin": 0.85, "single": 0.8})


def test_what_only_the_choosing_images_say_counts_for_nothing():
    chosen = curve(split="choosing").assign(energy_rel=0.01)
    both = pd.concat([curve(), chosen])
    assert saved_on_curve(both, 3).equals(saved_on_curve(curve(), 3))


def test_a_seed_that_never_comes_so_near_saves_nothing():
    far = curve(seed=1)
    far.loc[far.system == "margin", "accuracy"] = 0.5
    saved = saved_on_curve(pd.concat([curve(), far]), 1).xs("margin", level="system")
    assert saved.tolist() == pytest.approx([0.75, 0.0])
    table = summary(pd.concat([curve(), far]))
    assert table[(table.system == "margin") & (table.points == 1)].saved.iloc[
        0] == pytest.approx(0.375)


def test_a_system_that_costs_more_than_the_dense_network_saves_nothing():
    dear = curve()
    dear.loc[dear.system == "margin", "energy_rel"] = 1.02
    assert saved_on_curve(dear, 3).xs("margin", level="system").tolist() == [0.0]


def test_seeds_must_have_the_same_rungs_and_what_is_missing_is_named(tmp_path):
    folder = tmp_path / "vgg16"
    for place in ("random_s0/energy=0.3", "random_s0/energy=0.2",
                  "random_s1/energy=0.3"):
        (folder / place).mkdir(parents=True)
        (folder / place / "metrics.json").write_text("{}")
    (folder / "random_s1" / "energy=0.2" / "training").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"random_s0 have other rungs, energy=0\.2;"):
        ladders_of(folder, "random", 3)
    there, missing = ladders_of(folder, "random", 1)
    assert there == [(0, folder / "random_s0")] and not missing
    (folder / "random_s1" / "energy=0.2" / "metrics.json").write_text("{}")
    there, missing = ladders_of(folder, "random", 3)
    assert [seed for seed, _ in there] == [0, 1]
    assert missing == ["vgg16 random seed 2"]
    assert ladders_of(folder, "synflow", 3) == ([], ["vgg16 synflow"])
    (folder / "random_s0" / "energy=0.1" / "training").mkdir(parents=True)
    assert ladders_of(folder, "random", 1)[1] == [
        "vgg16 random seed 0 energy=0.1 (not finished)"]


def test_a_summary_is_the_mean_of_seeds_beside_what_was_wanted():
    table = summary(pd.concat([curve(), curve(seed=1), curve("resnet20")]))
    row = table[(table.network == "vgg16") & (table.system == "margin")
                & (table.points == 3)].iloc[0]
    assert row.saved == pytest.approx(0.84) and row.wanted == WANTED["vgg16", False][3]
    assert set(table.points) == {1, 3}
    composite = summary(curve("resnet20").assign(method="channels+energy_aware"))
    assert composite[composite.points == 3].wanted.eq(0.7).all()
    assert composite[composite.points == 1].wanted.isna().all()


def test_every_method_is_one_of_the_pruning_package():
    for method in METHODS:
        assert all(name in PRUNING_METHODS for name in method.split("+"))


def test_without_a_ladder_the_benchmark_says_which(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cascade_vs_single, "load", lambda name, path: None)
    monkeypatch.setattr(cascade_vs_single, "dense_level",
                        lambda folder: (None, "resnet20"))
    with pytest.raises(SystemExit) as stopped:
        cascade_vs_single.main([
            "--data", "d", "--dense", str(tmp_path), "--ladders", str(tmp_path),
            "--only", "energy_aware", "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "no ladder of resnet20 energy_aware" in error
    assert len(error.splitlines()) == 1
