"""The committed results are what the benchmarks write, whole and in range."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import pruning_leaderboard
from benchmarks.energy_at_loss import TABLE
from cascade.bench import COLUMNS

RESULTS = TABLE.parent


def table(name):
    return pd.read_csv(RESULTS / f"{name}.csv")


def test_the_leaderboard_has_each_result_once_and_every_target_met():
    found = table("pruning_leaderboard")
    assert tuple(found.columns) == pruning_leaderboard.COLUMNS
    assert not found.duplicated(["network", "method", "target", "seed", "batch"]).any()
    assert found.accuracy.between(0.1, 1).all()
    asked = found.target.str.extract(r"energy=([0-9.]+)$")[0].astype(float)
    rows = found[asked.notna() & (found.batch == 1)]
    assert (rows.energy_rel_eap_tool <= asked[rows.index]).all()
    assert (rows.energy_rel_eap_tool > rows.floor_rel).all()
    own = rows[~rows.method.str.contains("channels")]
    # On the chip no zero of a weight saves anything, and some cost: denser fmaps.
    assert own.energy_rel_eyeriss_chip.between(0.9, 1.1).all()


def test_the_cascades_have_each_point_once_with_its_interval():
    found = table("cascade_vs_single")
    assert tuple(found.columns) == tuple(COLUMNS)
    keys = ["network", "method", "hardware", "batch", "seed", "split", "system"]
    points = found[found.system != "hull"]
    assert not points.duplicated([*keys, "level", "threshold", "share_mild"]).any()
    assert found.energy_rel.between(0, 2).all() and found.accuracy.between(0.1, 1).all()
    # On the chip, where weights save nothing, a network is its own floor.
    tool = points[points.hardware == "eap_tool"]
    assert (tool.energy_rel > tool.floor_rel).all()
    known = found[found.ci_lo.notna()]
    assert ((known.ci_lo <= known.accuracy) & (known.accuracy <= known.ci_hi)).all()
    # Every rival stands beside every cascade.
    systems = found.groupby(keys[:-1]).system.agg(set)
    assert all({"dense", "single", "hull"} <= one for one in systems)


def test_a_verdict_is_a_win_only_where_its_interval_is_above_zero():
    found = table("cascade_vs_single_verdicts")
    # And where it lies below the hull on each seed, which no column tells.
    assert (found.low[found.wins] > 0).all()
    assert (found.low <= found.high).all() and (found.saved <= 1).all()


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")),
                         ids=lambda path: path.name)
def test_each_table_is_named_in_the_readme_beside_it(path):
    assert f"`{path.name}`" in Path(RESULTS / "README.md").read_text(encoding="utf-8")
