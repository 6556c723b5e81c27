"""A dense network, trained on a data set into a result folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from eyeriss_sim.atomic import only_writer
from pruning.batches import Batches
from pruning.checkpoint import USUAL, load_model, save_model
from pruning.datasets import DATASETS, Splits
from pruning.datasets.splits import Split
from pruning.models import MODELS, make_model
from pruning.recipe import Recipe
from pruning.records import difference, read_json, write_json, write_rows
from pruning.training import evaluate, fit
from pruning.training_state import STATE_FILE

# Share of a rung's loss that asks for what the dense network says: with it a rung of
# ResNet-20 gains a point, see ``pruning/models/resnet.py``.
RUNG_DISTIL = 0.7


def recipe_for(network: str, dataset: str = "cifar10", **changes) -> Recipe:
    """The recipe of a network on a data set, with the changes that are not None.

    Parameters
    ----------
    network : str
        One of ``pruning.models.MODELS``.
    dataset : str
        One of ``pruning.datasets.DATASETS``.
    **changes
        Fields of :class:`Recipe`.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    return replace(MODELS.find(network).recipe,
                   **DATASETS.find(dataset).recipe | given)


def fitting_batches(splits: Splits, recipe: Recipe,
                    device: str | torch.device = "cpu") -> Batches:
    """The fitting images in batches, augmented as a recipe and the data set allow."""
    return Batches(
        splits.fit.images.to(device), splits.fit.labels.to(device), recipe.batch,
        normalise=splits.normalise, flip=recipe.augment and splits.flip,
        crop=recipe.crop if recipe.augment else 0,
        cutout=recipe.cutout if recipe.augment else 0)


def accuracy_on(splits: Splits, split: Split, model: torch.nn.Module,
                recipe: Recipe) -> float:
    """Share of a split's images that a model gets right."""
    return evaluate(model, splits.normalise(split.images), split.labels,
                    precision=recipe.precision)


def input_and_output(splits: Splits) -> dict:
    """Fields of a result's config on images and classes that are not CIFAR-10's."""
    told = {"num_classes": splits.classes, "image_shape": list(splits.image_shape)}
    return {key: value for key, value in told.items() if value != USUAL[key]}


def check_fits(folder: str | Path, trained: dict, splits: Splits) -> None:
    """Refuse images other than those that a dense network was made for.

    Parameters
    ----------
    folder : str or Path
        Folder of the network; named in the message.
    trained : dict
        Metadata of its checkpoint.
    splits : Splits

    Raises
    ------
    ValueError
        Another number of classes, or another shape of images.
    """
    for key, usual in USUAL.items():
        has, needs = input_and_output(splits).get(key, usual), trained.get(key, usual)
        if has != needs:
            raise ValueError(f"{folder}: a network with {key} {needs}, but the data "
                             f"set has {has}; name another --dense or --dataset")


def train_dense(network: str, splits: Splits, recipe: Recipe, folder: str | Path, *,
                data_name: str = "CIFAR-10", test: bool = True,
                device: str | None = None,
                progress: bool | Callable | None = True
                ) -> tuple[torch.nn.Module, dict]:
    """Train, look at the test images once, keep everything in a folder.

    Called again on its folder it goes on after the last whole epoch; if it was
    finished, it only reads what it found.

    Parameters
    ----------
    network : str
        One of ``pruning.models.MODELS``.
    splits : pruning.datasets.Splits
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
        What :func:`pruning.training.fit` refuses; a folder with another training in it.
    """
    folder = Path(folder)
    config = {"network": network, "data": data_name, "recipe": recipe.as_dict(),
              **input_and_output(splits)}
    metrics = _finished(folder, config, test)
    if metrics:
        return load_model(folder / "weights.safetensors", network)[0], metrics
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = make_model(network, splits.classes, splits.image_shape)
    with only_writer(folder):
        write_json(folder / "config.json", config)
        history = fit(
            model, fitting_batches(splits, recipe, where), recipe, folder=folder,
            evaluate=lambda model: accuracy_on(splits, splits.choosing, model, recipe),
            device=where, progress=progress)
        write_rows(folder / "epochs.csv", history.rows)
        metrics = {
            "network": network, "data": data_name, "seed": recipe.seed,
            "epochs": recipe.epochs, "choosing_accuracy": history.accuracy,
            "test_accuracy": (accuracy_on(splits, splits.test, model, recipe)
                              if test else None),
            "wall_minutes": history.wall_minutes, "cpu_minutes": history.cpu_minutes,
            # On which the last bits depend.
            "device": where.type, "threads": torch.get_num_threads(),
            "torch": torch.__version__}
        save_model(folder / "weights.safetensors", model, config | metrics)
        # Last, because it says that all the rest is there.
        write_json(folder / "metrics.json", metrics)
    return model, metrics


def _finished(folder, config, test):
    """Findings of a finished training of this folder; None if there is none."""
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
