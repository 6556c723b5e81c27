"""Points drawn from a cross product that is too large to be run."""

from dataclasses import dataclass

import numpy as np

from eyeriss_sim.near_names import hint
from eyeriss_sim.plain import is_whole, plain, shown

METHODS = ("sobol", "random")
KEYS = ("points", "method", "seed")
MOST_DRAWS = 64


@dataclass(frozen=True)
class Sample:
    """Points drawn from the cross product.

    Parameters
    ----------
    points : int
    method : {"sobol", "random"}
    seed : int
    """

    points: int
    method: str = "sobol"
    seed: int = 0


def make_sample(given, product):
    """A Sample from what a file says or options say, out of ``product`` points."""
    check_keys("[sample]", given, KEYS)
    if "points" not in given:
        raise ValueError("[sample] needs points: how many to draw")
    sample = Sample(**{key: plain(value) for key, value in given.items()})
    if sample.method not in METHODS:
        raise ValueError(f"[sample] unknown method {sample.method!r}; known: "
                         + ", ".join(METHODS))
    for key, least in (("points", 1), ("seed", 0)):
        value = getattr(sample, key)
        if not is_whole(value, least):
            raise ValueError(f"[sample] {key} must be a whole number of at least "
                             f"{least}, got {shown(value)}")
    if sample.points > product:
        raise ValueError(f"[sample] points = {sample.points:,} are more than the "
                         f"{product:,} that there are; leave the sample out")
    if product >= 2**63:
        raise ValueError(f"{product:.2g} points can't be numbered; vary fewer fields")
    return sample


def draw(sample, lengths):
    """Distinct places in the cross product, ascending, int64."""
    # scipy.stats takes half a second to import: only where points are drawn.
    from scipy.stats import qmc
    strides = np.cumprod([1, *lengths[:0:-1]])[::-1].astype(np.int64)
    rng = np.random.default_rng(sample.seed)
    if not lengths:
        return np.zeros(1, np.int64)
    engine = qmc.Sobol(len(lengths), rng=rng) if sample.method == "sobol" else None
    places = np.empty(0, np.int64)
    seen = set()
    # Neighbours of a sequence may share a cell of the grid, so it goes on until there
    # are enough; the cap leaves a nearly full grid to the plain draw below.
    for _ in range(MOST_DRAWS):
        wanted = 1 << (sample.points - 1).bit_length()
        unit = engine.random(wanted) if engine else rng.random((wanted, len(lengths)))
        fresh = (unit * lengths).astype(np.int64) @ strides
        for place in fresh.tolist():
            if len(seen) == sample.points:
                break
            seen.add(place)
        if len(seen) == sample.points:
            break
    places = np.fromiter(seen, np.int64, len(seen))
    missing = sample.points - places.size
    if missing:
        left = np.setdiff1d(np.arange(int(np.prod(lengths))), places)
        places = np.concatenate([places, rng.choice(left, missing, replace=False)])
    return np.sort(places)


def check_keys(where, given, known):
    """Refuse keys that a table has not, listing those it has."""
    for key in given:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; {hint(key, known)}known: "
                             + ", ".join(known))
