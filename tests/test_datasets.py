"""Data sets, models and methods of a user: a file each, used from the command line."""

import json

import pytest
import torch

from pruning import datasets
from pruning.batches import Batches
from pruning.checkpoint import KEY, load_model, read_metadata, save_model
from pruning.cli import main
from pruning.datasets import DATASETS, Dataset, Split, Splits, load, pixel_statistics
from pruning.dense import fitting_batches, recipe_for
from pruning.methods import METHODS
from pruning.models import MODELS, make_model
from pruning.recipe import Recipe

DATA = """
import torch
from pruning.datasets import Split, Splits, pixel_statistics, register


def part(images, draw):
    labels = torch.arange(images) % 4
    pixels = torch.randint(64, (images, 1, 12, 10), generator=draw)
    return Split((pixels + 48 * labels[:, None, None, None]).to(torch.uint8), labels)


@register("shades", title="four shades", classes=4, image_shape=(1, 12, 10),
          flip=False, recipe={"crop": 1})
def read(path):
    draw = torch.Generator().manual_seed(0)
    parts = [part(images, draw) for images in (64, 16, 16, 20)]
    return Splits(*parts, **pixel_statistics(parts[0].images))
"""
MODEL = """
from torch import nn
from pruning.models import register
from pruning.recipe import Recipe


@register("small", recipe=Recipe(epochs=3, lr=0.05, batch=16), rung_lr=0.01)
def small(num_classes, image_shape):
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * (height // 2) * (width // 2), num_classes))
"""
METHOD = """
from pruning import scores
from pruning.methods import register


@register("largest_first")
def largest_first(problem):
    sizes = scores.magnitude(problem.model, problem.prunables)
    return problem.meet({name: -size for name, size in sizes.items()})
"""


@pytest.fixture
def plugins(tmp_path):
    """A folder with one file each, and its words for a command; forgotten again."""
    words = []
    for name, text in (("data", DATA), ("model", MODEL), ("method", METHOD)):
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        words += ["--plugin", str(file)]
    yield words
    for registry, name in ((DATASETS, "shades"), (MODELS, "small"),
                           (METHODS, "largest_first")):
        registry._things.pop(name, None)


def test_a_file_each_adds_a_data_set_a_model_and_a_method_to_every_command(
        tmp_path, plugins, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = [*plugins, "--dataset", "shades", "--data", "nowhere", "--threads", "1"]
    main(["train", "small", *common])
    told = capsys.readouterr().out
    assert told.startswith("small, 3 epochs, seed 0, on four shades: choosing ")
    dense = tmp_path / "runs" / "small_dense_s0"
    metrics = json.loads((dense / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.5           # chance: 0.25
    recipe = json.loads((dense / "config.json").read_text())["recipe"]
    assert (recipe["crop"], recipe["batch"]) == (1, 16)
    metadata = read_metadata(dense / "weights.safetensors")
    assert (metadata["num_classes"], metadata["image_shape"]) == (4, [1, 12, 10])
    main(["run", "--network", "small", "--method", "largest_first", *common, "--epochs",
          "1", "--target", "energy=0.9", "--target", "energy=0.85"])
    assert "accuracies are on four shades" in capsys.readouterr().out
    ladder = tmp_path / "runs" / "small_largest_first_s0"
    for share in (0.9, 0.85):
        rung = json.loads((ladder / f"energy={share}" / "metrics.json").read_text())
        assert rung["met"] <= share and rung["method"] == "largest_first"
        config = json.loads((ladder / f"energy={share}" / "config.json").read_text())
        assert (config["num_classes"], config["image_shape"]) == (4, [1, 12, 10])
        assert config["recipe"]["lr"] == 0.01
    main(["compare", *plugins, str(ladder), str(dense), "--out", "all.png"])
    table = (tmp_path / "all.csv").read_text()
    assert table.count("four shades") == 3 and table.count("largest_first") >= 2


def test_a_network_of_other_images_than_the_data_set_has_is_refused_in_one_line(
        tmp_path, plugins, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "weights.safetensors", make_model("resnet20"), {
        "network": "resnet20", "recipe": Recipe(epochs=1).as_dict()})
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--network", "resnet20", "--method", "random", "--target",
              "energy=0.8", *plugins, "--dataset", "shades", "--data", "nowhere",
              "--dense", str(tmp_path)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1
    assert "num_classes 10, but the data set has 4" in error


@pytest.mark.parametrize("words, told", [
    (["--dataset", "cifar"], "unknown data set 'cifar'; did you mean cifar10? known: "),
    (["--dataset", "shades", "--download"], "four shades is not fetched by its file")])
def test_what_a_data_set_cannot_do_is_told_in_one_line(words, told, plugins, capsys,
                                                       tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "resnet20", "--data", "d", *plugins, *words])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and told in error and error.count("\n") == 1


def splits(**changes):
    """Images of 6x4 pixels in three classes, one part changed."""
    def part(images):
        return Split(torch.zeros(images, 2, 6, 4, dtype=torch.uint8),
                     torch.arange(images) % 3)
    parts = {name: part(6) for name in datasets.PARTS} | changes
    return Splits(**parts, **pixel_statistics(parts["fit"].images))


@pytest.mark.parametrize("part, told", [
    (Split(torch.zeros(3, 2, 6, 5, dtype=torch.uint8), torch.arange(3)),
     r"choosing has images of shape \(2, 6, 5\), torch.uint8; own has \(2, 6, 4\)"),
    (Split(torch.zeros(3, 2, 6, 4), torch.arange(3)), "torch.float32; own has"),
    (Split(torch.zeros(3, 2, 6, 4, dtype=torch.uint8), torch.arange(2)),
     r"choosing has labels of shape \(2,\)"),
    (Split(torch.zeros(4, 2, 6, 4, dtype=torch.uint8), torch.arange(4)),
     "choosing has labels 0 to 3; own has 0 to 2"),
    (Split(torch.zeros(0, 2, 6, 4, dtype=torch.uint8), torch.arange(0)),
     "choosing has no image")])
def test_images_that_are_not_what_their_data_set_says_are_refused(
        part, told, monkeypatch):
    read = {"good": splits(), "bad": splits(choosing=part)}
    monkeypatch.setitem(DATASETS._things, "own", Dataset(
        name="own", title="own", classes=3, image_shape=(2, 6, 4), flip=False,
        read=read.get))
    found = load("own", "good")
    assert (found.classes, found.flip, found.image_shape) == (3, False, (2, 6, 4))
    with pytest.raises(ValueError, match=told):
        load("own", "bad")


def test_only_images_that_may_be_mirrored_are():
    torch.manual_seed(0)
    still = splits(fit=Split(
        torch.randint(256, (6, 2, 6, 4), dtype=torch.uint8), torch.arange(6) % 3))
    for flip in (True, False):
        given = fitting_batches(
            Splits(**{**vars(still), "flip": flip}), Recipe(crop=0, batch=6))
        assert isinstance(given, Batches) and given.flip is flip


def test_a_recipe_is_the_networks_then_the_data_sets_then_the_users(monkeypatch):
    monkeypatch.setitem(DATASETS._things, "own", Dataset(
        name="own", title="own", classes=3, image_shape=(2, 6, 4), read=None,
        recipe={"crop": 0, "lr": 0.3}))
    usual, own = recipe_for("vgg16"), recipe_for("vgg16", "own", lr=0.01)
    assert (usual.crop, usual.lr, usual.cutout) == (4, 0.1, 8)
    assert (own.crop, own.lr, own.cutout) == (0, 0.01, 8)


@pytest.mark.parametrize("name, shape", [("resnet20", (1, 12, 10)), ("resnet18",
                         (4, 9, 9)), ("vgg16", (1, 64, 32))])
def test_networks_take_images_of_other_sizes_and_channels(name, shape):
    logits = make_model(name, 4, shape).eval()(torch.randn(2, *shape))
    assert logits.shape == (2, 4)


def test_a_network_says_which_images_are_too_small_for_it():
    with pytest.raises(ValueError, match="vgg16: images of 31x40 pixels; its 5 pool"):
        make_model("vgg16", 4, (3, 31, 40))


@pytest.mark.parametrize("shape", [[3, 32], [0, 32, 32], "3,32,32", [3, 9000, 9000]])
def test_a_checkpoint_with_a_senseless_image_shape_is_refused(tmp_path, shape):
    path = tmp_path / "weights.safetensors"
    model = make_model("resnet20", 4, (1, 12, 10))
    save_model(path, model, {"network": "resnet20", "num_classes": 4,
                             "image_shape": [1, 12, 10]})
    loaded, _ = load_model(path)
    assert torch.equal(loaded.conv1.weight, model.conv1.weight)
    save_model(path, model, {"network": "resnet20", "num_classes": 4,
                             "image_shape": shape})
    with pytest.raises(ValueError, match="image_shape must be channels, height and"):
        load_model(path)
    assert KEY == "eyeriss-prune"
