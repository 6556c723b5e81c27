"""numpy's numbers are numbers, and endless ones are refused in a line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from eyeriss_sim import (
    Bits,
    ConvLayer,
    EnergyOracle,
    Mapping,
    Network,
    load_hardware,
    simulate,
)
from eyeriss_sim.cli import main
from eyeriss_sim.importers import load_network
from eyeriss_sim.importers.csv_table import network_from_csv
from eyeriss_sim.mapping_files import read_mappings
from eyeriss_sim.plain import shown
from eyeriss_sim.result_files import write_table
from eyeriss_sim.sweep.axes import make_axis
from eyeriss_sim.sweep.spec import make_spec
from pruning.recipe import Recipe

KINDS = [np.int64, np.int32, np.uint8, np.int16]
CHIP = load_hardware("eyeriss_chip")


def small(kind=int):
    return ConvLayer(name="L", N=kind(2), M=kind(4), C=kind(3), H=kind(9), W=kind(9),
                     R=kind(3), S=kind(3), U=kind(2), V=kind(1), groups=kind(2),
                     dilation=kind(1), padding=[kind(1)] * 4, steps=kind(1))


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_of_a_layer_may_be_numpys(kind):
    layer = small(kind)
    assert layer == small()
    assert all(type(getattr(layer, key)) is int for key in "NMCHWRSUV")
    assert {type(one) for one in (*layer.dilation, *layer.padding)} == {int}
    # uint8 would wrap around at 256.
    assert small(kind).macs == small().macs


@pytest.mark.parametrize("kind", KINDS)
def test_batches_mappings_bits_and_hardware_may_be_numpys(kind, tmp_path):
    network = Network("tiny", (replace(small(), N=1),), batch=kind(1))
    mapping = Mapping(*map(kind, (2, 1, 2, 1, 1, 1, 1)))
    hardware = replace(CHIP, rows=kind(6), clock_MHz=np.float32(100))
    result = simulate(network, hardware, batch=kind(2), mapping={"L": mapping},
                      bits=Bits(kind(8), kind(8), kind(16)))
    plain = simulate(network, replace(CHIP, rows=6, clock_MHz=100), batch=2,
                     mapping={"L": Mapping(2, 1, 2, 1, 1, 1, 1)}, bits=Bits(8, 8, 16))
    assert result.total_uJ == plain.total_uJ
    write_table(result, tmp_path / "table.json")
    assert json.loads((tmp_path / "table.json").read_text())["provenance"]["batch"] == 2
    assert load_network("alexnet", batch=kind(2)) == load_network("alexnet", batch=2)
    assert EnergyOracle("eap_tool", batch=kind(3)).batch == 3


def test_sweeps_take_numpys_numbers_and_arrays():
    plain = make_axis("rows", [4, 8], CHIP)
    for values in (np.array([4, 8]), [np.int64(4), np.int64(8)], range(4, 9, 4)):
        assert make_axis("rows", values, CHIP) == plain
    assert make_axis("batch", np.array([1, 4]), CHIP).settings == (1, 4)
    spec = make_spec(["alexnet"], {"rows": np.arange(4, 12)}, CHIP,
                     sample={"points": np.int64(3), "seed": np.int64(1)})
    json.dumps(spec.described())


@pytest.mark.parametrize("value", [{}, [8], None, 1j])
def test_what_is_no_value_of_an_axis_is_refused(value):
    with pytest.raises(ValueError, match=r"rows: .* is no value"):
        make_axis("rows", [8, value], CHIP)


def test_a_recipe_takes_numpys_numbers():
    recipe = Recipe(lr=np.float64(0.1), epochs=np.int64(2), seed=np.int32(1))
    assert recipe == Recipe(lr=0.1, epochs=2, seed=1)
    json.dumps(recipe.as_dict())


@pytest.mark.parametrize("value", [np.bool_(True), True, 1.5, np.float64(2), "3"])
def test_what_is_no_whole_number_is_none_from_numpy_either(value):
    with pytest.raises(ValueError, match="M must be a whole number of at least 1"):
        replace(small(), M=value)


MANY = 10**400


@pytest.mark.parametrize("ask", [
    lambda: replace(small(), H=MANY),
    lambda: replace(small(), padding=(MANY, 0, 0, 0)),
    lambda: replace(small(), dilation=10**5000),
    lambda: Network("tiny", (small(),)).with_batch(MANY),
    lambda: simulate("alexnet", batch=10**5000),
    lambda: simulate("alexnet", mapping={"CONV1": Mapping(MANY, 1, 1, 1, 1, 1, 1)}),
    lambda: simulate("alexnet", bits=MANY),
    lambda: replace(CHIP, rows=MANY),
    lambda: replace(CHIP, mac_pJ=10**5000),
    lambda: make_axis("rows", [MANY], CHIP),
    lambda: make_axis("glb_KB", f"8,{MANY}", CHIP),
    lambda: make_axis("rows", f"8:{MANY}:{MANY}", CHIP),
    lambda: make_spec(["alexnet"], {}, CHIP, constraints={"max_area_mm2": MANY}),
    lambda: Recipe(lr=0.1, epochs=-MANY)])
def test_numbers_of_400_digits_are_refused_in_one_short_line(ask):
    with pytest.raises(ValueError) as problem:
        ask()
    assert len(str(problem.value)) < 1000 and "\n" not in str(problem.value)


@pytest.mark.parametrize("table", [
    "[array]\nrows = {}", "[glb]\nifmap_psum_KB = {}", "[glb]\nbank_B = {}",
    "[array]\nclock_GHz = {}", "[energy]\nmac_pJ = {}", "[timing]\nhop_cycles = {}",
    "[dram]\nlink_bits = {}", "[array]\nrows = -{}", "[energy]\nmac_pJ = {}.0"])
def test_numbers_of_400_digits_in_a_file_of_hardware_are_refused(
        table, tmp_path, capsys):
    file = tmp_path / "mine.toml"
    for digits in (400, 5000):
        file.write_text(
            'extends = "eyeriss_chip"\n' + table.format("1" + "0" * digits))
        with pytest.raises(SystemExit) as end:
            main(["simulate", "alexnet", "--hardware", str(file)])
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and len(said) < 400 and "mine" in said


def test_numbers_of_many_digits_in_tables_are_refused(tmp_path):
    layers, mappings = tmp_path / "net.csv", tmp_path / "map.csv"
    for digits in (60, 400, 5000):
        number = "1" + "0" * digits
        layers.write_text("layer,M,C,H,W,R,S,U\n"
                          f"A,{number},{number},{number},3,1,1,1\n")
        with pytest.raises(ValueError, match=r"net\.csv") as problem:
            network_from_csv(layers)
        assert len(str(problem.value)) < 300
        mappings.write_text(f"layer,m,n,e,p,q,r,t\nCONV1,{number},1,1,1,1,1,1\n")
        with pytest.raises(ValueError, match=r"CONV1|map\.csv"):
            simulate("alexnet", mapping=str(mappings))
    assert read_mappings("published")


@pytest.mark.parametrize("option", ["--batch", "--input"])
def test_numbers_of_400_digits_on_the_command_line_are_refused(option, capsys):
    with pytest.raises(SystemExit) as end:
        main(["simulate", "alexnet", option, str(MANY)])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and len(said) < 200


def test_messages_show_ordinary_values_whole():
    assert shown(10**30) == "1" + "0" * 30
    assert shown(10**5000) == "a number of some 5000 digits"
