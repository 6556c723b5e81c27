import itertools

import pytest

from eyeriss_sim.networks import load_zoo, zoo_names


def total(network, key, layers):
    return sum(getattr(layer, key) for layer in network.layers
               if layers == "all" or (layers == "conv") != layer.name.startswith("FC"))


@pytest.mark.paper
@pytest.mark.parametrize("name, layers, published, digits", [
    # Chen et al., JSSC 2017, Table V: 2.66 GMAC for four images, printed to 0.01 G.
    ("alexnet", "conv", 2.66e9 / 4, 2e6),
    # Sze et al., Proc. IEEE 2017, Table II.
    ("alexnet", "conv", 666e6, 0.5e6),
    ("alexnet", "fc", 58.6e6, 0.05e6),
    ("vgg16", "conv", 15.3e9, 0.05e9),
    ("vgg16", "fc", 124e6, 0.5e6),
    # torchvision's documentation of each model's weights, "GFLOPS" = MACs.
    ("resnet18", "all", 1.81e9, 0.005e9),
    ("resnet34", "all", 3.66e9, 0.005e9),
    ("resnet50", "all", 4.09e9, 0.005e9),
    ("squeezenet1_0", "all", 0.82e9, 0.005e9),
    ("squeezenet1_1", "all", 0.35e9, 0.005e9),
    ("mobilenet_v2", "all", 0.30e9, 0.005e9),
    # Howard et al. 2017, Table 4; Sandler et al. 2018, Table 4.
    ("mobilenet_v1", "all", 569e6, 0.5e6),
    ("mobilenet_v2", "all", 300e6, 1e6),
    # Widely used figure for the CIFAR net of He et al., Section 4.2.
    ("resnet20_cifar", "all", 40.55e6, 0.005e6),
])
def test_macs_of_one_image_are_the_published_ones(name, layers, published, digits):
    assert total(load_zoo(name), "macs", layers) == pytest.approx(published, abs=digits)


@pytest.mark.paper
@pytest.mark.parametrize("name, published, digits", [
    ("alexnet", 61e6, 0.5e6),           # Sze et al., Proc. IEEE 2017, Table II
    ("vgg16", 138e6, 0.5e6),            # Simonyan and Zisserman, Table 2
    ("mobilenet_v1", 4.2e6, 0.05e6),    # Howard et al., Table 4
    ("resnet20_cifar", 0.27e6, 0.005e6),            # He et al., Table 6
    # torchvision's parameter counts, less two per batch-normalised channel and
    # one per bias: what is left is exact.
    ("vgg16", 138_357_544 - 13_416, 0),
    ("resnet18", 11_689_512 - 2 * 4_800 - 1000, 0),
    ("resnet34", 21_797_672 - 2 * 8_512 - 1000, 0),
    ("resnet50", 25_557_032 - 2 * 26_560 - 1000, 0),
    ("mobilenet_v2", 3_504_872 - 2 * 17_056 - 1000, 0),
    ("squeezenet1_0", 1_248_424 - 3_976, 0),
    ("squeezenet1_1", 1_235_496 - 3_944, 0),
])
def test_weights_are_the_published_ones(name, published, digits):
    assert abs(total(load_zoo(name), "filter_words", "all") - published) <= digits


# Szegedy et al., Table 1, column "ops", in millions, rounded or cut off. Two of its
# numbers are not those of the layers it names: 34 for conv1, which is 112 x 112 x 64 x
# 7 x 7 x 3 = 118, and 54 for 5a, which is 7 x 7 x (832 x (256 + 160 + 32 + 128) +
# 160 x 320 x 9 + 32 x 128 x 25) = 51.
GOOGLENET_MMACS = {
    "conv1": 118, "conv2": 360, "inception_3a": 128, "inception_3b": 304,
    "inception_4a": 73, "inception_4b": 88, "inception_4c": 100, "inception_4d": 119,
    "inception_4e": 170, "inception_5a": 51, "inception_5b": 71, "loss3": 1}


@pytest.mark.paper
def test_googlenet_has_the_macs_of_each_row_of_its_paper():
    macs = {block: sum(layer.macs for layer in layers) for block, layers
            in itertools.groupby(load_zoo("googlenet").layers,
                                 lambda layer: layer.name.split("/")[0])}
    assert macs.keys() == GOOGLENET_MMACS.keys()
    for block, millions in GOOGLENET_MMACS.items():
        assert abs(macs[block] / 1e6 - millions) < 1, block


def test_googlenet_needs_1_58_GMAC_in_all():
    assert load_zoo("googlenet").macs == pytest.approx(1.58e9, abs=0.005e9)


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "vgg16_cifar", "mobilenet_v1"])
def test_each_layer_of_a_chain_reads_what_the_one_before_wrote(name):
    layers = load_zoo(name).layers
    for before, layer in itertools.pairwise(layers):
        assert layer.groups * layer.C == before.M
        top, bottom, left, right = layer.padding
        assert 1 <= layer.H - top - bottom <= before.E      # pooling only shrinks
        assert 1 <= layer.W - left - right <= before.F


@pytest.mark.parametrize("name", zoo_names())
def test_batch_multiplies_the_work_and_not_the_weights(name):
    one, four = load_zoo(name), load_zoo(name, batch=4)
    assert four.macs == 4 * one.macs
    assert total(four, "filter_words", "all") == total(one, "filter_words", "all")
    assert [op.outputs for op in four.not_counted] == [
        4 * op.outputs for op in one.not_counted]


def test_unknown_network_lists_the_zoo_and_suggests_one():
    with pytest.raises(ValueError, match=r"did you mean alexnet.*vgg16_cifar"):
        load_zoo("alexnett")
