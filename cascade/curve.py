"""Accuracy against energy: of routed pairs, and of single levels mixed at random."""

from dataclasses import dataclass

import numpy as np

STEPS = 100     # thresholds that a sweep looks at; more would only fit noise


@dataclass(frozen=True, eq=False)
class Costs:
    """What each image costs in a pair of networks; arrays of shape (N,).

    Parameters
    ----------
    asked : float64 ndarray
        What has run when the router has spoken.
    back : float64 ndarray
        The rest of the aggressive network, in a full batch.
    mild : float64 ndarray
        The mild network, alone.
    back_share, mild_share : callable
        Shares of images that come there, to what one costs of ``back``, ``mild``.
    """

    asked: np.ndarray
    back: np.ndarray
    mild: np.ndarray
    back_share: object = np.ones_like
    mild_share: object = np.ones_like

    def of(self, routes):
        """Each image's, by the share of it that goes: bools, or numbers in 0..1."""
        routes = np.asarray(routes, np.float64)
        share = np.array([routes.mean()])
        return (self.asked + (1 - routes) * self.back * self.back_share(1 - share)
                + routes * self.mild * self.mild_share(share))


@dataclass(frozen=True, eq=False)
class Sweep:
    """A pair at many thresholds; arrays of one shape, fewest images to go first."""

    threshold: np.ndarray
    accuracy: np.ndarray
    energy: np.ndarray
    share: np.ndarray


def sweep(scores, stay_right, go_right, costs):
    """All that a threshold on scores can make of a pair.

    Parameters
    ----------
    scores : float ndarray, shape (N,)
        Images above the threshold go to the mild network.
    stay_right, go_right : bool ndarray, shape (N,)
        Whether the aggressive, and the mild, network is right.
    costs : Costs

    Returns
    -------
    Sweep

    Examples
    --------
    >>> found = sweep(np.array([.1, .9]), np.array([True, False]),
    ...               np.array([True, True]),
    ...               Costs(np.ones(2), np.zeros(2), np.full(2, 3.0)))
    >>> found.accuracy.tolist(), found.energy.tolist(), found.threshold.tolist()
    ([0.5, 1.0, 1.0], [1.0, 2.5, 4.0], [inf, 0.5, -inf])
    """
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
    energy = (costs.asked.sum() + before(costs.mild) * costs.mild_share(share)
              + (costs.back.sum() - before(costs.back)) * costs.back_share(1 - share))
    return Sweep(threshold, right / N, energy / N, share)


def pareto(accuracy, energy):
    """Places of the points that no other beats in both, by falling energy.

    Examples
    --------
    >>> pareto(np.array([.9, .8, .7, .9]), np.array([1, .5, .6, .9])).tolist()
    [3, 1]
    """
    order = np.lexsort((energy, -np.asarray(accuracy)))
    least = np.minimum.accumulate(np.asarray(energy)[order])
    first = np.concatenate([[True], np.diff(least) < 0])
    return order[first]


def hull_energy(accuracies, energies, wanted):
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
