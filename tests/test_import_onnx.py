import sys

import numpy as np
import pytest
import torch
from models import MobileNetV2, ResNet18, SmallViT
from torch import nn

from eyeriss_sim.importers.onnx_file import network_from_onnx
from eyeriss_sim.importers.torch_module import network_from_module
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.networks import load_zoo

onnx = pytest.importorskip("onnx")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def export(module, input_shape, path, **options):
    """Write ``path``; torch's newer exporter would need another package."""
    torch.onnx.export(module.eval(), torch.zeros(input_shape), str(path), dynamo=False,
                      input_names=["image"], **options)
    return path


def write(path, nodes, inputs, outputs=("y",), **weights):
    """A file of these nodes; inputs are name: shape, weights name=shape or array."""
    tensors = [onnx.numpy_helper.from_array(
        np.asarray(value) if isinstance(value, (np.ndarray, np.generic))
        else np.zeros(value, np.float32), name)
        for name, value in weights.items()]
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info(name, FLOAT, shape)
         for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs], tensors)
    known = [helper.make_opsetid(domain, 18 if not domain else 1)
             for domain in ("", "elsewhere")]
    onnx.save(helper.make_model(graph, opset_imports=known), str(path))
    return path


def one_layer(path, op, inputs, batch=None, w=None, **attributes):
    names = [*inputs, *(["w"] if w is not None else [])]
    node = helper.make_node(op, names, ["y"], name="node", **attributes)
    layer, = network_from_onnx(
        write(path, [node], inputs, **({} if w is None else {"w": w})), batch).layers
    return layer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layer_has_the_products_of_the_torch_module(kind, path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps, self.fc = kind(8, 6, 2, bidirectional=True), nn.Linear(12, 3)

        def forward(self, x):
            return self.fc(self.steps(x)[0])

    def products(network):
        return sorted((one.N * one.W, one.C, one.M, one.steps)
                      for one in network.layers)

    read = network_from_onnx(export(Net(), (5, 2, 8), path))
    assert products(read) == products(network_from_module(Net(), (5, 2, 8)))
    assert not any(one.op == kind.__name__ for one in read.not_counted)


def test_recurrent_layer_with_the_batch_first(path):
    node = helper.make_node("GRU", ["x", "w", "r"], ["", "y"], name="gru", layout=1,
                            hidden_size=6)
    write(path, [node], {"x": (2, 5, 8)}, w=(1, 18, 8), r=(1, 18, 6))
    first, again = network_from_onnx(path).layers
    assert (first.N * first.W, first.C, first.M) == (10, 8, 18)
    assert (again.N * again.W, again.C, again.M, again.steps) == (2, 6, 18, 5)


@pytest.mark.parametrize("op", ["Attention", "FusedConv"])
def test_operator_that_hides_products_is_refused(op, path):
    nodes = [helper.make_node(op, ["x", "w"], ["s"], name="it", domain="elsewhere"),
             helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    write(path, nodes, {"x": (1, 4, 6, 6)}, w=(4, 4, 3, 3))
    with pytest.raises(ValueError, match=f"{op} it: its products can't be told"):
        network_from_onnx(path)


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    return export(ResNet18(), (1, 3, 224, 224), tmp_path_factory.mktemp("onnx")
                  / "resnet18.onnx", dynamic_axes={"image": {0: "batch"}})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("batch", [None, 3])
def test_exported_resnet18_is_the_zoos_layer_by_layer(resnet18, batch):
    network = network_from_onnx(resnet18, batch)
    zoo = load_zoo("resnet18", batch or 1)
    # The exporter writes a block's shortcut after its convolutions, as it runs.
    assert network.layers == zoo.layers
    assert network.batch == zoo.batch
    # The exporter folds batch normalisation into the weights.
    assert {op.op: (op.calls, op.outputs) for op in network.not_counted} == {
        {"relu": "Relu", "add": "Add", "max_pool2d": "MaxPool",
         "mean": "GlobalAveragePool"}[op.op]: (op.calls, op.outputs)
        for op in zoo.not_counted if op.op != "batch_norm"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module, input_shape", [
    (MobileNetV2(), (1, 3, 224, 224)), (SmallViT(), (2, 3, 32, 32))])
def test_export_and_trace_of_a_module_have_the_same_layers(module, input_shape, path):
    exported = network_from_onnx(export(module, input_shape, path))
    assert exported.layers == network_from_module(module, input_shape).layers


class PaddedHalves(nn.Module):
    """Its export computes where to cut and how far to pad from the ifmap's sizes."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(4, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        left, right = x.chunk(2, 1)
        width = right.shape[3] // 2
        x = self.conv(nn.functional.pad(torch.cat((right, left), 1)[..., :width],
                                        (1, 2, 0, 1)))
        return self.fc(x.mean((2, 3)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning",
                            "ignore::torch.jit.TracerWarning",
                            "ignore:Constant folding")
@pytest.mark.parametrize("axes", [{}, {"dynamic_axes": {"image": {0: "batch"}}}])
def test_sizes_that_the_graph_computes_step_by_step_are_worked_out(path, axes):
    exported = network_from_onnx(export(PaddedHalves(), (1, 4, 9, 14), path, **axes))
    assert exported.layers == network_from_module(PaddedHalves(), (1, 4, 9, 14)).layers


def test_tensors_that_a_graph_only_names_by_their_size_are_not_made(path):
    nodes = [helper.make_node("ConstantOfShape", ["large"], ["zeros"]),
             helper.make_node("Strange", ["zeros"], ["s"], domain="elsewhere"),
             helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    write(path, nodes, {"x": (1, 3, 8, 8)}, ("y", "s"), w=(4, 3, 3, 3),
          large=np.int64([1 << 20, 1 << 20]))
    assert [layer.name for layer in network_from_onnx(path).layers] == ["conv"]


@pytest.mark.parametrize("op, attributes", [
    ("Conv", {"pads": [2500] * 4}), ("Pad", {}), ("HannWindow", {})])
def test_what_is_not_known_to_be_small_is_not_evaluated(
        path, monkeypatch, op, attributes):
    inputs = {"Conv": ["one", "w"], "Pad": ["one", "wide"], "HannWindow": ["long"]}[op]
    nodes = [helper.make_node(op, inputs, ["large"], **attributes),
             helper.make_node("NonZero", ["large"], ["where"]),
             helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    write(path, nodes, {"x": (1, 3, 8, 8)}, ("y", "where"), w=(4, 3, 3, 3),
          one=(1, 3, 3, 3), wide=np.int64([0, 0, 2500, 2500] * 2), long=np.int64(10**8))
    evaluated = []
    monkeypatch.setattr("onnx.reference.ReferenceEvaluator.run",
                        lambda *given: evaluated.append(given))
    network_from_onnx(path)
    assert not evaluated


def test_sizes_in_other_files_are_not_looked_for(path, monkeypatch):
    nodes = [helper.make_node("Shape", ["x"], ["shape"]),
             helper.make_node("Div", ["shape", "two"], ["half"]),
             helper.make_node("Reshape", ["x", "half"], ["s"]),
             helper.make_node("Conv", ["s", "w"], ["y"], name="conv")]
    write(path, nodes, {"x": (4, 3, 8, 8)}, w=(4, 3, 3, 3), two=np.int64([4, 1, 1, 1]))
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True,
              location="data", size_threshold=0)
    monkeypatch.chdir(path.parent)      # where a file of that name would be found
    with pytest.raises(ValueError, match=r"'s' does not follow.*in the file itself"):
        network_from_onnx(path)


def test_a_layer_behind_branches_is_not_taken_for_work_on_weights(path):
    def branch(name):
        return helper.make_graph(
            [helper.make_node("Relu", ["c"], [name])], name, [],
            [helper.make_tensor_value_info(name, FLOAT, (1, 4, 6, 6))])

    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="first"),
             helper.make_node("If", ["yes"], ["b"], then_branch=branch("t"),
                              else_branch=branch("e")),
             helper.make_node("Conv", ["b", "v"], ["y"], name="second")]
    write(path, nodes, {"x": (1, 3, 8, 8)}, w=(4, 3, 3, 3), v=(5, 4, 3, 3),
          yes=np.bool_(True))
    assert [layer.name for layer in network_from_onnx(path).layers] == [
        "first", "second"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fc_of_a_flattened_map_keeps_the_map(path):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(64, 5))
    network = network_from_onnx(export(module, (2, 3, 6, 6), path))
    assert network.layers == network_from_module(module, (2, 3, 6, 6)).layers
    assert network.layers[-1].R == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fixed_batch_is_rescaled(path):
    module = nn.Conv2d(3, 4, 3)
    network = network_from_onnx(export(module, (2, 3, 6, 6), path), batch=5)
    assert (network.batch, network.layers[0].N) == (5, 5)


@pytest.mark.parametrize("op, x, w, attributes, sizes", [
    pytest.param(
        "Conv", (2, 4, 17, 19), (6, 2, 3, 5),
        {"strides": [2, 3], "pads": [0, 1, 2, 3], "dilations": [2, 1], "group": 2},
        {"N": 2, "M": 6, "C": 2, "H": 19, "W": 23, "R": 3, "S": 5, "U": 2, "V": 3,
         "groups": 2, "dilation": (2, 1), "padding": (0, 2, 1, 3)}, id="2-D"),
    pytest.param(
        "Conv", (2, 4, 8, 8), (6, 4, 4, 4), {"auto_pad": "SAME_UPPER"},
        {"N": 2, "M": 6, "C": 4, "H": 11, "W": 11, "R": 4, "S": 4,
         "padding": (1, 2, 1, 2)}, id="SAME_UPPER"),
    pytest.param(
        "Conv", (2, 4, 8, 8), (6, 4, 4, 4), {"auto_pad": "SAME_LOWER"},
        {"N": 2, "M": 6, "C": 4, "H": 11, "W": 11, "R": 4, "S": 4,
         "padding": (2, 1, 2, 1)}, id="SAME_LOWER"),
    pytest.param(
        "Conv", (2, 4, 8, 8), (6, 4, 3, 3),
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"N": 2, "M": 6, "C": 4, "H": 9, "W": 9, "R": 3, "S": 3, "U": 2,
         "padding": (0, 1, 0, 1)}, id="SAME_UPPER, stride 2"),
    pytest.param(
        "Conv", (2, 4, 8, 8), (6, 4, 3, 3), {"auto_pad": "VALID"},
        {"N": 2, "M": 6, "C": 4, "H": 8, "W": 8, "R": 3, "S": 3}, id="VALID"),
    pytest.param(
        "Conv", (2, 4, 17), (6, 4, 3), {"strides": [2], "pads": [1, 0]},
        {"N": 2, "M": 6, "C": 4, "H": 1, "W": 18, "R": 1, "S": 3, "U": 2,
         "padding": (0, 0, 1, 0)}, id="1-D"),
    pytest.param(
        "Conv", (2, 4, 8, 9, 9), (6, 4, 2, 3, 3),
        {"strides": [2, 1, 1], "pads": [1, 0, 1, 1, 0, 1]},
        {"N": 2 * 5, "M": 6, "C": 4 * 2, "H": 9, "W": 11, "R": 3, "S": 3,
         "padding": (0, 0, 1, 1)}, id="3-D"),
    pytest.param(
        "ConvTranspose", (2, 4, 8, 8), (4, 3, 3, 3),
        {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1], "group": 2},
        {"N": 2, "M": 6, "C": 2, "H": 18, "W": 18, "R": 3, "S": 3, "groups": 2,
         "padding": (1, 2, 1, 2)}, id="transposed"),
    pytest.param(
        "Gemm", (3, 8), (5, 8), {"transB": 1},
        {"N": 3, "M": 5, "C": 8, "H": 1, "W": 1, "R": 1, "S": 1}, id="Gemm"),
    pytest.param(
        "MatMul", (3, 7, 8), (8, 5), {},
        {"N": 3, "M": 5, "C": 8, "H": 1, "W": 7, "R": 1, "S": 1}, id="MatMul"),
    pytest.param(
        "MatMul", (3, 2, 7, 8), (2, 8, 5), {},
        {"N": 3, "M": 10, "C": 8, "H": 1, "W": 7, "R": 1, "S": 1, "groups": 2},
        id="weight per head"),
    pytest.param(
        "Einsum", (3, 7, 8), (8, 5), {"equation": "bnk,km->bnm"},
        {"N": 3, "M": 5, "C": 8, "H": 1, "W": 7, "R": 1, "S": 1}, id="Einsum"),
])
def test_operator_becomes_the_layer_that_does_its_work(
        path, op, x, w, attributes, sizes):
    assert one_layer(path, op, {"x": x}, w=w, **attributes) == ConvLayer(
        name="node", **sizes)


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER"])
def test_transposed_convolution_of_the_same_size_has_as_many_outputs(path, rule):
    layer = one_layer(path, "ConvTranspose", {"x": (1, 4, 5, 5)}, w=(4, 6, 4, 4),
                      strides=[3, 3], auto_pad=rule)
    assert (layer.E, layer.F) == (15, 15)


@pytest.mark.parametrize("op, a, b, attributes", [
    ("MatMul", (3, 2, 7, 8), (3, 2, 8, 5), {}),
    ("Einsum", (3, 2, 7, 8), (3, 2, 5, 8), {"equation": "bhik,bhjk->bhij"}),
])
def test_product_of_activations_brings_its_filters(path, op, a, b, attributes):
    assert one_layer(path, op, {"a": a, "b": b}, **attributes) == ConvLayer(
        name="node", M=6 * 5, C=8, H=1, W=7, R=1, S=1, groups=6, dynamic_filters=True)


def test_quantised_weights_are_weights(path):
    nodes = [
        helper.make_node("DequantizeLinear", ["conv1.weight", "scale"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"], name="c"),
        helper.make_node("MatMul", ["y", "y"], ["z"], name="m")]
    write(path, nodes, {"x": (1, 4, 8, 8)}, ["z"],
          **{"conv1.weight": np.zeros((6, 4, 3, 3), np.int8), "scale": ()})
    network = network_from_onnx(path)
    assert [(layer.name, layer.dynamic_filters) for layer in network.layers] == [
        ("conv1", False), ("m", True)]
    assert network.not_counted == ()


def test_integer_convolutions_are_layers(path):
    weights = {"w": np.zeros((6, 4, 3, 3), np.int8), "s": (), "z": np.int8([0])}
    node = helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"],
                            ["y"], pads=[1] * 4)
    write(path, [node], {"x": (1, 4, 8, 8)}, **weights)
    layer, = network_from_onnx(path).layers
    assert layer == ConvLayer(name="y", M=6, C=4, H=10, W=10, R=3, S=3, padding=1)


def test_sizes_that_the_graph_computes_are_followed(path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"], name="fc"),
        helper.make_node("Softsign", ["y"], ["out"])]
    write(path, nodes, {"x": ("images", 4, 3, 3)}, ["out"], w=(36, 5),
          zero=np.int64([0]), rest=np.int64([-1]))
    network = network_from_onnx(path, batch=7)
    assert network.layers == (
        ConvLayer(name="fc", N=7, M=5, C=4, H=3, W=3, R=3, S=3),)
    assert [(op.op, op.calls, op.outputs) for op in network.not_counted] == [
        ("Softsign", 1, 35)]


def test_large_and_absent_weights_are_not_needed(path):
    node = helper.make_node("Gemm", ["x", "fc.weight"], ["y"], transB=1)
    write(path, [node], {"x": (1, 200)}, **{"fc.weight": (100, 200)})
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="data",
              size_threshold=0)
    (path.parent / "data").unlink()
    layer, = network_from_onnx(path).layers
    assert (layer.name, layer.M, layer.C) == ("fc", 100, 200)


@pytest.mark.parametrize("shape, words", [
    (("n", 3, "height", 8), r"input 'x' has an open dimension 2 \(height\)"),
    (("n", 3, 8, None), r"input 'x' has an open dimension 3 \(no name\)"),
    ((None, 3, 8, None), r"input 'x' has an open dimension 3 \(no name\)"),
])
def test_open_dimension_that_is_no_batch_is_named(path, shape, words):
    with pytest.raises(ValueError, match=words):
        one_layer(path, "Conv", {"x": shape}, w=(4, 3, 3, 3))


def test_shape_that_cannot_be_inferred_is_named(path):
    nodes = [helper.make_node("Strange", ["x"], ["s"], domain="elsewhere"),
             helper.make_node("Conv", ["s", "w"], ["y"], name="conv")]
    write(path, nodes, {"x": (1, 3, 8, 8)}, w=(4, 3, 3, 3))
    with pytest.raises(ValueError, match="Conv conv: the shape of 's' does not follow"):
        network_from_onnx(path)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x80\x04pickle", None])
def test_file_that_is_no_model_is_refused_in_one_line(path, content):
    if content is None:         # only the first half of one
        node = helper.make_node("Conv", ["x", "w"], ["y"])
        write(path, [node], {"x": (1, 3, 8, 8)}, w=(4, 3, 3, 3))
        content = path.read_bytes()[:path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no ONNX model") as caught:
        network_from_onnx(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_is_named():
    with pytest.raises(ValueError, match=r"nowhere\.onnx: no such file"):
        network_from_onnx("nowhere.onnx")


def test_without_onnx_the_cure_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"pip install 'eyeriss-sim\[onnx\]'"):
        network_from_onnx(path)


@pytest.mark.parametrize("attributes, words", [
    ({"group": 2}, "the ifmap has 3 channels, but filters and groups=2 make 6"),
    ({"group": 0}, "groups=0"),
    ({"strides": [1]}, "Conv conv: list index out of range"),
    ({"strides": [0, 0]}, "Conv conv: .*U must be a whole number of at least 1"),
    ({"auto_pad": 3}, "Conv conv: "),
])
def test_node_with_odd_attributes_is_named_with_the_file(path, attributes, words):
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    write(path, [node], {"x": (1, 3, 8, 8)}, w=(4, 3, 3, 3))
    with pytest.raises(ValueError, match=words) as caught:
        network_from_onnx(path)
    assert str(caught.value).startswith(f"{path}: Conv conv: ")


def test_product_whose_factors_do_not_fit_is_refused(path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    write(path, [node], {"x": (1, 63)}, w=(64, 10))
    with pytest.raises(ValueError, match="rows of 63 values meet columns of 64"):
        network_from_onnx(path)


def test_node_without_its_operands_is_named(path):
    write(path, [helper.make_node("Conv", ["x"], ["y"], name="conv")],
          {"x": (1, 3, 8, 8)})
    with pytest.raises(ValueError, match=r"Conv conv: .*is the model valid"):
        network_from_onnx(path)
