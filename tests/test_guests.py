"""Guests, a file each, who come by ``--plugin`` and whom the three programs then use.

They are a dataflow, a zero handling, a data set, a network, a pruning method, a router.
"""

import json

import pandas as pd
import pytest

from cascade.cli import main as eyeriss_cascade
from cascade.routers import ROUTERS
from eyeriss_sim.cli import main as eyeriss_sim
from eyeriss_sim.dataflows import DATAFLOWS
from eyeriss_sim.zero_handling import ZERO_HANDLINGS
from pruning.cli import main as eyeriss_prune
from pruning.datasets import DATASETS
from pruning.methods import METHODS
from pruning.models import MODELS

FILES = {
    "dataflow.py": '''
from eyeriss_sim.dataflows import DATAFLOWS, register
from eyeriss_sim.levels import DRAM, FILTER, READ


@register
class Forgetful(type(DATAFLOWS["isca16"])):
    """The analysis of 2016, but filters come from DRAM twice as often."""

    name = "forgetful"

    def count(self, layer, hardware, mapping):
        counts = super().count(layer, hardware, mapping)
        counts.accesses[DRAM, FILTER, READ] *= 2
        return counts
''',
    "zero_handling.py": '''
from eyeriss_sim.zero_handling import ZeroHandling, register


@register
class GateFilter(ZeroHandling):
    """A zero weight gates its MAC and spads."""

    name = "gate_filter"
    skips = ("filter",)
''',
    "dataset.py": '''
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
    parts = [part(images, draw) for images in (64, 40, 40, 40)]
    return Splits(*parts, **pixel_statistics(parts[0].images))
''',
    "network.py": '''
from torch import nn
from pruning.models import register
from pruning.recipe import Recipe


@register("small", recipe=Recipe(epochs=2, lr=0.05, batch=16), rung_lr=0.01)
def small(num_classes, image_shape):
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * (height // 2) * (width // 2), num_classes))
''',
    "net.py": '''
from torch import nn


def net():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(),
                         nn.Linear(960, 4))
''',
    "method.py": '''
from pruning import scores
from pruning.methods import register


@register("largest_first")
def largest_first(problem):
    sizes = scores.magnitude(problem.model, problem.prunables)
    return problem.meet({name: -size for name, size in sizes.items()})
''',
    "router.py": '''
from cascade.routers import ROUTERS, Router


class Gini(Router):
    """One minus the sum of squared probabilities."""

    def of_inputs(self, logits):
        return 1 - logits.float().softmax(1).square().sum(1)


ROUTERS.add("gini", Gini)
'''}
ADDED = (
    (DATAFLOWS, "forgetful"), (ZERO_HANDLINGS, "gate_filter"), (DATASETS, "shades"),
    (MODELS, "small"), (METHODS, "largest_first"), (ROUTERS, "gini"))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A folder with a file for each guest, who all leave at the end."""
    folder = tmp_path_factory.mktemp("house")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "own.toml").write_text(
        'extends = "isca16_256"\naccounting = "forgetful"\n'
        '[zeros]\nhandling = "gate_filter"\n')
    yield folder
    for registry, name in ADDED:
        registry._things.pop(name, None)


@pytest.fixture
def plugin(house, monkeypatch):
    """Words of a command for some of the files."""
    monkeypatch.chdir(house)

    def words(*names):
        return [word for name in names for word in ("--plugin", f"{name}.py")]
    return words


@pytest.fixture
def ladder(house, plugin):
    """A trained network of the guest and two rungs by the guest's method, made once."""
    found = house / "runs" / "small_largest_first_s0"
    common = [*plugin("dataset", "network", "method", "dataflow", "zero_handling"),
              "--dataset", "shades", "--data", "nowhere", "--threads", "1"]
    if not found.exists():
        eyeriss_prune(["train", "small", *common])
        eyeriss_prune(["run", "--network", "small", "--method", "largest_first",
                       *common, "--epochs", "1", "--hardware", "own.toml", "--target",
                       "energy=0.995", "--target", "energy=0.98"])
    return found


def test_a_dataflow_and_a_zero_handling_price_a_network_of_a_file(plugin):
    def table(name, *words):
        eyeriss_sim(["simulate", "net.py:net", "--input", "1,1,12,10", *words,
                     *plugin("dataflow", "zero_handling"), "--out", f"{name}.csv"])
        return pd.read_csv(f"{name}.csv")

    known = table("known", "--hardware", "isca16_256")
    own = table("own", "--hardware", "own.toml", "--zeros", "gate_filter")
    assert set(own.accounting) == {"forgetful"} and set(own.zeros) == {"gate_filter"}
    filters = known.M * known.C * known.R * known.S
    # 200 MAC energies a word, and no image but one, so that filters come once.
    assert (own.dram_MAC - known.dram_MAC).tolist() == (200. * filters).tolist()


def test_a_data_set_a_network_and_a_method_are_trained_and_pruned(ladder):
    dense = json.loads((ladder.parent / "small_dense_s0" / "metrics.json").read_text())
    assert dense["test_accuracy"] > 0.25           # chance
    for share in (0.995, 0.98):
        rung = json.loads((ladder / f"energy={share}" / "metrics.json").read_text())
        assert rung["method"] == "largest_first" and rung["met"] <= share
        config = json.loads((ladder / f"energy={share}" / "config.json").read_text())
        assert (config["oracle"], config["zeros"]) == ("own", "gate_filter")


def test_a_router_competes_in_a_cascade_of_the_guests(ladder, plugin, capsys):
    common = [*plugin("dataset", "network", "method", "dataflow", "zero_handling",
                      "router"), "--dataset", "shades", "--data", "nowhere",
              "--threads", "1"]
    kind = ["--network", "small", "--method", "largest_first", "--hardware",
            "own.toml", "--zeros", "gate_filter"]
    eyeriss_cascade(["bench", *kind, *common, "--out", "bench.png"])
    assert "gini" in set(pd.read_csv("bench.csv").system)
    eyeriss_cascade(["build", *kind, *common, "--accuracy-loss", "1", "--out",
                     "built"])
    told = json.loads((ladder.parents[1] / "built" / "cascade.json").read_text())
    assert told["zeros"] == "gate_filter" and "gini" in told["rivals_choosing"]
    capsys.readouterr()
    eyeriss_cascade(["run", "built", *common])
    assert "40 images: accuracy" in capsys.readouterr().out
