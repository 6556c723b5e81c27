"""The learned selector: a small head on a network's features, and how it is trained.

Labels, calibration and the choice of its size are our completion; the paper's abstract
(Maleki et al. 2021) has the place of the selector alone.
"""

from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from cascade.routers.base import ROUTERS, Lesson, Router, TooFewToLearn

SORTED_LOGITS = 10      # highest log-probabilities that a selector sees at most
FOLDS = 5
STEPS, RATE = 100, 0.03     # of Adam: a weight can move by 3 a standard deviation
# Hidden neurons and weight decay, from which cross-validation chooses.
SIZES = ((0, 0.03), (0, 0.3), (0, 3.0), (32, 0.3), (32, 3.0))
FLAT = 1e-3                 # the least scale of logits


class Selector(Router):
    """A small head on the aggressive network's features (Maleki et al. 2021).

    It sees the mean and maximum of each channel, has at most one hidden layer, and
    gives the probability that this network is wrong where the mild one is right.

    Parameters
    ----------
    channels : int
        Channels of the feature map.
    hidden : int
        Hidden neurons; 0: no hidden layer.
    classes : int
        Classes of the logits that it sees, sorted; 0: it sees none, so that the rest of
        the network need not have run.

    Examples
    --------
    >>> Selector(4, 8)(torch.zeros(5, 4, 2, 2)).shape
    torch.Size([5])
    """

    at_taps: ClassVar[str] = "each"
    needs_logits = False
    system: ClassVar[str | None] = "cascade"
    settings: ClassVar[tuple[str, ...]] = ("channels", "hidden", "classes")

    def __init__(self, channels: int, hidden: int = 32, classes: int = 0):
        super().__init__()
        self.channels, self.hidden, self.classes = channels, hidden, classes
        self.needs_logits = classes > 0
        inputs = 2 * channels + min(classes, SORTED_LOGITS)
        if hidden:
            self.layers = nn.Sequential(
                nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        else:
            self.layers = nn.Sequential(nn.Linear(inputs, 1))

    @classmethod
    def trained(cls, lesson: Lesson) -> "Selector":
        """A selector for two networks, at a tap of the first."""
        first, following = (logits.argmax(1) == lesson.labels
                            for logits in (lesson.logits, lesson.next_logits))
        labels = needs_mild(first, following)
        # From features alone chances teach more; with logits they repeat what is seen.
        targets = labels.float() if cls.needs_logits else likely_needs_mild(
            lesson.logits, lesson.next_logits, lesson.labels)
        return train_selector(lesson.summary, lesson.logits, labels, targets=targets,
                              sees_logits=cls.needs_logits)

    def inputs(self, summary: torch.Tensor, logits: Any = None) -> torch.Tensor:
        """Inputs of the layers, from pooled features and logits."""
        if not self.needs_logits:
            return summary
        return torch.cat([summary, sorted_logits(logits)], 1)

    def of_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Probabilities, shape (N,)."""
        inputs = inputs.to(next(self.layers.parameters()).dtype)
        return self.layers(inputs)[:, 0].float().sigmoid()

    def charged_layers(self) -> nn.Module:
        """The head; pooling and sorting are not charged."""
        return self.layers

    def check_tap(self, channels: int) -> None:
        """Refuse a tap with other channels than those that the head was made for."""
        if channels != self.channels:
            raise ValueError(f"made for {self.channels} channels, the tap has "
                             f"{channels}")


class SelectorSeeingLogits(Selector):
    """A selector that sees sorted logits as well, so that the whole network has run."""

    at_taps: ClassVar[str] = "last"
    needs_logits = True


ROUTERS.add("selector", Selector)
ROUTERS.add("selector+logits", SelectorSeeingLogits)


def sorted_logits(logits: torch.Tensor) -> torch.Tensor:
    """The highest log-probabilities, falling: which class it is does not matter."""
    logits = logits.float().log_softmax(1)
    return logits.topk(min(logits.shape[1], SORTED_LOGITS), 1).values


def needs_mild(aggressive_right: torch.Tensor,
               mild_right: torch.Tensor) -> torch.Tensor:
    """Labels: the images that only the mild network gets right.

    Where both are right the cheap one will do; where both are wrong nothing is to be
    won.
    """
    return ~aggressive_right & mild_right


def likely_needs_mild(aggressive_logits: torch.Tensor, mild_logits: torch.Tensor,
                      classes: torch.Tensor) -> torch.Tensor:
    """The same as a chance: what both networks say of each image's true class.

    A few hundred of 2,500 images need the mild network; this says of all the others
    how near they came, and so teaches more.

    Parameters
    ----------
    aggressive_logits, mild_logits : float tensor, shape (N, classes)
    classes : int64 tensor, shape (N,)
        The true ones.

    Returns
    -------
    float32 tensor, shape (N,), 0..1
        Probability of the aggressive network being wrong times that of the mild one
        being right, as if they were independent.
    """
    few, many = (logits.float().softmax(1).gather(1, classes[:, None])[:, 0]
                 for logits in (aggressive_logits, mild_logits))
    return (1 - few) * many


def train_selector(summary: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor,
                   *, targets: torch.Tensor | None = None, sees_logits: bool = False,
                   seed: int = 0) -> Selector:
    """Train, choose its size by cross-validation, calibrate.

    Parameters
    ----------
    summary : float tensor, shape (N, 2 C)
        Pooled features, see :func:`cascade.routers.pooled`.
    logits : float tensor, shape (N, classes)
        The aggressive network's.
    labels : bool tensor, shape (N,)
        What :func:`needs_mild` says: the size is chosen, and the output calibrated, by
        them.
    targets : float tensor, shape (N,), optional
        What to learn, 0..1, from :func:`likely_needs_mild`; the labels unless given.
    sees_logits : bool
        Then it may also ignore the features, if that is better.
    seed : int

    Returns
    -------
    Selector
        In evaluation mode. Its output is a probability: scaled (Platt 1999) so that it
        is one on images outside the fold.

    Raises
    ------
    ValueError
        Fewer than one label of a kind a fold: nothing can be learned from that.
        Features or logits that are not finite.
    """
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < FOLDS:
        raise TooFewToLearn(
            f"selector: {positives} of {len(labels)} images need the mild network; at "
            f"least {FOLDS} of either kind are needed to learn from; take a wider pair "
            "or more images")
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), (
            torch.enable_grad()):
        torch.manual_seed(seed)
        classes = logits.shape[1] if sees_logits else 0
        kind = SelectorSeeingLogits if sees_logits else Selector
        blank = kind(summary.shape[1] // 2, 0, classes)
        # A copy: what was made in inference mode can't be learned from.
        inputs = blank.inputs(summary, logits).detach().clone()
        if not inputs.isfinite().all():
            raise ValueError("selector: features or logits are not finite; are the "
                             "network's weights, and the images, numbers?")
        targets = labels.float() if targets is None else targets.detach().clone()
        folds = _folds(labels)
        best: Any = None
        # A few hundred positives are soon fitted by as many features.
        sizes = [(*size, False) for size in SIZES] + (
            [(*size, True) for size in SIZES] if sees_logits else [])
        for size in sizes:
            outside = torch.empty(len(labels))
            for fold in range(FOLDS):
                inside = folds != fold
                one = _fit(inputs[inside], targets[inside], blank, *size)
                with torch.no_grad():
                    outside[~inside] = one.layers(inputs[~inside])[:, 0]
            scale, shift = _platt(outside, labels)
            loss = functional.binary_cross_entropy_with_logits(
                scale * outside + shift, labels.float())
            if best is None or loss < best[0]:
                best = loss, size, scale, shift
        _, size, scale, shift = best
        chosen = _fit(inputs, targets, blank, *size)
    with torch.no_grad():
        chosen.layers[-1].weight.mul_(scale)
        chosen.layers[-1].bias.mul_(scale).add_(shift)
    return chosen.requires_grad_(False).eval()


def _folds(labels):
    """The fold of each image; each has its share of either kind, so at least one."""
    folds = torch.empty(len(labels), dtype=torch.int64)
    for kind in (labels, ~labels):
        count = int(kind.sum())
        folds[kind] = torch.randperm(count) % FOLDS
    return folds


def _fit(inputs, targets, like, hidden, decay, ignores_features=False):
    """A selector on standardised inputs, the standardising folded into its weights."""
    mean, std = inputs.mean(0), inputs.std(0)
    # A channel that is dead on these images must not speak up on another one.
    std = torch.where(std > 1e-6 * mean.abs().clamp_min(1e-6), std, torch.inf)
    if ignores_features:
        std[:2 * like.channels] = torch.inf
    selector = type(like)(like.channels, hidden, like.classes)
    with torch.no_grad():       # begins at the share of the positives
        selector.layers[-1].weight.mul_(0.1)
        selector.layers[-1].bias.fill_(torch.logit(targets.mean(), 1e-6))
    optimizer = torch.optim.AdamW(selector.parameters(), RATE, weight_decay=decay)
    inputs = (inputs - mean) / std
    for _ in range(STEPS):
        # No class weights: they would undo the calibration that a threshold needs.
        loss = functional.binary_cross_entropy_with_logits(
            selector.layers(inputs)[:, 0], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    first = selector.layers[0]
    with torch.no_grad():
        first.weight.div_(std)
        first.bias.sub_(first.weight @ mean)
    return selector


def _platt(logits, labels):
    """Scale and shift that make logits log-odds, by maximum likelihood.

    The targets are Platt's: short of 0 and 1, so that labels that can be told apart
    without an error still have a finite scale.
    """
    positives, count = int(labels.sum()), len(labels)
    targets = torch.where(labels, (positives + 1) / (positives + 2),
                          1 / (count - positives + 2))
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, shift], max_iter=50,
                                  line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(
            scale * logits + shift, targets)
        value.backward()
        return value

    optimizer.step(loss)
    if scale < FLAT:
        # It would turn the order round: then the logits say nothing beyond the share.
        return torch.tensor(FLAT), (
            torch.logit(targets.mean()) - FLAT * logits.mean())
    return scale.detach(), shift.detach()
