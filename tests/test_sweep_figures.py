"""What is read from a sweep: fronts, heatmaps, and the commands that show them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import run as run_command

from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.sweep import run
from eyeriss_sim.sweep.dataset import read_results
from eyeriss_sim.sweep.figures import axis_label, front_figure, heatmap_figure
from eyeriss_sim.sweep.front import Within, best_over, pareto_front, read_points
from eyeriss_sim.sweep.spec import make_spec

TINY = Network("tiny", (
    ConvLayer(name="conv", M=8, C=3, H=10, W=10, R=3, S=3),
    ConvLayer(name="fc", M=10, C=8, H=8, W=8, R=8, S=8)))
OTHER = Network("other", (ConvLayer(name="conv", M=32, C=16, H=9, W=9, R=3, S=3),))
COSTS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    run.run_sweep(make_spec([TINY, OTHER], {
        "rows": "4:14:2", "cols": [6, 10, 14], "glb_KB": [16, 100],
        "spad_filter_words": [6, 224]}, layers=True), folder, jobs=1)
    return folder


@settings(max_examples=200)
@given(COSTS, st.sampled_from([["chip_uJ", "total_ms"],
                               ["chip_uJ", "total_ms", "area_mm2"],
                               ["chip_uJ", "utilization"]]))
def test_the_front_is_all_that_nothing_beats_once(costs, columns):
    table = pd.DataFrame(costs, columns=["chip_uJ", "total_ms", "area_mm2"])
    table["utilization"] = table.total_ms
    signs = [-1 if column == "utilization" else 1 for column in columns]
    values = [tuple(row) for row in (table[columns] * signs).to_numpy().tolist()]

    def beaten(one):
        return any(all(a <= b for a, b in zip(other, one, strict=True)) and other != one
                   for other in values)

    front = pareto_front(table, columns)
    found = [tuple(row) for row in (front[columns] * signs).to_numpy().tolist()]
    assert sorted(found) == sorted({one for one in values if not beaten(one)})
    assert found == sorted(found)


@pytest.fixture
def older(results, tmp_path):
    """The same sweep as an earlier version wrote it."""
    folder = shutil.copytree(results, tmp_path / "older")
    for path in folder.glob("*.parquet"):
        rows = pd.read_parquet(path)
        rows["clock_uJ"] += rows.leakage_uJ
        new = ["alu_uJ", "rf_uJ", "noc_uJ", "glb_uJ", "leakage_uJ",
               "total_uJ_per_image"]
        rows.drop(columns=new).rename(columns={"chip_uJ": "energy_uJ"}).to_parquet(path)
    described = json.loads((folder / "_sweep.json").read_text())
    del described["columns"]
    (folder / "_sweep.json").write_text(json.dumps(described))
    return folder


def test_a_sweep_of_an_earlier_version_is_read_under_the_names_of_today(results, older):
    columns = ["chip_uJ", "dram_uJ", "total_uJ", "total_uJ_per_image"]
    now, before = (read_points(folder, columns) for folder in (results, older))
    pd.testing.assert_frame_equal(before.table, now.table)
    pd.testing.assert_series_equal(before.base, now.base)
    assert "energy_uJ" not in read_results(older)
    # The clock of today is without leakage.
    for column in ("clock_uJ", "glb_uJ"):
        with pytest.raises(ValueError, match=f"had no {column}; run its sweep into"):
            read_points(older, [column])


def test_a_sweep_that_an_earlier_version_began_is_not_gone_on_with(older):
    spec = make_spec([TINY, OTHER], {
        "rows": "4:14:2", "cols": [6, 10, 14], "glb_KB": [16, 100],
        "spad_filter_words": [6, 224]}, layers=True)
    with pytest.raises(ValueError, match=(
            r"older was begun by an earlier version, which called chip_uJ energy_uJ "
            r".*name another folder")) as raised:
        run.run_sweep(spec, older, jobs=1)
    assert "\n" not in str(raised.value)


def test_networks_are_added_up_at_each_point(results):
    points = read_points(results, ["total_uJ", "total_ms", "area_mm2"])
    rows = read_results(results)
    rows = rows[rows.layer.isna() & (rows.point == points.table.point[3])]
    assert len(rows) == 2
    assert points.table.total_uJ[3] == pytest.approx(rows.total_uJ.sum())
    assert points.table.area_mm2[3] == rows.area_mm2.iloc[0]
    alone = read_points(results, ["total_uJ", "power_mW"], network="tiny")
    assert alone.table.power_mW.notna().all()
    assert alone.base.total_uJ < points.base.total_uJ


def test_a_point_that_one_network_cannot_run_on_is_no_point_of_both(results):
    both = read_points(results, ["total_uJ"])
    assert set(both.table.spad_filter_words) == {224}
    assert set(both.refused.spad_filter_words) == {6}
    assert both.refused.reason.str.startswith("fc: ").all()
    other = read_points(results, ["total_uJ"], network="other")
    assert set(other.table.spad_filter_words) == {6, 224}


@pytest.mark.parametrize("columns, options, message", [
    (["energy"], {}, "'energy' is no figure and no field; .*figures: .*chip_uJ"),
    (["power_mW"], {}, "can't be added up over tiny, other; choose one"),
    (["total_uJ"], {"network": "third"}, "no network third; it has tiny, other"),
    (["total_uJ"], {"batch": 2}, "no batch 2; it has 1"),
    (["total_uJ"], {"objective": "edp"}, "no objective edp; it has joules"),
    (["totl_uJ"], {}, "did you mean total_uJ"),
    (["total_uJ"], {"within": Within(total_ms=1e-9)},
     "no point keeps to total_ms of at most 1e-09; the least are total_ms 0.0"),
])
def test_what_cannot_be_read_is_told(results, columns, options, message):
    with pytest.raises(ValueError, match=message):
        read_points(results, columns, **options)


def test_a_heatmap_has_the_best_of_each_cell_and_marks_what_cannot_be(results):
    points = read_points(results, ["total_ms"])
    best, asked = best_over(points, "spad_filter_words", "rows", "total_ms")
    assert best[6].isna().all() and asked.all(axis=None)
    cell = points.table[points.table["rows"] == 8]
    assert best.loc[8, 224] == cell.total_ms.min()
    figure = heatmap_figure(points, best, asked, "total_ms")
    axes, bar = figure.axes
    assert axes.get_xlabel() == "spad filter (words)"
    assert axes.get_ylabel() == "array rows"
    assert bar.get_ylabel() == "total latency (µs)\nbest over array columns, GLB (KB)"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["can't be mapped, or beyond a limit", "eyeriss_chip"]
    with pytest.raises(ValueError, match=r"'psum' was not varied; .*fields: rows, col"):
        best_over(points, "rows", "psum", "total_ms")


@pytest.mark.parametrize("area", [False, True])
def test_a_front_shows_units_and_the_chips_own_point(results, area):
    columns = ["chip_uJ", "total_ms", *(["area_mm2"] if area else [])]
    points = read_points(results, columns)
    front = pareto_front(points.table, columns)
    figure = front_figure(points, front, "chip_uJ", "total_ms", area)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "energy of the chip (µJ)"
    assert axes.get_ylabel() == "total latency (µs)"
    assert "eyeriss_chip" in [text.get_text() for text in axes.get_legend().get_texts()]
    spots = [spots.get_offsets() for spots in axes.collections]
    own = (points.base.chip_uJ, points.base.total_ms * 1000)
    assert any(np.allclose(spot, [own]) for spot in spots)


def test_limits_keep_points_from_a_front_and_not_from_the_data(results):
    every = read_points(results, ["total_uJ", "macs_per_s"])
    median = every.table.total_uJ.median()
    within = Within(total_uJ=median)
    points = read_points(results, ["macs_per_s"], within=within)
    assert (points.table.total_uJ <= median).all()
    assert (points.beyond.total_uJ > median).all()
    assert len(points.table) + len(points.beyond) == len(every.table)
    assert str(within) == f"total_uJ of at most {median:g}"
    # Of both networks together, throughput is that of their sums.
    rows = read_results(results, ["point", "layer", "macs", "total_ms"])
    rows = rows[rows.layer.isna() & (rows.point == every.table.point[0])]
    assert every.table.macs_per_s[0] == pytest.approx(
        1000 * rows.macs.sum() / rows.total_ms.sum())
    front = pareto_front(every.table, ["total_uJ", "macs_per_s"])
    assert front.macs_per_s.is_monotonic_increasing


def test_points_are_called_by_their_array_glb_and_what_else_varies(results, tmp_path):
    points = read_points(results, ["total_uJ"])
    row = points.table[(points.table["rows"] == 8) & (points.table["cols"] == 10)
                       & (points.table.glb_KB == 16)].iloc[0]
    assert points.name(row) == "8x10, 16 KB, spad_filter_words 224"
    # A column glb_MB are accesses.
    run.run_sweep(make_spec([TINY], {"glb_MB": 1, "dram_MAC": [50]}), tmp_path, jobs=1)
    rows = read_results(tmp_path)
    assert rows["size of glb_MB"].tolist() == [1] and rows.glb_MB[0] < 1
    points = read_points(tmp_path, ["total_uJ"])
    assert points.name(points.table.iloc[0]) == "12x14, 1024 KB, price of dram_MAC 50"


def test_a_figure_says_whether_the_chip_is_in_the_grid(results, tmp_path):
    def legend(points):
        front = pareto_front(points.table, ["total_uJ", "total_ms"])
        axes = front_figure(points, front, "total_uJ", "total_ms", False).axes[0]
        return [text.get_text() for text in axes.get_legend().get_texts()][-1]

    inside = read_points(results, ["total_uJ", "total_ms"])
    assert inside.outside == () and legend(inside) == "eyeriss_chip"
    run.run_sweep(make_spec([TINY], {"rows": [4, 8], "clock_GHz": [0.2]}), tmp_path,
                  jobs=1)
    outside = read_points(tmp_path, ["total_uJ", "total_ms"])
    assert outside.outside == ("rows",)
    assert legend(outside) == "eyeriss_chip (outside the grid)"


def test_each_point_of_a_front_is_numbered_and_the_key_names_it(results):
    points = read_points(results, ["total_uJ", "total_ms"])
    front = pareto_front(points.table, ["total_uJ", "total_ms"])
    axes = front_figure(points, front, "total_uJ", "total_ms", False).axes[0]
    key, *numbers = [text.get_text() for text in axes.texts]
    assert numbers == [str(place + 1) for place in range(len(front))]
    assert [line.split("  ")[1] for line in key.splitlines()] == [
        points.name(row) for _, row in front.iterrows()]


def test_an_axis_is_logarithmic_where_values_span_over_a_decade(results):
    points = read_points(results, ["total_uJ", "total_ms"])
    for factor, scale in ((9, "linear"), (11, "log")):
        points.table.loc[0, "total_ms"] = points.table.total_ms[1:].min() / 2
        points.table.loc[1, "total_ms"] = factor * points.table.total_ms[0]
        points.table["total_ms"] = points.table.total_ms.clip(
            upper=factor * points.table.total_ms[0])
        front = pareto_front(points.table, ["total_uJ", "total_ms"])
        axes = front_figure(points, front, "total_uJ", "total_ms", False).axes[0]
        assert axes.get_yscale() == scale


def test_cells_of_a_heatmap_hold_their_number_where_there_is_room(results):
    points = read_points(results, ["total_ms", "pes"])
    best, asked = best_over(points, "cols", "rows", "total_ms")
    axes = heatmap_figure(points, best, asked, "total_ms").axes[0]
    numbers = [float(text.get_text()) for text in axes.texts]
    assert numbers == pytest.approx((best * 1000).to_numpy().ravel(), rel=0.06)
    best, asked = best_over(points, "pes", "glb_KB", "total_ms")
    assert set(best.columns) == {rows * cols for rows in range(4, 15, 2)
                                 for cols in (6, 10, 14)}
    wide = pd.concat([best] * 4, axis=1)
    wide.columns.name = "pes"
    wide.columns = pd.Index(range(len(wide.columns)), name="pes")
    axes = heatmap_figure(points, wide, wide.notna(), "total_ms").axes[0]
    assert not axes.texts


@pytest.mark.parametrize("column, largest, label", [
    ("chip_uJ", 5e4, "energy of the chip (mJ)"),
    ("total_uJ_per_image", 50, "energy of an image, DRAM included (µJ)"),
    ("energy_MAC", 5e10, "normalised energy (10⁹ MAC)"),
    ("cycles", 5e7, "cycles (10⁶)"),
    ("storage_B", 200_000, "storage of RFs and GLB (KB)"),
    ("macs_per_s", 2e10, "throughput (GMAC/s)"),
    ("area_mm2", 5, "area of storage and PEs (mm²)"),
    ("utilization", 0.5, "utilisation of the array"),
    ("glb_KB", 0, "GLB (KB)"),
    ("clock_MHz", 0, "clock (MHz)"),
    ("spad_words.filter", 0, "spad words: filter"),
    ("glb.bank_B", 0, "GLB: bank (B)"),
])
def test_a_label_says_what_and_in_which_unit(column, largest, label):
    assert axis_label(column, largest)[0] == label


# ------------------------------------------------------------------------- commands


SWEEP = ("sweep", "--set", "rows=4,8,12", "--set", "cols=7,14", "--network",
         "resnet20_cifar", "--jobs", "1")


def test_sweep_pareto_and_heatmap_from_the_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_command(capsys, *SWEEP)
    assert code == 0 and "6 points x resnet20_cifar in sweep; 6 run now" in out
    assert "eyeriss_chip" in out and "least area_mm2" in out
    assert max(map(len, out.splitlines())) <= 100
    code, out, _ = run_command(capsys, *SWEEP)
    assert code == 0 and "nothing was left to run" in out
    code, out, _ = run_command(capsys, "pareto", "sweep", "--x", "chip_uJ", "--area",
                               "--out", "front.svg", "--out", "front.csv")
    assert code == 0 and "written: front.svg, front.csv" in out
    front = pd.read_csv("front.csv")
    assert {"rows", "cols", "chip_uJ", "total_ms", "area_mm2"} <= set(front)
    assert "energy of the chip (" in (tmp_path / "front.svg").read_text()
    code, out, _ = run_command(capsys, "heatmap", "sweep", "--value", "utilization")
    assert code == 0 and (tmp_path / "sweep-heatmap.png").stat().st_size > 5000


def test_a_field_that_the_hardware_has_not_set_reads_none(
        capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_command(capsys, "sweep", "--network", "resnet20_cifar", "--set",
                               "dram_pJ=100,200", "--jobs", 1)
    assert code == 0 and "nan" not in out
    own = next(line for line in out.splitlines() if line.startswith("eyeriss_chip"))
    assert own.split()[1] == "none"


def test_options_go_before_what_the_file_says(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(
        'networks = ["resnet20_cifar"]\n[set]\nrows = [4, 8]\ncols = "7:14:7"\n')
    code, out, _ = run_command(capsys, "sweep", "mine.toml", "--set", "rows=12",
                               "--jobs", 1)
    assert code == 0 and "2 points x resnet20_cifar in mine-sweep" in out
    code, _, err = run_command(capsys, "sweep", "mine.toml", "--jobs", 1)
    assert code == 2 and "values of rows is [12] there and [4, 8] here" in err


@pytest.mark.parametrize("args, message", [
    (("sweep",), "a sweep needs networks"),
    (("sweep", "none.toml"), "none.toml: No such file"),
    ((*SWEEP, "--set", "rowz=3"), "unknown field 'rowz'; did you mean rows?"),
    ((*SWEEP, "--set", "rows"), "must be FIELD=VALUES"),
    ((*SWEEP, "--set", "rows=9:4"), "rows=9:4 is empty"),
    ((*SWEEP, "--set", "glb_KB=1:1000", "--set", "clock_MHz=1:1000", "--set",
      "link_MHz=1:1000"), "draw a sample of them"),
    ((*SWEEP, "--max-area", "much"), "max_area_mm2 must be a positive number"),
    (("pareto", "nowhere"), "nowhere holds no results of a sweep"),
    (("pareto", "nowhere", "--out", "x.doc"), "x.doc: no format for '.doc'"),
    (("pareto", "nowhere", "--x", "total_ms"), "a front has different figures"),
    (("heatmap", "nowhere", "--out", "no/x.png"), "there is no folder no"),
    (("heatmap", "nowhere", "--x", "batch"), "a heatmap is of one batch"),
    (("heatmap", "nowhere", "--x", "objective"), "a heatmap is of one objective"),
    (("pareto", "nowhere", "--max-latency-ms", "-1"), "must be a positive number"),
    ((*SWEEP, "--objective", "power"), "unknown objective 'power'"),
    (("pareto", "."), "holds no results of a sweep"),
])
def test_wrong_commands_get_one_line(capsys, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_command(capsys, *args)
    assert code == 2 and out == ""
    assert message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_least_rows_are_searched_for_what_they_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_command(capsys, *SWEEP, "--objective", "energy,cycles")
    assert code == 0 and "12 points" in out
    said = {line[:14].strip(): line.split()[-1] for line in out.splitlines()
            if line.startswith(("least", "eyeriss"))}
    assert said["least total_uJ"] == "energy" and said["least total_ms"] == "cycles"
    rows = pd.read_parquet("sweep")
    assert set(rows.objective) == {"energy", "cycles"}
    for command in ("pareto", "heatmap"):
        code, out, err = run_command(capsys, command, "sweep")
        assert code == 2 and err == (
            "eyeriss-sim: sweep has objectives energy, cycles; choose one with "
            "--objective\n")
    code, out, _ = run_command(capsys, "pareto", "sweep", "--objective", "cycles",
                               "--out", "front.csv", "--max-energy-uJ", "1e6")
    assert code == 0 and set(pd.read_csv("front.csv").objective) == {"cycles"}
    assert "6 of 6 points keep to total_uJ of at most 1e+06, resnet20_cifar" in out
