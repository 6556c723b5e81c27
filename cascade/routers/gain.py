"""The expected gain: a linear judge of how much likelier the next network is right.

Maleki et al. 2021 put a selector on the aggressive network's convolutional features.
This one learns from images that both networks were fitted to, of which there are many:
its target, the difference of what both say of the true class, is no label that fitting
has made too easy, as long as the aggressive network underfits.
"""

from typing import ClassVar

import torch
from torch import nn

from cascade.routers.base import ROUTERS, Lesson, Router

FOLDS = 5
PENALTIES = tuple(10.0**power for power in range(-4, 4))     # an image


class Gain(Router):
    """Half of one plus the expected gain in accuracy, p_next(class) - p_first(class).

    Parameters
    ----------
    channels : int
        Channels of the feature map, of which it sees means and maxima.

    Examples
    --------
    >>> Gain(4)(torch.zeros(5, 4, 2, 2)).shape
    torch.Size([5])
    """

    at_taps: ClassVar[str] = "each"
    needs_logits = False
    learns_from: ClassVar[str] = "fit"
    settings: ClassVar[tuple[str, ...]] = ("channels",)

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.layers = nn.Linear(2 * channels, 1)

    @classmethod
    def trained(cls, lesson: Lesson) -> "Gain":
        """Ridge regression, its penalty chosen on the images outside of each fold."""
        first, following = (
            logits.double().softmax(1).gather(1, lesson.labels[:, None])[:, 0]
            for logits in (lesson.logits, lesson.next_logits))
        weight, bias = ridge(lesson.summary.double(), following - first)
        router = cls(lesson.summary.shape[1] // 2)
        with torch.no_grad():
            router.layers.weight.copy_(weight[None] / 2)
            router.layers.bias.copy_((1 + bias) / 2)
        return router.requires_grad_(False).eval()

    def of_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores, shape (N,), 0..1; 0.5 where nothing is gained."""
        inputs = inputs.to(self.layers.weight.dtype)
        return self.layers(inputs)[:, 0].float().clamp(0, 1)

    def charged_layers(self) -> nn.Module:
        """The linear layer; pooling is not charged."""
        return self.layers

    def check_tap(self, channels: int) -> None:
        """Refuse a tap with other channels than those that it was made for."""
        if channels != self.channels:
            raise ValueError(f"made for {self.channels} channels, the tap has "
                             f"{channels}")


ROUTERS.add("gain", Gain)


def ridge(inputs: torch.Tensor, targets: torch.Tensor
          ) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and bias of a ridge regression on standardised inputs.

    Parameters
    ----------
    inputs : float64 tensor, shape (N, K)
    targets : float64 tensor, shape (N,)

    Returns
    -------
    weight : float64 tensor, shape (K,)
        Of the inputs as they are.
    bias : float64 tensor, shape ()
    """
    mean, std = inputs.mean(0), inputs.std(0)
    # A channel that is dead on these images must not speak up on another one.
    std = torch.where(std > 1e-6 * mean.abs().clamp_min(1e-6), std, torch.inf)
    scaled, centre = (inputs - mean) / std, targets.mean()
    fold = torch.arange(len(inputs)) % FOLDS
    errors = torch.zeros(len(PENALTIES), dtype=torch.float64)
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        for place, one in enumerate(_solved(scaled[inside], targets[inside] - centre)):
            errors[place] += (scaled[outside] @ one
                              - (targets[outside] - centre)).square().sum()
    weight = _solved(scaled, targets - centre)[int(errors.argmin())] / std
    return weight, centre - weight @ mean


def _solved(inputs, targets):
    """Weights at each penalty."""
    values, vectors = torch.linalg.eigh(inputs.T @ inputs)
    turned = vectors.T @ (inputs.T @ targets)
    return [vectors @ (turned / (values.clamp_min(0) + penalty * len(inputs)))
            for penalty in PENALTIES]
