"""CascadeNet: runs what an image needs, and no more."""

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class RouteCosts:
    """What each part costs an image, on one hardware at batch 1.

    Parameters
    ----------
    front, router, back, mild : float
        The aggressive network up to the tap; the router; the aggressive network's
        rest; the mild network. uJ, or ms.
    """

    front: float
    router: float
    back: float
    mild: float

    def stay(self):
        """Of an image that the aggressive network answers."""
        return self.front + self.router + self.back

    def go(self, needs_logits):
        """Of an image that the mild network answers."""
        asked = self.front + self.router + (self.back if needs_logits else 0)
        return asked + self.mild


@dataclass(frozen=True, eq=False)
class Routed:
    """What came of each image.

    Parameters
    ----------
    logits : float tensor, shape (N, classes)
    routes : bool tensor, shape (N,)
        True: the mild network answered.
    scores : float tensor, shape (N,)
        The router's.
    uJ, ms : float64 tensor, shape (N,)
        Energy with DRAM, and latency.
    """

    logits: torch.Tensor
    routes: torch.Tensor
    scores: torch.Tensor
    uJ: torch.Tensor
    ms: torch.Tensor

    @property
    def predictions(self):
        """The class of each image, int64, shape (N,)."""
        return self.logits.argmax(1)


class CascadeNet(nn.Module):
    """An aggressive network, a router on its features, and a mild network.

    Images are run one by one, so that what comes of one does not depend, to the last
    bit, on those beside it; and the network that an image does not need is not run.

    Parameters
    ----------
    front, back : torch.nn.Module
        The aggressive network as :func:`cascade.taps.cut` cuts it.
    router : torch.nn.Module
        Of ``cascade.routers``.
    mild : torch.nn.Module
    threshold : float
        An image whose score is above it goes to the mild network; in 0..1, or plus or
        minus infinity for none and all.
    energy, latency : RouteCosts
        uJ and ms.
    image_shape : (C, H, W), optional
        Of the images that those were counted for; others are refused.

    Raises
    ------
    ValueError
        A threshold out of its range.
    """

    def __init__(self, front, back, router, mild, threshold, energy, latency,
                 image_shape=None):
        super().__init__()
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.front, self.back, self.router, self.mild = front, back, router, mild
        self.threshold, self.energy, self.latency = threshold, energy, latency
        self.eval()

    @property
    def threshold(self):
        """Above it an image goes to the mild network."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold):
        check_threshold(threshold)
        self._threshold = float(threshold)

    def train(self, mode=True):
        """Stays in evaluation mode: its networks were trained apart."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images, progress=None):
        """Predictions, routes and joules of images.

        Parameters
        ----------
        images : float tensor, shape (N, C, H, W)
            As the networks take them.
        progress : callable, optional
            Called with (images done, images in all).

        Returns
        -------
        Routed

        Raises
        ------
        ValueError
            Images of another shape, or a score that is no number.
        """
        if images.ndim != 4 or not len(images):
            raise ValueError("images of shape (N, C, H, W) are needed, at least one; "
                             f"got {tuple(images.shape)}")
        if self.image_shape not in (None, tuple(images.shape[1:])):
            raise ValueError(f"images of shape {tuple(images.shape[1:])}; the cascade "
                             f"and its energies are for {self.image_shape}")
        logits, routes, scores = [], [], []
        for place, image in enumerate(images.split(1), 1):
            # The order of an image's pixels in memory decides that of the sums.
            # Of one channel, any order is contiguous to torch.
            image = image.clone(memory_format=torch.contiguous_format)
            features = self.front(image)
            answer = self.back(features) if self.router.needs_logits else None
            score = self.router(features, answer)
            if math.isnan(score.item()):
                raise ValueError(f"image {place}: the router's score is nan; are its "
                                 "pixels numbers?")
            # As exact numbers: a tensor would round the threshold to its own type.
            goes = score.item() > self.threshold
            if goes:
                answer = self.mild(image)
            elif answer is None:
                answer = self.back(features)
            logits.append(answer)
            routes.append(goes)
            scores.append(score)
            if progress is not None:
                progress(place, len(images))
        routes = torch.tensor(routes)
        return Routed(torch.cat(logits), routes, torch.cat(scores),
                      self._charge(self.energy, routes),
                      self._charge(self.latency, routes))

    def _charge(self, costs, routes):
        return torch.where(routes, torch.tensor(
            costs.go(self.router.needs_logits), dtype=torch.float64), costs.stay())


def check_threshold(threshold):
    """Refuse a threshold that no score can be compared with."""
    if not (0 <= threshold <= 1 or math.isinf(threshold)):
        raise ValueError(f"threshold {threshold:g} is out of its range: scores lie in "
                         "0 to 1; -inf sends every image to the mild network, inf none")
