import subprocess
import sys

import pytest

from eyeriss_sim import simulate
from eyeriss_sim.importers import load_network
from eyeriss_sim.networks import load_zoo

SOURCE = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
"""
TABLE = "layer,N,M,C,H,W,R,S,U,padding\n0,2,8,3,10,10,3,3,1,1\n"


def write_onnx(path):
    onnx = pytest.importorskip("onnx")
    helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
    onnx.save(helper.make_model(helper.make_graph(
        [helper.make_node("Conv", ["x", "0.weight"], ["y"], pads=[1] * 4)], "graph",
        [helper.make_tensor_value_info("x", FLOAT, ("n", 3, 8, 8))],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [helper.make_tensor("0.weight", FLOAT, (8, 3, 3, 3), [0.0] * 216)])), str(path))


@pytest.mark.parametrize("batch, N", [(None, 2), (4, 4)])
def test_every_form_of_a_network_gives_the_same_layers(tmp_path, batch, N):
    (tmp_path / "net.csv").write_text(TABLE)
    (tmp_path / "net.py").write_text(SOURCE)
    write_onnx(tmp_path / "net.onnx")
    table = load_network(tmp_path / "net.csv", batch)
    module = load_network(f"{tmp_path}/net.py:net", batch, (2, 3, 8, 8))
    graph = load_network(str(tmp_path / "net.onnx"), batch or 2)
    assert table.layers == module.layers == graph.layers
    assert {net.batch for net in (table, module, graph)} == {N}
    assert {layer.N for layer in table.layers} == {N}


def test_name_of_the_zoo_comes_with_its_batch():
    assert load_network("AlexNet", 3) == load_zoo("alexnet", 3)


@pytest.mark.parametrize("text, options, words", [
    ("alexnt", {}, "no network 'alexnt'; did you mean alexnet"),
    ("net.dat", {}, "vgg16_cifar, or a file: net.csv, net.onnx, net.py:factory, or"),
    ("", {}, "no network ''"),
    ("net.py", {}, "say what in the file makes the module, as in net.py:factory"),
    ("net.py:net", {}, "net.py: no such file"),
    ("net.py:net", {"input_shape": (1, 3)}, "net.py: no such file"),
    ("alexnet", {"input_shape": (1, 3)}, "has its own input shape"),
    ("alexnet", {"proposals": 3}, "proposals are of a torch module"),
    ("alexnet", {"batch": 0}, "batch must be a whole number of at least 1, got 0"),
    ("none.csv", {}, "none.csv: no such file"),
    ("none.onnx", {}, "none.onnx: no such file"),
])
def test_text_that_names_no_network_is_refused_in_one_line(text, options, words):
    with pytest.raises(ValueError) as caught:
        load_network(text, **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["zoo", "csv", "onnx"])
def test_torch_is_imported_for_a_torch_module_only(tmp_path, ending):
    path = tmp_path / f"net.{ending}"
    if ending == "onnx":
        write_onnx(path)
    elif ending == "csv":
        path.write_text(TABLE)
    code = ("import sys; from eyeriss_sim.importers import load_network; "
            "load_network(sys.argv[1]); sys.exit('torch' in sys.modules)")
    name = "alexnet" if ending == "zoo" else str(path)
    assert subprocess.run([sys.executable, "-c", code, name]).returncode == 0


@pytest.mark.parametrize("text", ["net.py", "net.py:"])
@pytest.mark.parametrize("shape", [None, (1, 3, 8, 8)])
def test_python_file_without_a_factory_says_how_to_name_one(text, shape):
    with pytest.raises(ValueError,
                       match=r"^net\.py: say what .* as in net\.py:factory$"):
        load_network(text, input_shape=shape)


def test_an_input_shape_beside_a_network_is_refused_not_ignored():
    with pytest.raises(ValueError, match=r"alexnet: .*leave input_shape out"):
        simulate(load_zoo("alexnet"), input_shape=(1, 3, 64, 64))
