"""Data sets by name: each file here registers its own; nothing else knows them.

A data set is a function that reads a path and returns
:class:`pruning.datasets.splits.Splits`. A user's own stands in one file::

    from pruning.datasets import Splits, register

    @register("digits", title="my digits", classes=10, image_shape=(1, 28, 28),
              flip=False)
    def read(path): ...

and is known to a command by ``--plugin FILE.py``, or, in an installed package, by an
entry point ``pruning.datasets``.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from eyeriss_sim.registry import Registry
from pruning.datasets.splits import Split, Splits, pixel_statistics

__all__ = ["DATASETS", "Dataset", "Split", "Splits", "fetch", "load",
           "pixel_statistics", "register"]

DATASETS = Registry("data set", "pruning.datasets")
PARTS = ("fit", "selector", "choosing", "test")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set as commands see it.

    Parameters
    ----------
    name : str
        Given to ``--dataset``.
    title : str
        Printed beside an accuracy.
    classes : int
    image_shape : tuple of int
        Channels, height and width.
    read : callable
        ``read(path)`` gives Splits, or a ValueError where the files are not whole.
    fetch : callable, optional
        ``fetch(folder, progress=...)`` downloads it; ``progress`` is called with
        (bytes so far, bytes in all).
    flip : bool
        Whether an image that is mirrored left to right is still of its class.
    recipe : dict
        Numbers of a dense network's recipe in which this data set differs from what
        the network was given for CIFAR-10: ``{"crop": 0}``.
    """

    name: str
    title: str
    classes: int
    image_shape: tuple[int, int, int]
    read: Callable[..., Splits]
    fetch: Callable | None = None
    flip: bool = True
    recipe: dict = field(default_factory=dict)


def register(name: str, **traits) -> Callable:
    """Make a function that reads a path the data set of a name.

    Parameters
    ----------
    name : str
    **traits
        Fields of :class:`Dataset`; ``title`` is the name unless given.
    """
    def add(read):
        DATASETS.add(name, Dataset(name=name, read=read, **{"title": name, **traits}))
        return read
    return add


def load(name: str, path: str | Path) -> Splits:
    """A data set's images in four parts.

    Parameters
    ----------
    name : str
        One of ``DATASETS``.
    path : str or Path
        Folder or file, as the data set's own file says.

    Returns
    -------
    Splits

    Raises
    ------
    ValueError
        An unknown name, files that are missing or damaged, images or labels other
        than the data set says.
    """
    data = DATASETS.find(name)
    splits = data.read(path)
    for part in PARTS:
        _check(data, part, getattr(splits, part), path)
    return replace(splits, classes=data.classes, flip=data.flip)


def fetch(name: str, folder: str | Path, progress: Callable | None = None) -> None:
    """Download a data set into a folder, unless it is there.

    Raises
    ------
    ValueError
        An unknown name, a data set that has no download, or one that fails.
    """
    data = DATASETS.find(name)
    if data.fetch is None:
        raise ValueError(f"{data.title} is not fetched by its file; put it into "
                         f"{folder} yourself")
    data.fetch(folder, progress=progress)


def _check(data, part, split, path):
    shape, kind = tuple(split.images.shape[1:]), split.images.dtype
    if shape != tuple(data.image_shape) or kind != torch.uint8:
        raise ValueError(f"{path}: {part} has images of shape {shape}, {kind}; "
                         f"{data.title} has {tuple(data.image_shape)}, torch.uint8")
    if split.labels.dtype != torch.int64 or split.labels.shape != (len(split.images),):
        raise ValueError(f"{path}: {part} has labels of shape "
                         f"{tuple(split.labels.shape)}, {split.labels.dtype}; "
                         f"({len(split.images)},), torch.int64 is needed")
    if not len(split):
        raise ValueError(f"{path}: {part} has no image")
    low, high = int(split.labels.min()), int(split.labels.max())
    if not 0 <= low <= high < data.classes:
        raise ValueError(f"{path}: {part} has labels {low} to {high}; {data.title} has "
                         f"0 to {data.classes - 1}")


for _module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
