"""The benchmark that puts the counting model beside the machine."""

import pandas as pd
import pytest
from rich.console import Console

from benchmarks import machine_vs_model as benchmark
from eyeriss_sim.hardware import load_hardware


@pytest.fixture(scope="module")
def table():
    return benchmark.compare(load_hardware("eyeriss_chip"), ("resnet20_cifar",))


def test_every_layer_is_compared_and_moves_the_same_words(table):
    assert len(table) == 20
    assert not table.words_that_differ.any()
    assert (table.machine_words == table.model_words).all()
    assert (table.machine_cycles == table.model_cycles).all()


def test_hardware_without_a_machine_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["", "--hardware", "isca16_256"])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert capsys.readouterr().err.count("\n") == 1


def test_each_hardware_has_files_of_its_own(tmp_path, monkeypatch):
    names = ("eyeriss_chip", "eyeriss_rtl")
    for name in names:
        monkeypatch.setattr("sys.argv", ["", "--hardware", name, "--out", str(tmp_path),
                                         "--network", "resnet20_cifar"])
        benchmark.main()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"machine_vs_model_{name}.{suffix}" for name in names
        for suffix in ("csv", "png")}


def test_drawn_machines_have_a_line_for_each_setting(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["", "--drawn", "12", "--out", str(tmp_path)])
    benchmark.main()
    table = pd.read_csv(tmp_path / "machine_vs_model_drawn.csv")
    assert len(table) == 12 and (table.error_percent.abs() < 1).all()
    settings = {tuple(one) for one in table[["filters_first", "window_first"]].values}
    lines = capsys.readouterr().out.splitlines()
    assert settings == {(0, 0), (0, 1), (1, 0), (1, 1)} and len(lines) >= 2 + 4


def test_summary_takes_the_size_of_errors_whatever_their_sign():
    table = pd.DataFrame({
        "network": ["a", "a", "b"], "layer": ["x", "y", "z"],
        "machine_cycles": [100, 300, 200], "model_cycles": [102, 288, 200],
        "error_percent": [2.0, -4.0, 0.0], "words_that_differ": [0, 0, 7]})
    summary = benchmark.summarise(table)
    assert summary.mean_percent.to_dict() == {"a": 3, "b": 0, "all": 2}
    assert summary.worst_layer.to_dict() == {"a": "y", "b": "z", "all": "y"}
    assert summary.sum_percent["a"] == pytest.approx(100 * (390 / 400 - 1))
    assert summary.layers_of_other_counts.to_dict() == {"a": 0, "b": 1, "all": 1}


def test_tables_keep_within_100_columns_and_say_every_layer_whole(table, tmp_path):
    with open(tmp_path / "text", "w") as file:
        console = Console(file=file, width=100)
        console.print(benchmark.layer_table("resnet20_cifar", table))
        console.print(benchmark.summary_table(benchmark.summarise(table)))
    text = (tmp_path / "text").read_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "layer3.0.conv1" in text and "…" not in text
