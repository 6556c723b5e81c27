"""Small files that would fill the memory or break a reader: refused in one line."""

import io
import json
import lzma
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eyeriss_sim.importers.tensors import load_images, load_weights
from eyeriss_sim.sweep.front import read_points
from pruning.checkpoint import KEY, load_model
from pruning.compare import collect, print_table
from pruning.datasets.cifar10_archive import BATCHES, FOLDERS, read_archive
from pruning.pickle_check import check_growth
from pruning.records import read_metrics
from pruning.result import load_result

PIXELS = 20 * 3072


def archive_of(tmp_path, content):
    folder = tmp_path / FOLDERS["python"]
    folder.mkdir()
    for name in BATCHES:
        # As long as a batch is.
        (folder / name).write_bytes(content + b"." * (PIXELS + 1 - len(content)))
    return folder


def doubled(deep, key=True):
    """A dictionary of one tuple that holds a tuple twice, and so on."""
    pairs = b"".join(b"h" + bytes([n]) * 1 + b"h" + bytes([n]) + b"\x86q"
                     + bytes([n + 1]) for n in range(deep))
    return b"\x80\x02}(" + b")q\x00" + pairs + (b"K\x01u." if key else b"su.")


BOMBS = {
    "a key that is hashed 2^60 times": doubled(60),
    "pairs by DUP": b"\x80\x02}()" + b"2\x86" * 60 + b"K\x01u.",
    "lists that are shown 2^60 times": (
        b"\x80\x02(]q\x00" + b"".join(
            b"(h" + bytes([n]) + b"h" + bytes([n]) + b"lq" + bytes([n + 1])
            for n in range(60)) + b"t."),
    "a tuple under a number that is popped": (
        b"\x80\x02})K\x010q\x00h\x00h\x00\x86K\x01s."),
    "a memo of 2^28": b"\x80\x02}r" + struct.pack("<I", 0x0FFFFFFF) + b".",
    "a memo of 10^300": b"}p1" + b"0" * 300 + b"\n.",
    "a number of 5000 digits": b"I" + b"1" * 5000 + b"\n.",
    "no pickle": b"\xff\xff"}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_pickle_that_grows_is_refused_before_it_is_read(content, tmp_path):
    tracemalloc.start()
    with pytest.raises(ValueError, match="data_batch_1 is no batch of CIFAR-10"):
        read_archive(archive_of(tmp_path, content), 20)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_ordinary_pickles_pass(protocol):
    names = ["one", "two", "one", b"three"]
    check_growth(pickle.dumps({"labels": [1, 2], "names": names, "shape": (3, (4, 5))},
                              protocol) if protocol > 2 else
                 pickle.dumps({"labels": [1, 2], "names": names[:3]}, protocol))


@pytest.mark.parametrize("spoil", [
    lambda whole: whole[:len(whole) // 2],
    lambda whole: whole[:200] + b"\xff" * 50 + whole[250:],
    lambda whole: whole[:-20] + b"\x00" * 20])
@pytest.mark.parametrize("ending", ["xz", "gz", "bz2"])
def test_a_damaged_archive_is_refused(spoil, ending, tmp_path):
    path = tmp_path / f"cifar.tar.{ending}"
    with tarfile.open(path, f"w:{ending}") as tar:
        for name in BATCHES:
            member = tarfile.TarInfo(f"{FOLDERS['binary']}/{name}.bin")
            member.size = 20 * 3073
            # Noise, which no packing shortens: the middle is in the middle.
            noise = torch.randint(0, 256, (member.size,), dtype=torch.uint8).numpy()
            tar.addfile(member, io.BytesIO(noise.tobytes()))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path.name}: not an archive|has labels"):
        read_archive(path, 20)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "cifar.tar.xz"
    member = tarfile.TarInfo("data_batch_1.bin")
    member.size = 2**40
    path.write_bytes(lzma.compress(member.tobuf() + bytes(10**6), preset=0))
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_archive(path, 20)


def gif(width, height):
    return (b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00" + bytes(6)
            + b"," + struct.pack("<HHHH", 0, 0, width, height)
            + b"\x00\x02\x02\x44\x01\x00;")


def png(width, height):
    import zlib
    chunks = b""
    for kind, content in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0,
                                                0)),
                          (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        chunks += (struct.pack(">I", len(content)) + kind + content
                   + struct.pack(">I", zlib.crc32(kind + content)))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("content", [gif(12_400, 12_400), gif(8, 8),
                                     png(12_400, 12_400), png(2**31 - 1, 1)])
def test_a_few_bytes_that_declare_a_vast_picture_are_refused(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as a picture"):
        load_images(tmp_path)


def test_images_that_unpack_to_gigabytes_are_refused_and_large_ones_read(
        tmp_path, monkeypatch):
    path = tmp_path / "images.npz"
    monkeypatch.setattr("eyeriss_sim.importers.tensors.MOST_UNPACKED_B", 2**20)
    blank = np.zeros((2, 3, 300, 300), np.float32)
    for name in ("x", "only"):
        np.savez_compressed(path, **{name: blank})
        with pytest.raises(ValueError, match=rf"images\.npz: {name} unpacks to 2,160,"):
            load_images(path)
    # As they are, or noise, which no packing shortens, or few.
    np.savez(path, blank)
    assert load_images(path).shape == blank.shape
    noise = np.random.default_rng(0).random(blank.shape, np.float32)
    for images in (noise, blank[:1, :, :100]):
        np.savez_compressed(path, images)
        assert np.array_equal(load_images(path), images)


ODD = {
    "sparse_coo": lambda: torch.eye(3).to_sparse(),
    "sparse_csr": lambda: torch.eye(3).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "meta": lambda: torch.empty(3, 3, device="meta"),
    "one value for several": lambda: torch.ones(1).expand(3, 3),
    "complex": lambda: torch.ones(3, 3, dtype=torch.complex64),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3, 3), 0.1, 0,
                                                   torch.qint8)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_block_of_numbers_are_refused(kind, tmp_path):
    path = tmp_path / "net.pt"
    torch.save({"weight": ODD[kind](), "bias": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"net\.pt: weight holds|net\.pt: ") as problem:
        load_weights(torch.nn.Linear(3, 3), path)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("classes", [10**9, 10**400, 0, -1, "10", None, True, [10], 11])
def test_a_checkpoint_of_other_classes_than_its_tensors_have_is_refused(
        classes, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}, path,
              {KEY: json.dumps({"network": "resnet20_cifar", "num_classes": classes})})
    with pytest.raises(ValueError, match="num_classes is") as problem:
        load_model(path)
    assert len(str(problem.value)) < 300


WHOLE = {"fields": ["rows"], "networks": ["alexnet"], "constraints": {},
         "rows for layers": False, "chunks": 1}


@pytest.mark.parametrize("content", [
    "[]", "3", "null", '"text"', "{}", "[" * 100_000, json.dumps(WHOLE | {"fields": 3}),
    json.dumps(WHOLE | {"networks": "alexnet"}),
    json.dumps(WHOLE | {"constraints": None}),
    json.dumps(WHOLE | {"rows for layers": "no"}), json.dumps(WHOLE | {"chunks": "1"}),
    json.dumps(WHOLE | {"fields": [["rows"]]}),
    json.dumps(WHOLE | {"values of batch": 4}), json.dumps(WHOLE | {"networks": [1]}),
    json.dumps(WHOLE | {"networks": []}),
    json.dumps(WHOLE | {"values of batch": [True]}),
    json.dumps(WHOLE | {"values of batch": [{}]}), "\x00", '{"fields": [}'])
def test_a_description_of_another_form_is_no_sweep(content, tmp_path):
    (tmp_path / "_sweep.json").write_text(content)
    with pytest.raises(ValueError, match=r"_sweep\.json") as problem:
        read_points(tmp_path, ["total_uJ"])
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("key, value", [
    ("rung", 3), ("rung", ["a"]), ("rung", {}), ("method", 1), ("target", [0.5]),
    ("control", 2), ("accuracy", "0.9"), ("test_accuracy", [1]), ("accuracy", True),
    ("energy_rel_eap_tool", "low"), ("weights_rel", {}), ("seed", "0"),
    ("floor_rel_eap_tool", []), ("objective_eap_tool", 3),
    ("energy_rel_eyeriss_chip", [0.5])])
def test_metrics_of_other_types_are_refused(key, value, tmp_path):
    file = tmp_path / "metrics.json"
    good = {"rung": "energy=0.5", "method": "magnitude", "accuracy": 0.9,
            "test_accuracy": None, "energy_rel_eap_tool": 0.5, "seed": 0}
    file.write_text(json.dumps(good))
    assert read_metrics(file) == good | {"objective_eap_tool": "energy"}
    (tmp_path / "config.json").write_text("{}")
    file.write_text(json.dumps(good | {key: value}))
    with pytest.raises(ValueError, match=f"metrics.json: {key} must be"):
        collect([tmp_path])


@pytest.mark.parametrize("key, value", [("network", []), ("data", {}), ("data", 3)])
def test_a_config_of_other_types_is_refused(key, value, tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"method": "magnitude"}))
    (tmp_path / "config.json").write_text(json.dumps({key: value}))
    with pytest.raises(ValueError, match=f"config.json: {key} must be text"):
        collect([tmp_path])


def test_metrics_that_name_no_method_and_no_rung_are_shown(tmp_path):
    metrics = {"rung": None, "method": None, "accuracy": 0.5}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "config.json").write_text("{}")
    print_table(collect([tmp_path]))


@pytest.mark.parametrize("shape", [
    3, "3,32,32", [3, "32", 32], [0, 32, 32], [3, -1, 4], [3, 10**6, 10**6], {}, [None],
    [1.5, 2, 3]])
def test_a_result_of_no_image_shape_is_refused(shape, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"image_shape": shape}))
    (tmp_path / "channels1.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="image_shape must be"):
        load_result(tmp_path, torch.nn.Linear(3, 3))
