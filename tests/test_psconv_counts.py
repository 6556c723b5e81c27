"""Counts of pSConv networks without training, and of the small ones beside them."""

import pandas as pd
import pytest
import torch

from benchmarks import psconv_counts
from benchmarks.psconv_counts import (
    beside_published,
    mobilenet_v2,
    shape_counts,
    shufflenet,
    sparse_counts,
)
from eyeriss_sim.networks import load_zoo


@pytest.fixture(scope="module")
def table():
    torch.set_num_threads(1)
    return pd.DataFrame(sparse_counts("resnet18", 32) + sparse_counts("vgg16", 64))


@pytest.mark.paper
def test_one_tap_and_one_dense_kernel_in_16_gives_the_published_reductions(table):
    # They are given to two figures; the parameters' as 82 % fewer.
    rows = beside_published(table)
    fits = rows[rows.kernels == "pSC1, 1 of 16 dense"].set_index(
        ["network", "quantity"]).ours
    assert round(1 - 1 / fits["resnet18", "params"], 2) == 0.82
    assert round(fits["resnet18", "macs"], 1) == 5.6
    assert round(fits["vgg16", "macs"], 1) == 5.8
    other = rows[rows.kernels != "pSC1, 1 of 16 dense"]
    assert ((other.ours / other.published - 1).abs() > 0.2).all()


def test_normalisations_and_the_last_layers_biases_are_parameters():
    conv, fc = shufflenet(32, 10)[0], shufflenet(32, 10)[-1]
    found = shape_counts("two layers", 32, [conv, fc])
    assert found["params"] == 24 * 3 * 9 + 2 * 24 + 960 * 10 + 10
    assert found["macs"] == 24 * 3 * 9 * 32 * 32 + 960 * 10


def test_only_3x3_kernels_after_the_first_layer_lose_weights(table):
    rows = table[table.network == "resnet18"].set_index("kernels")
    layers = load_zoo("resnet18_cifar").layers
    kernels = [one for one in layers[1:] if one.R == 3]
    weights = sum(one.M * one.C * 9 for one in kernels)
    macs = sum(one.macs for one in kernels)
    assert rows.macs["dense"] == sum(one.macs for one in layers)
    for kind, kept, of in (("pSC2", 2, 9), ("pSC4, 1 of 8 dense", 37, 72),
                           ("pSC1, 1 of 16 dense", 24, 144)):
        assert (rows.params["dense"] - rows.params[kind]) * of == weights * (of - kept)
        assert (rows.macs["dense"] - rows.macs[kind]) * of == macs * (of - kept)


def test_mobilenet_for_small_images_has_the_zoos_weights_and_ends_at_4_pixels():
    small, zoo = mobilenet_v2(32, 1000), load_zoo("mobilenet_v2").layers
    assert [(one.name, one.M, one.C, one.groups) for one in small] == [
        (one.name, one.M, one.C, one.groups) for one in zoo]
    assert small[-2].E == 4
    assert mobilenet_v2(64, 1000)[-2].E == 8


@pytest.mark.parametrize("pixels, last", [(32, 4), (64, 8)])
def test_shufflenets_units_fit_each_other(pixels, last):
    layers = shufflenet(pixels, 10)
    assert len(layers) == 1 + 3 * (4 + 8 + 4) + 1 and layers[-2].E == last
    width, stages = 24, {}
    for reduce, depthwise, expand in zip(*(layers[1:-1][start::3]
                                           for start in range(3)), strict=True):
        assert reduce.C * reduce.groups == width
        assert reduce.M == depthwise.M == depthwise.groups == expand.C * expand.groups
        width = expand.M + (width if depthwise.U == 2 else 0)
        stages[reduce.name.split(".")[0]] = width
    assert stages == {"stage2": 240, "stage3": 480, "stage4": 960}
    assert layers[-1].C == 960


def test_an_output_that_is_no_folder_is_refused_before_anything_is_counted(
        tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(psconv_counts, "count", None)
    with pytest.raises(SystemExit) as stopped:
        psconv_counts.main(["--out", str(tmp_path / "file")])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "/file: File exists" in error and len(error.splitlines()) == 1
