"""Sweeps: points, their rows against simulate, limits, going on after a stop."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from draws import CHIP
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeriss_sim import simulate
from eyeriss_sim.area import area_mm2, glb_that_fits, memory_um2, storage_mm2
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.report import totals
from eyeriss_sim.search import search_shape
from eyeriss_sim.sweep import run
from eyeriss_sim.sweep.axes import make_axis, parse_values
from eyeriss_sim.sweep.dataset import opened, read_base, read_results
from eyeriss_sim.sweep.evaluate import evaluate_chunk, schema_of
from eyeriss_sim.sweep.spec import make_spec, read_spec

ISCA16 = load_hardware("isca16_256")
TINY = Network("tiny", (
    ConvLayer(name="conv1", M=8, C=3, H=10, W=10, R=3, S=3),
    ConvLayer(name="conv2", M=8, C=8, H=8, W=8, R=3, S=3),
    ConvLayer(name="conv3", M=8, C=8, H=8, W=8, R=3, S=3),
    ConvLayer(name="fc", M=10, C=8, H=6, W=6, R=6, S=6)))


def all_rows(spec):
    return pd.concat([evaluate_chunk(spec, chunk).to_pandas()
                      for chunk in range(spec.chunks)], ignore_index=True)


# ------------------------------------------------------------------------------- axes


@pytest.mark.parametrize("given, values", [
    ("8:32:4", (8, 12, 16, 20, 24, 28, 32)),
    ("8:30:4", (8, 12, 16, 20, 24, 28)),
    ("3:5", (3, 4, 5)),
    ("8:64:x2", (8, 16, 32, 64)),
    ("0.1:0.3:0.1", (0.1, 0.2, 0.1 + 2 * 0.1)),
    ("32, 64,108", (32, 64, 108)),
    (["4:6", 12], (4, 5, 6, 12)),
    (7, (7,)),
])
def test_values_are_lists_and_ranges_with_their_end(given, values):
    assert parse_values("rows", given) == values


@pytest.mark.parametrize("name, field, value, setting", [
    ("rows", "rows", 8, 8),
    ("array.rows", "rows", 8, 8),
    ("glb_KB", "glb_ifmap_psum_B", 108, 108 * 1024),
    ("glb_MB", "glb_ifmap_psum_B", 1, 2**20),
    ("glb.ifmap_psum_KB", "glb_ifmap_psum_B", 64, 65536),
    ("bank_KB", "glb_bank_B", 2, 2048),
    ("spad_words.filter", "spad_filter_words", 64, 64),
    ("spad_filter_words", "spad_filter_words", 64, 64),
    ("clock_GHz", "clock_MHz", 0.5, 500),
    ("energy_per_word_MAC.dram", "dram_MAC", 100, 100),
    ("dram_MAC", "dram_MAC", 100, 100),
    ("link_MHz", "dram_link_MHz", 30, 30),
    ("zeros", "zeros", "dense", "dense"),
])
def test_a_field_has_its_toml_key_its_own_and_a_short_name(name, field, value, setting):
    axis = make_axis(name, [value], CHIP)
    assert (axis.field, axis.settings) == (field, (setting,))


@pytest.mark.parametrize("name, values, message", [
    ("rowz", "8", "unknown field 'rowz'; did you mean rows\\? all of them: eyeriss-sim "
     "hardware --fields"),
    ("glb_kb", "8", "did you mean glb_KB"),
    ("spad_word.filter", "8", "unknown table 'spad_word'; did you mean spad_words"),
    ("spad_words.filtr", "8", r"\[spad_words\] has no 'filtr'; did you mean filter"),
    ("rows", "", "rows has no values"),
    ("rows", "32:8:4", "rows=32:8:4 is empty: 32 is above 8"),
    ("rows", "8:32:0", "the step must be positive"),
    ("rows", "8:32:x1", "by a factor above 1"),
    ("rows", "8:9:1:1", "is no range"),
    ("rows", "a:b", "is no range"),
    ("rows", "1:1000000000", "1,000,000,000 values"),
    ("rows", "1:1000000000:x1.0000001", "more than 1,000,000 values"),
    ("rows", "0,4", "must be positive, got 0"),
    ("rows", "8.5", "must be a whole number, got 8.5"),
    ("rows", "8,12,8", "8 is given twice"),
    ("rows", "8,many", "'many' is no number"),
    ("glb_KB", "100000000", "is the unit right"),
    ("ifmap", "3", "say spad_words.ifmap or network_words_per_cycle.ifmap"),
    ("glb.rows", "3", r"\[glb\] has no 'rows'"),
    ("gbl.rows", "3", "unknown table 'gbl'"),
    ("rf_words", "64", "eyeriss_chip has none of it"),
    ("zeros", "some", "known: dense, gate_ifmap, skip_either"),
    ("batch", "0", "batch must be a whole number"),
    ("accounting", "isca16", "unknown field"),
])
def test_a_wrong_field_or_value_is_told_with_its_name(name, values, message):
    with pytest.raises(ValueError, match=message):
        make_axis(name, values, CHIP)


# ------------------------------------------------------------------------------- area


def test_area_of_a_memory_is_the_published_one_at_its_sizes():
    assert memory_um2(16) == pytest.approx(16 * 169.89)
    assert memory_um2(512) == pytest.approx(512 * 20.87)
    assert memory_um2(100_000) == pytest.approx(100_000 * 12.70)
    assert memory_um2(384) == pytest.approx(384 * (27.48 + 20.87) / 2)


def test_storage_and_area_of_a_machine_are_the_sums_of_its_memories_and_pes():
    # 256 PEs with 512 B each and 128 KB: by hand from the published table.
    assert storage_mm2(ISCA16) == pytest.approx(
        (256 * 512 * 20.87 + 131072 * 12.70) / 1e6)
    assert area_mm2(ISCA16) - storage_mm2(ISCA16) == pytest.approx(256 * 0.02)
    assert area_mm2(replace(CHIP, rows=24)) > area_mm2(CHIP)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400_000), st.integers(1, 400), st.sampled_from([16, 64, 256]))
def test_the_area_of_a_machine_gives_it_its_own_glb_back(glb_words, rows, rf_words):
    machine = replace(ISCA16, rows=rows, rf_words=rf_words,
                      glb_ifmap_psum_B=2 * glb_words)
    size = glb_that_fits(machine, storage_mm2(machine))
    assert size >= 2 * glb_words
    # Small memories of two sizes may have one area; none larger fits, though.
    larger = replace(machine, glb_ifmap_psum_B=size + 2)
    assert storage_mm2(larger) > storage_mm2(machine) or size < 4096


def test_chip_glb_of_an_area_is_whole_banks():
    assert glb_that_fits(CHIP, storage_mm2(CHIP)) == CHIP.glb_ifmap_psum_B
    assert glb_that_fits(CHIP, storage_mm2(CHIP) + 0.06) == 102_400 + 4096
    assert glb_that_fits(CHIP, 0.5) == 0


# ------------------------------------------------------------------------------- rows


def test_a_table_of_layers_of_several_n_is_the_network_that_simulate_makes(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("layer,N,M,C,H,W,R,S,U\na,1,4,3,8,8,3,3,1\nb,4,4,3,8,8,3,3,1\n")
    spec = make_spec([str(path)], {"batch": 2})
    network, = spec.networks.values()
    assert [layer.N for layer in network.layers] == [2, 2]
    assert network.layers == simulate(str(path), batch=2).network.layers


@pytest.mark.parametrize("hardware, fields", [
    ("eyeriss_chip", {"rows": 8, "cols": 10, "glb_ifmap_psum_B": 65536,
                      "spad_filter_words": 128, "mac_pJ": 2.0}),
    ("isca16_256", {"rows": 8, "rf_words": 128, "dram_MAC": 100}),
])
@pytest.mark.parametrize("objective", ["energy", "cycles"])
def test_rows_are_what_simulate_says_of_each_point(hardware, fields, objective):
    spec = make_spec(["alexnet", "resnet20_cifar"],
                     {"batch": [1, 3], **fields}, hardware, objective=objective,
                     layers=True)
    rows = all_rows(spec)
    assert len(rows) == sum(map(spec.rows_of, range(spec.chunks)))
    # A sweep over sizes prices by size.
    machine = replace(load_hardware(hardware), **fields, price_by_size=True)
    for (name, batch), ours in rows.groupby(["network", "batch"]):
        result = simulate(name, machine, batch, objective=objective)
        whole = ours[ours.layer.isna()].iloc[0]
        for column, value in totals(result).items():
            assert whole[column] == pytest.approx(value, rel=1e-12), column
        assert whole.total_uJ == pytest.approx(result.total_uJ)
        assert whole.edp_isca16 == pytest.approx(totals(result)["edp_isca16"])
        assert whole.area_mm2 == area_mm2(machine)
        layers = ours[ours.layer.notna()].reset_index(drop=True)
        for column in ("layer", *"mnepqrt", "cycles", "energy_MAC", "dram_MB"):
            assert layers[column].tolist() == result.table[column].tolist()


def test_the_points_are_the_cross_product_each_once():
    spec = make_spec([TINY], {"mac_pJ": [1, 2], "rows": "4:8", "glb_KB": [8, 16, 32]})
    rows = all_rows(spec)
    pairs = list(zip(rows.mac_pJ, rows["rows"], rows.glb_KB, strict=True))
    assert len(pairs) == len(set(pairs)) == 2 * 5 * 3
    assert set(rows["rows"]) == {4, 5, 6, 7, 8} and set(rows.glb_KB) == {8, 16, 32}
    assert rows.point.tolist() == list(range(30))
    assert rows.chip_uJ.notna().all() and rows.reason.isna().all()


def test_a_machine_under_two_objectives_is_two_points_that_say_so():
    axes = {"rows": [4, 12], "cols": 14}
    rows = all_rows(make_spec([TINY], axes, objective=["joules", "cycles"]))
    assert rows.objective.tolist() == ["joules", "cycles"] * 2
    assert rows["rows"].tolist() == [4, 4, 12, 12]
    for objective in ("joules", "cycles"):
        alone = all_rows(make_spec([TINY], axes, objective=objective))
        pd.testing.assert_frame_equal(
            rows[rows.objective == objective].drop(columns="point").reset_index(
                drop=True)[list(alone.drop(columns="point"))],
            alone.drop(columns="point"))
    by_axis = make_spec([TINY], axes | {"objective": "joules,cycles"})
    assert by_axis.objectives == ("joules", "cycles")


def test_storage_and_throughput_are_those_of_the_machine_and_its_run():
    rows = all_rows(make_spec([TINY], {"rows": [12], "glb_KB": 100}, layers=True))
    whole = rows[rows.layer.isna()].iloc[0]
    assert whole.storage_B == 168 * 2 * (12 + 224 + 24) + 102_400 + 8192
    assert whole.macs_per_s == pytest.approx(whole.macs / (whole.total_ms / 1000))
    layers = rows[rows.layer.notna()]
    assert (layers.macs_per_s * layers.total_ms / 1000).sum() == pytest.approx(
        whole.macs)


def test_points_that_differ_only_in_prices_share_their_searches():
    search_shape.cache_clear()
    all_rows(make_spec([TINY], {"mac_pJ": "1:10", "rows": [4, 8], "static_mW": "0:9"},
                       objective="energy"))
    # Two sizes of the array, three shapes: conv2 and conv3 are one.
    assert search_shape.cache_info().misses == 2 * 3


def test_a_layer_that_cannot_be_mapped_is_a_row_with_the_reason():
    spec = make_spec([TINY], {"spad_filter_words": [4, 224]}, layers=True)
    rows = all_rows(spec)
    bad = rows[rows.spad_filter_words == 4]
    assert len(bad) == len(rows) / 2 == 1 + len(TINY.layers)
    whole = bad[bad.layer.isna()].iloc[0]
    assert whole.reason.startswith("fc: one filter row of 6 words exceeds the 4-word")
    assert np.isnan(whole.chip_uJ) and whole.pes == 168
    # Layers that can be mapped have figures, whatever the others do.
    layers = bad[bad.layer.notna()].set_index("layer")
    assert layers.reason.notna().to_dict() == {
        "conv1": False, "conv2": False, "conv3": False, "fc": True}
    assert layers.chip_uJ.notna()["conv1"]


def test_a_machine_that_cannot_be_is_a_row_with_the_reason():
    rows = all_rows(make_spec([TINY], {"glb_KB": [2, 4], "bank_B": [1024, 4096]}))
    reasons = rows.set_index(["glb_KB", "bank_B"]).reason
    assert "bank_B = 4096 must be" in reasons[2, 4096]
    assert reasons[4, 4096].startswith("conv1: one strip takes 1 GLB banks")
    assert reasons.isna().sum() == 2


def test_equal_storage_area_gives_the_glb_what_the_rfs_leave():
    spec = make_spec([TINY], {"rf_words": "64:1024:x2"}, "isca16_256",
                     constraints={"equal_storage_area": "isca16_256"})
    rows = all_rows(spec)
    assert rows.glb_KB[rows.rf_words == 256].tolist() == [128]
    fine = rows[rows.reason.isna()]
    assert fine.storage_mm2.between(storage_mm2(ISCA16) - 3e-5,
                                    storage_mm2(ISCA16) + 1e-9).all()
    assert fine.sort_values("rf_words").glb_KB.is_monotonic_decreasing
    over = rows[rows.rf_words == 1024]
    assert over.reason.str.contains("256 PEs leave no GLB of 4.4 mm2").all()


def test_equal_area_counts_the_pes_too():
    spec = make_spec([TINY], {"cols": [8, 14, 16]},
                     constraints={"equal_area": "eyeriss_chip"})
    rows = all_rows(spec).set_index("cols")
    assert rows.glb_KB[14] == 100
    assert (rows.area_mm2 <= area_mm2(CHIP) + 1e-9).all()
    assert rows.glb_KB[8] > 100 > rows.glb_KB[16]


def test_points_beyond_a_limit_say_so():
    rows = all_rows(make_spec([TINY], {"cols": [4, 14]},
                              constraints={"max_area_mm2": 5}))
    assert rows.reason.isna().tolist() == [True, False]
    assert rows.reason[1] == "area of 7.622 mm2 exceeds 5 mm2"
    assert np.isnan(rows.chip_uJ[1])
    rows = all_rows(make_spec([TINY], {"cols": [4, 14]},
                              constraints={"max_power_mW": 150}))
    assert rows.reason.isna().tolist() == (rows.power_mW <= 150).tolist()
    assert rows.power_mW.notna().all() and rows.reason[1].startswith("power of")


def test_chunks_have_one_schema_whatever_is_in_them():
    spec = make_spec([TINY], {"spad_filter_words": "4:40"}, layers=True)
    tables = [evaluate_chunk(spec, chunk) for chunk in range(spec.chunks)]
    assert len(tables) > 1
    assert {table.schema.to_string() for table in tables} == {
        schema_of(spec).to_string()}


# ------------------------------------------------------------------------------ sample


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_a_sample_is_of_distinct_points_and_comes_again(method):
    axes = {"rows": "4:40", "cols": "4:40", "glb_KB": "4:400:4"}
    sample = {"points": 500, "method": method, "seed": 3}
    spec, again, other = (make_spec([TINY], axes, sample=chosen) for chosen in (
        sample, sample, sample | {"seed": 4}))
    picks = [tuple(spec.picks(point)) for point in range(spec.points)]
    assert len(set(picks)) == 500
    assert picks == [tuple(again.picks(point)) for point in range(500)]
    assert picks != [tuple(other.picks(point)) for point in range(500)]
    for axis, picked in zip(spec.axes, zip(*picks, strict=True), strict=True):
        # All over the range, each quarter with about a quarter of the points.
        quarters = np.bincount(np.array(picked) * 4 // len(axis.values), minlength=4)
        assert quarters.min() > 85
    assert all(0 <= pick < len(axis.values) for points in picks
               for axis, pick in zip(spec.axes, points, strict=True))


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_a_sample_of_all_points_has_all_points(method):
    spec = make_spec([TINY], {"rows": "1:7", "cols": "1:11"},
                     sample={"points": 77, "method": method})
    assert len({tuple(spec.picks(point)) for point in range(77)}) == 77


def test_a_sweep_of_a_thousand_million_points_asks_for_a_sample():
    axes = {"rows": "1:1000", "cols": "1:1000", "glb_KB": "4:4000:4"}
    with pytest.raises(ValueError, match=r"1,000,000,000 points.*--sample 10000"):
        make_spec([TINY], axes)
    assert make_spec([TINY], axes, sample={"points": 10}).points == 10


@pytest.mark.parametrize("change, message", [
    (dict(networks=["resnet19"]), "did you mean resnet18"),
    (dict(networks=[]), "a sweep needs networks"),
    (dict(networks=None), "a sweep needs networks"),
    (dict(networks=[3]), "networks are names, got 3"),
    (dict(networks=["alexnet", "alexnet"]), "two networks are called alexnet"),
    (dict(hardware="eyeris"), "unknown hardware"),
    (dict(hardware="eyeriss_cihp"), "did you mean eyeriss_chip"),
    (dict(objective="power"), "unknown objective"),
    (dict(objective=3), "unknown objective 3; known: energy"),
    (dict(objective="energy,joule"), "unknown objective 'joule'; did you mean joules"),
    (dict(objective="joules,joules"), "objective: joules is given twice"),
    (dict(input_shape=224), "input_shape must be a list"),
    (dict(input_shape=[1, "3"]), "input_shape must be a list"),
    (dict(axes={"glb_KB": [64], "glb_B": [65536]}), "are the same field"),
    (dict(axes={"rows": [4]}, sample={"points": 2}), "more than the 1 that there are"),
    (dict(sample={"method": "sobol"}), "needs points"),
    (dict(axes={"rows": [4, 5]}, sample={"points": 1, "method": "grid"}),
     "known: sobol, random"),
    (dict(sample={"points": 0}), "at least 1"),
    (dict(sample={"count": 1}), "unknown key 'count'"),
    (dict(constraints={"max_area": 1}), "unknown key 'max_area'"),
    (dict(constraints={"max_area_mm2": -1}), "must be a positive number"),
    (dict(constraints={"equal_area": "big_chip"}), "unknown hardware 'big_chip'"),
    (dict(constraints={"equal_area": 4, "equal_storage_area": 3}), "drop one"),
    (dict(axes={"glb_KB": [64]}, constraints={"equal_area": 4}),
     "glb_KB can't be varied"),
    (dict(layers="yes"), "true or false"),
])
def test_a_wrong_sweep_is_refused_before_it_starts(change, message):
    given = dict(networks=["alexnet"], axes={}) | change
    with pytest.raises(ValueError, match=message):
        make_spec(**given)


def test_a_file_says_the_same_as_options(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text("""
hardware = "eyeriss_chip"
networks = ["resnet20_cifar"]
[set]
rows = "8:16:4"
batch = [1, 4]
glb.ifmap_psum_KB = [64, 100]
[constraints]
max_power_mW = 400
""")
    tables = read_spec(path)
    axes = tables.pop("set")
    spec = make_spec(axes=axes, **tables)
    assert spec.described() == make_spec(
        ["resnet20_cifar"],
        {"rows": "8,12,16", "batch": "1,4", "glb.ifmap_psum_KB": "64,100"},
        constraints={"max_power_mW": "400"}).described()
    path.write_text("network = 'alexnet'")
    with pytest.raises(ValueError, match="key 'network'; did you mean networks"):
        read_spec(path)


def test_networks_are_described_as_in_the_folders_of_earlier_sweeps():
    recurrent = Network("recurrent", (ConvLayer(
        name="c", M=4, C=2, H=9, W=8, R=3, S=2, groups=2, dilation=(2, 1), steps=3),))
    said = make_spec(["alexnet", recurrent], {"rows": [12]}).described()
    assert said["layers of alexnet, batch 1"] == "8 layers, sha256 315a92413b8253c6"
    assert said["layers of recurrent, batch 1"] == "1 layers, sha256 df14fb4d502a0f9e"


# ----------------------------------------------------------------------- the dataset


SPEC = make_spec([TINY], {"rows": "2:12", "cols": "2:11"})


class Stop(Exception):
    pass


def stop_after(points):
    def show(done, total):
        if done >= points:
            raise Stop
    return show


def test_a_sweep_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(run, "evaluate_chunk", lambda spec, chunk: (
        ran.append(chunk), evaluate_chunk(spec, chunk))[1])
    with pytest.raises(Stop):
        run.run_sweep(SPEC, tmp_path / "out", jobs=1, progress=stop_after(40))
    assert 0 < len(ran) < SPEC.chunks
    assert run.run_sweep(SPEC, tmp_path / "out", jobs=1) < SPEC.points
    assert sorted(ran) == list(range(SPEC.chunks)), "a chunk was run twice"
    assert run.run_sweep(SPEC, tmp_path / "out", jobs=1) == 0
    run.run_sweep(SPEC, tmp_path / "whole", jobs=2)
    for part in (tmp_path / "whole").glob("*.parquet"):
        assert part.read_bytes() == (tmp_path / "out" / part.name).read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"),
                                  read_results(tmp_path / "whole"))


def test_what_a_kill_or_a_disk_left_behind_is_cleaned_up(tmp_path):
    run.run_sweep(SPEC, tmp_path, jobs=1)
    whole = read_results(tmp_path)
    (tmp_path / ".0123456789abcdef.tmp").write_bytes(b"half a file")
    part = tmp_path / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:100])
    (tmp_path / "part-000004.parquet").unlink()
    assert run.run_sweep(SPEC, tmp_path, jobs=1) == len(
        [*SPEC.points_of(2), *SPEC.points_of(4)])
    assert not list(tmp_path.glob(".*.tmp"))
    pd.testing.assert_frame_equal(read_results(tmp_path), whole)


@pytest.mark.parametrize("change, difference", [
    (dict(axes={"rows": "2:13", "cols": "2:11"}), r"values of rows is \[2, 3, .*there"),
    (dict(axes={"rows": "2:12"}), r'fields is \["rows", "cols"\] there and \["rows"\]'),
    (dict(hardware="eyeriss_rtl"), 'hardware name is "eyeriss_chip" there'),
    (dict(objective="edp"), 'objective is "joules" there and "edp" here'),
    (dict(layers=True), "rows for layers is false there and true here"),
    (dict(networks=[replace(TINY, layers=TINY.layers[:2])]), "layers of tiny, batch 1"),
    (dict(constraints={"max_power_mW": 9}), "constraints is"),
    (dict(sample={"points": 50}), "sample is null there"),
])
def test_results_of_another_sweep_are_refused_with_the_difference(
        tmp_path, change, difference):
    with opened(tmp_path, SPEC):
        pass
    given = dict(networks=[TINY], axes={"rows": "2:12", "cols": "2:11"}) | change
    before = (tmp_path / "_sweep.json").read_text()
    with pytest.raises(ValueError, match=difference):
        run.run_sweep(make_spec(**given), tmp_path)
    assert (tmp_path / "_sweep.json").read_text() == before


def test_a_folder_that_is_no_place_for_results_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds no sweep, but notes\.txt"):
        run.run_sweep(SPEC, tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        run.run_sweep(SPEC, tmp_path / "notes.txt")
    with opened(tmp_path / "out", SPEC), pytest.raises(
            ValueError, match="another run is writing there"):
        run.run_sweep(SPEC, tmp_path / "out")
    with pytest.raises(ValueError, match="has results"):
        run.run_sweep(SPEC, tmp_path / "out", resume=False)
    with pytest.raises(ValueError, match="has no rows yet"):
        read_results(tmp_path / "out")
    with pytest.raises(ValueError, match="holds no results of a sweep"):
        read_results(tmp_path)


def test_the_hardware_itself_is_kept_beside_its_variants(tmp_path):
    spec = make_spec([TINY], {"glb_KB": [8, 16], "clock_GHz": 0.1, "zeros": "dense"})
    run.run_sweep(spec, tmp_path, jobs=1)
    base = read_base(tmp_path).iloc[0]
    assert (base.glb_KB, base.clock_GHz, base.zeros) == (100, 0.2, "gate_ifmap")
    assert base.energy_MAC == totals(simulate(TINY))["energy_MAC"]
    assert (read_results(tmp_path).hardware == "eyeriss_chip").all()
    assert json.loads((tmp_path / "_sweep.json").read_text())["chunks"] == 1


def test_the_first_ctrl_c_says_that_it_waits_and_the_second_does_not():
    told = []
    with pytest.raises(KeyboardInterrupt), run.interrupts(
            lambda: told.append("waiting")) as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted.is_set() and told == ["waiting"]
        signal.raise_signal(signal.SIGINT)
    assert told == ["waiting"]


def test_the_readmes_sweep_shows_what_its_machines_cost():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("least total_uJ  "):].split("eyeriss_chip is no")[0]
    shown = {line[:15].strip(): line[15:].replace(",", "").split()
             for line in table.splitlines()}
    assert list(shown) == ["least total_uJ", "least total_ms", "least area_mm2",
                           "eyeriss_chip"]
    for rows, cols, glb_KB, *figures, objective in shown.values():
        machine = replace(load_hardware("eyeriss_chip"), rows=int(rows), cols=int(cols),
                          glb_ifmap_psum_B=1024 * int(glb_KB), price_by_size=True)
        results = [simulate(name, machine, objective=objective)
                   for name in ("resnet18", "mobilenet_v2")]
        ours = (sum(one.total_uJ for one in results),
                sum(one.total_ms for one in results), area_mm2(machine))
        assert [f"{value:.4g}" for value in ours] == [
            f"{float(value):.4g}" for value in figures]
