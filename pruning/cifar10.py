"""CIFAR-10 in four parts that are the same everywhere."""

from dataclasses import dataclass

import numpy as np
import torch

from pruning.cifar10_archive import BATCHES, read_archive

SIZES = {"fit": 45_000, "selector": 2_500, "choosing": 2_500}


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Parameters
    ----------
    images : uint8 tensor, shape (N, 3, 32, 32)
    labels : int64 tensor, shape (N,)
        0..9.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self):
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """All of CIFAR-10: each image in one part.

    Parameters
    ----------
    fit : Split
        45,000 images for weights, and for calibration.
    selector : Split
        2,500 for selectors between networks: none of these was trained on them.
    choosing : Split
        2,500 for levels, thresholds, recipes, stopping: whatever is chosen.
    test : Split
        10,000 to be looked at once, when nothing is left to choose.
    mean, std : float32 tensor, shape (3, 1, 1)
        Of the fitting images' pixels in 0..1, by channel.
    """

    fit: Split
    selector: Split
    choosing: Split
    test: Split
    mean: torch.Tensor
    std: torch.Tensor

    def normalise(self, images):
        """Pixels → what the networks take.

        Parameters
        ----------
        images : uint8 tensor, shape (..., 3, H, W)

        Returns
        -------
        float32 tensor of that shape
        """
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        # Two passes over the pixels, not four: this runs beside every step.
        return (images * (1 / (255 * std))).sub_(mean / std)


def load_cifar10(path):
    """CIFAR-10 from its original archive.

    Parameters
    ----------
    path : str or Path
        As :func:`pruning.cifar10_archive.read_archive` takes it.

    Returns
    -------
    Splits

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
    return Splits(**splits, test=test, **pixel_statistics(splits["fit"].images))


def split_places():
    """Which of the 50,000 training images belong to which part, drawn once for all.

    Returns
    -------
    dict of str to int64 ndarray
        Places in the order of the archive's files.
    """
    # RandomState, because numpy promises that it never draws anything else.
    order = np.random.RandomState(10).permutation(sum(SIZES.values())).astype(np.int64)
    ends = np.cumsum(list(SIZES.values()))
    return dict(zip(SIZES, np.split(order, ends[:-1]), strict=True))


def pixel_statistics(images):
    """Mean and standard deviation of each channel, for pixels in 0..1."""
    counts = np.stack([np.bincount(images[:, channel].numpy().ravel(), minlength=256)
                       for channel in range(images.shape[1])])
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = counts @ values**2 / counts.sum(1) - mean**2
    return {key: torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1)
            for key, value in (("mean", mean), ("std", np.sqrt(variance)))}
