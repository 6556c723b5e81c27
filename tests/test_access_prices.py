"""Prices that go by the size of each memory: presets as ever, larger buffers dearer."""

from dataclasses import replace
from math import log

import pandas as pd
import pytest
from draws import CHIP, layers, machines
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeriss_sim import Densities, simulate
from eyeriss_sim.cli import main
from eyeriss_sim.counts import count
from eyeriss_sim.energy import level_energy, width_factors
from eyeriss_sim.hardware import load_hardware, preset_names
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.search import search
from eyeriss_sim.sweep.evaluate import PRICES, evaluate_base, evaluate_chunk
from eyeriss_sim.sweep.spec import make_spec
from eyeriss_sim.widths import BITS_16, Bits, at_widths

ISCA16 = load_hardware("isca16_256")
NET = Network("net", (ConvLayer(name="conv", M=16, C=12, H=16, W=16, R=3, S=3),
                      ConvLayer(name="fc", M=20, C=64, H=1, W=1, R=1, S=1)))


def rows_of(spec):
    return pd.concat([evaluate_chunk(spec, chunk).to_pandas()
                      for chunk in range(spec.chunks)], ignore_index=True)


def test_a_200th_of_the_size_costs_a_sixth():
    small = replace(CHIP, price_by_size=True, glb_ifmap_psum_B=512, glb_bank_B=512)
    assert small.cost_MAC("glb", "psum") == pytest.approx(1)
    # The filter buffer is a memory of its own, and so is each spad.
    assert small.cost_MAC("glb", "filter") == 6
    large = replace(CHIP, price_by_size=True, spad_filter_words=448, glb_filter_B=4096)
    twice = 2 ** (log(6) / log(200))
    assert large.cost_MAC("rf", "filter") == pytest.approx(twice)
    assert large.cost_MAC("glb", "filter") == pytest.approx(6 / twice)
    assert [large.cost_MAC("rf", kind) for kind in ("ifmap", "psum")] == [1, 1]
    assert (large.cost_MAC("noc"), large.cost_MAC("dram")) == (2, 200)
    pool = replace(ISCA16, price_by_size=True, rf_words=512, glb_ifmap_psum_B=65536)
    for kind in ("ifmap", "filter", "psum"):
        assert pool.cost_MAC("rf", kind) == pytest.approx(twice)
        assert pool.cost_MAC("glb", kind) == pytest.approx(6 / twice)


def test_a_price_in_pJ_is_of_the_memory_that_was_measured():
    machine = replace(CHIP, price_by_size=True, glb_ifmap_psum_B=204800, glb_pJ=9.0,
                      spad_psum_words=48, rf_psum_pJ=2.0, spad_ifmap_words=24)
    assert machine.cost_pJ("glb", "psum") == pytest.approx(9)
    assert machine.cost_pJ("glb", "filter") == pytest.approx(9)
    assert machine.cost_pJ("rf", "psum") == pytest.approx(2)
    assert machine.cost_MAC("rf", "ifmap") > 1


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_costs_to_the_bit_what_it_costs(name):
    by_size = replace(load_hardware(name), price_by_size=True)
    assert [by_size.cost_MAC(*memory) for memory in PRICES.values()] == [
        load_hardware(name).cost_MAC(*memory) for memory in PRICES.values()]
    plain, sized = (simulate("resnet20_cifar", hardware, 2).table.drop(
        columns="cost_table") for hardware in (name, by_size))
    pd.testing.assert_frame_equal(plain, sized, check_exact=True)
    base = evaluate_base(make_spec(["resnet20_cifar"], {"batch": 2}, name,
                                   price_by_size=True)).to_pandas()
    assert base.energy_MAC.item() == pytest.approx(plain.energy_MAC.sum(), rel=1e-12)


def test_files_are_priced_at_the_sizes_of_their_nearest_preset(tmp_path):
    (tmp_path / "big.toml").write_text(
        'extends = "isca16_1024"\n[glb]\nifmap_psum_KB = 1024\n')
    path = tmp_path / "bigger.toml"
    path.write_text('extends = "big.toml"\n[energy]\nprice_by_size = true\n'
                    '[energy_per_word_MAC]\nglb = 3\n')
    # isca16_1024 has 512 KB, whatever the preset that it extends.
    assert load_hardware(str(path)).cost_MAC("glb") == pytest.approx(
        3 * 2 ** (log(6) / log(200)))
    path.write_text('extends = "big.toml"\n')
    assert load_hardware(str(path)).cost_MAC("glb") == 6
    assert replace(load_hardware(str(path)), price_by_size=True).cost_MAC("glb") > 6


@settings(max_examples=40, deadline=None)
@given(layer=layers(), drawn=machines(), bits=st.sampled_from([BITS_16, Bits(8, 4, 8)]),
       pack=st.booleans(), objective=st.sampled_from(["energy", "joules"]))
def test_the_search_minimises_what_is_reported_at_every_memorys_own_price(
        layer, drawn, bits, pack, objective):
    machine = replace(drawn, price_by_size=True, pack=pack, voltage_V=0.9,
                      clock_pJ_per_PE_cycle=0, rf_psum_MAC=1.3)
    sized = at_widths(machine, bits, "drawn")
    try:
        found = search(layer, sized, objective)
    except ValueError:
        return
    assert found.scores[0] == pytest.approx(
        energy_of(layer, sized, found.mappings[0]), rel=1e-9)
    as_words = search(layer, at_widths(replace(machine, price_by_size=False), bits,
                                       "drawn"), objective).mappings[0]
    assert found.scores[0] <= energy_of(layer, sized, as_words) * (1 + 1e-9)


def energy_of(layer, sized, mapping):
    """Normalised energy of a dense layer, by the model that reports use."""
    counts = count(layer, sized, mapping)
    by_level, alu = level_energy(counts.accesses, counts.macs, sized.cost_MAC,
                                 width_factors(sized))
    return by_level.sum() + alu


def test_sweeps_over_sizes_price_by_size_and_others_do_not_unless_asked():
    for axes, constraints, expected in (
            ({"glb_KB": [50, 100]}, {}, True), ({"spad_words.psum": 12}, {}, True),
            ({"glb.filter_B": 4096}, {}, True), ({"rows": [8, 12]}, {}, False),
            ({"mac_pJ": 2}, {}, False), ({"rows": 8}, {"equal_area": 7}, True)):
        spec = make_spec([NET], axes, constraints=constraints)
        assert spec.hardware.price_by_size is expected
        for asked in (True, False):
            assert make_spec([NET], axes, constraints=constraints, price_by_size=asked
                             ).hardware.price_by_size is asked
    with pytest.raises(ValueError, match="price_by_size must be true or false, got 1"):
        make_spec([NET], price_by_size=1)
    rows = rows_of(make_spec([NET], {"price_by_size": "false,true", "glb_KB": 200}))
    assert rows.price_by_size.tolist() == [False, True]
    assert rows.glb_price_MAC[0] == 6 < rows.glb_price_MAC[1]


@pytest.mark.parametrize("preset, axes, toml", [
    ("eyeriss_chip", {"glb_KB": [48, 256], "spad_words.filter": [96, 512],
                      "glb.filter_KB": 4},
     "[glb]\nifmap_psum_KB = {glb_KB}\nfilter_KB = 4\n"
     "[spad_words]\nfilter = {spad_words_filter}\n"),
    ("eap_tool", {"rf_words": [64, 300], "glb_KB": [64, 100], "dram_MAC": 150},
     "[rf]\nwords = {rf_words}\n[glb]\nifmap_psum_KB = {glb_KB}\n"
     "[energy_per_word_MAC]\ndram = 150\n")])
def test_hardware_of_a_row_as_a_file_gives_the_rows_joules(
        tmp_path, preset, axes, toml):
    rows = rows_of(make_spec([NET], axes, preset, bits="ifmap=8"))
    assert rows.price_by_size.all() and len(rows) == 4
    for row in rows.to_dict("records"):
        said = toml.format(**{key.replace(".", "_"): value
                              for key, value in row.items()})
        flag = tmp_path / "flag.toml"
        flag.write_text(f'extends = "{preset}"\n[energy]\nprice_by_size = true\n{said}')
        # The prices of the row instead of the flag.
        prices = {column.removesuffix("_price_MAC"): row[column] for column in PRICES}
        if preset == "eap_tool":
            prices = {"rf": prices["rf_ifmap"], **{
                level: prices[level] for level in ("alu", "noc", "glb", "dram")}}
        priced = tmp_path / "prices.toml"
        priced.write_text(
            f'extends = "{preset}"\n' + said.split("[energy_per_word_MAC]")[0]
            + "[energy_per_word_MAC]\n" + "".join(
                f"{name} = {price!r}\n" for name, price in prices.items()))
        for path in (flag, priced):
            result = simulate(NET, str(path), bits="ifmap=8")
            assert result.total_uJ == pytest.approx(row["total_uJ"], rel=1e-12)
        assert row["cost_table"] == simulate(NET, str(flag)).provenance["cost_table"]
        assert "by the size of each memory" in row["cost_table"]


def test_least_energy_is_no_longer_that_of_the_largest_buffer():
    axes = {"glb_KB": [16, 32, 64, 100, 256, 8192]}
    flat, by_size = (
        rows_of(make_spec(["resnet20_cifar"], axes, price_by_size=asked)).set_index(
            "glb_KB").energy_MAC for asked in (False, True))
    assert flat.is_monotonic_decreasing and flat[8192] == flat.min()
    assert by_size.idxmin() < 256 and by_size[8192] > 1.1 * by_size[100]
    assert by_size[100] == flat[100]


def test_simulate_prices_by_size_only_if_asked(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "eyeriss_chip"\n[glb]\nifmap_psum_KB = 400\n')
    plain, asked = (simulate(NET, str(path), price_by_size=asked)
                    for asked in (False, True))
    assert plain.total_uJ < asked.total_uJ
    main(["simulate", "resnet20_cifar", "--hardware", str(path), "--price-by-size"])
    assert "by the size of each memory" in " ".join(capsys.readouterr().out.split())
    main(["simulate", "resnet20_cifar", "--hardware", str(path)])
    assert "by the size of each memory" not in " ".join(capsys.readouterr().out.split())
    assert simulate(NET, densities={"conv": Densities(0.5)}, price_by_size=True
                    ).total_uJ == simulate(NET, densities={"conv": Densities(0.5)}
                                           ).total_uJ
