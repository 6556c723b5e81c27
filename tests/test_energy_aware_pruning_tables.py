"""The energy-aware-pruning papers' AlexNet, and the chip's gating."""

import pytest

from benchmarks import energy_aware_pruning_tables, gating

pytestmark = pytest.mark.paper


@pytest.fixture(scope="module")
def comparison():
    return energy_aware_pruning_tables.compare()


def test_layers_and_sums_are_within_their_bands(comparison):
    asked = comparison[comparison.band_percent.notna()]
    assert len(asked) == 8 + 2
    outside = asked[asked.error_percent.abs() > asked.band_percent]
    assert outside.empty, outside.to_string()


def test_one_batch_for_all_layers_does_not_explain_the_tools_table():
    # The published figure holds for weights shared by other numbers of images in each
    # layer; at batch 44 throughout, the network comes out a third too low.
    totals = energy_aware_pruning_tables.batch_dependence()
    assert totals[1] > 3 * 38.8
    assert totals[44] < 0.72 * 38.8


def test_gating_saves_a_third_to_a_half_of_the_pe_array_where_zeros_are_many():
    saved = gating.compare().set_index("layer").saved_percent
    for layer in ("CONV4", "CONV5"):
        assert 33 <= saved[layer] <= 50
    assert saved["CONV1"] < 0.1
    assert saved["CONV1"] < saved["CONV1-5"] < saved["CONV5"]
