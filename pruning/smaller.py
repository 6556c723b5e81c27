"""Steps from a dense network to a smaller one, made again from their files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eyeriss_sim.plain import is_whole, shown
from pruning.averaging import Averaging, averaged
from pruning.masks import Masks
from pruning.records import read_json, write_json
from pruning.shrink import shrink

# What a method that makes a smaller network returns: masks that leave channels unread,
# or by what the images are averaged.
Step = Masks | Averaging


def smaller(network: nn.Module, images: torch.Tensor, step: Step) -> nn.Module:
    """The smaller network that one step makes of a network.

    Parameters
    ----------
    network : torch.nn.Module
        Left as it is.
    images : Tensor, shape (N, ...)
        Images that it takes.
    step : Masks or Averaging

    Raises
    ------
    ValueError
        What :func:`pruning.shrink.shrink` and :func:`pruning.averaging.averaged`
        refuse.
    """
    if isinstance(step, Averaging):
        return averaged(network, images.shape[1:], step)
    return shrink(network, images, step)


def save_steps(folder: str | Path, steps: Iterable[Step]) -> None:
    """Write each step to a file of its own, in which its place is the number.

    Parameters
    ----------
    folder : str or Path
        Gets ``channelsN.safetensors`` or ``averagingN.json``.
    steps : iterable of Masks or Averaging
    """
    for place, step in enumerate(steps, 1):
        if isinstance(step, Averaging):
            write_json(Path(folder) / f"averaging{place}.json", {"factor": step.factor})
        else:
            step.save(Path(folder) / f"channels{place}.safetensors")


def load_steps(folder: str | Path) -> tuple[Step, ...]:
    """The steps of a folder, in their order.

    Raises
    ------
    ValueError
        A file that is damaged, or missing between others.
    """
    folder, found = Path(folder), []
    count = sum(len(list(folder.glob(pattern))) for pattern in (
        "channels*.safetensors", "averaging*.json"))
    for place in range(1, count + 1):
        path = folder / f"averaging{place}.json"
        if path.exists():
            found.append(_read_averaging(path))
        else:
            found.append(Masks.load(folder / f"channels{place}.safetensors"))
    return tuple(found)


def _read_averaging(path):
    told = read_json(path)
    factor: Any = told.get("factor") if isinstance(told, dict) else None
    if not is_whole(factor, 1):
        raise ValueError(f"{path}: factor must be a whole number of at least 1, got "
                         f"{shown(factor)}; prune again")
    return Averaging(int(factor))
