import csv
import json

import pytest
import torch

import pruning.datasets
import pruning.dense
import pruning.records
import pruning.training
from pruning.checkpoint import load_model
from pruning.cli import main
from pruning.datasets import Split, Splits, pixel_statistics
from pruning.recipe import Recipe


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """CIFAR-10 with a handful of images of noise in place of each part."""
    def part(images):
        return Split(torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8),
                     torch.arange(images) % 10)

    torch.manual_seed(0)
    parts = [part(images) for images in (24, 10, 10, 20)]
    splits = Splits(*parts, **pixel_statistics(parts[0].images))
    monkeypatch.setattr(pruning.datasets, "load", lambda name, path: splits)
    before = torch.get_num_threads()
    yield splits
    torch.set_num_threads(before)


def train(folder, *options):
    main(["train", "resnet20", "--data", "x", "--epochs", "2", "--batch", "8",
          "--threads", "1", "--out", str(folder), *options])


def test_train_leaves_weights_config_metrics_and_accuracy_by_epoch(
        tmp_path, capsys, few_images):
    folder = tmp_path / "runs" / "one"
    train(folder, "--data-name", "noise", "--lr", "0.05")
    told = capsys.readouterr()
    assert told.out.startswith("resnet20, 2 epochs, seed 0, on noise: choosing ")
    assert "epoch   2 of 2  loss" in told.err
    assert {path.name for path in folder.iterdir()} == {
        "weights.safetensors", "config.json", "metrics.json", "epochs.csv",
        "training.safetensors"}
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"]["lr"] == 0.05 and config["data"] == "noise"
    metrics = json.loads((folder / "metrics.json").read_text())
    with open(folder / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["accuracy"]) == metrics["choosing_accuracy"]
    assert 0 < metrics["wall_minutes"] < 1 and 0 < metrics["cpu_minutes"]
    model, metadata = load_model(folder / "weights.safetensors", "resnet20")
    assert metadata == config | metrics
    right = model(few_images.normalise(few_images.test.images)).argmax(1)
    assert metrics["test_accuracy"] == pytest.approx(
        (right == few_images.test.labels).float().mean().item(), abs=0.051)


def test_test_images_are_looked_at_once_and_not_at_all_while_choosing(
        tmp_path, capsys, few_images, monkeypatch):
    looked, accuracy_on = [], pruning.dense.accuracy_on

    def watched(splits, split, model, recipe):
        looked.append(split)
        return accuracy_on(splits, split, model, recipe)

    monkeypatch.setattr(pruning.dense, "accuracy_on", watched)
    train(tmp_path, "--no-test")
    assert "test not looked at" in capsys.readouterr().out
    assert all(split is few_images.choosing for split in looked) and len(looked) == 2
    train(tmp_path)
    first = capsys.readouterr().out
    train(tmp_path)
    assert capsys.readouterr().out == first and "not looked at" not in first
    assert [split is few_images.test for split in looked] == [False, False, True]


def test_killed_training_goes_on_to_the_same_result(tmp_path, monkeypatch, capsys):
    train(tmp_path / "undisturbed")
    train_epoch, calls = pruning.training.train_epoch, []

    def killed_in_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train_epoch(*arguments)

    monkeypatch.setattr(pruning.training, "train_epoch", killed_in_second)
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "killed")
    assert ended.value.code == 130
    assert capsys.readouterr().err.endswith("eyeriss-prune: interrupted\n")
    assert not (tmp_path / "killed" / "metrics.json").exists()
    train(tmp_path / "killed")
    one, other = (load_model(tmp_path / name / "weights.safetensors")[0].state_dict()
                  for name in ("undisturbed", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("options, told", [
    (["train", "resnet21", "--data", "x"], "did you mean resnet20"),
    (["train", "resnet20"], "required: --data"),
    (["train", "resnet20", "--data", "x", "--lr", "-1"], "lr must be above 0"),
    (["train", "resnet20", "--data", "x", "--seed", "-1"], "seed must be"),
    (["train", "resnet20", "--data", "x", "--epochs", "0"], "at least 1, got '0'"),
    (["train", "resnet20", "--data", "x", "--device", "warp"], "--device warp: "),
    (["train", "resnet20", "--data", "x", "--device", "meta"], "--device meta: "),
    (["train", "resnet20", "--data", "x", "--threads", "99999999999"], "at most 1024"),
    (["train", "resnet20", "--data", "x", "--out", __file__], "test_dense_training.py "
     "is a file; name a folder"),
    (["compare", "x", "--out", "nowhere/x.png"], "no folder nowhere; create it first"),
    (["compare", "x", "--out", "x.pdf"], "x.pdf: no format for '.pdf'; use .png"),
    (["prune"], "invalid choice: 'prune'")])
def test_wrong_input_is_told_in_one_line_with_exit_code_2(
        options, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(options)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("eyeriss-prune: ") and error.count("\n") == 1
    assert told in error
    assert not list(tmp_path.iterdir())


def test_folder_with_another_training_is_refused_and_kept(tmp_path, capsys):
    train(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for options, told in ((["--lr", "0.01"], "another recipe; lr 0.2, not 0.01"),
                          (["--data-name", "y"], "another data; CIFAR-10, not y")):
        with pytest.raises(SystemExit):
            train(tmp_path, *options)
        assert told in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(SystemExit):
        train(tmp_path)
    assert "metrics.json: damaged" in capsys.readouterr().err


def test_a_recipe_that_uses_less_than_that_of_a_folder_is_told_apart(tmp_path):
    config = {"network": "vgg16", "data": "x", "recipe": Recipe(cutout=8).as_dict()}
    pruning.records.write_json(tmp_path / "config.json", config)
    pruning.records.write_json(tmp_path / "metrics.json", {"test_accuracy": 0.5})
    with pytest.raises(ValueError, match="another recipe; cutout 8, not None; name an"):
        pruning.dense._finished(
            tmp_path, config | {"recipe": Recipe().as_dict()}, test=True)


def test_a_training_that_diverged_at_once_may_begin_anew_with_a_lower_rate(
        tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(tmp_path, "--lr", "1e38", "--warm-up", "0", "--epochs", "1")
    assert "lower lr" in capsys.readouterr().err
    train(tmp_path, "--lr", "0.01", "--epochs", "1", "--no-test")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"]["lr"] == 0.01


def test_missing_archive_is_told_before_anything_is_written(
        tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["train", "resnet20", "--data", "nowhere"])
    assert "nowhere: no such file or folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
