"""CIFAR-10: 60,000 images of 32x32 pixels in ten classes, split into four parts."""

from pathlib import Path

import numpy as np
import torch

from pruning.datasets import register
from pruning.datasets.cifar10_archive import BATCHES, CLASSES, download, read_archive
from pruning.datasets.splits import Split, Splits, pixel_statistics

SIZES = {"fit": 45_000, "selector": 2_500, "choosing": 2_500}


@register("cifar10", title="CIFAR-10", classes=CLASSES, image_shape=(3, 32, 32),
          fetch=download)
def load_cifar10(path: str | Path) -> Splits:
    """CIFAR-10 from its original archive, the same parts everywhere.

    Parameters
    ----------
    path : str or Path
        Read by :func:`pruning.datasets.cifar10_archive.read_archive`.

    Returns
    -------
    Splits
        45,000 images to fit, 2,500 for selectors, 2,500 to choose by, 10,000 to test.

    Raises
    ------
    ValueError
        No archive, or one that is damaged.
    """
    batches = read_archive(path)
    parts = [batches[name] for name in BATCHES]
    images, labels = (np.concatenate([part[i] for part in parts[:-1]]) for i in (0, 1))
    splits = {name: Split(torch.from_numpy(images[chosen]),
                          torch.from_numpy(labels[chosen]))
              for name, chosen in split_places().items()}
    test = Split(*(torch.from_numpy(part.copy()) for part in parts[-1]))
    pixels = pixel_statistics(splits["fit"].images)
    return Splits(splits["fit"], splits["selector"], splits["choosing"], test,
                  pixels["mean"], pixels["std"])


def split_places() -> dict[str, np.ndarray]:
    """Places of each part's images among the 50,000 for training, drawn once for all.

    Returns
    -------
    dict of str to int64 ndarray
        Places in the order of the archive's files.
    """
    # RandomState, because numpy promises that it never draws anything else.
    order = np.random.RandomState(10).permutation(sum(SIZES.values())).astype(np.int64)
    ends = np.cumsum(list(SIZES.values()))
    return dict(zip(SIZES, np.split(order, ends[:-1]), strict=True))
