"""A result folder: weights, masks, what was asked and what came out."""

import copy
import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from eyeriss_sim.atomic import only_writer, replacing
from eyeriss_sim.plain import is_whole
from pruning.masks import Masks
from pruning.records import difference, read_json, read_metrics, write_json, write_rows
from pruning.smaller import load_steps, save_steps, smaller
from pruning.training_state import STATE_FILE

if TYPE_CHECKING:
    from pruning.pruned import Pruned

MOST_VALUES = 10**8     # of an image


def save_result(folder: str | Path, pruned: "Pruned", config: dict,
                metrics: dict) -> None:
    """Write a pruned network and all that is known of it.

    Parameters
    ----------
    folder : str or Path
    pruned : Pruned
    config : dict
        What was asked, as JSON takes it; a later run is compared with it.
    metrics : dict
        Added to ``pruned.report``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone()
               for name, value in pruned.network.state_dict().items()}
    with replacing(folder / "weights.safetensors") as fresh:
        # Not save_file: what it writes only the owner may read.
        fresh.write_bytes(save(tensors))
    pruned.masks.save(folder / "masks.safetensors")
    save_steps(folder, pruned.shrinks)
    with replacing(folder / "layers.csv") as fresh:
        pruned.layers.to_csv(fresh, index=False)
    if pruned.history:
        write_rows(folder / "epochs.csv", pruned.history)
    write_json(folder / "config.json",
               {**config, "image_shape": list(pruned.image_shape)})
    save_metrics(folder, {**pruned.report, **metrics})


def save_metrics(folder: str | Path, metrics: dict) -> None:
    """Write what came out, as CSV and as JSON, which says that all the rest is there.

    Parameters
    ----------
    folder : str or Path
    metrics : dict
    """
    write_rows(Path(folder) / "metrics.csv", [metrics])
    write_json(Path(folder) / "metrics.json", metrics)


def finished(folder: str | Path, config: dict) -> dict | None:
    """The metrics of a folder, or None where nothing is finished yet.

    Raises
    ------
    ValueError
        The folder holds another pruning.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").exists():
        return None
    _check_same(folder / "config.json", config)
    return read_metrics(folder / "metrics.json")


@contextmanager
def begun(folder: str | Path, config: dict,
          name: str = "config.json") -> Iterator[None]:
    """Note what a folder's trainings are for, as long as it holds any.

    Parameters
    ----------
    folder : str or Path
    config : dict
        What JSON takes.
    name : str
        File name of the note.

    Raises
    ------
    ValueError
        The folder holds trainings of another pruning, begun and not finished, or
        another run is writing there.
    """
    folder = Path(folder)
    noted = folder / name
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        with only_writer(folder, f"_{name}.lock"):
            if noted.exists() and _holds_network(folder):
                _check_same(noted, config, begun=True)
            write_json(noted, config)
            try:
                yield
            finally:
                if not _holds_network(folder):  # refused, diverged, no training asked
                    noted.unlink()
    finally:
        for one in made:
            if one.exists() and not any(one.iterdir()):
                one.rmdir()


def _holds_network(folder):
    """True if an epoch was finished here, or a network saved."""
    return any((STATE_FILE in names or "weights.safetensors" in names)
               for _, _, names in os.walk(folder))


def _check_same(noted, config, begun=False):
    before = read_json(noted)
    for key, value in json.loads(json.dumps(config)).items():
        if begun and key not in before:
            raise ValueError(f"{noted.parent} holds a pruning that an earlier version "
                             f"began, which did not note its {key}; delete the folder "
                             "or name another")
        # A key that older results have not is not held against them.
        if key in before and before[key] != value:
            raise ValueError(f"{noted.parent} holds a pruning with another {key}; "
                             f"{difference(before[key], value)}; name another folder")


def weights_hash(model: torch.nn.Module) -> str:
    """Short digest of a model's parameters and buffers, their names included."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(value.numpy())
    return digest.hexdigest()[:16]


def load_result(folder: str | Path,
                dense: torch.nn.Module) -> tuple[torch.nn.Module, Masks, tuple]:
    """The network of a result folder.

    Parameters
    ----------
    folder : str or Path
    dense : torch.nn.Module
        A network of the kind that was pruned, with any weights; left as it is.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode.
    masks : Masks
    shrinks : tuple of pruning.smaller.Step
        Steps by which the network became smaller.

    Raises
    ------
    ValueError
        Files that are missing, cut short or of another network.
    """
    folder = Path(folder)
    shape = read_json(folder / "config.json").get("image_shape")
    if shape is None:
        raise ValueError(f"{folder}/config.json: no image_shape; is it the folder of a "
                         "pruned network?")
    if not isinstance(shape, list) or not all(is_whole(size, 1) for size in shape) or (
            math.prod(shape) > MOST_VALUES):
        raise ValueError(f"{folder}/config.json: image_shape must be that of an image, "
                         f"as in [3, 32, 32], got {shape!r:.60}")
    network, shrinks = dense, load_steps(folder)
    for step in shrinks:
        network = smaller(network, torch.zeros(1, *shape), step)
    if network is dense:
        network = copy.deepcopy(dense)
    try:
        network.load_state_dict(load_file(folder / "weights.safetensors"))
    except (SafetensorError, OSError, RuntimeError) as problem:
        lines = [line.strip() for line in str(problem).splitlines()]
        raise ValueError(f"{folder}/weights.safetensors: does not fit "
                         f"{type(dense).__name__}: {' '.join(lines[:2])}") from None
    masks = Masks.load(folder / "masks.safetensors")
    masks.check(network)
    return network.eval(), masks, shrinks
