import io
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from eyeriss_sim.number_table import (
    MOST_COLUMNS,
    ROWS_AT_ONCE,
    as_numbers,
    read_number_table,
    read_table,
    read_text_table,
    text_rows,
)
from pruning.records import read_rows, write_rows


def rows(text):
    return list(text_rows(io.StringIO(text, newline=""), "f.csv"))


@pytest.mark.parametrize("text, expected", [
    ("a,b\n1,2\n", [(1, ["a", "b"]), (2, ["1", "2"])]),
    ("a;b\r\n\r\n1,5; 2 \r\n", [(1, ["a", "b"]), (3, ["1,5", "2"])]),
    ("a\tb\n,\n1,5\t2\n", [(1, ["a", "b"]), (2, [","]), (3, ["1,5", "2"])]),
    ("sep=|\na|b\n1|2\n", [(2, ["a", "b"]), (3, ["1", "2"])]),
    ("a,b\n1\n1,2,3\n,,,\n", [(1, ["a", "b"]), (2, ["1"]), (3, ["1", "2", "3"])]),
    ('a,b\n"x\ny",""\n3,NA\n', [(1, ["a", "b"]), (3, ["x\ny", ""]), (4, ["3", "NA"])]),
    ('# an "open, quote;;;\n\na\n #, b\nx#2\n', [(3, ["a"]), (5, ["x#2"])]),
    ("", []), ("\n\n", []), ("# a,b\n", []), ("sep=;\n", []),
])
def test_rows_come_as_they_stand_with_their_lines(text, expected):
    assert rows(text) == expected


@pytest.mark.parametrize("text, words", [
    ('a,b\n1,"2\n3,4\n', "unexpected end of data"),
    ("a\n" + "," * MOST_COLUMNS + "\n",
     f"a line of {MOST_COLUMNS + 1} cells; a table has at most {MOST_COLUMNS}"),
    ("a,b\n" + "9" * 200_000 + ",1\n", "field larger than"),
])
def test_a_file_that_is_no_table_is_refused_in_one_line(text, words):
    with pytest.raises(ValueError, match=rf"^f\.csv: is no CSV text: .*{words}") as one:
        rows(text)
    assert "\n" not in str(one.value)


def test_a_long_file_is_read_as_it_is_gone_through():
    text = io.StringIO("a,b\n" + "1,2\n" * (5 * ROWS_AT_ONCE))
    tracemalloc.start()
    count = sum(1 for _ in text_rows(text, "f.csv"))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1 + 5 * ROWS_AT_ONCE
    # All rows at once would take some 250 bytes each.
    assert most < 8e6


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "t.csv"
        path.write_bytes(text.encode())
        return path
    return write


def test_columns_are_numbers_where_all_their_cells_are(table):
    found = read_table(table("\ufefflayer,n,share,note,ok,bare\n"
                             "# its own row\na,1,0.1,NA,True,\nb,2,,,False,\n"))
    assert found.layer.tolist() == ["a", "b"]
    assert found.n.tolist() == [1, 2] and found.n.dtype == np.int64
    assert found.share.dtype == np.float64 and found.share[0] == 0.1
    assert found.share.isna().tolist() == [False, True]
    assert found.note[0] == "NA" and found.note.isna()[1]
    assert found.ok.tolist() == [True, False] and found.ok.dtype == bool
    assert found.bare.isna().all()


def test_a_number_is_read_to_its_last_bit(table):
    values = np.random.default_rng(5).lognormal(0, 20, 500)
    path = table("x\n" + "\n".join(map(repr, values.tolist())) + "\n")
    assert read_table(path).x.tolist() == values.tolist()


@pytest.mark.parametrize("text, words", [
    ("", "has no rows; write a header"),
    ("# a,b\n", "has no rows; write a header"),
    ("a,b,a\n1,2,3\n", "column 'a' repeats another; drop or rename one"),
    ("a,b\n1,2\n\n1,2,\n", "more cells than the header, line 4 the first; take the"),
])
def test_a_table_of_another_form_is_refused_in_one_line(table, text, words):
    path = table(text)
    with pytest.raises(ValueError, match=words) as one:
        read_text_table(path)
    assert str(one.value).startswith(f"{path}: ") and "\n" not in str(one.value)


def test_a_cell_that_a_row_lacks_is_empty_and_a_bare_title_has_a_name(table):
    found = read_text_table(table("a,,b,\n1,2\n"))
    assert found.to_dict("records") == [
        {"a": "1", "Unnamed: 1": "2", "b": "", "Unnamed: 3": ""}]


@pytest.mark.parametrize("cell", ["", "soon", "inf", "nan", "1,5", "0x10"])
def test_a_cell_that_is_no_number_is_told_with_file_row_and_column(table, cell):
    path = table(f"name;ms\nfast;1\nslow;{cell}\n")
    with pytest.raises(ValueError, match=rf"t\.csv: row 2 \(slow\): ms is '{cell}', "
                                         "which is no number; write one"):
        read_number_table(path, ("name", "ms"))


def test_a_column_that_is_missing_is_told_with_those_there_are():
    with pytest.raises(ValueError, match="column ms is missing; there are name, us"):
        as_numbers(pd.DataFrame({"name": ["a"], "us": [1]}), ("name", "ms"))


def test_rows_of_a_result_come_back_and_a_row_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "layers.csv"
    written = [{"layer": "1", "energy": 0.1 + 0.2, "macs": 7, "kept": None},
               {"layer": "b,c", "energy": 1e-300, "macs": 10**18, "kept": 0.5}]
    write_rows(path, written)
    assert read_rows(path) == written
    assert read_rows(tmp_path / "none.csv") == []
    path.write_text(path.read_text() + "d,1,2,3,4\n")
    with pytest.raises(ValueError, match=r"layers\.csv: damaged \(.*line 4 the first"):
        read_rows(path)
