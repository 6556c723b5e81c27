import pytest

from eyeriss_sim import simulate
from eyeriss_sim.importers.csv_table import network_from_csv, workload_from_csv
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.result_files import write_table

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
    (HEADER + "\na,1,8,3,9,9,-3,3,1\n",
     ":2: column 'R' holds '-3'; write a positive whole"),
    (HEADER + "\na,1,8,3,9,9,3x3,3,1\n", ":2: column 'R' holds '3x3'"),
    (HEADER + "\na,1,8,,9,9,3,3,1\n", ":2: column 'C' is empty"),
    (HEADER + "\na,1,8,3\n", ":2: column 'H' is empty"),
    (HEADER + "\na,1,8,3,9,9,3,3,1,7\n", ":2: 10 cells, but the header has 9"),
    (HEADER + "\na,1,8,3,2,9,3,3,1\n", ":2: a: filter R=3 covers 3 pixels and exceeds"),
    (HEADER + "\n" + HEADER + "\n", "has titles but no layers"),
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


EIGHT = ("Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, "
         "Channels, Num Filter, Strides,")
ROW = "Conv1, 227, 225, 11, 9, 3, 96, 4,"


@pytest.mark.parametrize("text", [
    f"{EIGHT.replace('Height', 'Width', 1)}\n{ROW}\n",        # a title repeated
    f"{EIGHT.replace('Channels', '')}\n{ROW}\n",              # a title left out
    f"{EIGHT},,Eh,Ew\n,,,,,,,,,,,\n{ROW},,110,108\n",        # columns without titles
    f"{EIGHT}\n\nAlexNet,\n{ROW}\n{EIGHT}\n",                # titles, a header again
    f"AlexNet,,,,,,,,\n{EIGHT}\n{ROW} 1,\n",
])
def test_scale_sim_topology_is_read_by_position(table, text):
    assert network_from_csv(table(text)).layers == (
        ConvLayer(name="Conv1", M=96, C=3, H=227, W=225, R=11, S=9, U=4),)


@pytest.mark.parametrize("text, names", [
    (f"{EIGHT} Sparsity,\n{ROW} 1:4,\n{ROW} ,\n{ROW}\n"
     "DP, 9, 9, 3, 3, 4, 1, 1, 1:2,\n",
     ["Conv1", "Conv1#2", "Conv1#3", "DP"]),
    ("Layer Name, M, N, K, Sparsity,\na, 3, 5, 16, 1:4,\nb,3,5,16,,\nc,3,5,16,\n"
     "d, 1, 5, 16, 4:8,\n", ["a", "b", "c", "d"])])
def test_sparsity_of_scale_sim_is_the_density_of_weights(table, text, names):
    path = table(text)
    shares = [.25, 1, 1, .5]
    densities = workload_from_csv(path).densities
    assert {name: one.filter for name, one in densities.items()} == dict(
        zip(names, shares, strict=True))
    assert simulate(str(path), "eap_tool").table.filter_density.tolist() == shares
    assert simulate(str(path)).table.filter_density.tolist() == [1] * 4


@pytest.mark.parametrize("cell", ["0.5", "5:4", "0:4", "2:", "2:4:8", "50%"])
def test_sparsity_that_is_no_N_of_M_is_refused(table, cell):
    path = table(f"Layer,M,N,K,Sparsity,\na,3,5,16,{cell},\n")
    with pytest.raises(ValueError, match=f":2: column 'Sparsity' holds '{cell}'; wri"):
        network_from_csv(path)


def test_scale_sim_titles_of_another_order_are_refused(table):
    text = EIGHT.replace("Channels", "Num").replace("Num Filter", "Channels")
    with pytest.raises(ValueError, match="7 is 'Channels', where SCALE-Sim reads"):
        network_from_csv(table(f"{text}\n{ROW}\n"))


def test_scale_sim_row_called_DP_is_depthwise(table):
    row = "DP1, 114, 114, 3, 3, 32, 2, 1,"
    layer, = network_from_csv(table(f"{EIGHT}\n{row}\n")).layers
    assert layer == ConvLayer(name="DP1", M=64, C=1, H=114, W=114, R=3, S=3, groups=32)


def test_products_take_their_names_from_the_first_column_whatever_its_title(table):
    network = network_from_csv(table("L,M,N,K,\nqk,31,96,64,\nqk,31,96,64,\n"))
    assert [layer.name for layer in network.layers] == ["qk", "qk#2"]


def test_what_scale_sim_rounds_up_is_listed_where_it_differs(table):
    network = network_from_csv(table(f"{EIGHT}\na, 10, 12, 3, 3, 4, 8, 2,\n"
                                     "b, 11, 11, 3, 3, 4, 8, 2,\n"))
    layer = network.layer("a")
    assert (layer.E, layer.F) == (4, 5)
    listed, = network.not_counted
    assert "a 5x6, here 4x5" in listed.op and "b" not in listed.op.split("(")[1]
    assert (listed.calls, listed.outputs) == (1, 8 * (30 - 20))


def test_names_that_stand_there_again_are_numbered(table):
    rows = "a,1,8,3,9,9,3,3,1\n" * 3
    assert [layer.name for layer in network_from_csv(table(f"{HEADER}\n{rows}")).layers
            ] == ["a", "a#2", "a#3"]


@pytest.mark.parametrize("text", [
    "layer;M;C;H;W;R;S;U\na;8;3;9;9;3;3;1\n",
    "sep=;\nlayer;M;C;H;W;R;S;U;;\na;8;3;9;9;3;3;1;;\n",
    "sep=,\nlayer,M,C,H,W,R,S,U\na,8,3,9,9,3,3,1\n",
    '"sep=;"\n"layer";"M";"C";"H";"W";"R";"S";"U"\n"a";"8,0";3;9;9;3;3;1\n',
    "layer\tM\tC\tH\tW\tR\tS\tU\na\t8\t3\t9\t9\t3\t3\t1\n",
    ",layer,M,C,H,W,R,S,U\n0,a,8.0,3,9,9,3,3,1\n",
    "Unnamed: 0,layer,M,C,H,W,R,S,U\n0,a,8.0,3.0,9,9,3,3,1.0\n",
    "\ufefflayer,M,C,H,W,R,S,U\r\na,8,3,9,9,3,3,1\r\n",
])
def test_what_spreadsheets_and_pandas_write_is_read(table, text):
    assert network_from_csv(table(text)).layers == (
        ConvLayer(name="a", M=8, C=3, H=9, W=9, R=3, S=3),)


@pytest.mark.parametrize("cell", ["1.000", "8.5", "1e3", "٣", "+8"])
def test_number_that_may_be_another_is_refused(table, cell):
    with pytest.raises(ValueError, match="column 'M' holds"):
        network_from_csv(table(f"layer;M;C;H;W;R;S;U\na;{cell};3;9;9;3;3;1\n"))


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "isca16_256"])
def test_result_is_a_table_of_its_layers_and_of_its_mappings(tmp_path, hardware):
    path = tmp_path / "result.csv"
    layers = (
        ConvLayer(name="a", N=2, M=8, C=3, H=20, W=24, R=3, S=5, U=1, V=2,
                  dilation=(2, 1) if hardware == "eyeriss_chip" else 1,
                  padding=(0, 1, 2, 3)),
        ConvLayer(name="b", N=2, M=8, C=4, H=20, W=20, R=13, S=3, groups=2))
    result = simulate(Network("two", layers, batch=2), hardware, objective="cycles")
    write_table(result, path)
    assert network_from_csv(path).layers == layers
    again = simulate(network_from_csv(path), hardware, mapping=str(path))
    assert again.table["cycles"].tolist() == result.table["cycles"].tolist()
    assert again.total_uJ == result.total_uJ


def test_products_of_activations_stay_such_in_a_table(tmp_path, table):
    path = tmp_path / "result.csv"
    layers = (ConvLayer(name="fc", N=2, M=8, C=6, H=1, W=5, R=1, S=1),
              ConvLayer(name="heads", N=4, M=8, C=6, H=1, W=5, R=1, S=1),
              ConvLayer(name="qk", M=2 * 3 * 5, C=6, H=1, W=5, R=1, S=1, groups=2 * 3,
                        dynamic_filters=True))
    network = Network("net", layers, batch=2)
    write_table(simulate(network), path)
    again = network_from_csv(path)
    assert (again.layers, again.batch) == (layers, 2)
    assert network_from_csv(path, 6).layers == network.with_batch(6).layers
    own = table("layer,N,M,C,H,W,R,S,U,groups,dynamic_filters\n"
                "fc,2,8,6,1,5,1,1,1,,\nqk,,30,6,1,5,1,1,1,6,TRUE\n")
    assert network_from_csv(own).layers == layers[::2]
    assert network_from_csv(own).batch == 2
    assert network_from_csv(own, 6).layers == network.with_batch(6).layers[::2]
    with pytest.raises(ValueError, match=":2: column 'batch' holds 0; write a pos"):
        network_from_csv(table("layer,mapping_source,M,C,H,W,R,S,U,batch\n"
                               "a,search,8,3,9,9,3,3,1,0\n"))
    with pytest.raises(ValueError, match="'dynamic_filters' holds yes; write true or"):
        network_from_csv(table("layer,M,C,H,W,R,S,U,dynamic_filters\n"
                               "a,8,6,1,5,1,1,1,yes\n"))


def test_mappings_of_a_result_are_for_its_own_accounting(tmp_path):
    path = tmp_path / "result.csv"
    write_table(simulate("alexnet", "isca16_256"), path)
    with pytest.raises(ValueError, match="accounting: these mappings are of isca16"):
        simulate("alexnet", mapping=str(path))


def test_missing_file_is_named():
    with pytest.raises(ValueError, match=r"nowhere\.csv: no such file"):
        network_from_csv("nowhere.csv")
