import pytest

from eyeriss_sim.importers.eap_tool import FIELDS, workload_from_eap_tool
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.widths import Bits
from eyeriss_sim.zeros import Densities

# AlexNet's CONV1, CONV2 (2 groups) and FC6 for two images; the numbers of zeros are
# made up.
CONV1 = "1, 227,227,3,2,0,16, 11,11,3,96,3484,8, 55,55,96,2,290400,16, 4,4, 0,0,0,0"
CONV2 = "2, 27,27,96,2,69984,9, 5,5,48,256,0,7, 27,27,256,2,0,16, 1,1, 2,2,2,2"
FC6 = "6,6,6,256,2,18432,16,6,6,256,4096,0,16,1,1,4096,2,8192,16,1,1,0,0,0,0"


def read(tmp_path, *lines):
    path = tmp_path / "alexnet.txt"
    path.write_text("\n".join(lines))
    return workload_from_eap_tool(path)


def changed(line, field, text):
    cells = line.split(",")
    cells[FIELDS.index(field)] = str(text)
    return ",".join(cells)


def test_lines_of_alexnet_become_its_layers(tmp_path):
    workload = read(tmp_path, "# AlexNet", CONV1, "", CONV2, FC6 + ",")
    network, densities = workload.network, workload.densities
    assert network.name == "alexnet" and network.batch == 2
    assert network.layers == (
        ConvLayer(name="LAYER1", N=2, M=96, C=3, H=227, W=227, R=11, S=11, U=4),
        ConvLayer(name="LAYER2", N=2, M=256, C=48, H=31, W=31, R=5, S=5, groups=2,
                  padding=2),
        ConvLayer(name="LAYER6", N=2, M=4096, C=256, H=6, W=6, R=6, S=6))
    assert workload.bits == {"LAYER1": Bits(16, 8, 16), "LAYER2": Bits(9, 7, 16),
                             "LAYER6": Bits(16, 16, 16)}
    assert densities["LAYER1"] == Densities(1.0, 1 - 3484 / 34848, 0.5)
    # Half of the 27x27 pixels, over 31x31 of them.
    assert densities["LAYER2"].ifmap == pytest.approx(27 * 27 / 2 / 31 ** 2)
    assert densities["LAYER6"] == Densities(0.0, 1.0, 0.0)


def test_strides_and_paddings_go_where_they_belong(tmp_path):
    line = "0, 9,8,1,1,0,16, 2,3,1,1,0,16, 6,5,1,1,0,16, 2,3, 1,2,3,4"
    workload = read(tmp_path, line.replace("9,8", "9.0,+8"))
    assert workload.network.layers == (ConvLayer(
        name="LAYER0", M=1, C=1, H=12, W=15, R=2, S=3, U=2, V=3, padding=(1, 2, 3, 4)),)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", ["-1", "2.5", "many", "", "nan", "inf", "1e999"])
def test_bad_cell_is_named_with_file_line_field_and_value(tmp_path, field, text):
    with pytest.raises(
            ValueError, match=rf"alexnet.txt, line 2, {field}: .*got '{text}'"):
        read(tmp_path, CONV1, changed(CONV2, field, text))


@pytest.mark.parametrize("lines, words", [
    ([CONV1, CONV1], "line 2, index: 1 stands here twice"),
    ([CONV1 + ",7"], "line 1: 26 numbers, but a layer has 25"),
    ([CONV1.rsplit(",", 1)[0]], "line 1: 24 numbers, but a layer has 25"),
    ([], "no layer in it"),
    ([changed(CONV2, "filter channels", 36)], "filter channels: 36, but .*divide.* 96"),
    ([changed(CONV2, "filter channels", 192)], "filter channels: 192, but"),
    ([changed(CONV2, "filter maps", 255)], "filter maps: 255, but .*multiple of the 2"),
    ([changed(CONV2, "padding top", 1)], "ofmap height: 27, but .* give 26"),
    ([changed(CONV1, "stride x", 3)], "ofmap width: 55, but .* give 73"),
    ([changed(CONV1, "ofmap channels", 97)], "ofmap channels: 97, but .* give 96"),
    ([changed(CONV1, "ofmap maps", 1)], "ofmap maps: 1, but .* give 2"),
    ([changed(CONV1, "filter height", 300)], "line 1: LAYER1: filter R=300 covers"),
    ([changed(CONV1, "filter zero entries", 34849)],
     "filter zero entries: 34849, but there are 34848"),
    ([changed(CONV1, "filter bit width", 65)], "must be a whole number, 1..64"),
    ([CONV1, changed(changed(CONV2, "ifmap maps", 1), "ofmap maps", 1)],
     "line 2, ifmap maps: 1, but LAYER1 has 2"),
])
def test_contradiction_is_refused_in_one_line(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path, *lines)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "net.txt"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="not a text file"):
        workload_from_eap_tool(path)
    with pytest.raises(OSError):
        workload_from_eap_tool(tmp_path / "missing.txt")
