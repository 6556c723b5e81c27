import pytest

from eyeriss_sim.importers.csv_table import network_from_csv
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.networks import load_zoo

HEADER = "layer,N,M,C,H,W,R,S,U"


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "net.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path
    return write


def test_own_columns_give_every_field(table):
    network = network_from_csv(table(
        "layer, N, M, C, H, W, R, S, U, V, groups, dilation, padding\n"
        "\n# stem\n"
        "a, 2, 8, 3, 20, 24, 3, 5, 1, 2, 1, 2x1, 0x1x2x3\n"
        "b, 2, 8, 4, 20, 24, 3, 3, 1,  , 2, 2,   1\n"))
    assert network.layers == (
        ConvLayer(name="a", N=2, M=8, C=3, H=20, W=24, R=3, S=5, U=1, V=2,
                  dilation=(2, 1), padding=(0, 1, 2, 3)),
        ConvLayer(name="b", N=2, M=8, C=4, H=20, W=24, R=3, S=3, groups=2,
                  dilation=2, padding=1))
    assert (network.name, network.batch) == ("net", 2)


def test_zoo_written_as_a_table_reads_back(table):
    zoo = load_zoo("alexnet")
    rows = [",".join(map(str, (
        layer.name, layer.M, layer.C, layer.H, layer.W, layer.R, layer.S, layer.U,
        layer.groups, layer.padding[0]))) for layer in zoo.layers]
    text = "\n".join(["layer,M,C,H,W,R,S,U,groups,padding", *rows])
    # As Excel writes it: a byte-order mark and DOS line ends.
    path = table(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert network_from_csv(path).layers == zoo.layers
    assert network_from_csv(path, batch=4).layers == load_zoo("alexnet", 4).layers


def test_rows_of_different_N_keep_them_at_a_batch_of_one(table):
    path = table(HEADER + "\na,1,8,3,9,9,3,3,1\nb,6,8,3,9,9,3,3,1\n")
    network = network_from_csv(path)
    assert (network.batch, [layer.N for layer in network.layers]) == (1, [1, 6])
    assert [layer.N for layer in network_from_csv(path, batch=3).layers] == [3, 3]


@pytest.mark.parametrize("header, row", [
    ("Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, "
     "Num Filter, Strides,", "Conv1, 227, 225, 11, 9, 3, 96, 4,"),
    ("Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,"
     "Num Filter,Stride height,Stride width,", "Conv1,227,225,11,9,3,96,4,4,"),
    ("Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,"
     "Num Filter,Strides,Sparsity,", "Conv1,227,225,11,9,3,96,4,2:4,"),
    ("Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, "
     "Num Filter, Strides,", "Conv1, 227, 225, 11, 9, 3, 96, 4,#dw"),
    ("Layer name\t IFMAP Height\tIFMAP Width\tFilter Height\tFilter Width\tChannels\t"
     "Num Filter\tStrides\t", "Conv1\t227\t225\t11\t9\t3\t96\t4\t"),
])
def test_scale_sim_topology_is_known_by_its_header(table, header, row):
    assert network_from_csv(table(f"{header}\n{row}\n")).layers == (
        ConvLayer(name="Conv1", M=96, C=3, H=227, W=225, R=11, S=9, U=4),)


def test_scale_sim_product_of_M_K_and_N_does_their_macs(table):
    network = network_from_csv(table("Layer, M, N, K,\nqk, 31, 96, 64,\n"), batch=2)
    assert network.layers == (
        ConvLayer(name="qk", N=2, M=96, C=64, H=1, W=31, R=1, S=1),)
    assert network.macs == 2 * 31 * 96 * 64


@pytest.mark.parametrize("text, words", [
    ("", "has no rows"),
    (HEADER + "\n", "a header but no layers"),
    (HEADER + ",depth\na,1,8,3,9,9,3,3,1,2\n",
     "unknown column 'depth'; the columns of a layer table are layer, M, C"),
    ("layer,M,C,H,W,R,S\na,8,3,9,9,3,3\n", "column 'U' is missing"),
    ("Layer name, IFMAP Height, IFMAP Width, Filter Height\na,1,1,1\n",
     "column 'Filter Width' is missing"),
    (HEADER + "\n\na,1,8,3,nine,9,3,3,1\n", ":3: column 'H' holds 'nine'; write"),
    (HEADER + "\na,1,8,3,9.5,9,3,3,1\n", ":2: column 'H' holds '9.5'"),
    (HEADER + "\na,1,8,3,9,9,-3,3,1\n", ":2: column 'R' holds '-3'"),
    (HEADER + "\na,1,8,3,9,9,3x3,3,1\n", ":2: column 'R' holds '3x3'"),
    (HEADER + "\na,1,8,,9,9,3,3,1\n", ":2: column 'C' is empty"),
    (HEADER + "\na,1,8,3\n", ":2: column 'H' is empty"),
    (HEADER + "\na,1,8,3,9,9,3,3,1,7\n", ":2: 10 cells, but the header has 9"),
    (HEADER + "\na,1,8,3,2,9,3,3,1\n", ":2: a: filter R=3 covers 3 pixels and exceeds"),
    (HEADER + "\na,1,8,3,9,9,3,3,1\na,1,8,3,9,9,3,3,1\n", ":3: layer 'a' is on line 2"),
    (HEADER + ",padding\na,1,8,3,9,9,3,3,1,1x2\n",
     ":2: column 'padding' holds '1x2'; write a whole number or top x bottom"),
    ("Layer,M,N,K\na,1,1,\n", ":2: column 'K' is empty"),
    ("Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, "
     "Num Filter, Strides\na,x,1,1,1,1,1,1\n", ":2: column 'IFMAP Height' holds 'x'"),
    (HEADER + "\na,1,8,3," + "9" * 5000 + ",9,3,3,1\n", ":2: column 'H' holds '9999"),
    (HEADER + ",H\na,1,8,3,9,9,3,3,1,9\n", "column 'H' repeats another; drop or ren"),
    (b"\xff\xfe\x00\x81", "is no CSV text"),
])
def test_bad_table_is_refused_with_file_line_column_and_value(table, text, words):
    path = table(text)
    with pytest.raises(ValueError, match=words) as caught:
        network_from_csv(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_missing_file_is_named():
    with pytest.raises(ValueError, match="nowhere.csv: no such file"):
        network_from_csv("nowhere.csv")
