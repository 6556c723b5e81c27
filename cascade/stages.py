"""A chain of networks: stages in order, and a router before each next one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from cascade.taps import Tap, cut

# Images that run together, by mode; as many as cost little memory.
MODES = {"batch": 256, "one": 1}
NEAR = 1e-5     # of a threshold, within which the order of a sum may decide


@dataclass(frozen=True)
class StageCost:
    """Cost of one stage for an image that comes to it, on one hardware at batch 1.

    Parameters
    ----------
    front, router, back : float
        The network up to its tap; the router that looks there; the network's rest. uJ,
        or ms. A last stage is all front.
    """

    front: float
    router: float = 0.0
    back: float = 0.0


class Stage(nn.Module):
    """One network of a chain, cut where the router before the next stage looks.

    Parameters
    ----------
    network : torch.nn.Module
        Its modules and weights are shared, not copied.
    tap : Tap, optional
        Needed in every stage but the last.
    energy, latency : StageCost
        uJ and ms.
    name : str
        The level that the network is.
    """

    def __init__(self, network: nn.Module, tap: Tap | None = None,
                 energy: StageCost = StageCost(0.0),
                 latency: StageCost = StageCost(0.0), name: str = ""):
        super().__init__()
        self.front: nn.Module
        self.back: nn.Module | None
        self.front, self.back = (network, None) if tap is None else cut(network, tap)
        self.tap, self.energy, self.latency, self.name = tap, energy, latency, name

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images, shape (N, C, H, W), to logits, (N, classes)."""
        return self.finish(self.front(images))

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        """Features at the tap to logits."""
        return features if self.back is None else self.back(features)


@dataclass(frozen=True, eq=False)
class Routed:
    """Results of each image.

    Parameters
    ----------
    logits : float tensor, shape (N, classes)
    stages : int64 tensor, shape (N,)
        Which stage answered, counted from 0.
    scores : float tensor, shape (N,)
        The last score that the image got; nan in a chain of one, which has no router.
    uJ, ms : float64 tensor, shape (N,)
        Energy with DRAM, and latency, of each image at batch 1.
    near : bool tensor, shape (N,)
        Images with a score within ``NEAR`` of its threshold: in another batch they may
        take another route.
    """

    logits: torch.Tensor
    stages: torch.Tensor
    scores: torch.Tensor
    uJ: torch.Tensor
    ms: torch.Tensor
    near: torch.Tensor

    @property
    def predictions(self) -> torch.Tensor:
        """The class of each image, int64, shape (N,)."""
        return self.logits.argmax(1)

    @property
    def routes(self) -> torch.Tensor:
        """Images that another stage than the first answered, bool, shape (N,)."""
        return self.stages > 0


class Chain(nn.Module):
    """Stages in order; an image goes on while the router before the next one says so.

    A network that an image does not need is not run on it.

    Parameters
    ----------
    stages : sequence of Stage
        The cheapest first; one stage alone is a single network.
    routers : sequence of torch.nn.Module
        Before each stage but the first: it looks at the stage before that one.
    thresholds : sequence of float
        An image whose score is above it goes on; in 0..1, or plus or minus infinity for
        none and all.
    image_shape : (C, H, W), optional
        Shape of the images that the costs were counted for; others are refused.

    Raises
    ------
    ValueError
        Other numbers of routers and thresholds than of next stages, a stage without a
        tap before another one, a threshold out of its range.
    """

    def __init__(self, stages: Sequence[Stage], routers: Sequence[nn.Module] = (),
                 thresholds: Sequence[float] = (),
                 image_shape: Sequence[int] | None = None):
        super().__init__()
        if not stages or len(routers) != len(stages) - 1:
            raise ValueError(f"a chain of {len(stages)} stages with {len(routers)} "
                             "routers: at least one stage, and one router before each "
                             "next one, are needed")
        for stage in stages[:-1]:
            if stage.tap is None:
                raise ValueError(f"stage {stage.name or 'without a name'} has no tap; "
                                 "only a chain's last stage goes without")
        self.image_shape = None if image_shape is None else tuple(image_shape)
        # torch's lists of modules do not know what they hold.
        self.stages: Any = nn.ModuleList(stages)
        self.routers: Any = nn.ModuleList(routers)
        self.thresholds = thresholds
        self.eval()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """One a router: above it an image goes on to the next stage."""
        return self._thresholds

    @thresholds.setter
    def thresholds(self, thresholds: Sequence[float]) -> None:
        thresholds = tuple(map(float, thresholds))
        if len(thresholds) != len(self.routers):
            raise ValueError(f"{len(thresholds)} thresholds for {len(self.routers)} "
                             "routers; one each is needed")
        for threshold in thresholds:
            check_threshold(threshold)
        self._thresholds = thresholds

    @property
    def energies(self) -> tuple[StageCost, ...]:
        """Energy of each stage, uJ."""
        return tuple(stage.energy for stage in self.stages)

    @property
    def latencies(self) -> tuple[StageCost, ...]:
        """Latency of each stage, ms."""
        return tuple(stage.latency for stage in self.stages)

    @property
    def asks_all(self) -> tuple[bool, ...]:
        """True if each router needs the whole network before it, for its logits."""
        return tuple(bool(router.needs_logits) for router in self.routers)

    def train(self, mode: bool = True) -> "Chain":
        """Stays in evaluation mode: its networks were trained apart."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: torch.Tensor,
                progress: Callable[[int, int], None] | None = None, *,
                mode: str = "batch") -> Routed:
        """Run each image through the stages that it needs.

        Parameters
        ----------
        images : float tensor, shape (N, C, H, W)
        progress : callable, optional
            Called with (images done, images in all).
        mode : {"batch", "one"}
            ``"batch"`` runs a stage once on all images that come to it, so many at a
            time. ``"one"`` runs each image alone, so that what comes of it does not
            depend, to the last bit, on those beside it, and nobody waits for another.

        Raises
        ------
        ValueError
            Images of another shape, a score that is no number, an unknown mode.
        """
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
        if images.ndim != 4 or not len(images):
            raise ValueError("images of shape (N, C, H, W) are needed, at least one; "
                             f"got {tuple(images.shape)}")
        if self.image_shape not in (None, tuple(images.shape[1:])):
            raise ValueError(f"images of shape {tuple(images.shape[1:])}; the cascade "
                             f"and its energies are for {self.image_shape}")
        found, done = [], 0
        for some in images.split(MODES[mode]):
            found.append(self._route(some, done))
            done += len(some)
            if progress is not None:
                progress(done, len(images))
        logits, answered, scores, near = map(torch.cat, zip(*found, strict=True))
        uJ, ms = (torch.tensor(costs_by_stage(costs, self.asks_all),
                               dtype=torch.float64)[answered]
                  for costs in (self.energies, self.latencies))
        return Routed(logits, answered, scores, uJ, ms, near)

    def _route(self, images, before):
        """Logits, stages, last scores, and whether one was near, of images together."""
        # The order of an image's pixels in memory decides that of the sums.
        # Of one channel, any order is contiguous to torch.
        images = images.clone(memory_format=torch.contiguous_format)
        here = torch.arange(len(images))        # those that have come to the stage
        answered = torch.zeros(len(images), dtype=torch.int64)
        near = torch.zeros(len(images), dtype=torch.bool)
        answers: list[tuple[torch.Tensor, torch.Tensor]] = []
        scores = images.new_full((len(images),), math.nan)
        for number, stage in enumerate(self.stages):
            features = stage.front(images)
            answered[here] = number
            if number == len(self.routers):
                answers.append((here, stage.finish(features)))
                break
            router = self.routers[number]
            logits = stage.finish(features) if router.needs_logits else None
            score = router(features, logits)
            if score.isnan().any():
                place = before + int(here[score.isnan()][0]) + 1
                raise ValueError(f"image {place}: the router's score is nan; are its "
                                 "pixels numbers?")
            if not number:
                scores = scores.to(score.dtype)
            scores[here] = score
            # As exact numbers: a tensor would round the threshold to its own type.
            exact, threshold = score.double(), self.thresholds[number]
            near[here] |= (exact - threshold).abs() < NEAR
            goes = exact > threshold
            if not goes.all():
                answers.append((here[~goes], stage.finish(
                    features[~goes]) if logits is None else logits[~goes]))
            if not goes.any():
                break
            here, images = here[goes], images[goes]
        first = answers[0][1]
        found = first.new_empty(len(answered), *first.shape[1:])
        for places, logits in answers:
            found[places] = logits
        return found, answered, scores, near


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that no score can be compared with."""
    if not (0 <= threshold <= 1 or math.isinf(threshold)):
        raise ValueError(f"threshold {threshold:g} is out of its range: scores lie in "
                         "0 to 1; -inf sends every image to the next network, inf none")


def costs_by_stage(costs: Sequence[StageCost],
                   asks_all: Sequence[bool]) -> list[float]:
    """Cost of an image that each stage answers, those before it included.

    Parameters
    ----------
    costs : sequence of StageCost
    asks_all : sequence of bool
        Whether each router needs the whole network before it.
    """
    found, spent = [], 0.0
    for cost, all_of_it in zip(costs, [*asks_all, False], strict=True):
        asked = spent + cost.front + cost.router
        found.append(asked + cost.back)
        spent = asked + (cost.back if all_of_it else 0)
    return found


def mean_cost(costs: Sequence[StageCost], asks_all: Sequence[bool],
              stages: np.ndarray | torch.Tensor) -> float:
    """Mean cost of images, of which each stage answers some.

    E_front + E_router, and then the share of the images that each part is run for: the
    rest of a network for those that stay, or for all that come where its router needs
    logits, and a next stage for those that go on to it.

    Parameters
    ----------
    costs : sequence of StageCost
    asks_all : sequence of bool
        Whether each router needs the whole network before it.
    stages : int ndarray or tensor, shape (N,)
        Which stage answers each image.
    """
    stages = np.asarray(stages)
    shares = [float((stages >= number).mean()) for number in range(len(costs))]
    total = 0.0
    for cost, comes, goes, all_of_it in zip(
            costs, shares, [*shares[1:], 0.0], [*asks_all, False], strict=True):
        total = total + comes * cost.front + comes * cost.router
        total = total + (comes if all_of_it else comes - goes) * cost.back
    return total
