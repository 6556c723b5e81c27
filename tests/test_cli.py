"""The command line as a user meets it: output, files, and one line for wrong input."""

import json
import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from eyeriss_sim import simulate
from eyeriss_sim.cli import main

MODEL = """
import torch
from torch import nn


def tiny():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(),
                         nn.Linear(8 * 8 * 8, 10))


def broken():
    raise RuntimeError("no such weights")
"""


def run(capsys, *args):
    """(exit code, stdout, stderr) of one command."""
    code = 0
    try:
        main([str(arg) for arg in args])
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def test_simulate_prints_every_layer_and_writes_the_same_table(capsys, tmp_path):
    path = tmp_path / "alexnet.csv"
    code, out, _ = run(capsys, "simulate", "alexnet", "--batch", 4, "--mapping",
                       "published", "--out", path)
    assert code == 0
    for layer in ("CONV1", "CONV5", "FC6", "FC8", "total", "not counted"):
        assert layer in out
    assert max(map(len, out.splitlines())) <= 100
    table = simulate("alexnet", batch=4, mapping="published").table
    pd.testing.assert_frame_equal(pd.read_csv(path), table)
    assert len(path.read_text().splitlines()) == 1 + len(table)


def test_table_carries_what_it_stands_on():
    table = simulate("alexnet", batch=4, mapping="published").table
    for column in ("network", "batch", "hardware", "zeros", "cost_table", "version"):
        assert table[column].nunique() == 1
    assert table.mapping_source.tolist() == ["published"] * 5 + ["search:joules"] * 3
    assert {"layer", "macs", *"mnepqrt", "passes", "active_pes", "cycles",
            "processing_ms", "total_ms", "glb_MB", "dram_MB", "energy_MAC", "rf_MAC",
            "noc_MAC", "glb_MAC", "dram_MAC", "alu_MAC", "chip_uJ", "dram_uJ",
            "total_uJ", "total_uJ_per_image", "power_mW"} <= set(table.columns)


def test_measured_energies_are_among_the_prices_that_a_table_carries(tmp_path):
    hardware = hardware_file(tmp_path, "[energy_per_word_pJ]\nglb = 12.5")
    table = simulate("alexnet", str(hardware)).table
    assert set(table.cost_table) == {
        "alu 1 rf 1 noc 2 glb 8.68056 dram 200; 1 MAC = 1.44 pJ; "
        "clock 5.26 pJ a PE and cycle"}


def test_simulate_takes_a_torch_module_from_a_file(capsys, tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    path = tmp_path / "out.csv"
    code, _, _ = run(capsys, "simulate", f"{tmp_path}/net.py:tiny", "--input",
                     "2,3,8,8", "--out", path)
    assert code == 0
    table = pd.read_csv(path)
    assert table.macs.tolist() == [2 * 8 * 8 * 8 * 3 * 9, 2 * 10 * 512]
    assert set(table.batch) == {2}


def test_explain_shows_nest_limits_energy_cycles_and_runners_up(capsys):
    code, out, _ = run(capsys, "explain", "alexnet", "conv3", "--batch", 4, "--mapping",
                       "published")
    assert code == 0
    for words in ("m=64 n=4 e=13 p=16 q=3 r=2 t=2", "22 of 25 banks", "156 of 168 PEs",
                  "exceeds the GLB banks of 25", "DRAM", "ramp",
                  "chosen", "#5"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 100


def test_explain_says_that_runners_up_are_ranked_without_zeros(capsys, tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("layer,ifmap\nCONV3,0.3\n")
    for layer, said in (("CONV3", True), ("CONV4", False)):
        _, out, _ = run(capsys, "explain", "alexnet", layer, "--densities", path)
        assert ("ranked as if nothing were zero" in out) is said


def test_explain_works_on_isca16_hardware_and_on_cut_filters(capsys, tmp_path):
    code, out, _ = run(capsys, "explain", "alexnet", "CONV2", "--batch", 16,
                       "--hardware", "isca16_256")
    assert code == 0 and "RF p*q*R + q*R + p = 251 of 256" in out
    table = tmp_path / "wide.csv"
    table.write_text("layer,M,C,H,W,R,S,U\nBIG,4,2,40,40,15,15,1\n")
    code, out, _ = run(capsys, "explain", table, "BIG", "--objective", "energy")
    assert code == 0
    assert "5 segments of 3 filter rows" in out
    assert "2 segments of 8 filter columns" in out


def test_explain_says_into_how_many_strips_columns_are_cut_and_why(capsys, tmp_path):
    table = tmp_path / "wide.csv"
    table.write_text("layer,M,C,H,W,R,S,U\nroad,64,64,1026,2050,3,3,1\n")
    code, out, _ = run(capsys, "explain", table, "road")
    assert code == 0
    strips = int(re.search(r"column_strips=(\d+) \(search:joules\)", out)[1])
    width = -(-2048 // strips)
    assert f"{strips} column strips of F={width}" in out
    assert f"F={width} windows" in out
    fewer = re.search(rf"\nstrips={strips} +at (\d+): GLB banks, ", out)[1]
    assert int(fewer) < strips
    assert f"F{strips}" in out.split("Best by joules")[1]
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 100


def hardware_file(folder, text):
    path = folder / "hw.toml"
    path.write_text(f'extends = "eyeriss_chip"\n{text}')
    return path


@pytest.mark.parametrize("args, words", [
    (["simulate", "alexnot"], "did you mean alexnet?"),
    (["simulate", "alexnet", "--hardware", "eyeris"], "presets are dense, eap_tool"),
    (["simulate", "alexnet", "--hardware", "no.toml"], "no.toml: No such file"),
    (["simulate", "alexnet", "--batch", "0"], "at least 1, got '0'"),
    (["simulate", "alexnet", "--batch", "-3"], "at least 1, got '-3'"),
    (["simulate", "alexnet", "--zeros", "some"],
     "known: dense, gate_ifmap, skip_either"),
    (["simulate", "alexnet", "--objective", "area"], "'energy', 'cycles', 'edp'"),
    (["simulate", "alexnet", "--mapping", "best"], "known: search, published"),
    (["simulate", "alexnet", "--mapping", "no.csv"], "no.csv: No such file"),
    (["simulate", "alexnet", "--hardware", "isca16_256", "--mapping", "published"],
     "mapping 'published' is the chip's"),
    (["simulate", "vgg16", "--mapping", "published"], "layer 'CONV1', which vgg16 has"),
    (["simulate", "alexnet", "--densities", "no.csv"], "no.csv: No such file"),
    (["simulate", "alexnet", "--out", "table.xls"], ".parquet"),
    (["simulate", "alexnet", "--out", "no/such/folder/a.csv"], "no/such/folder"),
    (["simulate", "net.py:make", "--input", "1,3,8,8"], "net.py"),
    (["simulate", "alexnet", "--input", "1,3,8,8"], "input shape"),
    (["simulate", "net.onnx"], "net.onnx"),
    (["simulate", "net.csv"], "net.csv: no such file"),
    (["explain", "alexnet", "CONV9"], "its layers are CONV1"),
    (["explain", "alexnet", "CONV1", "--runners-up", "1001"], "1001: at most 1000"),
    (["simulate"], "network"),
    (["simulat"], "simulate"),
])
def test_wrong_input_is_one_line_on_stderr_and_exit_code_2(
        capsys, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *args)
    assert code == 2
    assert out == ""
    # On a busy machine it is said meanwhile what is waited for.
    err = re.sub(r"eyeriss-sim: .* \.\.\.\n", "", err)
    assert err.count("\n") == 1 and err.startswith("eyeriss-sim")
    assert words in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text, words", [
    ("layer,ifmap\nCONV1,1.5\n", "line 2, column ifmap: a density must be a number"),
    ("layer,ifmap\nCONV1,-0.1\n", "line 2, column ifmap"),
    ("layer,ifmap\nCONV1,nan\n", "line 2, column ifmap"),
    ("layer,ifmap\nCONV1,lots\n", "got 'lots'"),
    ("layer,input\nCONV1,1\n", "unknown column 'input'; the columns are layer,ifmap"),
    ("layer,ifmap\nCONV11,1\n", "d.csv: density for layer 'CONV11'"),
    ("", "no layer in it"),
])
def test_bad_densities_are_refused_with_their_place(capsys, tmp_path, text, words):
    path, out_path = tmp_path / "d.csv", tmp_path / "out.csv"
    path.write_text(text)
    code, _, err = run(capsys, "simulate", "alexnet", "--densities", path, "--out",
                       out_path)
    assert code == 2 and words in err and err.count("\n") == 1
    assert not out_path.exists()


@pytest.mark.parametrize("text, words", [
    ("[spad_words]\nfilter = 10", "CONV1: one filter row of 11 words exceeds the 10"),
    ("[glb]\nifmap_psum_KB = 4", "CONV1: one strip takes"),
    ("[array]\nrows = -1", "[array] rows must be positive, got -1"),
])
def test_hardware_that_cannot_run_a_layer_names_layer_and_limit(
        capsys, tmp_path, text, words):
    code, _, err = run(capsys, "simulate", "alexnet", "--hardware",
                       hardware_file(tmp_path, text))
    assert code == 2 and words in err and err.count("\n") == 1


def test_user_mapping_that_does_not_fit_says_by_how_much(capsys, tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("layer,m,n,e,p,q,r,t\nCONV3,64,4,13,16,5,2,2\n")
    code, _, err = run(capsys, "simulate", "alexnet", "--batch", 4, "--mapping", path)
    assert code == 2
    assert "CONV3: q*S = 15 exceeds the ifmap spad words of 12 by 3; lower q" in err


def test_mapping_cell_of_endless_digits_is_refused_with_its_place(capsys, tmp_path):
    path = tmp_path / "map.csv"
    path.write_text(f"layer,m,n,e,p,q,r,t\nCONV3,{'9' * 5000},4,13,16,5,2,2\n")
    code, _, err = run(capsys, "simulate", "alexnet", "--mapping", path)
    assert code == 2 and "line 2, column m: must be a whole" in err and len(err) < 500


def test_user_mapping_is_used_and_its_n_is_clipped_to_the_batch(capsys, tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("layer,m,n,e,p,q,r,t\nCONV3,64,4,13,16,3,2,2\n")
    table = simulate("alexnet", batch=1, mapping=str(path)).table.set_index("layer")
    assert table.loc["CONV3", list("mnepqrt")].tolist() == [64, 1, 13, 16, 3, 2, 2]
    assert table.mapping_source["CONV3"] == str(path)


def test_explain_spells_out_names_that_a_terminal_can_not_show(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("layer,M,C,H,W,R,S,U\nsch\xf6n\x1b[31m,4,2,9,9,3,3,1\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "eyeriss_sim.cli", "explain", path, "sch\xf6n\x1b[31m"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(rb"sch\xf6n\x1b[31m of net on eyeriss_chip")


def test_a_result_never_replaces_the_file_that_it_is_made_from(capsys, tmp_path):
    path = tmp_path / "net.csv"
    text = "layer,M,C,H,W,R,S,U\nCONV,4,2,9,9,3,3,1\n"
    path.write_text(text)
    (tmp_path / "link.csv").symlink_to(path)
    for out in (path, tmp_path / "link.csv"):
        code, _, err = run(capsys, "simulate", path, "--out", out)
        assert code == 2 and "would replace the input" in err and err.count("\n") == 1
    assert path.read_text() == text


def test_paths_are_taken_like_their_text(tmp_path):
    net, maps, shares = (tmp_path / f"{name}.csv" for name in ("net", "map", "dens"))
    net.write_text("layer,M,C,H,W,R,S,U\nCONV,4,2,9,9,3,3,1\n")
    maps.write_text("layer,m,n,e,p,q,r,t\nCONV,4,1,7,4,1,1,1\n")
    shares.write_text("layer,ifmap\nCONV,0.5\n")
    table = simulate(net, mapping=maps, densities=shares).table
    pd.testing.assert_frame_equal(
        table, simulate(str(net), mapping=str(maps), densities=str(shares)).table)


def test_a_model_that_raises_is_one_line(capsys, tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    code, _, err = run(capsys, "simulate", f"{tmp_path}/net.py:broken", "--input",
                       "1,3,8,8")
    assert code == 2 and "no such weights" in err and err.count("\n") == 1


def test_torch_is_not_imported_unless_a_module_is_given():
    code = ("import sys; from eyeriss_sim.cli import main; "
            "main(['simulate', 'alexnet']); assert 'torch' not in sys.modules; "
            "assert 'matplotlib' not in sys.modules; assert 'onnx' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# ---------------------------------------------------------------- the machine


def test_machine_times_a_layer_of_ones_own_table_and_writes_json(capsys, tmp_path):
    (tmp_path / "net.csv").write_text("layer,M,C,H,W,R,S,U\nCONV,8,3,9,9,3,3,1\n")
    (tmp_path / "map.csv").write_text("layer,m,n,e,p,q,r,t\nCONV,8,1,5,4,2,1,2\n")
    path = tmp_path / "out.json"
    code, out, err = run(
        capsys, "machine", tmp_path / "net.csv", "CONV", "--mapping",
        tmp_path / "map.csv", "--hardware", "eyeriss_rtl", "--out", path)
    assert code == 0, err
    content = json.loads(path.read_text())
    assert [one["times"] for one in content["passes"]] == [1, 1, 1, 1]
    first = content["passes"][0]
    assert first["isolated_cycles"] >= first["streaming_cycles"] > 0
    assert max(map(len, out.splitlines())) <= 100
    code, _, _ = run(capsys, "machine", tmp_path / "net.csv", "CONV", "--mapping",
                     tmp_path / "map.csv", "--passes", 1, "--out", path)
    assert code == 0 and len(json.loads(path.read_text())["passes"]) == 1


@pytest.mark.parametrize("mode", ["timing", "functional"])
def test_machine_shows_no_difference_to_the_counting_model(capsys, tmp_path, mode):
    path = tmp_path / "out.json"
    code, out, _ = run(capsys, "machine", "resnet20_cifar", "layer3.0.conv1", "--mode",
                       mode, "--out", path)
    assert code == 0
    assert max(map(len, out.replace(str(path), "").splitlines())) <= 100
    rows = [line.split() for line in out.splitlines()
            if line.startswith(("RF", "NOC", "GLB", "DRAM"))]
    assert len(rows) == 25 and all(row[-1] == "0" for row in rows)
    content = json.loads(path.read_text())
    assert content["mode"] == mode
    for one, row in zip(content["accesses"], rows, strict=True):
        assert [one["level"], one["kind"], one["direction"]] == row[:3]
        assert f"{one['machine']:,}" == row[3] and one["difference"] == 0
    first = content["passes"][0]
    assert first["isolated_cycles"] >= first["streaming_cycles"] > 0
    if mode == "functional":
        cycles = content["cycles_of_each_pass"]
        assert len(cycles) == sum(one["times"] for one in content["passes"])
        assert sum(cycles) == content["processing_cycles"]


def test_machine_shows_coded_words_and_phases_of_functional_mode(capsys, tmp_path):
    (tmp_path / "net.csv").write_text(
        "layer,M,C,H,W,R,S,U\nFIRST,8,3,9,9,3,3,1\nCONV,8,3,9,9,3,3,1\n")
    path = tmp_path / "out.json"
    for layer, coded in (("FIRST", False), ("CONV", True)):
        code, out, err = run(capsys, "machine", tmp_path / "net.csv", layer, "--mode",
                             "functional", "--out", path)
        assert code == 0, err
        content = json.loads(path.read_text())
        read, = (one["machine"] for one in content["accesses"]
                 if (one["level"], one["kind"]) == ("DRAM", "ifmap"))
        # The network's input crosses as it is.
        words = content["ifmap_dram_words"]
        assert words == content["counting_model_ifmap_dram_words"]
        assert words < read if coded else words == read
        assert content["ofmap_dram_words"] == (
            content["counting_model_ofmap_dram_words"]) < 8 * 7 * 7
        rows = [line.split() for line in out.splitlines()]
        assert ["ifmap", "words", "on", "the", "link,", "of", f"{read:,}",
                f"{words:,}", f"{words:,}", "0"] in rows
        in_all = f"{sum(content['phases'].values()):,}"
        assert ["cycles", "in", "all", in_all, in_all, "0"] in rows
        macs_left, = (one["machine"] for one in content["accesses"] if (
            one["level"], one["kind"], one["direction"]) == ("RF", "ifmap", "read"))
        assert 0.3 < macs_left / content["macs"] < 0.7


def test_machine_refuses_zeros_and_mappings_that_are_not_its_own_at_once(
        capsys, tmp_path):
    (tmp_path / "skip.toml").write_text(
        'name = "skip"\nextends = "eyeriss_chip"\n[zeros]\nhandling = "skip_either"\n')
    (tmp_path / "map.csv").write_text("layer,m,n,e,p,q,r,t\nCONV9,8,1,5,4,2,1,2\n")
    for options, words in (
            (["--hardware", tmp_path / "skip.toml", "--mode", "functional"],
             "skip: the machine has no datapath for zeros"),
            (["--hardware", tmp_path / "skip.toml", "--mode", "timing"],
             "skip: the machine has no datapath for zeros"),
            (["--mapping", tmp_path / "map.csv"],
             "mapping for layer 'CONV9', which alexnet has not")):
        code, out, err = run(capsys, "machine", "alexnet", "CONV3", *options)
        assert code == 2 and out == "" and err.count("\n") == 1 and words in err
    # One table of mappings may serve several networks, as long as the layer is there.
    (tmp_path / "net.csv").write_text("layer,M,C,H,W,R,S,U\nCONV9,8,3,9,9,3,3,1\n")
    (tmp_path / "map.csv").write_text(
        "layer,m,n,e,p,q,r,t\nCONV8,8,1,5,4,2,1,2\nCONV9,8,1,5,4,2,1,2\n")
    code, out, _ = run(capsys, "machine", tmp_path / "net.csv", "CONV9", "--mapping",
                       tmp_path / "map.csv")
    assert code == 0 and "m=8 n=1 e=5 p=4 q=2 r=1 t=2" in out


@pytest.mark.parametrize("mode", ["timing", "functional"])
def test_machine_draws_a_timeline_and_writes_a_waveform(capsys, tmp_path, mode):
    (tmp_path / "net.csv").write_text("layer,M,C,H,W,R,S,U\nCONV,8,3,9,9,3,3,1\n")
    paths = [tmp_path / name for name in ("line.png", "wave.vcd")]
    code, out, err = run(
        capsys, "machine", tmp_path / "net.csv", "CONV", "--mode", mode, "--timeline",
        paths[0], "--vcd", paths[1], "--trace-passes", 2)
    assert code == 0, err
    assert f"written: {paths[0]}, {paths[1]}" in out
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "$enddefinitions $end" in paths[1].read_text("ascii")


@pytest.mark.parametrize("options, words", [
    (["CONV9"], "its layers are CONV1"),
    (["CONV3", "--hardware", "isca16_256"], "only hardware with accounting"),
    (["CONV3", "--out", "t.csv"], "t.csv: no format for '.csv'; use .json"),
    (["CONV3", "--mode", "functional", "--passes", "2"], "goes with --mode timing"),
    (["CONV3", "--out", "no/such/t.json"], "no/such"),
    (["CONV3", "--timeline", "t.vcd"], "t.vcd: no format for '.vcd'; use .png"),
    (["CONV3", "--timeline", "no/such/t.png"], "there is no folder no/such"),
    (["CONV3", "--vcd", "t.png"], "t.png: no format for '.png'; use .vcd"),
    (["CONV3", "--vcd", "."], "is a folder"),
    (["CONV3", "--trace-passes", "2"], "goes with --timeline or --vcd"),
    (["CONV3", "--vcd", "t.vcd", "--trace-passes", "0"], "at least 1"),
])
def test_wrong_orders_to_the_machine_are_one_line(
        capsys, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "machine", "alexnet", *options)
    assert code == 2 and out == "" and err.count("\n") == 1 and words in err
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- real tensors


@pytest.fixture
def measured(tmp_path):
    """A module's file, its weights with every second one zero, and three images."""
    import numpy as np
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(0)
    (tmp_path / "net.py").write_text(MODEL)
    state = {"0.weight": torch.randn(8, 3, 3, 3), "0.bias": torch.zeros(8),
             "3.weight": torch.randn(10, 512), "3.bias": torch.zeros(10)}
    for name in ("0.weight", "3.weight"):
        state[name].view(-1)[::2] = 0
    save_file(state, tmp_path / "w.safetensors")
    np.savez(tmp_path / "batch.npz", images=np.random.default_rng(0).random(
        (3, 3, 8, 8), dtype=np.float32))
    return tmp_path


def test_simulate_counts_zeros_of_real_weights_and_images(capsys, measured):
    path = measured / "out.csv"
    code, _, err = run(
        capsys, "simulate", f"{measured}/net.py:tiny", "--weights",
        measured / "w.safetensors", "--images", measured / "batch.npz", "--hardware",
        "eap_tool", "--out", path)
    assert code == 0, err
    table = pd.read_csv(path)
    assert table.filter_density.tolist() == [0.5, 0.5]
    assert set(table.batch) == {3} and set(table.zeros) == {"skip_either"}
    assert table.ifmap_density[0] == pytest.approx(64 / 100)     # the padding is zero
    assert 0.3 < table.ifmap_density[1] < 0.7
    code, out, _ = run(
        capsys, "explain", f"{measured}/net.py:tiny", "0", "--images",
        measured / "batch.npz", "--batch", 1)
    assert code == 0 and "zeros gate_ifmap" in out


@pytest.mark.parametrize("options, words", [
    (["--weights", "w.safetensors"], "give --images too"),
    (["--images", "no.npz"], "no.npz"),
    (["--images", "w.safetensors"], "w.safetensors"),
    (["--images", "batch.npz", "--weights", "batch.npz"], "batch.npz"),
    (["--images", "batch.npz", "--input", "1,3,8,8"], "--input can't go with --images"),
    (["--images", "batch.npz", "--densities", "d.csv"], "--densities can't go with"),
    (["--images", "wide.npz"], "tiny"),
])
def test_wrong_tensors_are_one_line(capsys, measured, monkeypatch, options, words):
    import numpy as np
    np.savez(measured / "wide.npz", images=np.zeros((1, 3, 9, 9), np.float32))
    monkeypatch.chdir(measured)
    code, out, err = run(
        capsys, "simulate", "net.py:tiny", *options, "--out", "out.csv")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert words in err
    assert not (measured / "out.csv").exists()


def test_images_need_a_module(capsys, measured):
    code, _, err = run(
        capsys, "simulate", "alexnet", "--images", measured / "batch.npz")
    assert code == 2 and "--images need a torch module" in err


def test_the_pruning_tools_text_is_a_network_with_zeros(capsys, tmp_path):
    # CONV3 of AlexNet: 256 maps of 13x13, padding 1, a third of the ifmap zero.
    line = "3,13,13,256,1,14421,16,3,3,256,384,0,8,13,13,384,1,0,16,1,1,1,1,1,1"
    (tmp_path / "net.txt").write_text(line + "\n")
    path = tmp_path / "out.csv"
    code, _, err = run(capsys, "simulate", tmp_path / "net.txt", "--hardware",
                       "eap_tool", "--out", path)
    assert code == 0, err
    row = pd.read_csv(path).iloc[0]
    assert row.macs == 384 * 256 * 9 * 13 * 13
    assert row.ifmap_density == pytest.approx((13 * 13 * 256 - 14421) / (15 * 15 * 256))
    assert (row.ifmap_bits, row.filter_bits, row.ofmap_bits) == (16, 8, 16)
