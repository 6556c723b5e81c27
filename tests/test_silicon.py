"""The published tables: the chip's (JSSC 2017) and the paper's (ISCA 2016).

The figures and the reason of each band stand in ``eyeriss_sim/validation/``.
"""

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmarks.fit_power import fit
from eyeriss_sim import load_hardware, simulate
from eyeriss_sim.validation import papers, silicon
from eyeriss_sim.validation.report import compare, validate
from eyeriss_sim.validation.tables import published as published_table

pytestmark = pytest.mark.paper


@pytest.fixture(scope="module")
def comparison():
    return compare()


def test_every_published_figure_is_within_its_band(comparison):
    missed = comparison[comparison.verdict == "MISSED"]
    assert missed.empty, missed.to_string()
    assert (comparison.verdict == "ok").sum() == 148


@pytest.mark.parametrize("source, published", [
    (silicon.TABLE_V, "jssc_table5"), (silicon.TABLE_VI, "jssc_table6")])
def test_the_readme_shows_what_validate_prints(comparison, source, published):
    shown = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    cells = comparison[comparison.source == source].set_index(["layer", "quantity"])
    columns = {"active_pes": 0, "glb_MB": 1, "dram_MB": 1, "processing_ms": 1,
               "total_ms": 1, "power_mW": 0}
    for layer in published_table(published).index:
        row = [f"{one.published:.{digits}f} / {one.model:.{digits}f}"
               for one, digits in ((cells.loc[layer, quantity], digits)
                                   for quantity, digits in columns.items())]
        assert f"| {layer} | {' | '.join(row)} |" in shown


def test_stepped_latencies_stand_beside_the_models(comparison):
    cells = comparison[comparison.source == silicon.TABLE_V].set_index(
        ["quantity", "layer"])
    model, machine = (cells.loc[quantity] for quantity in (
        "processing_ms", "machine_processing_ms"))
    assert (model.published == machine.published).all()
    stepped = silicon.machine_ms()
    assert (machine.model[:5] == stepped).all()
    assert machine.verdict.tolist() == ["ok"] * 4 + ["reported", "ok"]
    rtl = comparison[comparison.source == silicon.OPEN_RTL]
    assert len(rtl) == 22 and (rtl.error.abs() <= 1).all()


def test_the_papers_edp_is_met_at_every_size_and_batch(comparison):
    cells = comparison[comparison.source == papers.FIG_13]
    assert len(cells) == 6 and (cells.error.abs() <= 3).all()


def test_active_pes_are_exact(comparison):
    cells = comparison[comparison.quantity == "active_pes"]
    assert len(cells) == 5 + 13
    assert (cells.published == cells.model).all()


def test_table_6_is_written_down_as_it_was_printed():
    rows = published_table("jssc_table6")
    printed = {"total_ms": 4309.5, "processing_ms": 3755.2, "glb_MB": 11035.8,
               "dram_MB": 321.1}
    for quantity, total in printed.items():     # each row is rounded to 0.1
        assert rows[quantity].sum() == pytest.approx(total, abs=0.05 * 13 ** 0.5 + 0.05)
    assert round((rows.power_mW * rows.total_ms).sum() / rows.total_ms.sum()) == 236


def test_a_network_that_nothing_is_fitted_to_is_met_as_a_whole(comparison):
    network = comparison[(comparison.source == silicon.TABLE_VI)
                         & (comparison.layer == "all CONV")].set_index("quantity").error
    assert network.abs().max() < 4
    assert network.glb_MB == pytest.approx(0, abs=0.05)


def test_letter_of_table_3_gives_CONV3_other_glb_accesses_than_the_counter():
    table = simulate("alexnet", batch=4, mapping="published-table3").table
    assert table.set_index("layer").glb_MB["CONV3"] == pytest.approx(69.2, abs=0.05)


@pytest.mark.parametrize("layer, mapping", [
    ("CONV1", (96, 2, 5, 20, 1, 1, 4)), ("CONV2", (65, 2, 16, 6, 7, 1, 3)),
    ("CONV3", (78, 4, 13, 10, 7, 2, 3)), ("CONV4", (64, 4, 13, 9, 8, 3, 2)),
    ("CONV5", (75, 4, 13, 9, 8, 2, 3))])
def test_isca16_search_finds_the_mappings_of_fig_10(layer, mapping):
    table = simulate("alexnet", "isca16_256", 16).table.set_index("layer")
    assert tuple(table.loc[layer, list("mnepqrt")]) == mapping


def test_power_constants_of_the_preset_are_what_the_fit_gives():
    mac_pJ, clock_pJ, errors = fit()
    chip = load_hardware("eyeriss_chip")
    assert chip.mac_pJ == pytest.approx(mac_pJ, abs=0.005)
    assert chip.clock_pJ_per_PE_cycle == pytest.approx(clock_pJ, abs=0.005)
    assert abs(errors).max() < 10


def test_power_shares_add_up_and_are_shown_beside_the_chips(comparison):
    shares = comparison[comparison.source == silicon.SHARES].set_index("quantity")
    assert shares.model.sum() == pytest.approx(1)
    assert shares.published.to_dict() == {"pe_array": 0.778, "noc": 0.156, "glb": 0.027}
    assert set(shares.verdict) == {"reported"}


def test_voltages_and_clocks_stand_beside_the_chips_and_nothing_is_fitted(comparison):
    points = comparison[comparison.source == silicon.SUPPLY].set_index(
        ["quantity", "layer"])
    assert set(points.verdict) == {"reported"} and len(points) == 8
    frames, power = points.loc["frames_per_s"], points.loc["power_mW"]
    assert frames.published.tolist() == [17.3, 26, 34.7, 44.8]
    assert power.published.tolist() == [94, 172, 278, 450]
    # The model at 1.0 V times V^2, worked out when the points were collected.
    assert frames.model.round(1).tolist() == [18.2, 26.4, 34.2, 41.5]
    assert power.model.round().tolist() == [96, 178, 278, 470]
    # A clock of 200 MHz at 1.0 V is Table V's own point.
    table_v = comparison[(comparison.source == silicon.TABLE_V)
                         & (comparison.layer == "all CONV")].set_index("quantity")
    assert power.model["1.0 V, 200 MHz"] == pytest.approx(table_v.model["power_mW"])


def test_validate_prints_and_writes_all_cells(tmp_path):
    with open(tmp_path / "text", "w") as file:
        missed = validate(tmp_path / "out", Console(file=file, width=100))
    assert missed == 0
    text = (tmp_path / "text").read_text()
    assert "148 of 148 figures within their band" in text
    assert max(map(len, text.splitlines())) <= 100
    for unit, columns in (("ms", 3), ("MB", 2), ("mW", 1)):
        assert text.split("CONV1")[0].split().count(unit) == columns
    assert len(pd.read_csv(tmp_path / "out" / "validate.csv")) == len(compare())
    assert (tmp_path / "out" / "validate.png").stat().st_size > 10_000
