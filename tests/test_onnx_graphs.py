"""Files as they are shipped: open sizes, quantised, fused, with branches and loops."""

import numpy as np
import pytest

from eyeriss_sim import simulate
from eyeriss_sim.cli import main
from eyeriss_sim.layer import ConvLayer

onnx = pytest.importorskip("onnx")

from onnx_files import MICROSOFT, save  # noqa: E402

from eyeriss_sim.importers import onnx_walk  # noqa: E402
from eyeriss_sim.importers.onnx_file import network_from_onnx, workload_from_onnx  # noqa: E402
from eyeriss_sim.sweep.evaluate import evaluate_chunk  # noqa: E402
from eyeriss_sim.sweep.spec import make_spec  # noqa: E402


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def read(path, *given, batch=None, **weights):
    return network_from_onnx(save(path, *given, **weights), batch)


def macs(path, *given, **weights):
    """MACs of each layer, in order."""
    return [layer.macs for layer in read(path, *given, **weights).layers]


# ------------------------------------------------------------------------ open sizes

DETECTOR = ("float[batch,3,height,width] images, float[batch,2] scale",
            """a = Conv <strides: ints = [2, 2], auto_pad: string = "SAME_UPPER">
               (images, w)
               s = Shape (a)
               h = Gather <axis: int = 0> (s, two)
               m = ReduceMax <keepdims: int = 0> (h)
               l = Unsqueeze (m, zero)
               t = Concat <axis: int = 0> (one, one, l, l)
               b = Tile (a, t)
               y = Conv (b, v)""")
DETECTOR_WEIGHTS = dict(w=(8, 3, 3, 3), v=(4, 8, 1, 1), two=np.int64(2),
                        zero=np.int64([0]), one=np.int64([1]))


@pytest.mark.parametrize("given", [
    (1, 3, 6, 10), [(1, 3, 6, 10), (1, 2)], {"images": (1, 3, 6, 10)},
    {"scale": (1, 2), "images": (1, 3, 6, 10)}])
def test_open_height_and_width_are_bound_by_order_or_by_name(path, given):
    save(path, *DETECTOR, **DETECTOR_WEIGHTS)
    first, second = network_from_onnx(path, input_shape=given).layers
    assert (first.E, first.F) == (3, 5)
    # The graph tiles the map by its own height.
    assert (second.E, second.F) == (9, 15)


def test_open_batch_is_bound_with_the_sizes_and_rescaled(path):
    save(path, *DETECTOR, **DETECTOR_WEIGHTS)
    network = network_from_onnx(path, input_shape=(2, 3, 6, 10))
    assert network.batch == 2
    assert network_from_onnx(path, 6, (2, 3, 6, 10)).layers == (
        network_from_onnx(path, input_shape=(6, 3, 6, 10)).layers)


def test_simulate_takes_the_input_shape_of_an_onnx_file(path):
    save(path, *DETECTOR, **DETECTOR_WEIGHTS)
    result = simulate(path, input_shape={"images": (1, 3, 6, 10)})
    assert result.table["macs"].tolist() == [15 * 8 * 27, 135 * 32]


@pytest.mark.parametrize("given, words", [
    (None, r"'images' has an open dimension 2 \(height\); give its sizes, as in "
     "--input images=1,3,height,width"),
    ({"image": (1, 3, 6, 6)}, "no input 'image'; its inputs are images, scale"),
    ((1, 3, 6), "'images' has the 4 dimensions batch,3,height,width, but 3 are given"),
    ((1, 4, 6, 6), "'images' has 3 as its dimension 1, but 4 is given"),
    ([(1, 3, 6, 6), (2, 2)], r"'scale' has 1 as its dimension 0 \(batch\), but 2"),
    ([(1, 3, 6, 6), (1, 2), (1,)], "3 input shapes, but it has 2 inputs"),
    ({"images": ((1, 3, 6, 6), "float32")}, "takes its type from the file"),
])
def test_sizes_that_are_missing_or_contradict_the_file_are_named(path, given, words):
    save(path, *DETECTOR, **DETECTOR_WEIGHTS)
    with pytest.raises(ValueError, match=words) as caught:
        network_from_onnx(path, input_shape=given)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_shapes_that_the_file_states_and_that_are_stale_are_worked_out_anew(path):
    save(path, "float[1,4,8,8] x", """
        m = ReduceMean <axes: ints = [1, 2, 3], keepdims: int = 1> (w)
        c = Sub (w, m)
        y = Conv (x, c)""", '"" : 13', w=(6, 4, 3, 3))
    model = onnx.load(str(path))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info(
        "c", onnx.TensorProto.FLOAT, (1, 6, 36)))       # as its exporter folded it
    onnx.save(model, str(path))
    layer, = network_from_onnx(path).layers
    assert (layer.M, layer.C, layer.R, layer.dynamic_filters) == (6, 4, 3, False)


# ------------------------------------------------------------------ fused, quantised

IMAGE = "float[2,8,9,9] x"


@pytest.mark.parametrize("body, weights, layer", [
    ('y = com.microsoft.FusedConv <activation: string = "Relu"> (x, w)',
     {"w": (4, 8, 3, 3)}, ConvLayer(name="y", N=2, M=4, C=8, H=9, W=9, R=3, S=3)),
    ("""q = QLinearConv (x, s, z, w, s, zw, s, z)
        y = com.microsoft.QLinearAdd (q, s, z, q, s, z, s, z)""",
     {"w": np.ones((4, 8, 3, 3), np.int8), "s": np.float32(1), "z": np.uint8(0),
      "zw": np.int8(0)}, ConvLayer(name="q", N=2, M=4, C=8, H=9, W=9, R=3, S=3)),
    ("y = ConvInteger (x, w)", {"w": np.ones((4, 8, 3, 3), np.int8)},
     ConvLayer(name="y", N=2, M=4, C=8, H=9, W=9, R=3, S=3)),
    ("""t = Transpose <perm: ints = [0, 2, 3, 1]> (x)
        y = com.microsoft.NhwcConv <strides: ints = [2, 2]> (t, w)""",
     {"w": (4, 8, 3, 3)}, ConvLayer(name="y", N=2, M=4, C=8, H=9, W=9, R=3, S=3, U=2)),
])
def test_fused_and_integer_convolutions_are_layers(path, body, weights, layer):
    assert read(path, IMAGE, body, MICROSOFT, **weights).layers == (layer,)


INT8 = np.ones((8, 6), np.int8)
ROWS = "float[5,8] x"


@pytest.mark.parametrize("body, weights", [
    ("y = com.microsoft.QGemm (x, s, z, w, s, z)", {"w": INT8}),
    ("y = com.microsoft.QGemm <transB: int = 1> (x, s, z, w, s, z)", {"w": INT8.T}),
    ("y = QLinearMatMul (x, s, z, w, s, z, s, z)", {"w": INT8}),
    ("y = MatMulInteger (x, w)", {"w": INT8}),
    ("""a, b, c = DynamicQuantizeLinear (x)
        y = MatMulInteger (a, w, c)""", {"w": INT8}),
    ("y = com.microsoft.DynamicQuantizeMatMul (x, w, s)", {"w": INT8}),
    ("y = com.microsoft.MatMulIntegerToFloat (x, w, s, s)", {"w": INT8}),
    ("""y = com.microsoft.MatMulNBits <K: int = 8, N: int = 6, bits: int = 4,
        block_size: int = 16> (x, w, s)""", {"w": np.ones((6, 1, 8), np.uint8)}),
    ("""y = com.microsoft.MatMulBnb4 <K: int = 8, N: int = 6, quant_type: int = 1,
        block_size: int = 16> (x, w, s)""", {"w": np.ones(24, np.uint8)}),
    ("y = com.microsoft.FusedMatMul <transB: int = 1> (x, w)", {"w": INT8.T}),
    ('y = com.microsoft.FusedGemm <activation: string = "Relu"> (x, w)', {"w": INT8}),
    ("y = com.microsoft.GemmFastGelu (x, w)", {"w": INT8}),
])
def test_every_product_of_a_matrix_with_weights_is_the_same_layer(path, body, weights):
    weights = {"s": np.float32(1), "z": np.int8(0), **weights}
    first, second = read(path, ROWS, body + " z = MatMul (y, v)", MICROSOFT,
                         "float[] z", v=(6, 3), **weights).layers
    assert first == ConvLayer(name="y", N=5, M=6, C=8, H=1, W=1, R=1, S=1)
    assert (second.N, second.C, second.M) == (5, 6, 3)      # its shape is known, too


def test_batches_that_a_fused_product_moves_are_its_groups(path):
    network = read(path, "float[7,3,8] x, float[3,5,8] k",
                   "y = com.microsoft.FusedMatMul <transBatchA: int = 1, "
                   "transB: int = 1> (x, k)", MICROSOFT)
    assert network.macs == 3 * 7 * 8 * 5


def test_dynamically_quantised_lstm_is_the_lstm(path):
    plain = read(path, "float[5,2,8] x", "y, h, c = LSTM <hidden_size: int = 6> "
                 "(x, w, r)", w=(1, 24, 8), r=(1, 24, 6))
    quantised = read(path, "float[5,2,8] x",
                     "y, h, c = com.microsoft.DynamicQuantizeLSTM "
                     "<hidden_size: int = 6> (x, w, r, , , , , , s, z, s, z)",
                     MICROSOFT, w=np.ones((1, 8, 24), np.int8),
                     r=np.ones((1, 6, 24), np.int8), s=np.float32([1]),
                     z=np.int8([0]))
    assert quantised.layers == plain.layers
    assert plain.macs == 5 * 2 * 24 * (8 + 6)


def test_pooling_with_channels_last_keeps_the_shapes_after_it_known(path):
    body = """p = com.microsoft.NhwcMaxPool <kernel_shape: ints = [3, 3]> (x)
        y = com.microsoft.QLinearConv <channels_last: int = 1> (p, s, z, w, s, z, s, z)
        """
    network = read(path, "float[1,9,9,8] x", body, MICROSOFT,
                   w=np.ones((4, 8, 1, 1), np.int8), s=np.float32(1), z=np.int8(0))
    layer, = network.layers
    assert (layer.C, layer.H, layer.W, layer.M) == (8, 7, 7, 4)


def test_deformable_convolution_samples_each_window_anew(path):
    layer, = read(path, "float[2,8,9,9] x, float[2,18,7,7] o",
                  "y = DeformConv <group: int = 2> (x, w, o)", '"" : 19',
                  w=(6, 4, 3, 3)).layers
    assert (layer.macs, layer.R, layer.groups) == (2 * 49 * 6 * 36, 1, 2)


# -------------------------------------------------------------------------- attention


@pytest.mark.parametrize("inputs, body, opsets, expected", [
    ("float[2,7,24] q, float[2,5,24] k, float[2,5,12] v",
     "y = Attention <q_num_heads: int = 3, kv_num_heads: int = 3> (q, k, v)",
     '"" : 23', [2 * 3 * 7 * 8 * 5, 2 * 3 * 7 * 5 * 4]),
    ("float[2,6,7,8] q, float[2,3,5,8] k, float[2,3,5,4] v",
     "y = Attention (q, k, v)", '"" : 23', [2 * 6 * 7 * 8 * 5, 2 * 6 * 7 * 5 * 4]),
    ("float[2,3,1,8] q, float[2,3,1,8] k, float[2,3,1,8] v, float[2,3,9,8] p",
     "y, a, b = Attention (q, k, v, , p, p)", '"" : 23', [2 * 3 * 8 * 10] * 2),
    ("float[2,7,24] q, float[2,5,24] k, float[2,5,24] v",
     "y = com.microsoft.MultiHeadAttention <num_heads: int = 3> (q, k, v)",
     MICROSOFT, [2 * 7 * 24 * 5] * 2),
    ("float[2,7,3,3,8] q",
     "y = com.microsoft.MultiHeadAttention <num_heads: int = 3> (q)",
     MICROSOFT, [2 * 7 * 24 * 7] * 2),
    ("float[2,7,48] q, float[2,7,24] k, float[2,7,24] v",
     "y = com.microsoft.GroupQueryAttention <num_heads: int = 6, "
     "kv_num_heads: int = 3> (q, k, v)", MICROSOFT, [2 * 6 * 7 * 8 * 7] * 2),
])
def test_attention_is_computed_from_queries_keys_and_values(
        path, inputs, body, opsets, expected):
    network = read(path, inputs, body, opsets)
    assert [layer.macs for layer in network.layers] == expected
    assert all(layer.dynamic_filters for layer in network.layers)
    assert [one.op for one in network.not_counted] == ["Softmax"]


def test_heads_of_queries_share_the_keys_that_they_look_at(path):
    first, _ = read(path, "float[1,6,7,8] q, float[1,2,5,8] k, float[1,2,5,8] v",
                    "y = Attention (q, k, v)", '"" : 23').layers
    assert (first.groups, first.M, first.E * first.F) == (2, 2 * 5, 3 * 7)


def test_attention_over_a_map_is_refused_by_its_shape(path):
    with pytest.raises(ValueError, match="Attention a: 'x' is 2x4x7x10, where "
                                         "Attention takes 3 dimensions; give those"):
        read(path, "float[2,4,7,10] x",
             "a = com.microsoft.Attention <num_heads: int = 3> (x, w, b) "
             "y = MatMul (a, v)", MICROSOFT, w=(10, 72), b=(72,), v=(24, 5))


def test_attention_of_onnx_runtime_projects_first(path):
    body = ("a = com.microsoft.Attention <num_heads: int = 3> (x, w, b) "
            "y = MatMul (a, v)")
    assert macs(path, "float[2,7,10] x", body, MICROSOFT, w=(10, 72), b=(72,),
                v=(24, 5)) == [2 * 7 * 10 * 72, 2 * 7 * 24 * 7, 2 * 7 * 7 * 24,
                               2 * 7 * 24 * 5]


# ----------------------------------------------------------------------------- einsum


@pytest.mark.parametrize("equation, shapes, expected", [
    ("bik,bkj->bij", [(2, 3, 4), (2, 4, 5)], [2 * 3 * 4 * 5]),
    ("ij , jk", [(3, 4), (4, 5)], [3 * 4 * 5]),
    ("...ik,...jk->...ij", [(6, 2, 3, 4), (2, 5, 4)], [6 * 2 * 3 * 4 * 5]),
    ("i...k,kj", [(3, 6, 4), (4, 5)], [3 * 6 * 4 * 5]),
    ("ik,k", [(3, 4), (4,)], [12]),
    ("i,i", [(7,), (7,)], [7]),
    ("bik,kj->ij", [(2, 3, 4), (4, 5)], [3 * 4 * 5]),       # b is summed first
    ("bi,bi->bi", [(2, 3), (2, 3)], []),                    # no sum: no product
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], [2 * 3 * 4, 2 * 4 * 5]),
    ("iij,jk->ik", [(3, 3, 4), (4, 5)], [3 * 4 * 5]),       # a diagonal
    ("Ab,bC->AC", [(2, 3), (3, 4)], [24]),
    ("bhqd,bhkd->bhqk", [(2, 3, 5, 4), (2, 3, 6, 4)], [2 * 3 * 5 * 4 * 6]),
    ("ik,kj->ij", [(3, 1), (4, 5)], []),            # all of k is summed first
])
def test_einsum_of_every_form_is_its_products(path, equation, shapes, expected):
    inputs = [f"float[{','.join(map(str, shape))}] x{place}"
              for place, shape in enumerate(shapes)]
    names = ", ".join(f"x{place}" for place in range(len(shapes)))
    body = f"e = Einsum <equation: string = \"{equation}\"> ({names}) y = Relu (e)"
    body += " z = MatMul (one, w)"
    network = read(path, ", ".join([*inputs, "float[1,1] one"]), body, w=(1, 1))
    assert [layer.macs for layer in network.layers[:-1]] == expected
    if "A" not in equation and shapes[0] != (3, 1):
        arrays = [np.zeros(shape) for shape in shapes]
        outputs, = [op.outputs for op in network.not_counted if op.op == "Relu"]
        assert outputs == np.einsum(equation, *arrays).size


def test_einsum_with_weights_keeps_one_set_of_filters(path):
    layer, = read(path, "float[3,7,8] x", 'y = Einsum <equation: string = '
                  '"bnk,hkd->bhnd"> (x, w)', w=(2, 8, 4)).layers
    assert (layer.M, layer.C, layer.dynamic_filters) == (8, 8, False)
    assert layer.macs == 3 * 7 * 8 * 2 * 4


# ---------------------------------------------------------------- branches and loops

BRANCHES = """y = If (c) <then_branch = one () => (float[] t) { t = Conv (x, w) },
              else_branch = other () => (float[] e) { e = Conv (x, v) }>"""


@pytest.mark.parametrize("c, filters", [(True, 4), (False, 6)])
def test_branch_that_the_file_decides_counts(path, c, filters):
    layer, = read(path, "float[1,8,9,9] x", BRANCHES, c=np.bool_(c), w=(4, 8, 3, 3),
                  v=(6, 8, 3, 3)).layers
    assert layer.M == filters


def test_branches_with_the_same_products_count_once(path):
    assert macs(path, "float[1,8,9,9] x, bool c", BRANCHES, w=(4, 8, 3, 3),
                v=(4, 8, 3, 3)) == [49 * 4 * 72]


def test_branch_that_the_image_decides_is_refused_if_products_differ(path):
    with pytest.raises(ValueError, match="If y: which of its branches runs depends"):
        read(path, "float[1,8,9,9] x, bool c", BRANCHES, w=(4, 8, 3, 3),
             v=(6, 8, 3, 3))


def loop(body, head="n, , x", states="float[1,8,9,9] s => s2"):
    given, _, handed = states.partition(" => ")
    return (f"y = Loop ({head}) <body = b (int64 i, bool go, {given}) => "
            f"(bool on, float[] {handed}) {{ {body} }}>")


def test_known_trip_count_multiplies(path):
    body = "a = Conv <pads: ints = [1, 1, 1, 1]> (x, w) " + loop(
        "s2 = Conv (s, p) on = Identity (go)", "n, , a")
    network = read(path, "float[1,8,9,9] x", body, n=np.int64(5), w=(8, 8, 3, 3),
                   p=(8, 8, 1, 1))
    assert [layer.steps for layer in network.layers] == [1, 5]
    assert network.macs == 46656 + 5 * 5184 == 72576


def test_loop_whose_state_shrinks_runs_each_iteration_at_its_own_size(path):
    network = read(path, "float[1,8,9,9] x",
                   loop("s2 = Conv (s, w) on = Identity (go)"), n=np.int64(4),
                   w=(8, 8, 3, 3))
    assert [layer.E for layer in network.layers] == [7, 5, 3, 1]


def test_loop_that_counts_to_a_number_of_the_file_runs_so_often(path):
    body = """y, k = Loop (, yes, x, zero) <body = b (int64 i, bool go, float[1,6] s,
              int64 k1) => (bool on, float[] s2, int64 k2) {
              s2 = MatMul (s, w) k2 = Add (k1, one) on = Less (k2, three) }>"""
    network = read(path, "float[1,6] x", body, w=(6, 6), yes=np.bool_(True),
                   zero=np.int64(0), one=np.int64(1), three=np.int64(3))
    assert network.macs == 3 * 36


def test_loop_that_shrinks_its_map_too_far_is_refused_with_the_trip(path):
    body = ("y = Loop (n, , x) <body = inner (int64 i, bool c, float[1,8,9,9] s) => "
            "(bool d, float[] t) { d = Identity (c) t = Conv (s, w) }>")
    with pytest.raises(ValueError, match=r"exceeds the padded ifmap H=1.*; this is "
                       r"trip 5 of Loop y: if .* shrinks, lower its trip count"):
        read(path, "float[1,8,9,9] x", body, w=(8, 8, 3, 3), n=np.int64(5))
    four = [layer.E for layer in read(path, "float[1,8,9,9] x", body, w=(8, 8, 3, 3),
                                      n=np.int64(4)).layers]
    assert four == [7, 5, 3, 1]


def test_loop_over_stacked_weights_brings_no_filters_of_an_image(path):
    body = loop("v = Gather <axis: int = 0> (w, i) s2 = MatMul (s, v) "
                "on = Identity (go)", states="float[1,6] s => s2")
    layer, = read(path, "float[1,6] x", body, n=np.int64(4), w=(4, 6, 6)).layers
    assert (layer.dynamic_filters, layer.steps, layer.macs) == (False, 4, 4 * 36)


def test_scan_is_the_recurrence_that_it_writes_out(path):
    body = """h, y = Scan <num_scan_inputs: int = 1, body = b (float[2,6] s,
              float[2,4] t) => (float[] s2, float[] o) { a = MatMul (s, r)
              c = MatMul (t, w) d = Add (a, c) s2 = Tanh (d) o = Identity (s2) }>
              (h0, x) z = MatMul (y, v)"""
    network = read(path, "float[7,2,4] x", body, '"" : 18', "float[] z", h0=(2, 6),
                   r=(6, 6), w=(4, 6), v=(6, 3))
    # The first state is a constant, but nobody leaves its product out.
    assert [(layer.steps, layer.macs) for layer in network.layers] == [
        (7, 7 * 72), (7, 7 * 48), (1, 7 * 2 * 18)]


@pytest.mark.parametrize("head, inputs, words", [
    ("m, , x", "int64 m", "Loop y: how often it runs depends on the image"),
    (", c, x", "bool c", "Loop y: whether it runs at all depends on the image"),
])
def test_loop_of_an_unknown_trip_count_with_products_is_refused(
        path, head, inputs, words):
    body = loop("s2 = Conv (s, w) on = Identity (go)", head)
    with pytest.raises(ValueError, match=words):
        read(path, f"float[1,8,9,9] x, {inputs}", body, w=(8, 8, 1, 1))


def test_loop_that_the_image_ends_is_refused(path):
    body = loop("s2 = Conv (s, w) g = ReduceMax <keepdims: int = 0> (s2) "
                "on = Greater (g, half)")
    with pytest.raises(ValueError, match="Loop y: how often it runs depends"):
        read(path, "float[1,8,9,9] x", body, n=np.int64(3), w=(8, 8, 1, 1),
             half=np.float32(.5))


def test_loop_without_products_is_listed(path):
    body = loop("s2 = Relu (s) on = Identity (go)", "m, , x") + " z = Conv (x, w)"
    network = read(path, "float[1,8,9,9] x, int64 m", body, w=(8, 8, 1, 1))
    assert [one.op for one in network.not_counted] == ["Loop"]


def test_loop_that_comes_to_too_many_sizes_is_refused_quickly(path, monkeypatch):
    # Half a millisecond a node: the full number takes ten seconds.
    assert onnx_walk.MOST_IN_LOOPS <= 20_000
    monkeypatch.setattr(onnx_walk, "MOST_IN_LOOPS", 300)
    body = loop("s2 = Concat <axis: int = 0> (s, s) on = Identity (go)",
                states="float[1,6] s => s2") + " z = MatMul (x, w)"
    grown = loop("s2 = Concat <axis: int = 0> (s, x) on = Identity (go)",
                 states="float[1,6] s => s2") + " z = MatMul (y, w)"
    with pytest.raises(ValueError, match="the loops run more than 300 nodes"):
        read(path, "float[1,6] x", body, n=np.int64(10**9), w=(6, 6))
    with pytest.raises(ValueError, match="the loops run more than 300 nodes"):
        read(path, "float[1,6] x", grown, n=np.int64(10**9), w=(6, 6))


# ------------------------------------------------------------------- foreign domains


@pytest.mark.parametrize("op", ["Conv", "MatMul", "FusedConv", "Attention", "LSTM"])
def test_operator_of_a_foreign_domain_is_not_the_one_of_that_name(path, op):
    with pytest.raises(ValueError, match=f"{op} y: its products can't be told"):
        read(path, "float[1,4,6,6] x", f"y = elsewhere.{op} (x, w) z = Conv (x, w)",
             MICROSOFT, w=(4, 4, 3, 3))


@pytest.mark.parametrize("body, words", [
    ("a = elsewhere.Blur (x) b = com.microsoft.Novelty (a) y = Relu (b)",
     r"but elsewhere.Blur \(may hold products\), Novelty \(may.*told; export the "),
    ("y = Relu (x)", "nothing to simulate; it holds Relu$"),
    ("y = Identity (x)", "nothing to simulate$")])
def test_file_without_a_product_that_is_known_says_what_it_holds(path, body, words):
    with pytest.raises(ValueError, match=f"{path}: no convolution.*{words}"):
        read(path, "float[1,4,6,6] x", body, MICROSOFT)


def test_unknown_operator_is_listed_with_its_domain_as_maybe_holding_products(path):
    network = read(path, "float[1,4,6,6] x", """a = elsewhere.Blur (x)
        b = com.microsoft.Novelty (x) c = com.microsoft.FastGelu (x) d = DFT (x)
        y = Conv (x, w)""", MICROSOFT, w=(4, 4, 3, 3))
    assert [(one.op, one.outputs) for one in network.not_counted] == [
        ("elsewhere.Blur (may hold products)", None),
        ("Novelty (may hold products)", None), ("FastGelu", 144),
        ("DFT (holds products)", 48)]


@pytest.mark.parametrize("op", ["MoE", "BeamSearch", "SparseAttention", "EPContext"])
def test_products_of_onnx_runtime_that_cannot_be_told_are_refused(path, op):
    with pytest.raises(ValueError, match=f"{op} y: its products can't be told") as said:
        read(path, "float[1,4,6,6] x", f"y = com.microsoft.{op} (x)", MICROSOFT)
    assert "valid" not in str(said.value)


def test_functions_of_the_file_itself_are_looked_into(path):
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 18, "own" : 1]>
        net (float[1,4,6,6] x, float[5,4,3,3] w) => (float[] y)
        { y = own.Block (x, w) }
        <domain: "own", opset_import: ["" : 18]>
        Block (x, w) => (y) { c = Conv (x, w) y = Relu (c) }""")
    onnx.save(model, str(path))
    layer, = network_from_onnx(path).layers
    assert layer.macs == 16 * 5 * 36


def test_names_of_the_dynamo_exporter_come_from_the_metadata(path):
    save(path, "float[2,7,8] x", """a = MatMul (x, val_13) t = Transpose (a)
         b = MatMul (a, t2) y = Relu (b)""", val_13=(8, 6), t2=(6, 6))
    model = onnx.load(str(path))
    for node, scopes in zip(model.graph.node[:3], (
            "['', 'att', 'linear']", "['', 'att', 'transpose']", "no list"),
            strict=True):
        entry = node.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", scopes
    onnx.save(model, str(path))
    assert [layer.name for layer in network_from_onnx(path).layers] == ["att", "b"]


# ---------------------------------------------------------------------------- weights


def filter_densities(path):
    densities = workload_from_onnx(path).densities
    return {name: one.filter for name, one in densities.items()}


def half(*shape, zero=0, dtype=np.float32):
    """An array of which every second value is ``zero``."""
    values = np.full(shape, zero + 3, dtype)
    values.reshape(-1)[::2] = zero
    return values


NBITS = np.full((2, 1, 8), 0x88, np.uint8)      # code 8 stands for zero of 4 bits
NBITS[0, 0, 0] = 0x87


@pytest.mark.parametrize("inputs, body, weights, share", [
    ("float[1,8,9,9] x", "y = Conv (x, w)", {"w": half(4, 8, 3, 3)}, .5),
    ("float[1,8,9,9] x", "q = DequantizeLinear (w, s, z) y = Conv (x, q)",
     {"w": half(4, 8, 3, 3, zero=7, dtype=np.int8), "s": np.float32(.1),
      "z": np.int8(7)}, .5),
    ("float[1,8,9,9] x", "y = QLinearConv (x, s, z, w, s, zw, s, z)",
     {"w": np.arange(4).repeat(72).reshape(4, 8, 3, 3).astype(np.int8),
      "s": np.float32(1), "z": np.uint8(0), "zw": np.int8([0, 1, 9, 9])}, .5),
    ("float[5,8] x", "t = Transpose (w) y = MatMul (x, t)", {"w": half(6, 8)}, .5),
    ("float[5,8] x", "y = MatMulInteger (x, w, z, zw)",
     {"w": np.arange(6).repeat(8).reshape(6, 8).T.astype(np.int8), "z": np.int8(0),
      "zw": np.int8([0, 1, 2, 9, 9, 9])}, .5),
    ("float[5,8] x", "y = com.microsoft.QGemm <transB: int = 1> (x, s, z, w, s, zw)",
     {"w": half(6, 8, zero=2, dtype=np.int8), "s": np.float32(1), "z": np.int8(0),
      "zw": np.full(6, 2, np.int8)}, .5),
    ("float[5,8] x", "y = com.microsoft.MatMulNBits <K: int = 8, N: int = 2, bits: int "
     "= 4, block_size: int = 16> (x, w, s)", {"w": NBITS, "s": (2,)}, 1 / 16),
    ("float[5,8] x", "y = com.microsoft.MatMulNBits <K: int = 8, N: int = 2, bits: int "
     "= 4, block_size: int = 16> (x, w, s)",
     {"w": np.zeros((2, 1, 8), np.uint8), "s": np.float32([0, 1])}, 1 / 2),
    ("float[5,3] x", "y = com.microsoft.MatMulBnb4 <K: int = 3, N: int = 3, quant_type:"
     " int = 1, block_size: int = 4> (x, w, s)",    # the last nibble is no weight
     {"w": np.uint8([0x71, 0x23, 0x77, 0x89, 0x70]), "s": np.float32([1, 1, 0])},
     5 / 9),
    ("float[5,3] x", "y = com.microsoft.MatMulBnb4 <K: int = 3, N: int = 3, quant_type:"
     " int = 0, block_size: int = 16> (x, w, s)",
     {"w": np.uint8([0x71, 0x08, 0x77, 0x89, 0x07]), "s": np.float32([1])}, 5 / 9),
])
def test_density_of_weights_is_the_files(path, inputs, body, weights, share):
    save(path, inputs, body, MICROSOFT, **weights)
    assert filter_densities(path) == {"y": share}


@pytest.mark.parametrize("body, weights, why", [
    ("y = com.microsoft.MatMulFpQ4 (x, w, shape)",
     {"w": np.zeros(20, np.uint8), "shape": np.int64([8, 2])}, "no document tells"),
    ("y = com.microsoft.MatMulBnb4 <K: int = 8, N: int = 2, quant_type: int = 2, "
     "block_size: int = 16> (x, w, s)", {"w": np.zeros(8, np.uint8), "s": (1,)},
     "quant_type 2"),
    ("y = com.microsoft.MatMulBnb4 <K: int = 8, N: int = 2, quant_type: int = 1, "
     "block_size: int = 0> (x, w, s)", {"w": np.zeros(8, np.uint8), "s": (1,)},
     "block of 0"),
    ("y = com.microsoft.MatMulNBits <K: int = 8, N: int = 2, bits: int = 3, "
     "block_size: int = 16> (x, w, s)", {"w": np.zeros((2, 1, 6), np.uint8), "s": (2,)},
     "3 bits"),
    ("y = com.microsoft.MatMulNBits <K: int = 8, N: int = 2, bits: int = 4, "
     "block_size: int = 16> (x, w, s, z, g)",
     {"w": NBITS, "s": (2,), "z": np.zeros((2, 1), np.uint8),
      "g": np.zeros(8, np.int32)}, "g_idx"),
])
def test_packed_weights_that_no_one_can_unpack_have_no_density(
        path, body, weights, why, tmp_path):
    save(path, "float[5,8] x", body, MICROSOFT, **weights)
    with pytest.raises(ValueError, match=f"y: its weights can't be read .*{why}"):
        simulate(path, zeros="skip_either")
    with pytest.raises(ValueError, match="give the layer's filter density"):
        make_spec([str(path)], {"rows": [12]}, "eap_tool")
    assert simulate(path).table["filter_density"].tolist() == [1]
    table = tmp_path / "densities.csv"          # the cure that the message names
    table.write_text("layer,filter\ny,0.25\n")
    told = simulate(path, zeros="skip_either", densities=table).table
    assert told["filter_density"].tolist() == [.25]


def test_weights_in_another_file_are_read_for_their_zeros(path):
    save(path, "float[1,8,9,9] x", "y = Conv (x, w)", w=half(4, 8, 3, 3))
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True,
              location="data", size_threshold=0)
    assert filter_densities(path) == {"y": .5}
    (path.parent / "data").unlink()
    with pytest.raises(ValueError, match="y: its weights can't be read"):
        workload_from_onnx(path)


def test_pruned_file_saves_where_zeros_of_weights_do(path):
    save(path, "float[1,8,9,9] x", "y = Conv (x, w)", w=half(4, 8, 3, 3))
    skipping = simulate(path, zeros="skip_either")
    assert skipping.table["filter_density"].tolist() == [.5]
    assert skipping.table["alu_MAC"][0] == skipping.table["macs"][0] / 2
    assert simulate(path, zeros="gate_ifmap").table["filter_density"].tolist() == [1]


def test_densities_of_a_table_stand_beside_those_of_the_weights(path, tmp_path):
    save(path, "float[1,8,9,9] x", "a = Conv (x, w) y = Conv (a, v)",
         w=half(4, 8, 3, 3), v=half(4, 4, 3, 3))
    table = tmp_path / "densities.csv"
    table.write_text("layer,ifmap\na,0.25\n")
    rows = simulate(path, zeros="skip_either", densities=table).table
    assert rows["filter_density"].tolist() == [.5, .5]
    assert rows["ifmap_density"].tolist() == [.25, 1]


def test_weights_that_hold_nan_are_refused(path):
    weights = half(4, 8, 3, 3)
    weights[0, 0, 0, 0] = np.nan
    save(path, "float[1,8,9,9] x", "y = Conv (x, w)", w=weights)
    with pytest.raises(ValueError, match="y: its weights hold NaN"):
        workload_from_onnx(path)


# -------------------------------------------------------------------- steps come first

STEPS = "y, h = RNN <hidden_size: int = 5> "
STEP_WEIGHTS = dict(w=(1, 5, 6), r=(1, 5, 5))


@pytest.mark.parametrize("sizes, given", [
    ("7,2,6", None), ("7,batch,6", None), ("steps,2,6", (7, 2, 6)),
    ("steps,batch,6", (7, 2, 6))])
@pytest.mark.parametrize("batch", [None, 2, 3])
def test_batch_of_a_recurrent_file_with_the_steps_first_is_its_second_dimension(
        path, sizes, given, batch):
    save(path, f"float[{sizes}] x", STEPS + "(x, w, r)", **STEP_WEIGHTS)
    network = network_from_onnx(path, batch, given)
    images = batch or (1 if sizes.startswith("7,b") else 2)
    assert network.batch == images
    assert [(one.N, one.H * one.W, one.steps) for one in network.layers] == [
        (images, 7, 1), (images, 1, 7)]
    assert network.macs == images * 7 * 5 * (6 + 5)


@pytest.mark.parametrize("inputs, body", [
    ("float[7,batch,6] x", "a = Relu (x)\n b = MatMul (a, m)\n" + STEPS + "(b, w, r)"),
    ("int64[7,batch] x", "a = Gather (m, x)\n" + STEPS + "(a, w, r)"),
    ("float[7,batch,6] x, float[1,images,5] s", STEPS + "(x, w, r, , , s)"),
    ("float[7,batch,6] x", STEPS + "(x, w, r)\nz = Squeeze (y, one)\nl = "
     "GRU <hidden_size: int = 5> (z, u, v)")])
def test_steps_stay_first_behind_what_leaves_them_there(path, inputs, body):
    save(path, inputs, body, **STEP_WEIGHTS, m=(6, 6), one=np.int64([1]),
         u=(1, 15, 5), v=(1, 15, 5))
    for batch in (1, 4):
        network = network_from_onnx(path, batch)
        assert {layer.N for layer in network.layers} == {batch}
        assert {layer.steps for layer in network.layers} == {1, 7}


def test_batch_stays_first_where_a_recurrent_layer_gets_it_moved(path):
    save(path, "float[batch,7,6] x", "t = Transpose <perm: ints = [1, 0, 2]> (x)\n"
         + STEPS + "(t, w, r)", **STEP_WEIGHTS)
    network = network_from_onnx(path, 3)
    assert [(one.N, one.steps) for one in network.layers] == [(3, 1), (3, 7)]


def test_product_that_makes_other_steps_does_not_tell_the_batch(path):
    save(path, "float[batch,6,4] x", "t = MatMul (m, x)\n" + STEPS + "(t, w, r)",
         m=(7, 6), w=(1, 5, 4), r=(1, 5, 5))
    assert network_from_onnx(path, 3).batch == 3


def test_open_steps_are_asked_for_by_name(path):
    save(path, "float[steps,batch,6] x", STEPS + "(x, w, r)", **STEP_WEIGHTS)
    with pytest.raises(ValueError, match=r"open dimension 0 \(steps\); give its sizes"):
        network_from_onnx(path, 3)


# ------------------------------------------------------- weights repeated over a batch


@pytest.mark.parametrize("body, own", [
    ("s = Shape (x)\nn = Gather <axis: int = 0> (s, zero)\n"
     "t = Concat <axis: int = 0> (n, eight, five)\nv = Expand (w, t)\n", 1),
    ("v = Tile (u, twice)\n", 1),
    ("v = Concat <axis: int = 0> (u, u)\n", 1),
    ("e = Tile (u, twice)\ni = Transpose <perm: ints = [0, 2, 1]> (e)\n"
     "v = Transpose <perm: ints = [0, 2, 1]> (i)\n", 1),
    ("e = Tile (u, twice)\nv = Reshape (e, same)\n", 1),
    ("v = Concat <axis: int = 0> (u, other)\n", 2),
    ("e = Concat <axis: int = 0> (u, other)\nv = Identity (e)\n", 2)])
def test_weight_repeated_over_the_batch_is_one_weight(path, body, own):
    layer, = read(path, "float[2,7,8] x", body + "y = MatMul (x, v)", w=(8, 5),
                  u=(1, 8, 5), other=(1, 8, 5), zero=np.int64([0]),
                  eight=np.int64([8]), five=np.int64([5]), twice=np.int64([2, 1, 1]),
                  same=np.int64([2, 8, 5])).layers
    assert layer.macs == 2 * 7 * 8 * 5
    assert (layer.groups, layer.N * layer.H * layer.W) == (own, 14 // own)
    assert layer.filter_words == own * 40


@pytest.mark.parametrize("body, own", [
    ("v = Mul (e, scale)\n", 1), ("v = Mul (scale, e)\n", 1),
    ("f = Sub (e, row)\nv = Cast <to: int = 1> (f)\n", 1),
    ("f = Neg (e)\nv = Div (f, e)\n", 1),
    # Nothing says that a weight's own values are the same.
    ("v = Mul (u, ones)\n", 2), ("v = Mul (e, own)\n", 2)])
@pytest.mark.parametrize("product", [
    "y = MatMul (x, v)", 'y = Einsum <equation: string = "bij,bjk->bik"> (x, v)',
    'y = Einsum <equation: string = "bjk,bij->bki"> (v, x)',
    'y = Einsum <equation: string = "...ij,...jk"> (x, v)'])
def test_arithmetic_on_a_repeated_weight_keeps_it_one_weight(path, body, own, product):
    layer, = read(path, "float[2,7,8] x", f"e = Tile (u, twice)\n{body}{product}",
                  u=(1, 8, 5), scale=np.float32(0.5), row=(5,), own=(2, 1, 1),
                  ones=(2, 8, 5), twice=np.int64([2, 1, 1])).layers
    assert layer.macs == 2 * 7 * 8 * 5
    assert layer.filter_words == own * 40
    assert not layer.dynamic_filters


@pytest.mark.parametrize("equation, own", [
    ("bhij,bhjk->bhik", 3), ("bhij,bhjk->bhki", 3), ("hbij,bhjk->bhik", 3),
    ("bhij,bhjk->hik", 3)])
def test_einsum_of_heads_takes_a_weight_for_all_images_for_one(path, equation, own):
    given = "3,2,7,8" if equation.startswith("hb") else "2,3,7,8"
    layer, = read(path, f"float[{given}] x", "v = Expand (w, s)\ny = Einsum "
                  f'<equation: string = "{equation}"> (x, v)', w=(3, 8, 5),
                  s=np.int64([2, 3, 8, 5])).layers
    # A sum over the images, too, takes as many values of the weight as it has rows.
    summed = "b" not in equation.partition("->")[2]
    assert (layer.groups, layer.filter_words) == (own, own * 40 * (1 + summed))
    assert layer.macs == 2 * 3 * 7 * 8 * 5


def test_damaged_name_is_refused_in_one_line(path):
    save(path, "float[1,8,9,9] x", "y = Conv (x, w)", w=(4, 8, 3, 3))
    path.write_bytes(path.read_bytes().replace(b"Conv", b"Co\xb9v"))
    with pytest.raises(ValueError, match="it holds a name that is no text"):
        network_from_onnx(path)


def test_sweep_binds_the_open_sizes_of_an_onnx_file(path):
    save(path, *DETECTOR, **DETECTOR_WEIGHTS)
    spec = make_spec([str(path)], {"rows": [12]}, input_shape=[1, 3, 6, 10])
    network, = spec.networks.values()
    assert network.macs == 15 * 8 * 27 + 135 * 32


def test_sweep_counts_the_zeros_of_a_files_weights_where_they_save(path):
    save(path, "float[N,8,9,9] x", "a = Conv (x, w) b = Conv (a, v) y = Conv (b, v)",
         w=half(4, 8, 3, 3), v=np.ones((4, 4, 1, 1), np.float32))
    spec = make_spec([str(path)], {"zeros": ["skip_either", "gate_ifmap"],
                                   "batch": [1, 2]}, "eyeriss_chip", layers=True)
    rows = evaluate_chunk(spec, 0).to_pandas()
    whole = rows[rows.layer.isna()].set_index(["zeros", "batch"]).total_uJ
    for zeros, batch in whole.index:
        one = simulate(path, batch=batch, zeros=zeros)
        assert whole[zeros, batch] == pytest.approx(one.total_uJ, rel=1e-12)
        of_layers = rows[(rows.zeros == zeros) & (rows.batch == batch)
                         & rows.layer.notna()]
        assert of_layers.filter_density.tolist() == [
            .5 if zeros == "skip_either" else 1, 1, 1]


def test_layers_of_one_shape_and_other_weights_differ_in_a_sweep(path):
    save(path, "float[1,4,9,9] x", "a = Conv (x, w) b = Conv (a, w) y = Conv (b, v)",
         w=half(4, 4, 1, 1), v=(4, 4, 1, 1))
    spec = make_spec([str(path)], {"rows": [12]}, "eap_tool")
    assert evaluate_chunk(spec, 0).to_pandas().total_uJ[0] == pytest.approx(
        simulate(path, "eap_tool").total_uJ, rel=1e-12)
    other = save(path, "float[1,4,9,9] x",
                 "a = Conv (x, w) b = Conv (a, w) y = Conv (b, v)",
                 w=half(4, 4, 1, 1), v=half(4, 4, 1, 1))
    assert make_spec([str(other)], {"rows": [12]}, "eap_tool").described() != (
        spec.described())


def test_file_that_takes_long_to_read_is_announced(path, capsys, monkeypatch):
    save(path, "float[1,8,9,9] x", "y = Conv (x, w)", w=(4, 8, 3, 3))
    monkeypatch.setattr("eyeriss_sim.terminal.announced_run.__wrapped__.__defaults__",
                        (0.0,))
    main(["simulate", str(path)])
    assert f"{path}: reading it and searching" in capsys.readouterr().err


def test_sweep_over_zeros_says_what_it_knows(path, tmp_path, capsys):
    save(path, "float[1,8,9,9] x", "y = Conv (x, w)", w=half(4, 8, 3, 3))
    for place, (zeros, said) in enumerate((
            ("dense", ""), ("gate_ifmap", "nothing says what is zero"),
            ("dense,skip_either", "only the weights' zeros are known"))):
        main(["sweep", "--network", str(path), "--set", f"zeros={zeros}", "--jobs", "1",
              "--out", str(tmp_path / f"sweep{place}")])
        out = capsys.readouterr().out
        assert (f": {said}" in out) if said else "are known" not in out


def test_zeros_of_which_nothing_is_known_are_said_in_one_line(path, capsys):
    save(path, "float[1,8,9,9] x", "y = Conv (x, w)", w=half(4, 8, 3, 3))
    for zeros, said in (("gate_ifmap", "nothing says what is zero"),
                        ("skip_either", "only the weights' zeros are known")):
        main(["simulate", str(path), "--zeros", zeros])
        assert f"--zeros {zeros}: {said}" in capsys.readouterr().out
    main(["simulate", str(path)])
    assert "--zeros" not in capsys.readouterr().out
