"""Trained networks as files: weights and, in the header, what they are."""

import json
import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from eyeriss_sim.atomic import replacing
from eyeriss_sim.importers.tensors import load_weights
from eyeriss_sim.plain import is_whole, shown
from pruning.models import make_model

KEY = "eyeriss-prune"      # of the header's metadata
# What a checkpoint is of that does not say it.
USUAL = {"num_classes": 10, "image_shape": [3, 32, 32]}
MOST_PIXELS = 2**22     # of an image in all its channels


def save_model(path: str | Path, model: torch.nn.Module, metadata: dict) -> None:
    """Write a model's weights; the old file stays until the new one is whole.

    Parameters
    ----------
    path : str or Path
        ``.safetensors``.
    model : torch.nn.Module
    metadata : dict
        What JSON can hold; ``network`` names one of ``pruning.models.MODELS``.
        ``num_classes`` is needed if it is not 10, ``image_shape`` if it is not
        [3, 32, 32].
    """
    if "network" not in metadata:
        raise ValueError(f"{path}: the metadata need the network's name as \"network\"")
    tensors = {name: tensor.detach().cpu().contiguous().clone()
               for name, tensor in model.state_dict().items()}
    with replacing(path) as fresh:
        # Not save_file: what it writes only the owner may read.
        fresh.write_bytes(save(tensors, {KEY: json.dumps(metadata)}))


def read_metadata(path: str | Path) -> dict:
    """Metadata that :func:`save_model` was told of a file's weights."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {})[KEY])
            if not isinstance(found["network"], str):
                raise TypeError
            sizes = {size for name in file.keys()
                     for size in file.get_slice(name).get_shape()}
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path}: not a checkpoint of eyeriss-prune, or cut "
                         "short") from None
    classes, shape = (found.get(key, usual) for key, usual in USUAL.items())
    # A network of so many would be made before its weights are found not to fit.
    if not is_whole(classes, 1) or classes not in sizes:
        raise ValueError(f"{path}: num_classes is {shown(classes)}, but none of its "
                         "tensors has that many rows; is it another network's?")
    try:
        checked_image_shape(shape)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return found


def checked_image_shape(shape: object) -> tuple[int, int, int]:
    """Channels, height and width of an image, as a file's JSON gives them.

    Raises
    ------
    ValueError
        The value is not three positive whole numbers, or they make an image larger than
        any that a network of ours takes.
    """
    if not (isinstance(shape, list | tuple) and len(shape) == 3
            and all(is_whole(size, 1) for size in shape)
            and math.prod(shape) <= MOST_PIXELS):
        raise ValueError("image_shape must be channels, height and width, as in "
                         f"[3, 32, 32], got {shown(shape):.60}")
    return tuple(shape)


def load_model(path: str | Path, network: str | None = None) -> tuple[nn.Module, dict]:
    """A network with the weights of a file.

    Parameters
    ----------
    path : str or Path
    network : str, optional
        The network that it must be.

    Returns
    -------
    torch.nn.Module
        In evaluation mode.
    dict
        The metadata.

    Raises
    ------
    ValueError
        No such file, a file of another kind, a checkpoint of another network, tensors
        that do not fit it.
    """
    metadata = read_metadata(path)
    if network is not None and metadata["network"] != network:
        raise ValueError(f"{path}: a checkpoint of {metadata['network']}, not of "
                         f"{network}")
    model = fresh_model(metadata)
    load_weights(model, path)
    return model.eval(), metadata


def fresh_model(config: dict) -> nn.Module:
    """A network of the kind that a checkpoint's metadata, or a result's config, names.

    Parameters
    ----------
    config : dict
        ``network``, and ``num_classes`` and ``image_shape`` where they are not 10 and
        [3, 32, 32].
    """
    return make_model(config["network"], *(
        config.get(key, usual) for key, usual in USUAL.items()))
