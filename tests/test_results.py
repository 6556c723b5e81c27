"""The committed results are what the benchmarks write, whole and in range."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import pruning_leaderboard
from benchmarks.energy_at_loss import TABLE

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


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")),
                         ids=lambda path: path.name)
def test_each_table_is_named_in_the_readme_beside_it(path):
    assert f"`{path.name}`" in Path(RESULTS / "README.md").read_text(encoding="utf-8")
