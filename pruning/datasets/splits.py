"""Images of a data set in four parts, and how they are normalised."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Parameters
    ----------
    images : uint8 tensor, shape (N, C, H, W)
    labels : int64 tensor, shape (N,)
        Classes from 0.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """All images of a data set, each in one part.

    Parameters
    ----------
    fit : Split
        Images for weights, and for calibration.
    selector : Split
        Images for selectors between networks: no network was trained on them.
    choosing : Split
        Images for levels, thresholds, recipes, stopping: whatever is chosen.
    test : Split
        Images to be looked at once, when nothing is left to choose.
    mean, std : float32 tensor, shape (C, 1, 1)
        Statistics of pixels in 0..1, by channel: those of the fitting images.
    classes : int
    flip : bool
        Whether an image that is mirrored left to right is still of its class.
    """

    fit: Split
    selector: Split
    choosing: Split
    test: Split
    mean: torch.Tensor
    std: torch.Tensor
    classes: int = 10
    flip: bool = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.fit.images.shape[1:]
        return channels, height, width

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels → what the networks take.

        Parameters
        ----------
        images : uint8 tensor, shape (..., C, H, W)

        Returns
        -------
        float32 tensor of that shape
        """
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        # Two passes over the pixels, not four: this runs beside every step.
        return (images * (1 / (255 * std))).sub_(mean / std)


def pixel_statistics(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean and standard deviation of each channel, for pixels in 0..1.

    Parameters
    ----------
    images : uint8 tensor, shape (N, C, H, W)

    Returns
    -------
    dict
        ``mean`` and ``std``, float32 tensors, shape (C, 1, 1).
    """
    counts = np.stack([np.bincount(images[:, channel].numpy().ravel(), minlength=256)
                       for channel in range(images.shape[1])])
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = counts @ values**2 / counts.sum(1) - mean**2
    return {key: torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1)
            for key, value in (("mean", mean), ("std", np.sqrt(variance)))}
