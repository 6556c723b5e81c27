"""eyeriss-prune run: rungs from arguments, printed results, errors of one line."""

import pytest
import torch

import pruning.datasets
from pruning import Energy
from pruning.checkpoint import save_model
from pruning.cli import main
from pruning.datasets import Split, Splits, pixel_statistics
from pruning.dense import train_dense
from pruning.models import make_model
from pruning.recipe import Recipe


def noise():
    """CIFAR-10 with a handful of images of noise in place of each part."""
    def part(images):
        return Split(torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8),
                     torch.arange(images) % 10)

    torch.manual_seed(0)
    parts = [part(images) for images in (24, 10, 10, 20)]
    return Splits(*parts, **pixel_statistics(parts[0].images))


@pytest.mark.parametrize("words, told", [
    ("--method magic --target energy=0.5", "unknown method 'magic'; known: channels, "),
    ("--method channels+random --target energy=0.5",
     "--target energy=0.5: channels+random needs 2, one for each method, as energy="),
    ("--method random --target energy=0.8+energy=0.7",
     "--target energy=0.8+energy=0.7: random needs 1, one for each method, as energy="),
    ("--method random --target joules=1", "unknown target 'joules=1'; write one of "),
    ("--method psconv --option support", "--option support: write KEY=VALUE, as supp"),
    ("--method channels+energy_aware --target energy=0.8+energy=0.7 "
     "--option channels.rows=9",
     "channels+energy_aware has no option 'channels.rows'; it has channels.per_energy"),
    ("--method energy_aware --target energy=0.5 --option rows=many",
     "energy_aware: rows must be a whole number, got 'many'"),
    ("--method psconv --option variants=0.5", "variants must be a whole number, got 0"),
    ("--method channels --target energy=0.5 --option per_energy=1",
     "channels: per_energy must be true or false, got 1"),
    ("--method random --target energy=0.5 --accuracy-floor 87",
     "--accuracy-floor 87: a share of the images, 0..1"),
    ("--method random --target energy=0.5 --dense nowhere",
     "nowhere/weights.safetensors: no such file; eyeriss-prune train resnet20 trains"),
    ("--method psconv --option support=2 --steps 2", "psconv goes in one step, got st"),
    ("--method channels --target energy=0.8 --steps 4",
     "channels goes in one step, got steps 4; give it more epochs instead"),
    ("--method random --target energy=0.8 --target energy=0.7 --control shuffle",
     "control 'shuffle' of 2 targets: each is pruned from the one before, which a con"),
    ("--method random --control x", "invalid choice: 'x'"),
    ("--method random --target energy=0.8 --epochs slim=3", "--epochs slim=3: slim is "
     "none of the methods that are run, random"),
    ("--method random --target energy=0.8 --lr =3", "'=3' names no method before ="),
    ("--method random --target energy=0.8 --epochs random=0.5",
     "argument --epochs: must be a whole number")])
def test_what_cannot_be_run_is_told_in_one_line_before_anything_is_read(
        words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--network", "resnet20", "--data", "none", *words.split()])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and told in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def climbing(tmp_path, monkeypatch, *words, network="resnet20"):
    """What a command line asks ``climb`` for, of a dense network of 30 epochs."""
    def climb(model, method, rungs, out, **options):
        asked.update(options)
        return [{"rung": "support=2", "stopped": "step 1: the floor"}]

    asked = {}
    monkeypatch.setattr("pruning.ladder.climb", climb)
    monkeypatch.setattr("pruning.compare.collect", lambda folders: None)
    monkeypatch.setattr("pruning.compare.print_table", lambda table: None)
    monkeypatch.setattr(pruning.datasets, "load", lambda name, path: noise())
    save_model(tmp_path / "weights.safetensors", make_model(network), {
        "network": network, "recipe": Recipe(epochs=30, lr=0.2).as_dict()})
    main(["run", "--network", network, "--data", "x", "--dense", str(tmp_path), *words])
    return asked


@pytest.mark.parametrize("words, wanted", [
    ((), {"resolution": (30, 0.1), "slim": (30, 0.1), "random": (3, 0.05)}),
    (("--epochs", "2"), {"resolution": (2, 0.1), "slim": (2, 0.1),
                         "random": (2, 0.05)}),
    (("--epochs", "2", "--epochs", "slim=9", "--lr", "slim=0.3"),
     {"resolution": (2, 0.1), "slim": (9, 0.3), "random": (2, 0.05)})])
def test_each_method_of_a_composition_has_its_own_training(
        words, wanted, tmp_path, monkeypatch):
    asked = climbing(tmp_path, monkeypatch, "--method", "resolution+slim+random",
                     "--target", "energy=0.8+energy=0.6+energy=0.5", *words)
    assert {name: (one.epochs, one.lr)
            for name, one in asked["recipe"].items()} == wanted


def test_a_precision_is_that_of_every_training(tmp_path, monkeypatch):
    asked = climbing(tmp_path, monkeypatch, "--method", "random", "--target",
                     "energy=0.5", "--precision", "float32")
    assert asked["recipe"].precision == asked["fresh_recipe"].precision == "float32"


@pytest.mark.parametrize("network, words, rates", [
    ("resnet20", [], (0.05, 0.2)), ("vgg16", [], (0.02, 0.2)),
    ("resnet20", ["--lr", "0.01"], (0.01, 0.01))])
def test_each_network_has_its_rate_and_one_that_is_named_holds_for_fresh_weights_too(
        network, words, rates, tmp_path, monkeypatch, capsys):
    asked = climbing(tmp_path, monkeypatch, "--method", "psconv", "--option",
                     "support=2", "--epochs", "3", *words, network=network)
    assert (asked["recipe"].lr, asked["fresh_recipe"].lr) == rates
    assert (asked["recipe"].epochs, asked["fresh_recipe"].epochs) == (3, 33)
    assert capsys.readouterr().out.startswith(
        "support=2 ends before its target: step 1: the floor\n1 rungs in ")


@pytest.mark.slow
def test_a_composite_ladder_climbs_and_says_energies_and_floors(
        tmp_path, monkeypatch, capsys):
    splits = noise()
    monkeypatch.setattr(pruning.datasets, "load", lambda name, path: splits)
    dense = tmp_path / "dense"
    train_dense("resnet20", splits, Recipe(epochs=1, batch=8), dense, progress=False)
    out = tmp_path / "out"
    main(["run", "--network", "resnet20", "--method", "channels+magnitude_global",
          "--target", "energy=0.9+energy=0.8", "--target", "energy=0.9+energy=0.7",
          "--option", "channels.per_energy=false", "--data", "x", "--dense", str(dense),
          "--out", str(out), "--epochs", "1", "--data-name", "noise"])
    *table, last = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in table)
    assert last == f"2 rungs in {out}; accuracies are on noise"
    assert table[0] == "resnet20, seed 0"
    shown = [line.split() for line in table if line.startswith("channels +")]
    energies = sorted((float(row[-6]), float(row[-1])) for row in shown)
    assert all(floor < energy <= share for (energy, floor), share in zip(
        energies, (0.7, 0.8), strict=True))
    names = {file.parent.name for file in out.rglob("metrics.json")}
    assert names == {f"energy=0.9_{Energy(share)}_channels.per_energy=False"
                     for share in (0.7, 0.8)}
