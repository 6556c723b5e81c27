"""A sweep whose points an optimiser chooses: the best found, again after a stop."""

import builtins

import numpy as np
import pandas as pd
import pytest
from test_cli import run as run_command

from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.sweep import optimize, run, sample
from eyeriss_sim.sweep.dataset import read_results
from eyeriss_sim.sweep.spec import make_spec

pytest.importorskip("optuna")
TINY = Network("tiny", (ConvLayer(name="conv", M=8, C=3, H=10, W=10, R=3, S=3),))
AXES = {"rows": "3:18", "cols": "2:17", "glb_KB": [16, 64, 100], "spad_words.filter":
        [64, 224], "zeros": ["dense", "gate_ifmap"]}


def spec_of(points=80, **more):
    return make_spec([TINY], AXES, objective="joules", sample={
        "points": points, "method": "optimize", "seed": 1, **more})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, and the rows of the full grid."""
    folder, grid = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("grid")
    run.run_sweep(spec_of(), folder, jobs=1)
    run.run_sweep(make_spec([TINY], AXES, objective="joules"), grid, jobs=1)
    return folder, read_results(grid)


def test_the_least_of_a_grid_is_found_in_a_fraction_of_its_points(whole):
    folder, grid = whole
    rows = read_results(folder)
    assert len(rows) == 80 and len(grid) == 16 * 16 * 3 * 2 * 2
    assert len(rows.drop_duplicates(list(AXES))) == 80
    rank = (grid.total_uJ < rows.total_uJ.min() * (1 - 1e-12)).sum()
    assert rank <= 0.002 * len(grid)
    assert rows.total_uJ[48:].median() < rows.total_uJ[:32].median()


class Stop(Exception):
    pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_was_stopped_is_the_same_as_one_that_was_not(whole, tmp_path, jobs):
    def stop(done, every):
        if done >= 48:
            raise Stop

    with pytest.raises(Stop):
        run.run_sweep(spec_of(), tmp_path, jobs=jobs, progress=stop)
    # A generation that a disk lost is found again as it was.
    (tmp_path / "part-000001.parquet").write_bytes(b"half")
    assert run.run_sweep(spec_of(), tmp_path, jobs=jobs) == 80 - 32
    assert run.run_sweep(spec_of(), tmp_path, jobs=jobs) == 0
    pd.testing.assert_frame_equal(read_results(tmp_path), read_results(whole[0]))


def test_a_limit_is_kept_to_and_what_is_beyond_stays_in_the_data(whole, tmp_path):
    grid = whole[1]
    fast = grid.total_ms.quantile(0.3)
    run.run_sweep(spec_of(max_latency_ms=float(fast)), tmp_path, jobs=1)
    rows = read_results(tmp_path)
    within = rows[rows.total_ms <= fast]
    assert len(rows) == 80 and 0 < len(within) < 80
    best = grid[grid.total_ms <= fast].total_uJ.min()
    assert within.total_uJ.min() <= 1.02 * best
    # The least without a limit is slower: the limit was what was searched under.
    assert grid.total_ms[grid.total_uJ.idxmin()] > fast


def test_scores_order_points_by_limit_then_figure():
    limits = sample.Sample(8, "optimize", max_energy_uJ=10.0, minimize="total_ms")

    def row(ms, uJ, reason=None):
        return {"total_ms": ms, "total_uJ": uJ, "reason": reason}

    scores = [optimize.score_of(limits, rows) for rows in (
        [row(3, 6)], [row(2, 4), row(2, 4)], [row(1, 11)], [row(1, 6), row(1, 7)],
        [row(1, 1), row(None, None, "no mapping")])]
    assert scores[:2] == [3, 4] and scores == sorted(scores)


def test_a_nearly_full_grid_is_run_to_its_end(tmp_path):
    spec = make_spec([TINY], {"rows": "3:12", "cols": [4, 5, 6, 7]}, sample={
        "points": 39, "method": "optimize"})
    run.run_sweep(spec, tmp_path, jobs=1)
    rows = read_results(tmp_path)
    assert len(rows.drop_duplicates(["rows", "cols"])) == 39


def test_values_out_of_order_are_searched_in_order():
    spec = make_spec([TINY], {"rows": [12, 3, 8]})
    assert optimize._ranks(spec.axes[0]) == [2, 0, 1]
    spec = make_spec([TINY], {"zeros": ["dense", "gate_ifmap"]})
    assert optimize._ranks(spec.axes[0]) is None


@pytest.mark.parametrize("given, message", [
    ({"minimize": "utilization"}, "no figure that is better small; .*figures: macs"),
    ({"minimize": "total_mJ"}, "did you mean total_uJ"),
    ({"max_latency_ms": -1}, "max_latency_ms must be a positive number"),
    ({"method": "optimise"}, "did you mean optimize"),
    ({"method": "sobol", "minimize": "total_uJ"}, "minimize goes with method"),
    ({"points": 10**6}, "more than the"),
])
def test_a_wrong_search_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        spec_of(**{"points": 8, **given})


def test_one_objective_and_one_batch_are_compared():
    for axes in ({"batch": [1, 2]}, {"objective": "joules,cycles"}):
        with pytest.raises(ValueError, match="compares machines under one"):
            make_spec([TINY], axes | {"rows": [4, 8]},
                      sample={"points": 2, "method": "optimize"})


def test_without_the_extra_one_line_says_the_cure(capsys, tmp_path, monkeypatch):
    true_import = builtins.__import__

    def without(name, *others):
        if name == "optuna":
            raise ImportError(name)
        return true_import(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.chdir(tmp_path)
    code, out, err = run_command(
        capsys, "sweep", "--network", "resnet20_cifar", "--set", "rows=4:12",
        "--sample", 4, "--sampling", "optimize")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert "pip install 'eyeriss-sim[optimize]'" in err
    assert not list(tmp_path.iterdir())


def test_the_command_says_the_least_within_the_limits(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_command(
        capsys, "sweep", "--network", "resnet20_cifar", "--set", "rows=4:12", "--set",
        "cols=7,14", "--sample", 10, "--sampling", "optimize", "--minimize", "dram_uJ",
        "--max-latency-ms", 8, "--jobs", 1)
    assert code == 0 and "10 points x resnet20_cifar" in out
    assert "least dram_uJ" in out and "points keep to total_ms of at most 8" in out
    rows = pd.read_parquet("sweep")
    assert len(rows) == 10 and np.isfinite(rows.dram_uJ).all()
