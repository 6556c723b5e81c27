"""A dense network of the collection, trained on CIFAR-10 into a result folder."""

from dataclasses import replace
from pathlib import Path

import torch

from eyeriss_sim.atomic import only_writer
from pruning.batches import Batches
from pruning.checkpoint import load_model, save_model
from pruning.models import make_model
from pruning.recipe import Recipe
from pruning.records import difference, read_json, write_json, write_rows
from pruning.training import evaluate, fit
from pruning.training_state import STATE_FILE

# Usual values, not searched for. ResNet-20 is too small to learn by heart what it sees,
# so it gets milder crops and true labels. VGG-16 has 89.4 % after 30 epochs and 90.1
# after 60 (JPEG copy of CIFAR-10).
RECIPES = {
    "resnet20": Recipe(epochs=30),
    "resnet18": Recipe(epochs=20, lr=0.1, crop=4, label_smoothing=0.1),
    "vgg16": Recipe(epochs=60, lr=0.1, crop=4, cutout=8, label_smoothing=0.1),
}

# Of a rung: share of the loss that asks for what the dense network says, and learning
# rate at the top of its own cycle. What two epochs make of a rung, on images of the
# JPEG copy of CIFAR-10 that it never saw: of ResNet-20 at energy 0.45 (5,000 images)
# 85.3 % without a teacher and 86.3 with one at 0.02, 86.8 at 0.05; of VGG-16, trained
# for 60 epochs, by magnitude at 0.3 (2,500 images) 91.0 at 0.02, 89.8 at 0.05: a high
# rate undoes what was learnt for long. ResNet-18 was not tried.
RUNG_DISTIL = 0.7
RUNG_RATES = {"resnet20": 0.05, "resnet18": 0.05, "vgg16": 0.02}


def recipe_for(network, **changes):
    """The recipe of a network, with the changes that are not None."""
    return replace(RECIPES[network], **{key: value for key, value in changes.items()
                                        if value is not None})


def fitting_batches(splits, recipe, device="cpu"):
    """The 45,000 fitting images in batches, as a recipe has them."""
    return Batches(
        splits.fit.images.to(device), splits.fit.labels.to(device), recipe.batch,
        normalise=splits.normalise, flip=recipe.augment,
        crop=recipe.crop if recipe.augment else 0,
        cutout=recipe.cutout if recipe.augment else 0)


def accuracy_on(splits, split, model, recipe):
    """Share of a split's images that a model gets right."""
    return evaluate(model, splits.normalise(split.images), split.labels,
                    precision=recipe.precision)


def train_dense(network, splits, recipe, folder, *, data_name="CIFAR-10", test=True,
                device=None, progress=True):
    """Train, look at the test images once, keep everything in a folder.

    Called again on its folder it goes on after the last whole epoch; if it was
    finished, it only reads what it found.

    Parameters
    ----------
    network : str
        One of ``pruning.models.MODELS``.
    splits : pruning.cifar10.Splits
    recipe : Recipe
    folder : str or Path
        Gets ``weights.safetensors``, ``config.json``, ``metrics.json``,
        ``epochs.csv`` and ``training.safetensors``, the state to resume from.
    data_name : str
        What the images are called beside each accuracy.
    test : bool
        False: the test images are left alone, while something is still to be chosen.
    device : str, optional
    progress : bool

    Returns
    -------
    torch.nn.Module
        In evaluation mode.
    dict
        What ``metrics.json`` says.

    Raises
    ------
    ValueError
        As :func:`pruning.training.fit`; a folder with another training in it.
    """
    folder = Path(folder)
    config = {"network": network, "data": data_name, "recipe": recipe.as_dict()}
    metrics = _finished(folder, config, test)
    if metrics:
        return load_model(folder / "weights.safetensors", network)[0], metrics
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = make_model(network)
    with only_writer(folder):
        write_json(folder / "config.json", config)
        history = fit(
            model, fitting_batches(splits, recipe, device), recipe, folder=folder,
            evaluate=lambda model: accuracy_on(splits, splits.choosing, model, recipe),
            device=device, progress=progress)
        write_rows(folder / "epochs.csv", history.rows)
        metrics = {
            "network": network, "data": data_name, "seed": recipe.seed,
            "epochs": recipe.epochs, "choosing_accuracy": history.accuracy,
            "test_accuracy": (accuracy_on(splits, splits.test, model, recipe)
                              if test else None),
            "wall_minutes": history.wall_minutes, "cpu_minutes": history.cpu_minutes,
            # On which the last bits depend.
            "device": device.type, "threads": torch.get_num_threads(),
            "torch": torch.__version__}
        save_model(folder / "weights.safetensors", model, config | metrics)
        # Last, because it says that all the rest is there.
        write_json(folder / "metrics.json", metrics)
    return model, metrics


def _finished(folder, config, test):
    """What a finished training of this folder found; None if there is none."""
    # A training that left nothing, as one that diverged at once, binds nobody.
    if (folder / "config.json").exists() and any(
            (folder / name).exists() for name in (STATE_FILE, "metrics.json")):
        before = read_json(folder / "config.json")
        for key in ("network", "data", "recipe"):
            if before.get(key) != config[key]:
                raise ValueError(
                    f"{folder} holds a training with another {key}; "
                    f"{difference(before.get(key), config[key])}; name another folder")
    if not (folder / "metrics.json").exists():
        return None
    metrics = read_json(folder / "metrics.json")
    return None if test and metrics.get("test_accuracy") is None else metrics
