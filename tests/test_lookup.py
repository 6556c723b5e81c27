"""The look-up table: what it holds, distinct shapes once, going on after a stop."""

import pandas as pd
import pyarrow.parquet
import pytest
from test_cli import run as run_command

from eyeriss_sim import lookup_table, simulate
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.lookup import table
from eyeriss_sim.lookup.shapes import Grid, ShapeFile, distinct

GRID = {"M": [4, 8], "C": [2, 3], "size": 6, "kernel": [1, 3], "stride": [1, 2],
        "bits": [8, 16]}
HEADER = "layer,N,M,C,H,W,R,S,U,dilation,padding,filter_bits\n"


@pytest.mark.parametrize("objective", ["energy", "joules"])
def test_rows_are_what_simulate_says_of_each_shape(objective):
    layers = [ConvLayer(name="a", N=2, M=8, C=4, H=10, W=10, R=3, S=3, padding=1),
              ConvLayer(name="b", M=6, C=1, H=9, W=9, R=3, S=3, U=2, groups=6, steps=2)]
    ours = lookup_table(layers, objective=objective, bits=8, jobs=1)
    for layer, (_, row) in zip(layers, ours.iterrows(), strict=True):
        theirs = simulate(Network("one", [layer], batch=layer.N), objective=objective,
                          bits=8).table.iloc[0]
        for column in (*"NMCHWRSUV", "groups", "padding", *"mnepqrt", "cycles",
                       "total_ms", "total_uJ", "dram_uJ", "utilization", "cost_table"):
            assert row[column] == theirs[column], column
        assert (row.objective, row.ifmap_bits, row.steps) == (
            objective, 8, layer.steps)


def test_a_grid_is_every_combination_with_its_size_kept():
    shapes = list(Grid(GRID))
    assert len(shapes) == 2 * 2 * 2 * 2 * 2
    assert all(layer.E == -(-6 // layer.U) for layer, _ in shapes)
    assert {(layer.M, layer.C, layer.R, layer.U, bits.filter)
            for layer, bits in shapes} == {
        (M, C, R, U, bits) for M in (4, 8) for C in (2, 3) for R in (1, 3)
        for U in (1, 2) for bits in (8, 16)}


def test_equal_shapes_are_one_row_in_the_order_of_the_first(tmp_path):
    path = tmp_path / "shapes.csv"
    path.write_text("# mine\n" + HEADER + "a,,8,3,8,8,3,3,,,,\nb,,4,3,8,8,3,3,,,,\n\n"
                    "c,1,8,3,8,8,3,3,1,1x1,0,16\nd,,8,3,8,8,3,3,1,1,0,8\n"
                    "e,,8,3,8,8,3,3,1,2,1x0x1x0,\n")
    first, digest = distinct(ShapeFile(path))
    assert first.tolist() == [True, True, False, True, True]
    ours = lookup_table(path, jobs=1)
    assert ours.M.tolist() == [8, 4, 8, 8]
    assert ours.filter_bits.tolist() == [16, 16, 8, 16]
    assert ours.dilation.tolist() == ["1x1", "1x1", "1x1", "2x2"]
    path.write_text(path.read_text().replace("b,,4", "b,,5"))
    assert distinct(ShapeFile(path))[1] != digest


def test_a_shape_that_cannot_be_mapped_is_a_row_with_the_reason():
    wide = ConvLayer(name="wide", M=1, C=1, H=300, W=300, R=300, S=300)
    ours = lookup_table([wide, ConvLayer(name="a", M=1, C=1, H=3, W=3, R=3, S=3)],
                        jobs=1)
    assert ours.reason.notna().tolist() == [True, False]
    assert ours.cycles.isna().tolist() == [True, False]


class Stop(Exception):
    pass


def test_a_table_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CHUNK_SHAPES", 5)
    ran = []
    evaluate = table.evaluate_shapes
    monkeypatch.setattr(table, "evaluate_shapes", lambda shapes, *others: (
        ran.append(len(shapes)), evaluate(shapes, *others))[1])

    def stop(done, every):
        if done >= 15:
            raise Stop

    out = tmp_path / "lut.parquet"
    with pytest.raises(Stop):
        lookup_table(GRID, out=out, jobs=1, progress=stop)
    assert not out.exists() and 0 < sum(ran) < 32
    # What a kill left: half a file, and a chunk cut short.
    chunks = tmp_path / ".lut.parquet.chunks"
    (chunks / ".0123456789abcdef.tmp").write_bytes(b"half")
    assert lookup_table(GRID, out=out, jobs=1) == 32
    assert sum(ran) == 32, "a shape was searched twice"
    assert [path.name for path in tmp_path.iterdir()] == ["lut.parquet"]
    assert pyarrow.parquet.ParquetFile(out).num_row_groups == 7
    monkeypatch.undo()
    whole = lookup_table(GRID, jobs=2)
    pd.testing.assert_frame_equal(pd.read_parquet(out), whole)
    # The same again finds it done; another objective takes its place.
    assert lookup_table(GRID, out=out, jobs=1) == 32 and sum(ran) == 32
    assert lookup_table(GRID, out=out, objective="cycles", jobs=1) == 32
    assert set(pd.read_parquet(out).objective) == {"cycles"}


def test_chunks_of_another_table_are_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CHUNK_SHAPES", 5)

    def stop(done, every):
        if done >= 10:
            raise Stop

    out = tmp_path / "lut.parquet"
    with pytest.raises(Stop):
        lookup_table(GRID, out=out, jobs=1, progress=stop)
    lookup_table(GRID, "isca16_256", out=out, jobs=1)
    assert set(pd.read_parquet(out).hardware) == {"isca16_256"}


@pytest.mark.parametrize("text, message", [
    ("M,C,H,W,R\n1,1,1,1,1\n", "column 'S' is missing"),
    ("M,C,H,W,R,S,stride\n1,1,1,1,1,1,1\n", "unknown column 'stride'"),
    ("M,C,H,W,R,S,dilatoin\n1,1,1,1,1,1,1\n", "did you mean dilation"),
    ("M,C,H,W,R,S,M\n1,1,1,1,1,1,1\n", "column 'M' repeats"),
    ("M,C,H,W,R,S\n", "there is no shape"),
    ("M,C,H,W,R,S\n1,1,1,1,1,1\n1,1,1,1,3,3\n", "line 3: the shape: filter R=3 covers"),
    ("M,C,H,W,R,S\n1,1,1,1,1,x\n", "line 2: column 'S' holds x; write a positive"),
    ("M,C,H,W,R,S\n1,1,1,1,1\n", "line 2: 5 cells, but the header has 6"),
    ("M,C,H,W,R,S,filter_bits\n1,1,1,1,1,1,900\n", "line 2: the shape: "),
])
def test_bad_shapes_are_told_in_one_line_and_nothing_is_written(
        capsys, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes.csv").write_text(text)
    code, out, err = run_command(capsys, "table", "shapes.csv", "--jobs", 1)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shapes.csv"]


@pytest.mark.parametrize("grid, message", [
    ({"M": 1, "C": 1, "size": 1}, "needs kernel"),
    ({**GRID, "strides": 1}, "unknown size 'strides' of a grid; did you mean stride"),
    ({**GRID, "M": []}, "needs a value of M"),
    ({**GRID, "M": [0]}, "M must be a whole number of at least 1"),
    ([3], "a table is of ConvLayers, got 3"),
])
def test_bad_grids_are_refused(grid, message):
    with pytest.raises(ValueError, match=message):
        lookup_table(grid, jobs=1)


def test_the_command_writes_a_table(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes.csv").write_text("M;C;H;W;R;S\n4;2;8;8;3;3\n4;2;8;8;1;1\n")
    code, out, err = run_command(
        capsys, "table", "shapes.csv", "--jobs", 1, "--bits", 8, "--objective",
        "joules", "--out", "mine.parquet")
    assert code == 0 and "2 distinct shapes on eyeriss_chip" in out
    assert pd.read_parquet("mine.parquet").ifmap_bits.tolist() == [8, 8]
    for wrong, message in ((["--out", "mine.csv"], "no format for '.csv'"),
                           (["--objective", "power"], "invalid choice"),
                           (["--hardware", "eyeriss_chop"], "mean eyeriss_chip"),
                           (["--bits", "x=3"], "x")):
        code, _, err = run_command(capsys, "table", "shapes.csv", *wrong)
        assert code == 2 and message in err and err.count("\n") == 1
    code, _, err = run_command(capsys, "table", "none.csv")
    assert code == 2 and "none.csv: No such file" in err
