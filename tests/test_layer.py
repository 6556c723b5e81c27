import pytest

from eyeriss_sim.layer import ConvLayer, Network, UncountedOp


def layer(**sizes):
    return ConvLayer(**{"name": "L", "M": 4, "C": 2, "H": 9, "W": 7, "R": 3, "S": 3}
                     | sizes)


def test_ofmap_size_counts_the_windows_that_fit():
    conv = layer(H=10, W=9, U=2, V=3, dilation=(2, 1))
    rows = [h for h in range(0, 10, 2) if h + conv.R_span <= 10]
    cols = [w for w in range(0, 9, 3) if w + conv.S_span <= 9]
    assert (conv.E, conv.F) == (len(rows), len(cols))


def test_stride_of_both_directions_is_one_number_in_the_papers():
    assert layer(U=2).V == 2


@pytest.mark.parametrize("sizes, words", [
    ({"M": 0}, "M must be a whole number"),
    ({"U": -1}, "U must be a whole number"),
    ({"H": 2.5}, "H must be a whole number"),
    ({"R": 10}, "R=10 covers 10 pixels and exceeds the padded ifmap H=9"),
    ({"dilation": 4}, "covers 9 pixels and exceeds the padded ifmap W=7"),
    ({"groups": 3}, "M=4 filters cannot be divided into groups=3"),
    ({"padding": (5, 4, 0, 0)}, "leaves nothing of H=9"),
    ({"padding": (1, 1)}, "padding must be 4 whole numbers"),
    ({"N": 10**14}, "more than the 9e+15 that are counted exactly; lower N"),
    ({"R": 1, "dilation": (2**63, 1)}, "dilation=9223372036854775808 exceeds"),
    ({"R": 9, "U": 10**20}, "U=100000000000000000000 exceeds"),
])
def test_impossible_layer_is_refused_with_the_quantity(sizes, words):
    with pytest.raises(ValueError, match=r"^L: ") as caught:
        layer(**sizes)
    assert words in str(caught.value)


def test_batch_scales_N_and_for_products_of_activations_groups():
    net = Network("net", (layer(N=2), layer(name="QK", groups=4, dynamic_filters=True)),
                  (UncountedOp("relu", 1, 10),), batch=2).with_batch(6)
    assert (net.layers[0].N, net.layers[1].groups, net.layers[1].M) == (6, 12, 12)
    assert net.not_counted[0].outputs == 30
    assert net.with_batch(2).macs * 3 == net.macs


def test_unknown_layer_lists_the_known_ones():
    with pytest.raises(ValueError, match="no layer 'X'; its layers are L"):
        Network("net", (layer(),)).layer("X")


def test_a_layer_of_the_exact_name_goes_before_one_in_other_case():
    net = Network("net", (layer(name="conv"), layer(name="Conv")))
    assert [net.layer(name).name for name in ("conv", "Conv", "CONV")] == [
        "conv", "Conv", "conv"]


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two layers are called L"):
        Network("net", (layer(), layer()))
