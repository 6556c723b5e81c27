"""Accuracy against energy of routed stages, and of single levels mixed at random."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 100     # thresholds that a curve looks at; more would only fit noise


@dataclass(frozen=True, eq=False)
class ImageCosts:
    """Costs of each image in one stage of a chain; arrays of shape (N,).

    Parameters
    ----------
    asked : float64 ndarray
        What has run when the stage's router has spoken; all of a last stage.
    back : float64 ndarray
        The rest of the network, for images that stay.
    asked_share, back_share : callable
        Shares of images that come there, to what one then costs of ``asked``, ``back``:
        in a batch, filters are read once for all.
    """

    asked: np.ndarray
    back: np.ndarray
    asked_share: Callable[[np.ndarray], np.ndarray] = np.ones_like
    back_share: Callable[[np.ndarray], np.ndarray] = np.ones_like


def charge(costs: Sequence[ImageCosts], stages: np.ndarray) -> np.ndarray:
    """Cost of each image in a chain.

    Parameters
    ----------
    costs : sequence of ImageCosts
        One a stage.
    stages : int ndarray, shape (N,)
        Which stage answers each image.

    Returns
    -------
    float64 ndarray, shape (N,)
    """
    comes = [(stages >= number).astype(np.float64) for number in range(len(costs) + 1)]
    shares = [np.array([one.mean()]) for one in comes]
    total = np.zeros(len(stages))
    for number, cost in enumerate(costs):
        stays = comes[number] - comes[number + 1]
        total = total + comes[number] * cost.asked * cost.asked_share(shares[number])
        total = total + stays * cost.back * cost.back_share(
            shares[number] - shares[number + 1])
    return total


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Two stages at many thresholds; arrays of one shape, fewest images to go first."""

    threshold: np.ndarray
    accuracy: np.ndarray
    energy: np.ndarray
    share: np.ndarray


def threshold_curve(scores: np.ndarray, stay_right: np.ndarray, go_right: np.ndarray,
                    costs: Sequence[ImageCosts]) -> ThresholdCurve:
    """All that a threshold on scores can make of two stages.

    Parameters
    ----------
    scores : float ndarray, shape (N,)
        Images above the threshold go on to the second stage.
    stay_right, go_right : bool ndarray, shape (N,)
        Whether the first, and the second, network is right.
    costs : (ImageCosts, ImageCosts)

    Examples
    --------
    >>> found = threshold_curve(
    ...     np.array([.1, .9]), np.array([True, False]), np.array([True, True]),
    ...     [ImageCosts(np.ones(2), np.zeros(2)),
    ...      ImageCosts(np.full(2, 3.0), np.zeros(2))])
    >>> found.accuracy.tolist(), found.energy.tolist(), found.threshold.tolist()
    ([0.5, 1.0, 1.0], [1.0, 2.5, 4.0], [inf, 0.5, -inf])
    """
    first, following = costs
    scores = np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    N = len(scores)
    # Images with one score go together.
    cuts = np.flatnonzero(np.diff(falling)) + 1
    if len(cuts) > STEPS:
        cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, STEPS).astype(int))]
    gone = np.array([0, *cuts, N])
    threshold = np.array([
        np.inf, *((falling[cuts - 1] + falling[cuts]) / 2), -np.inf])

    def before(values):
        return np.concatenate([[0.0], np.cumsum(values[order], dtype=np.float64)])[gone]

    share = gone / N
    right = before(go_right) + np.sum(stay_right) - before(stay_right)
    energy = (first.asked.sum()
              + before(following.asked) * following.asked_share(share)
              + (first.back.sum() - before(first.back)) * first.back_share(1 - share))
    return ThresholdCurve(threshold, right / N, energy / N, share)


def on_hull(accuracies: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """The levels that the lower convex hull passes through.

    Parameters
    ----------
    accuracies, energies : float ndarray, shape (levels,)

    Returns
    -------
    bool ndarray, shape (levels,)

    Examples
    --------
    >>> on_hull(np.array([.9, .8, .6]), np.array([1, .9, .4])).tolist()
    [True, False, True]
    """
    accuracies, energies = np.asarray(accuracies, float), np.asarray(energies, float)
    return hull_energy(accuracies, energies, accuracies) >= energies - 1e-12


def hull_energy(accuracies: np.ndarray, energies: np.ndarray,
                wanted: np.ndarray) -> np.ndarray:
    """Energy at which single levels, mixed two at a time at random, reach an accuracy.

    The lower convex hull of the levels. An accuracy above all of theirs costs what the
    most accurate one does: more can't be asked of them.

    Parameters
    ----------
    accuracies, energies : float ndarray, shape (..., levels)
    wanted : float ndarray, shape (...)

    Returns
    -------
    float64 ndarray, shape (...)

    Examples
    --------
    >>> float(hull_energy(np.array([.9, .8, .6]), np.array([1, .9, .4]), .75))
    0.7
    """
    accuracies, energies = np.asarray(accuracies, float), np.asarray(energies, float)
    wanted = np.minimum(wanted, accuracies.max(-1))
    best = np.where(accuracies >= wanted[..., None], energies, np.inf).min(-1)
    for high in range(accuracies.shape[-1]):
        for low in range(accuracies.shape[-1]):
            above = accuracies[..., high] - wanted
            below = wanted - accuracies[..., low]
            with np.errstate(invalid="ignore", divide="ignore"):
                mixed = (below * energies[..., high] + above * energies[..., low]) / (
                    above + below)
            usable = (above >= 0) & (below > 0)
            best = np.where(usable, np.minimum(best, mixed), best)
    return best
