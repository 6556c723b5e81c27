import io
import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from rich.cells import cell_len
from rich.console import Console

from eyeriss_sim import ConvLayer, Network, plots, report, result_files, simulate
from eyeriss_sim.figure_style import INK
from eyeriss_sim.html_report import headline
from eyeriss_sim.labels import shorten
from eyeriss_sim.layer import UncountedOp
from eyeriss_sim.terminal import make_console

HOSTILE = ("<script>alert('x')</script>", "a & b", "größe→卷积", 'with, "quotes"',
           "$\\frac{1}", "[bold]", "\x1b[31mred\n", "plain")


@pytest.fixture(scope="module")
def alexnet():
    return simulate("alexnet", batch=4, mapping="published")


@pytest.fixture(scope="module")
def hostile():
    layers = [ConvLayer(name=name, M=8, C=4, H=8, W=8, R=3, S=3) for name in HOSTILE]
    other = (UncountedOp("<b>relu", 2), UncountedOp("add", 1, 5000))
    return simulate(Network("<evil> & $co", layers, other))


def printed(result, width=None):
    file = io.StringIO()
    report.print_report(
        result, Console(file=file, width=width) if width else make_console(file))
    return file.getvalue()


# ------------------------------------------------------------------------ the terminal


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "googlenet", "resnet50"])
@pytest.mark.parametrize("batch", [1, 64])
def test_every_layer_takes_one_line_of_at_most_100_columns(name, batch):
    result = simulate(name, batch=batch)
    lines = printed(result).splitlines()
    assert max(map(cell_len, lines)) <= 100
    rules = [place for place, line in enumerate(lines) if line.startswith("───")]
    assert rules[1] - rules[0] - 1 == len(result.by_layer)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 99, 160])
def test_a_narrow_terminal_loses_columns_but_no_digit_of_those_that_stay(
        alexnet, width):
    text = printed(alexnet, width)
    assert max(map(cell_len, text.splitlines())) <= width
    table = text[:text.index("joules:")]
    assert "…" not in table
    latency_ms, chip_uJ = alexnet.table[["total_ms", "chip_uJ"]].sum()
    totals = re.search("^total.*$", table, re.M)[0].split()
    assert {f"{latency_ms:.1f}", f"{latency_ms:.2f}"} & set(totals)
    assert {f"{chip_uJ:.0f}", f"{chip_uJ:.1f}"} & set(totals)
    assert ("left out" in text) == (width < 90)


def test_the_published_alexnet_shows_its_figures_in_the_columns(alexnet):
    rows = {line.split()[0]: line.split() for line in printed(alexnet).splitlines()
            if line.startswith(("CONV", "total"))}
    #               MACs    m     n    e     p     q    r    t    PEs    util
    assert rows["CONV2"][1:11] == [
        "895.8", "64", "1", "27", "16", "2", "1", "1", "135",
        f"{100 * alexnet.table.utilization[1]:.1f}"]
    assert rows["total"][1] == "2897.6"


def test_a_pipe_gets_plain_text_and_the_terminal_colour(alexnet):
    assert "\x1b" not in printed(alexnet)
    file = io.StringIO()
    report.print_report(alexnet, Console(file=file, force_terminal=True, width=100))
    assert "\x1b[1m" in file.getvalue()


def test_the_lines_below_the_table_say_where_energy_and_cycles_go(alexnet):
    text = printed(alexnet)
    for line in ("joules: 111.83 mJ: ALU 4.17 (3.7%), RF 16.97 (15.2%), NoC 1.55 ",
                 "clock and leakage 66.76 (59.7%)\nnormalised ",
                 "energy: ALU 9.3%, RF 37.6%, NoC 3.4%, GLB 4.8%, DRAM 44.9%",
                 "filter rows cut into segments: FC6 2\n",
                 "mapping: published (5), \nsearch:joules (3)",
                 "not counted: relu x7 (2,633,088 values), local_response_norm x2",
                 "zeros: gate_ifmap"):
        assert line in text
    assert sum(report.energy_shares(alexnet).values()) == pytest.approx(1)
    assert sum(report.cycle_shares(alexnet).values()) == pytest.approx(1)


def test_totals_are_those_of_the_result(alexnet):
    total = report.totals(alexnet)
    assert total["total_ms"] == pytest.approx(alexnet.total_ms)
    assert total["chip_uJ"] + total["dram_uJ"] == pytest.approx(alexnet.total_uJ)
    assert total["cycles"] == sum(layer.cycles.total for layer in alexnet.by_layer)


def test_names_in_the_terminal_bring_no_control_characters_or_markup(hostile):
    lines = printed(hostile).splitlines()
    assert max(map(cell_len, lines)) <= 100
    assert "\x1b" not in "".join(lines)
    for name in ("[bold]", r"\x1b[31mred\n", "a & b", "größe→卷积"):
        assert any(line.startswith(name) for line in lines)


def test_a_terminal_of_ascii_gets_ascii(hostile):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report.print_report(hostile, make_console(file))
    file.flush()
    assert rb"gr\xf6\xdfe" in file.buffer.getvalue()


@pytest.mark.parametrize("names", [
    ["layer1.0.downsample.0", "layer1.0.downstream.0"],
    ["a" * 30, "a" * 31],
])
def test_shortened_names_stay_different_or_whole(names):
    short = shorten(names, 12)
    assert len(set(short)) == 2
    assert short == names or max(map(len, short)) <= 12


def test_a_name_that_cannot_be_shortened_is_folded_not_cut():
    name = "7" * 200
    layers = [ConvLayer(name=name, M=8, C=4, H=8, W=8, R=3, S=3)]
    lines = printed(simulate(Network("net", layers))).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(re.match("7*", line).end() for line in lines) == 200


# ------------------------------------------------------------------------------- files


def test_csv_round_trips_to_the_last_digit(alexnet, tmp_path):
    path = tmp_path / "table.csv"
    result_files.write_table(alexnet, path)
    assert len(path.read_text().splitlines()) == 1 + len(alexnet.by_layer)
    back = pd.read_csv(path)
    pd.testing.assert_frame_equal(back, alexnet.table, check_exact=True)


def test_csv_keeps_every_name(hostile, tmp_path):
    result_files.write_table(hostile, tmp_path / "table.csv")
    back = pd.read_csv(tmp_path / "table.csv")
    assert tuple(back["layer"]) == HOSTILE
    pd.testing.assert_frame_equal(back, hostile.table, check_exact=True)


@pytest.mark.parametrize("name", ["alexnet", "hostile"])
def test_json_is_strict_and_says_the_constant_things_once(name, tmp_path, request):
    result = request.getfixturevalue(name)
    result_files.write_table(result, tmp_path / "table.json")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads((tmp_path / "table.json").read_text("utf-8"),
                          parse_constant=refuse)
    assert document["provenance"] == result.provenance
    assert "hardware" not in document["layers"][0]
    assert document["not_counted"][1]["op"] == result.network.not_counted[1].op
    back = pd.DataFrame(document["layers"]).assign(**result.provenance)
    pd.testing.assert_frame_equal(back, result.table, check_exact=True)


def test_parquet_round_trips_and_carries_its_provenance(hostile, tmp_path):
    result_files.write_table(hostile, tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "table.parquet"), hostile.table, check_exact=True)
    metadata = pyarrow.parquet.read_schema(tmp_path / "table.parquet").metadata
    assert json.loads(metadata[b"eyeriss_sim"]) == hostile.provenance


@pytest.mark.parametrize("path, problem", [
    ("table.xlsx", r"no format for '\.xlsx'; use \.csv, \.json, \.parquet, \.html"),
    ("table", "no format for ''"),
    ("missing/table.csv", "there is no folder .*missing; create it first"),
    ("folder.csv", "is a folder; name a file in it"),
])
def test_an_impossible_path_is_refused_before_any_work(tmp_path, path, problem):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=problem) as raised:
        result_files.check_output_path(tmp_path / path)
    assert "\n" not in str(raised.value)


def test_the_suffix_may_be_in_capitals(alexnet, tmp_path):
    result_files.write_table(alexnet, tmp_path / "TABLE.CSV")
    assert (tmp_path / "TABLE.CSV").read_text().startswith("layer,macs,m,n,e,p,q,r,t,")


@pytest.mark.parametrize("old", ["old", None])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
        alexnet, tmp_path, monkeypatch, old):
    path = tmp_path / "table.csv"
    if old:
        path.write_text(old)

    def half_a_table(self, path, **options):
        path.write_text("layer,ma")
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half_a_table)
    with pytest.raises(OSError, match="no space left"):
        result_files.write_table(alexnet, path)
    assert [file.read_text() for file in tmp_path.iterdir()] == [old] * bool(old)


def test_a_file_written_through_a_link_keeps_the_link_and_its_mode(alexnet, tmp_path):
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    result_files.write_table(alexnet, link)
    assert link.is_symlink() and target.read_text().startswith("layer,")
    assert target.stat().st_mode & 0o777 == 0o640


# ----------------------------------------------------------------------------- figures


@pytest.mark.parametrize("draw, column", [
    (plots.joules_by_part, "total_uJ"),
    (plots.energy_by_level, "energy_MAC"),
    (plots.energy_by_kind, "energy_MAC"),
    (plots.cycles_by_cause, "cycles"),
])
@pytest.mark.parametrize("name", ["alexnet", "hostile"])
def test_the_stacks_of_a_layer_add_up_to_its_column(draw, column, name, request):
    result = request.getfixturevalue(name)
    axes = draw(result).axes[0]
    heights = np.sum(
        [[bar.get_height() for bar in bars] for bars in axes.containers], axis=0)
    unit = re.search(r"10.|.J|$", axes.get_ylabel())[0]
    size = {"10³": 1e3, "10⁶": 1e6, "10⁹": 1e9, "nJ": 1e-3, "µJ": 1, "mJ": 1e3,
            "": 1}[unit]
    assert heights * size == pytest.approx(result.table[column].to_numpy(float))


def test_a_level_has_the_same_colour_on_every_machine(alexnet):
    dense = simulate("alexnet", "isca16_256")
    colours = [
        {bars.get_label(): bars[0].get_facecolor()
         for bars in plots.energy_by_level(result).axes[0].containers}
        for result in (alexnet, dense)]
    assert colours[0] == colours[1] and len(set(colours[0].values())) == 5


def test_a_cause_that_costs_nothing_is_not_in_the_legend():
    axes = plots.cycles_by_cause(simulate("alexnet", "isca16_256")).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["MACs"]


@pytest.mark.parametrize("layers", [1, 5, 60, 150])
def test_labels_neither_overlap_nor_leave_the_figure(layers):
    names = [f"stages.{i // 10}.blocks.{i % 10}.attention.conv" for i in range(layers)]
    result = simulate(Network("deep", [
        ConvLayer(name=name, M=8, C=4, H=8, W=8, R=3, S=3) for name in names]))
    figure = plots.utilization(result)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))
    assert all(box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.x1
               for box in boxes)


def test_a_saved_figure_is_the_same_each_time_and_replaces_the_old_one_whole(
        hostile, tmp_path, monkeypatch):
    figure = plots.energy_by_level(hostile)
    for suffix in plots.FORMATS:
        path = tmp_path / f"figure{suffix}"
        plots.save_figure(figure, path)
        first = path.read_bytes()
        plots.save_figure(plots.energy_by_level(hostile), path)
        assert path.read_bytes() == first
    monkeypatch.setattr("eyeriss_sim.atomic.os.replace", lambda *paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plots.save_figure(figure, path)
    assert path.read_bytes() == first
    assert len(list(tmp_path.iterdir())) == len(plots.FORMATS)


def test_an_unknown_figure_format_is_refused(hostile, tmp_path):
    with pytest.raises(ValueError, match=r"'\.gif'; use \.png, \.svg, \.pdf"):
        plots.save_figure(plots.utilization(hostile), tmp_path / "figure.gif")


def test_pyplot_is_not_imported_and_matplotlib_only_with_figures():
    code = ("import sys, eyeriss_sim.report; assert 'matplotlib' not in sys.modules; "
            "import eyeriss_sim.plots; assert 'matplotlib.pyplot' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------- the page


class Page(HTMLParser):
    """Checks that tags close in order; collects tags, cells and what refers to ids."""

    void = frozenset({"meta"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th", "dt", "h1"):
            self.cells.append("")
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th", "dt", "h1"):
            self.cells[-1] += data


@pytest.fixture(scope="module")
def pages(alexnet, hostile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    texts = {}
    for name, result in (("alexnet", alexnet), ("hostile", hostile)):
        result_files.write_table(result, folder / f"{name}.html")
        texts[name] = (folder / f"{name}.html").read_text("utf-8")
    return texts


@pytest.mark.parametrize("name", ["alexnet", "hostile"])
def test_the_page_needs_nothing_but_itself_and_runs_nothing(pages, name):
    page = Page(pages[name])
    assert "http" not in pages[name] and "@import" not in pages[name]
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "a"}
    keys = {key for _, attrs in page.tags for key in attrs}
    assert not any(key.startswith("on") or key == "src" for key in keys)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert set(re.findall(r"url\(#(.+?)\)", pages[name])) <= ids


def test_the_page_shows_every_name_as_text(pages, hostile):
    page = Page(pages["hostile"])
    for name in HOSTILE:
        assert name.replace("\x1b", r"\x1b").replace("\n", r"\n") in page.cells
    assert "<evil> & $co on eyeriss_chip" in page.cells
    assert "<b>relu" in page.cells
    assert "&lt;script&gt;alert" in pages["hostile"]


def test_the_page_has_all_columns_rows_figures_and_totals(pages, alexnet):
    page = Page(pages["alexnet"])
    tags = [tag for tag, _ in page.tags]
    shown = len(alexnet.table.columns) - len(alexnet.provenance)
    assert tags.count("svg") == 5
    joules = pages["alexnet"].index("<b>Joules</b>: 111.83 mJ: ALU 4.17 (3.7%)")
    assert joules < pages["alexnet"].index("<b>Normalised energy</b>: ALU 9.3%")
    assert tags.count("tr") == len(alexnet.by_layer) + 2
    assert tags.count("td") == (shown - 1) * (len(alexnet.by_layer) + 1)
    for text in ("895,795,200", "2,897,627,264", "77.568", f"{alexnet.total_ms:.3f}"):
        assert text in page.cells
    assert "relu" in page.cells and "7 calls, 2,633,088 values" in pages["alexnet"]
    for value in alexnet.provenance.values():
        assert f"<dd>{value}</dd>" in pages["alexnet"]


def test_headline_numbers_are_plain_whatever_their_size(alexnet, hostile):
    assert headline(alexnet)["latency"] == f"{alexnet.total_ms:.1f} ms"
    for result, form in ((alexnet, ".2f"), (hostile, ",.0f")):
        rate = 1e3 * result.network.batch / result.total_ms
        assert headline(result)["images per second"] == format(rate, form)


def test_figures_in_the_page_take_the_colour_of_its_text(pages):
    assert "currentColor" in pages["alexnet"]
    assert INK not in pages["alexnet"].partition("</style>")[2]


def test_a_folder_that_takes_no_file_is_told_by_the_name_that_was_asked_for(
        tmp_path, monkeypatch):
    # Root may write everywhere, so the new file gets a name that no folder takes.
    monkeypatch.setattr("secrets.token_hex", lambda size: "x" * 300)
    path = tmp_path / "table.csv"
    with pytest.raises(OSError) as caught:
        result_files.write_table(simulate("alexnet"), path)
    assert caught.value.filename == str(path)
