"""Matrix products: how their rows are laid, what that costs, padding, exact zeros."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from draws import CHIP
from torch import nn

from eyeriss_sim import EnergyOracle, simulate
from eyeriss_sim.cli import main
from eyeriss_sim.counts import count
from eyeriss_sim.cycles import count_cycles
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.importers.csv_table import network_from_csv
from eyeriss_sim.importers.torch_module import network_from_module
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.machine.timing import time_layer
from eyeriss_sim.mapping import Mapping, check_mapping
from eyeriss_sim.product_maps import laid, maps_of, squarest_map, values_on_map
from eyeriss_sim.search import OBJECTIVES, search
from eyeriss_sim.zeros import NO_SAVINGS, Savings

MACHINES = ("eyeriss_chip", "isca16_256")


def product(rows, inner, filters, **more):
    H, W = squarest_map(rows)
    return ConvLayer(name="product", M=filters, C=inner, H=H, W=W, R=1, S=1, **more)


def cost_a_row(rows, inner, filters, hardware, objective):
    score, = search(product(rows, inner, filters), load_hardware(hardware),
                    objective).scores
    return score / rows ** (2 if objective == "edp" else 1)


# ------------------------------------------------------------------------------ price


def hold_to_the_next_smooth_number(rows, smooth, inner, filters, hardware, objective):
    """A row costs at most a tenth more, and all rows no more than those."""
    ours, theirs = (cost_a_row(one, inner, filters, hardware, objective)
                    for one in (rows, smooth))
    assert ours <= 1.1 * theirs


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("hardware", MACHINES)
@pytest.mark.parametrize("inner, filters", [(96, 64), (192, 192)])
@pytest.mark.parametrize("rows, smooth", [
    (197, 196), (197, 200), (257, 256), (257, 270), (577, 576), (577, 600)])
def test_tokens_with_one_more_of_class_cost_as_much_a_row_as_those_without(
        rows, smooth, inner, filters, hardware, objective):
    hold_to_the_next_smooth_number(rows, smooth, inner, filters, hardware, objective)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("hardware", MACHINES)
@pytest.mark.parametrize("inner, filters", [(768, 768), (768, 3072)])
@pytest.mark.parametrize("rows, smooth", [
    (197, 196), (197, 200), (257, 256), (257, 270), (577, 576), (577, 600),
    (3137, 3136), (3137, 3150)])
def test_tokens_of_a_base_transformer_cost_as_much_a_row_as_smooth_numbers(
        rows, smooth, inner, filters, hardware, objective):
    hold_to_the_next_smooth_number(rows, smooth, inner, filters, hardware, objective)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("hardware", MACHINES)
@pytest.mark.parametrize("rows, next_up", [
    (3, 4), (5, 6), (7, 8), (11, 12), (17, 18), (101, 104),
    *(pytest.param(*rows, marks=pytest.mark.slow)
      for rows in ((1031, 1032), (4099, 4100)))])
def test_awkward_rows_cost_no_more_than_more_rows(rows, next_up, hardware, objective):
    machine = load_hardware(hardware)
    for groups in (1, 3):
        ours, theirs = (
            search(product(one, 24, 16 * groups, groups=groups), machine,
                   objective).scores[0] for one in (rows, next_up))
        assert ours <= theirs


def test_rows_of_every_source_are_one_layer(tmp_path):
    (tmp_path / "gemm.csv").write_text("Layer,M,N,K\nfc,197,64,96\n")
    table, = network_from_csv(tmp_path / "gemm.csv").layers
    module, = network_from_module(
        nn.Sequential(nn.Linear(96, 64)), (1, 197, 96), "net").layers
    assert replace(module, name="fc") == table == replace(
        product(197, 96, 64), name="fc")
    onnx = pytest.importorskip("onnx")
    from eyeriss_sim.importers.onnx_file import network_from_onnx
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")], "graph",
        [value("x", onnx.TensorProto.FLOAT, (1, 197, 96))],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.zeros((96, 64), np.float32), "w")])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "fc.onnx"))
    file, = network_from_onnx(tmp_path / "fc.onnx").layers
    assert file == table


# ------------------------------------------------------------------------------- maps


def test_only_pixels_without_neighbours_in_an_odd_number_have_other_maps():
    tokens = product(197, 8, 8)
    assert maps_of(tokens) == ((1, 197), (11, 18), (10, 20), (12, 17))
    assert maps_of(tokens, upright=True)[4:] == (
        (197, 1), (18, 11), (20, 10), (17, 12))
    for layer in (product(196, 8, 8), product(200, 8, 8), product(1, 8, 8),
                  replace(tokens, S=3), replace(tokens, V=2),
                  replace(tokens, padding=(0, 0, 1, 0)),
                  ConvLayer(name="conv", M=8, C=8, H=14, W=14, R=3, S=3)):
        assert len(maps_of(layer)) == 1, layer


def test_padding_is_charged_and_listed_but_is_no_product(capsys, tmp_path):
    path = tmp_path / "gemm.csv"
    path.write_text("Layer,M,N,K\nfc,257,64,96\nother,256,64,96\n")
    maps = tmp_path / "maps.csv"
    maps.write_text("layer,m,n,e,p,q,r,t,map_H,map_W\nfc,64,1,10,16,6,4,2,13,20\n")
    result = simulate(str(path), "isca16_256", mapping=str(maps))
    padded, even = result.by_layer
    row = result.table.iloc[0]
    assert row.macs == padded.layer.macs == 257 * 64 * 96
    assert (row.map_H, row.map_W, row.padding_macs) == (13, 20, 3 * 64 * 96)
    assert padded.counts.macs == row.macs + row.padding_macs
    assert padded.alu_MAC == padded.counts.macs
    assert row.edp_isca16 == pytest.approx(
        row.energy_MAC / row.macs * padded.counts.macs * 256 / row.active_pes)
    assert (even.mapping.map_H, result.table.padding_macs[1]) == (0, 0)
    options = ["--hardware", "isca16_256", "--mapping", str(maps)]
    main(["simulate", str(path), *options])
    said = " ".join(capsys.readouterr().out.split())
    assert "on another map: fc 257 on 13x20 (padding: 0.02 M MACs)" in said
    main(["explain", str(path), "fc", *options])
    said = " ".join(capsys.readouterr().out.split())
    assert "1.58 M MACs of 257 rows, and 0.02 M of the padding of their map" in said


@pytest.mark.parametrize("hardware", MACHINES)
def test_a_map_is_read_back_from_a_table_of_mappings(hardware, tmp_path):
    network = Network("net", (product(257, 96, 64), replace(
        product(1, 64, 8), name="head")))
    columns = ["layer", *"mnepqrt", "row_segments", "column_strips", "map_H", "map_W"]
    found = simulate(network, hardware, objective="edp").table
    if hardware == "isca16_256":
        found["row_segments"] = 0
    found[columns].to_csv(tmp_path / "own.csv", index=False)
    again = simulate(network, hardware, mapping=str(tmp_path / "own.csv")).table
    assert again.cycles.tolist() == found.cycles.tolist()
    assert again.total_uJ.tolist() == pytest.approx(found.total_uJ.tolist(), rel=1e-12)
    assert again[columns[-2:]].equals(found[columns[-2:]])


@pytest.mark.parametrize("layer, map_H, map_W, message", [
    (product(17, 4, 4), 3, 5, "does not hold its 17; give map_H = 4"),
    (product(17, 4, 4), 5, 5, "rows that stay empty for its 17; give map_H = 4"),
    (product(17, 4, 4), 0, 18, "does not hold its 17; give map_H = 1"),
    (product(17, 4, 4), 18, 0, "does not hold its 17"),
    (ConvLayer(name="conv", M=4, C=4, H=1, W=17, R=1, S=3), 3, 6, "neighbours"),
])
def test_a_map_that_pixels_can_t_be_laid_on_is_refused(layer, map_H, map_W, message):
    mapping = Mapping(1, 1, 1, 1, 1, 1, 1, map_H=map_H, map_W=map_W)
    with pytest.raises(ValueError, match=message):
        check_mapping(layer, CHIP, mapping)


def test_the_machine_steps_a_padded_map_as_it_is_counted():
    layer = product(17, 5, 6)
    mapping = Mapping(6, 1, 3, 3, 2, 2, 2, map_H=3, map_W=6)
    check_mapping(layer, CHIP, mapping)
    counts = count(layer, CHIP, mapping)
    timing = time_layer(laid(layer, mapping), CHIP, mapping)
    assert np.array_equal(timing.accesses, counts.accesses)
    assert counts.macs == 18 * 5 * 6
    cycles = count_cycles(layer, CHIP, mapping, counts, NO_SAVINGS)
    assert timing.processing_cycles == cycles.processing


def test_a_batch_keeps_the_map_of_each_image():
    network = Network("net", (product(257, 96, 64),)).with_batch(3)
    mapping = Mapping(64, 3, 10, 16, 6, 4, 2, map_H=13, map_W=20)
    one, = simulate(network, "isca16_256", mapping={"product": mapping}).by_layer
    assert one.counts.macs == 3 * 13 * 20 * 96 * 64


# ------------------------------------------------------------------------------ zeros


@pytest.mark.parametrize("zeros", ["gate_ifmap", "skip_either"])
def test_products_of_exact_zeros_are_met_on_a_padded_map(zeros):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(24, 16, bias=False))
    images = torch.randn(2, 257, 24).relu()
    with torch.no_grad():
        module[0].weight *= torch.rand(16, 24) < 0.5
    mapping = Mapping(16, 2, 10, 8, 6, 4, 2, map_H=13, map_W=20)
    oracle = EnergyOracle("isca16_256", zeros, batch=2, mapping={"0": mapping})
    one, = oracle(module, images).by_layer
    assert one.counts.macs == 2 * 13 * 20 * 24 * 16
    alive, weights = (images != 0).double(), (module[0].weight != 0).double()
    products = (alive @ weights.T).sum().item() if zeros == "skip_either" else (
        16 * alive.sum().item())
    assert one.alu_MAC == pytest.approx(products, rel=1e-12)
    assert one.densities.ifmap * one.counts.macs == pytest.approx(
        16 * alive.sum().item(), rel=1e-12)
    again, = oracle(module).by_layer            # without a run
    assert again.savings == one.savings
    work, prices = oracle.works(oracle(module))["0"], (
        oracle.weight_prices(module)["0"][:, 0, 0])
    of_weights = (weights.sum(0).numpy() * prices).sum() / weights.sum().item()
    assert oracle.marginal(work) == pytest.approx(of_weights)


def test_values_lie_in_order_on_a_map_with_zeros_behind():
    values = np.arange(1, 11).reshape(1, 2, 1, 5)
    on_it = values_on_map(values, ConvLayer(name="x", M=1, C=2, H=2, W=3, R=1, S=1))
    assert on_it.tolist() == [[[[1, 2, 3], [4, 5, 0]], [[6, 7, 8], [9, 10, 0]]]]


def test_zeros_that_a_search_sees_do_not_move_the_map():
    layer, isca16 = product(257, 96, 64), load_hardware("isca16_256")
    for objective in OBJECTIVES:
        dense, sparse = (search(layer, isca16, objective, savings=savings).mappings[0]
                         for savings in (NO_SAVINGS, Savings(0.2, 0.3, 0.1, 0.4)))
        assert (dense.map_H, dense.map_W) == (sparse.map_H, sparse.map_W)


def test_sweeps_list_maps_and_padding(tmp_path):
    from eyeriss_sim.sweep.evaluate import evaluate_chunk
    from eyeriss_sim.sweep.spec import make_spec
    network = Network("net", (product(257, 96, 64),))
    spec = make_spec([network], {"rows": [16]}, "isca16_256", layers=True)
    rows = evaluate_chunk(spec, 0).to_pandas()
    result = simulate(network, "isca16_256")
    assert rows.total_uJ[0] == pytest.approx(result.total_uJ)
    columns = ["map_H", "map_W", "padding_macs"]
    pd.testing.assert_frame_equal(
        rows.loc[rows.layer.notna(), columns].reset_index(drop=True),
        result.table[columns], check_dtype=False)
