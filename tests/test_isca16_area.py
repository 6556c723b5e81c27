"""The trade-off of ISCA 2016 between PEs and buffers, in kind."""

import pytest
from rich.console import Console

from benchmarks.isca16_area import LITTLE, SPEED_UP, fixed_area, sizes_and_batches

QUIET = Console(quiet=True)


@pytest.mark.paper
def test_more_pes_at_one_area_are_ten_times_faster_for_a_little_more_energy():
    best = fixed_area(QUIET).set_index("pes")
    gain = best.macs_per_cycle / best.macs_per_cycle.iloc[0]
    ratio = best.energy_MAC / best.energy_MAC.iloc[0]
    assert gain[ratio <= LITTLE].max() > SPEED_UP
    # The best RF shrinks as the PEs grow in number, and no machine is larger.
    assert best.rf_words.iloc[-1] < best.rf_words[128] < best.rf_words.iloc[0]
    assert best.area_mm2.max() <= best.area_mm2.iloc[0] + 1e-4


@pytest.mark.paper
def test_larger_machines_and_batches_fetch_less_from_dram():
    rows = sizes_and_batches(QUIET).set_index(["pes", "batch"])
    for column in ("dram_per_mac", "energy_per_mac"):
        table = rows[column].unstack()
        assert (table.diff(axis=0).iloc[1:] < 0).all(axis=None), column
        assert (table.diff(axis=1).iloc[:, 1:] < 0).all(axis=None), column
