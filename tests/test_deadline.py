"""The networks chosen for deadlines are the best there are."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from cascade.deadlines import serve as module
from cascade.deadlines.command import add_deadline
from cascade.deadlines.distribution import (
    DrawnDeadlines,
    SampledDeadlines,
    parse_deadlines,
)
from cascade.deadlines.serve import serve, undominated
from eyeriss_sim.terminal import OneLineParser, run_command

# Few values, so that networks tie in one quantity and differ in others.
NETWORKS = st.lists(st.tuples(
    st.integers(1, 8), st.integers(0, 8), st.integers(0, 5)), min_size=1, max_size=7)
DEADLINES = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1,
                     max_size=8)


def table_of(networks):
    return pd.DataFrame(
        [(f"n{i}", float(ms), accuracy / 8, float(size))
         for i, (ms, accuracy, size) in enumerate(networks)],
        columns=["name", "ms", "accuracy", "bytes"])


def worth(subset, deadlines, miss):
    """Expected accuracy, deadline by deadline: the best answer there is time for."""
    total = sum(weight for _, weight in deadlines)
    return sum(weight * max([miss] + [accuracy / 8 for ms, accuracy, _ in subset
                                      if ms <= time])
               for time, weight in deadlines) / total


def best_of_all(networks, deadlines, members, miss, limit=np.inf):
    return max(worth(subset, deadlines, miss)
               for count in range(min(members, len(networks)) + 1)
               for subset in combinations(networks, count)
               if sum(size for *_, size in subset) <= limit)


def check_service(found, networks, deadlines, members, miss, limit):
    rows = found.members
    assert 1 <= len(rows) <= members
    assert (np.diff(rows.ms) > 0).all() and (np.diff(rows.accuracy) > 0).all()
    assert rows.until_ms.tolist() == [*rows.ms[1:], np.inf]
    assert (rows.share > 0).all()       # none that serves nothing
    assert found.missed + rows.share.sum() == pytest.approx(1)
    total = sum(weight for _, weight in deadlines)
    for row in rows.itertuples():
        served = sum(weight for time, weight in deadlines
                     if row.ms <= time < row.until_ms)
        assert row.share == pytest.approx(served / total)
    chosen = [networks[int(name[1:])] for name in rows.name]
    assert found.accuracy == pytest.approx(worth(chosen, deadlines, miss))
    assert sum(size for *_, size in chosen) <= limit


@settings(max_examples=150, deadline=None)
@given(NETWORKS, DEADLINES, st.integers(1, 5), st.sampled_from([0, 0.125, 0.25]))
def test_no_subset_serves_better(networks, deadlines, members, miss):
    best = best_of_all(networks, deadlines, members, miss)
    sampled = SampledDeadlines(*zip(*deadlines, strict=True))
    if best == miss:
        with pytest.raises(ValueError, match="no network meets any"):
            serve(table_of(networks), sampled, members, miss=miss)
        return
    found = serve(table_of(networks), sampled, members, miss=miss)
    assert found.accuracy == pytest.approx(best)
    check_service(found, networks, deadlines, members, miss, np.inf)


@settings(max_examples=150, deadline=None)
@given(NETWORKS, DEADLINES, st.integers(1, 5), st.integers(0, 14))
def test_no_subset_that_fits_into_memory_serves_better(
        networks, deadlines, members, limit):
    best = best_of_all(networks, deadlines, members, 0, limit)
    sampled = SampledDeadlines(*zip(*deadlines, strict=True))
    if best == 0:
        with pytest.raises(ValueError, match=r"no network (meets|fits)"):
            serve(table_of(networks), sampled, members, memory_bytes=limit)
        return
    found = serve(table_of(networks), sampled, members, memory_bytes=limit)
    assert found.accuracy == pytest.approx(best)
    check_service(found, networks, deadlines, members, 0, limit)


@settings(max_examples=50, deadline=None)
@given(NETWORKS, st.floats(0.5, 8), st.floats(0.1, 2), st.integers(1, 3))
def test_no_subset_serves_continuous_deadlines_better(networks, median, sigma, members):
    drawn = stats.lognorm(sigma, scale=median)

    def value(subset):
        """The integral of the accuracy that a deadline gets."""
        edges = sorted({ms for ms, *_ in subset})
        return sum(
            max(accuracy / 8 for ms, accuracy, _ in subset if ms <= low)
            * (drawn.cdf(high) - drawn.cdf(low))
            for low, high in zip(edges, [*edges[1:], np.inf], strict=True))

    best = max(value(subset) for count in range(1, members + 1)
               for subset in combinations(networks, min(count, len(networks))))
    if best == 0:
        return
    found = serve(table_of(networks), DrawnDeadlines(drawn), members)
    assert found.accuracy == pytest.approx(best)
    assert found.missed == pytest.approx(drawn.cdf(found.members.ms[0]))


@settings(max_examples=100, deadline=None)
@given(NETWORKS, st.booleans())
def test_exactly_the_dominated_networks_are_dropped(networks, with_bytes):
    table = table_of(networks)
    kept = undominated(table, with_bytes=with_bytes)

    def beats(one, other):
        mine = [one.ms, -one.accuracy, one.bytes][:2 + with_bytes]
        theirs = [other.ms, -other.accuracy, other.bytes][:2 + with_bytes]
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    rows = list(table.itertuples())
    free = {(one.ms, one.accuracy, one.bytes if with_bytes else 0) for one in rows
            if one.accuracy > 0 and not any(beats(other, one) for other in rows)}
    assert len(kept) == len(free)
    assert {(one.ms, one.accuracy, one.bytes if with_bytes else 0)
            for one in kept.itertuples()} == free


def test_a_deadline_equal_to_a_networks_time_is_met_and_one_just_below_is_not():
    table = pd.DataFrame({"name": ["a"], "ms": [2.0], "accuracy": [0.75]})
    assert serve(table, SampledDeadlines([2.0]), 1).accuracy == 0.75
    with pytest.raises(ValueError, match="the fastest, a, takes 2 ms"):
        serve(table, SampledDeadlines([np.nextafter(2.0, 0)]), 1)


def test_of_equal_choices_the_one_with_the_fewest_members_is_taken():
    table = pd.DataFrame({"name": list("abc"), "ms": [1.0, 2.0, 3.0],
                          "accuracy": [0.5, 0.6, 0.9]})
    found = serve(table, SampledDeadlines([3.5, 9.0]), 3)
    assert found.members.name.tolist() == ["c"]


def test_under_a_memory_limit_a_slow_small_network_may_be_the_best():
    table = pd.DataFrame({"name": ["quick", "slow"], "ms": [1.0, 2.0],
                          "accuracy": [0.9, 0.8], "bytes": [100, 10]})
    deadlines = SampledDeadlines([3.0])
    assert serve(table, deadlines, 2).members.name.tolist() == ["quick"]
    found = serve(table, deadlines, 2, memory_bytes=99)
    assert found.members.name.tolist() == ["slow"]


def test_of_forty_networks_no_pair_beats_the_choice():
    draw = np.random.default_rng(0)
    table = pd.DataFrame({
        "name": [f"n{i}" for i in range(40)], "ms": draw.uniform(1, 50, 40).round(2),
        "bytes": draw.integers(1, 10_000, 40)})
    table["accuracy"] = 0.5 + 0.4 * np.sqrt(table.ms / 50) - draw.uniform(0, 0.1, 40)
    free = serve(table, parse_deadlines("lognormal:15,0.7"), 4)
    limited = serve(table, parse_deadlines("lognormal:15,0.7"), 4, memory_bytes=9000)
    assert limited.accuracy <= free.accuracy
    assert limited.members.bytes.sum() <= 9000
    for other in combinations(undominated(table, with_bytes=True).itertuples(), 2):
        if sum(one.bytes for one in other) <= 9000:
            pair = table[table.name.isin([one.name for one in other])]
            assert serve(pair, parse_deadlines("lognormal:15,0.7"),
                         2).accuracy <= limited.accuracy + 1e-12


def test_too_many_choices_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(module, "LABELS", 5)
    table = table_of([(1, 2, 4), (2, 3, 2), (3, 5, 1), (4, 6, 3), (5, 7, 2)])
    with pytest.raises(ValueError, match="more than 5 choices"):
        serve(table, SampledDeadlines([9, 2, 3]), 4, memory_bytes=7)


@pytest.mark.parametrize("change, message", [
    ({"accuracy": [0.5, 1.5]}, "b: accuracy is 1.5; it must be 0 to 1"),
    ({"accuracy": [0.5, -0.1]}, "b: accuracy is -0.1"),
    ({"ms": [-1.0, 2.0]}, "a: ms is -1; it must be at least 0"),
    ({"ms": [1.0, np.nan]}, r"row 2 \(b\): ms is 'nan'"),
    ({"ms": ["1", "soon"]}, r"row 2 \(b\): ms is 'soon', which is no number"),
    ({"ms": [1.0, np.inf]}, r"row 2 \(b\): ms is 'inf'"),
    ({"bytes": [1, -2]}, "b: bytes is -2"),
    ({"name": ["a", "a"]}, "'a' is named twice"),
    ({"bytes": [600, 700]}, "no network fits into 500 bytes; the smallest, a, has 600"),
])
def test_a_bad_table_is_refused_in_one_line(change, message):
    table = pd.DataFrame({"name": ["a", "b"], "ms": [1.0, 2.0], "accuracy": [0.5, 0.6],
                          "bytes": [10, 20]}).assign(**change)
    with pytest.raises(ValueError, match=message) as problem:
        serve(table, SampledDeadlines([3.0]), 1, memory_bytes=500)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("column", ["name", "ms", "accuracy", "bytes"])
def test_a_missing_column_is_named(column):
    table = table_of([(1, 2, 4)]).drop(columns=column)
    with pytest.raises(ValueError, match=f"column {column}"):
        serve(table, SampledDeadlines([3.0]), 1, memory_bytes=5)


@pytest.mark.parametrize("arguments, message", [
    ({"members": 0}, "at least 1 member"), ({"miss": 1.5}, "a miss counts 0 to 1"),
    ({"miss": float("nan")}, "a miss counts 0 to 1"),
    ({"miss": 0.9}, "beats a miss, which counts 0.9")])
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        serve(table_of([(1, 2, 4)]), SampledDeadlines([3.0]),
              **{"members": 1, **arguments})


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="names no network"):
        serve(table_of([]), SampledDeadlines([3.0]), 1)


@pytest.mark.parametrize("ms, weights", [
    ([], None), ([1, np.nan], None), ([-1.0], None), ([1, 2], [1]), ([1, 2], [1, -1]),
    ([1, 2], [0, 0]), ([1, 2], [1, np.inf])])
def test_bad_deadlines_are_refused(ms, weights):
    with pytest.raises(ValueError, match="deadlines"):
        SampledDeadlines(ms, weights)


@pytest.mark.parametrize("text, density", [
    ("lognormal:15,0.7", lambda t: stats.norm.pdf(np.log(t / 15), scale=0.7) / t),
    ("uniform:10,30", lambda t: 1 / 20 if 10 <= t <= 30 else 0.0)])
def test_named_distributions_have_their_density(text, density):
    deadlines = parse_deadlines(text)
    for low, high in ((1, 8), (12, 14), (14, 29)):
        area, _ = integrate.quad(density, low, high)
        assert deadlines.met(low) - deadlines.met(high) == pytest.approx(area, abs=1e-7)


@pytest.mark.parametrize("text", [
    "uniform:30,10", "uniform:5", "uniform:-1,5", "uniform:1,inf", "lognormal:0,1",
    "lognormal:5,-1", "lognormal:5,x", "normal:5,1", "lognormal", "deadlines.txt"])
def test_a_text_that_describes_no_deadlines_is_refused(text):
    with pytest.raises(ValueError, match="deadlines '") as problem:
        parse_deadlines(text)
    assert "\n" not in str(problem.value)


def run(capsys, *words):
    parser = OneLineParser(prog="eyeriss-cascade")
    add_deadline(parser.add_subparsers(required=True))
    run_command(parser, ["deadline", *map(str, words)])
    return capsys.readouterr().out


@pytest.fixture
def files(tmp_path):
    table = tmp_path / "networks.csv"
    table.write_text(
        "name, ms, accuracy, bytes, note\n[bold]tiny, 5, 0.8, 100000, NA\n"
        + f"{'resnet20 at ' * 12}0.3, 9, 0.85, 300000,\nNA, 20, 0.9, 9000000, x\n")
    deadlines = tmp_path / "deadlines.csv"
    deadlines.write_text("ms,weight\n4,1\n6,1\n12,3\n25,5\n")
    return table, deadlines


def test_the_command_prints_the_members_and_writes_them(files, tmp_path, capsys):
    table, deadlines = files
    printed = run(capsys, table, "--members", 2, "--deadlines", deadlines, "--out",
                  tmp_path / "chosen.csv")
    assert all(len(line) <= 100 for line in printed.splitlines())
    assert "[bold]tiny" in printed and "5 to 20" in printed
    assert "20 and later" in printed
    # 0.4 * 0.80 + 0.5 * 0.90
    assert "expected accuracy 77.00 %; 10.0 % of the deadlines are missed" in printed
    assert "one network at best 72.00 %, all that are of use 78.50 %" in printed
    written = pd.read_csv(tmp_path / "chosen.csv", keep_default_na=False)
    assert written.name.tolist() == ["[bold]tiny", "NA"]
    assert written.share.tolist() == pytest.approx([0.4, 0.5])
    assert np.isinf(float(written.until_ms.iloc[1]))


def test_the_command_says_that_networks_of_one_latency_are_no_choice(
        tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("name,ms,accuracy\ndense,1.5,0.9\npruned,1.5,0.8\n")
    printed = run(capsys, table, "--members", 2, "--deadlines", "uniform:1,2")
    assert "all 2 networks take 1.5 ms: no deadline" in printed
    assert all(len(line) <= 100 for line in printed.splitlines())


def test_the_command_heeds_a_memory_limit(files, capsys):
    table, _ = files
    printed = run(capsys, table, "--members", 3, "--deadlines", "uniform:0,40",
                  "--memory-MB", "0.4", "--miss", "0.1")
    assert "MB" in printed and "NA" not in printed
    # 5 ms of a miss, 4 and 31 ms of an answer, of 40.
    assert f"{100 * (5 * 0.1 + 4 * 0.8 + 31 * 0.85) / 40:.2f} %" in printed


@pytest.mark.parametrize("words, message", [
    (["--members", "0"], "must be a whole number"),
    (["--deadlines", "uniform:9,3"], "0 <= LOW < HIGH"),
    (["--memory-MB", "0"], "--memory-MB 0"),
    (["--memory-MB", "0.01"], "no network fits into 10000 bytes"),
    (["--out", "{table}"], "would replace the input"),
    (["--out", "table.png"], "no format for '.png'"),
    (["--deadlines", "{folder}/none.csv"], "none.csv: No such file"),
    (["--deadlines", "{folder}/broken.csv"], "row 1: ms is 'soon'"),
    (["--deadlines", "{folder}/longer.csv"], "longer.csv: rows have more cells than")])
def test_the_commands_errors_are_one_line_and_exit_with_2(
        files, words, message, tmp_path, capsys):
    table, deadlines = files
    (tmp_path / "broken.csv").write_text("ms\nsoon\n")
    (tmp_path / "longer.csv").write_text("ms\n3,0.2\n1,0.8\n")
    words = [word.format(table=table, folder=tmp_path) for word in words]
    before = table.read_text()
    with pytest.raises(SystemExit) as problem:
        run(capsys, table, "--members", "2", "--deadlines", deadlines, *words)
    assert problem.value.code == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert table.read_text() == before
