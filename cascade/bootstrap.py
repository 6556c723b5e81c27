"""Intervals of differences: images, and seeds, drawn again."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from cascade.curve import hull_energy
from eyeriss_sim.read_only import read_only

SAMPLES = 2000
INTERVAL = (2.5, 97.5)
BLOCK = 200             # samples at a time, for the memory of their weights


def draws(images: int, seed: int = 0,
          samples: int = SAMPLES) -> Iterator[np.ndarray]:
    """Numbers of times that each image is drawn, a block of samples at a time.

    Yields
    ------
    float32 ndarray, shape (BLOCK, images)
        Weights whose rows sum to 1.
    """
    counts = _counts(images, seed, samples)
    for start in range(0, samples, BLOCK):
        weights = counts[start:start + BLOCK].astype(np.float32)
        yield weights / weights.sum(1, keepdims=True)


@lru_cache(maxsize=2)
def _counts(images, seed, samples):
    # Poisson's counts, scaled later, are drawn faster than multinomial ones.
    random = np.random.default_rng(seed)
    return read_only(random.poisson(1.0, (samples, images)).astype(np.uint8))


def mean_interval(values: np.ndarray,
                  seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a mean over images.

    Parameters
    ----------
    values : ndarray, shape (..., N)

    Returns
    -------
    low, high : float64 ndarray, shape (...)
    """
    values = np.asarray(values, np.float32)
    flat = values.reshape(-1, values.shape[-1])
    means = np.concatenate([weights @ flat.T for weights in draws(flat.shape[1], seed)])
    low, high = np.percentile(means, INTERVAL, axis=0)
    return low.reshape(values.shape[:-1]), high.reshape(values.shape[:-1])


def below_hull(systems: Sequence[tuple], seed: int = 0, samples: int = SAMPLES
               ) -> tuple[float, float, float]:
    """Energy that a system needs less than single levels of the same accuracy.

    Paired: every sample draws the same images for the system and for all levels; and
    seeds, where there are several.

    Parameters
    ----------
    systems : sequence of (right, energy, level_rights, level_energies)
        One a seed: what the system makes of each image, shape (N,), and each level,
        (levels, N). Rights may be shares, of what is routed at random. Seeds may have
        other numbers of levels.
    seed : int
        Of the drawing.
    samples : int
        Drawn; 0: no interval is asked for, and both its ends are nan.

    Returns
    -------
    difference : float
        Energy of the hull less the system's: above 0 the system wins.
    low, high : float
        95 % interval.

    Examples
    --------
    >>> right, costs = np.ones(50), np.full(50, .5)
    >>> levels = np.stack([np.ones(50), np.zeros(50)])
    >>> prices = np.stack([np.ones(50), np.full(50, .2)])
    >>> below_hull([(right, costs, levels, prices)])
    (0.5, 0.5, 0.5)
    """
    N = len(systems[0][0])
    stacked = [np.concatenate([np.atleast_2d(part) for part in one]).astype(np.float64)
               for one in systems]

    def differences(means):
        levels = (means.shape[-1] - 2) // 2
        accuracies, energies = means[..., 2:2 + levels], means[..., 2 + levels:]
        return hull_energy(accuracies, energies, means[..., 0]) - means[..., 1]

    whole = np.mean([differences(one.mean(1)) for one in stacked])
    if not samples:
        return _rounded(whole), np.nan, np.nan
    random = np.random.default_rng(seed)
    found = []
    for weights in draws(N, seed, samples):
        weights = weights.astype(np.float64)
        weights /= weights.sum(1, keepdims=True)
        by_seed = np.stack([differences(weights @ one.T) for one in stacked], 1)
        chosen = random.integers(len(stacked), size=by_seed.shape)
        found.append(np.take_along_axis(by_seed, chosen, 1).mean(1))
    low, high = np.percentile(np.concatenate(found), INTERVAL)
    return _rounded(whole), _rounded(low), _rounded(high)


def mean_over_seeds(values: Sequence[np.ndarray],
                    seed: int = 0) -> tuple[float, float, float]:
    """A mean over images and seeds with its 95 % interval, both drawn again.

    Parameters
    ----------
    values : sequence of ndarray, shape (N,)
        One a seed, of the same images.

    Returns
    -------
    mean, low, high : float

    Examples
    --------
    >>> mean_over_seeds([np.full(50, 2.0), np.full(50, 2.0)])
    (2.0, 2.0, 2.0)
    """
    stacked = np.stack([np.asarray(one, np.float64) for one in values])
    random = np.random.default_rng(seed)
    samples = []
    for weights in draws(stacked.shape[1], seed):
        weights = weights.astype(np.float64)
        by_seed = weights / weights.sum(1, keepdims=True) @ stacked.T
        chosen = random.integers(len(stacked), size=by_seed.shape)
        samples.append(np.take_along_axis(by_seed, chosen, 1).mean(1))
    low, high = np.percentile(np.concatenate(samples), INTERVAL)
    return _rounded(stacked.mean()), _rounded(low), _rounded(high)


def _rounded(value):
    return round(float(value), 6)
