import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import BasicBlock, ResNet18
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from eyeriss_sim.importers.tensors import load_images, load_weights
from eyeriss_sim.importers.torch_module import load_module

IMAGES = np.random.default_rng(0).random((2, 3, 4, 5))
META = torch.device("meta")


def refused(words, function, *args):
    with pytest.raises(ValueError, match=words) as caught:
        function(*args)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [
    lambda path: np.save(path / "a.npy", IMAGES),
    lambda path: np.savez(path / "a.npz", whatever=IMAGES),
    lambda path: np.savez_compressed(path / "a.npz", labels=[1, 2], images=IMAGES),
    lambda path: np.savez(path / "a.npz", x=np.asfortranarray(IMAGES), y=[1, 2])])
def test_arrays_are_read_as_they_are(tmp_path, save):
    save(tmp_path)
    images = load_images(*tmp_path.iterdir())
    assert images.dtype == np.float32 and images.flags.c_contiguous
    assert np.array_equal(images, IMAGES.astype(np.float32))


def test_pictures_are_read_as_rgb_in_the_order_of_their_names(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "b.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.PNG")
    Image.new("RGB", (5, 4), (255, 0, 0)).save(tmp_path / "c.jpg", quality=100)
    (tmp_path / "notes.txt").write_text("no picture")
    images = load_images(tmp_path)
    assert images.shape == (3, 3, 4, 5) and images.dtype == np.float32
    assert np.allclose(images[1], pixels.transpose(2, 0, 1) / 255)
    assert np.allclose(images[0], pixels[..., 0] / 255)
    assert np.allclose(images[2, :, 0, 0], (1, 0, 0), atol=0.02)


@pytest.mark.parametrize("array, words", [
    (IMAGES[0], r"need the shape \(N, C, H, W\), got \(3, 4, 5\)"),
    (IMAGES[:0], "no pixel in the shape"),
    ((IMAGES * 255).astype(np.uint8), "floating-point numbers.*got uint8; scale"),
    (np.where(IMAGES > 0.5, np.nan, 0), "NaN or infinite"),
    (IMAGES * 1e300, "NaN or infinite"),
    (-np.inf * (IMAGES + 1), "NaN or infinite"),
    (np.array([{"a": 1}]), "not a numpy file of numbers.*pickle"),
    (np.array("text"), r"need the shape"),
])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_array_that_holds_no_images_is_refused(tmp_path, array, words, ending):
    path = tmp_path / f"a.{ending}"
    (np.save if ending == "npy" else np.savez)(path, array)
    refused(words, load_images, path)


def test_array_file_without_an_images_entry_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **dict.fromkeys("abcde", IMAGES))
    refused('holds a, b, c and 2 more; call the array of images "images"',
            load_images, path)
    np.savez(path)
    refused("holds nothing", load_images, path)


def test_a_bit_flipped_in_the_length_of_a_numpy_header_is_told_in_one_line(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, IMAGES)
    content = bytearray(path.read_bytes())
    content[9] ^= 1
    path.write_bytes(bytes(content))
    refused("not a numpy file", load_images, path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.safetensors", "a.pt", "a.pth"])
@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_file_is_refused_or_read_but_never_crashes(tmp_path, name, data):
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, IMAGES)
    elif name == "a.npz":
        np.savez_compressed(path, IMAGES)
    elif name == "a.safetensors":
        save_file(nn.Linear(3, 2).state_dict(), path)
    else:
        torch.save(nn.Linear(3, 2).state_dict(), path)
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["cut", "flip", "noise"]))
    if kind == "cut":
        content = content[:data.draw(st.integers(0, len(content) - 1))]
    elif kind == "flip":
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(
            st.integers(1, 255))
    else:
        content = data.draw(st.binary(max_size=60))
    path.write_bytes(bytes(content))
    try:
        if name.startswith("a.np"):
            load_images(path)
        else:
            load_weights(nn.Linear(3, 2), path)
    except ValueError as problem:
        assert str(problem).startswith(str(path)) and "\n" not in str(problem)
    else:
        assert kind == "flip" or (kind == "cut" and not name.startswith("a.np"))


def test_no_images_are_refused(tmp_path):
    refused("no such file or folder", load_images, tmp_path / "missing.npy")
    refused("no picture in it", load_images, tmp_path)
    path = tmp_path / "a.csv"
    path.write_text("1,2")
    refused("images come as .npy, .npz, or a folder", load_images, path)


def test_pictures_that_do_not_fit_are_refused(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 5)).save(tmp_path / "b.png")
    refused("b.png: 5x4 pixels, but a.png has 4x5; all must", load_images, tmp_path)
    Image.new("I;16", (5, 4)).save(tmp_path / "b.png")
    refused("b.png: cannot be read as a picture: I;16 pixels", load_images, tmp_path)
    (tmp_path / "b.png").write_bytes(b"no picture at all")
    refused("b.png: cannot be read as a picture", load_images, tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_picture_that_is_cut_short_is_refused(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:len(content) // 2])
    refused(f"{name}: cannot be read as a picture.*trunc", load_images, tmp_path)


def write(tensors, path):
    if path.suffix == ".safetensors":
        save_file({key: value.clone() for key, value in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.pth"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_weights_are_loaded_whole(tmp_path, name, device):
    trained = ResNet18()
    nn.init.normal_(trained.bn1.running_mean)
    path = write(trained.state_dict(), tmp_path / name)
    with torch.device(device):
        module = ResNet18()
    load_weights(module, path)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(module.eval()(images), trained.eval()(images))
    assert all(weight.requires_grad for weight in module.parameters())


def test_state_dict_inside_a_checkpoint_is_found(tmp_path):
    trained, module = nn.Linear(3, 2), nn.Linear(3, 2)
    path = tmp_path / "a.pt"
    torch.save({"epoch": 7, "state_dict": trained.state_dict()}, path)
    load_weights(module, path)
    assert torch.equal(module.weight, trained.weight)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_tied_weights_may_be_stored_once_and_stay_tied(tmp_path, device):
    trained = Tied()
    tensors = trained.state_dict()
    del tensors["a.weight"]
    path = write(tensors, tmp_path / "a.safetensors")
    with torch.device(device):
        module = Tied()
    load_weights(module, path)
    assert module.a.weight is module.b.weight
    assert torch.equal(module.a.weight, trained.b.weight)


def edited(**changes):
    tensors = BasicBlock(3, 4, 2).state_dict()
    for key, value in changes.items():
        key = key.replace("__", ".")
        if value is None:
            del tensors[key]
        else:
            tensors[key] = value
    return tensors


@pytest.mark.parametrize("tensors, words", [
    (edited(conv1__weight=None), "lacks conv1.weight; is it"),
    (edited(conv1__wieght=torch.ones(2), conv1__weight=None),
     "lacks conv1.weight and has unknown conv1.wieght; is it"),
    (edited(a=torch.ones(1), b=torch.ones(1), c=torch.ones(1), d=torch.ones(1)),
     "has unknown a, b, c and 1 more"),
    (edited(conv1__weight=torch.ones(4, 3, 3, 1)),
     r"conv1.weight has the shape \(4, 3, 3, 1\), but .* needs \(4, 3, 3, 3\)"),
    (edited(conv1__weight=torch.ones(4, 3, 3, 3, dtype=torch.int8)),
     "conv1.weight holds int8, but the module needs float32"),
    (edited(conv1__weight=torch.full((4, 3, 3, 3), float("inf"))),
     "conv1.weight holds 108 NaN or infinite values of 108"),
    (edited(bn1__running_mean=torch.full((4,), float("nan"))),
     "bn1.running_mean holds 4 NaN"),
])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_weights_that_do_not_fit_are_refused_and_change_nothing(
        tmp_path, tensors, words, name):
    module = BasicBlock(3, 4, 2)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    refused(words, load_weights, module, write(tensors, tmp_path / name))
    assert all(torch.equal(value, before[key])
               for key, value in module.state_dict().items())


def test_file_of_more_than_tensors_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(nn.Linear(3, 2), path)
    refused("more than tensors; save module.state_dict()", load_weights,
            nn.Linear(3, 2), path)
    torch.save([torch.ones(2)], path)
    refused("holds no state dict", load_weights, nn.Linear(3, 2), path)


def test_no_weights_are_refused(tmp_path):
    refused("no such file", load_weights, nn.Linear(3, 2), tmp_path / "a.pt")
    refused("Module is needed, got a int", load_weights, 7, tmp_path / "a.pt")
    path = tmp_path / "a.bin"
    path.write_bytes(b"")
    refused("weights come as .safetensors, .pt or .pth", load_weights,
            nn.Linear(3, 2), path)


class WithTable(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.register_buffer("table", torch.ones(2), persistent=False)


class WithPlainTensor(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.table = torch.ones(2)


@pytest.mark.parametrize("kind", [WithTable, WithPlainTensor])
def test_values_that_no_file_holds_are_not_left_as_garbage(tmp_path, kind):
    path = write(kind().state_dict(), tmp_path / "a.pt")
    with META:
        module = kind()
    refused(r"on meta, and no file holds its table; build it with .*meta=False",
            load_weights, module, path)


def test_module_of_a_file_is_built_for_real_on_request(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text("from torch import nn\n\ndef net():\n    return nn.Linear(3, 2)\n")
    assert load_module(f"{path}:net").weight.is_meta
    assert load_module(f"{path}:net", meta=False).weight.device.type == "cpu"
