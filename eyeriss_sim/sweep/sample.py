"""Points chosen from a cross product that is too large to be run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eyeriss_sim.near_names import hint
from eyeriss_sim.plain import ENDLESS, is_whole, plain, shown

OPTIMIZE = "optimize"
METHODS = ("sobol", "random", OPTIMIZE)
OF_OPTIMIZE = ("minimize", "max_latency_ms", "max_energy_uJ")
KEYS = ("points", "method", "seed", *OF_OPTIMIZE)
MOST_DRAWS = 64


@dataclass(frozen=True)
class Sample:
    """Points chosen from the cross product.

    Parameters
    ----------
    points : int
    method : {"sobol", "random", "optimize"}
        Drawn, or asked for by an optimiser that is told the rows so far.
    seed : int
    minimize : str
        The figure that an optimiser makes small, the networks added up.
    max_latency_ms, max_energy_uJ : float, optional
        The most total_ms and total_uJ of what it looks for, added up as well.
    """

    points: int
    method: str = "sobol"
    seed: int = 0
    minimize: str = "total_uJ"
    max_latency_ms: float | None = None
    max_energy_uJ: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The most by column, where there is one."""
        most = {"total_ms": self.max_latency_ms, "total_uJ": self.max_energy_uJ}
        return {column: value for column, value in most.items() if value is not None}


def make_sample(given: dict[str, Any], product: int) -> Sample:
    """A Sample from what a file says or options say, out of ``product`` points."""
    check_keys("[sample]", given, KEYS)
    if "points" not in given:
        raise ValueError("[sample] needs points: how many to draw")
    sample = Sample(**{key: plain(value) for key, value in given.items()})
    if sample.method not in METHODS:
        raise ValueError(f"[sample] unknown method {sample.method!r}; "
                         f"{hint(sample.method, METHODS)}known: " + ", ".join(METHODS))
    if sample.method == OPTIMIZE:
        from eyeriss_sim.sweep.optimize import optuna_or_cure
        optuna_or_cure()
        _check_limits(sample)
    else:
        for key in OF_OPTIMIZE:
            if key in given:
                raise ValueError(f"[sample] {key} goes with method = \"{OPTIMIZE}\"")
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


def _check_limits(sample):
    for key in OF_OPTIMIZE[1:]:
        most = getattr(sample, key)
        if most is not None and (isinstance(most, bool) or not isinstance(
                most, (int, float)) or not 0 < most < ENDLESS):
            raise ValueError(f"[sample] {key} must be a positive number, got "
                             f"{shown(most)}")


def check_figure(sample: Sample, networks: Sequence) -> None:
    """Refuse to minimise what is no figure, or none of all networks together."""
    from eyeriss_sim.sweep.evaluate import RATIOS
    from eyeriss_sim.sweep.front import BETTER_LARGE, FIGURES
    column = sample.minimize
    if column not in FIGURES or column in BETTER_LARGE:
        small = [one for one in FIGURES if one not in BETTER_LARGE]
        raise ValueError(f"[sample] minimize = {column!r} is no figure that is better "
                         f"small; {hint(column, small)}figures: {', '.join(small)}")
    if column in RATIOS and len(networks) > 1:
        raise ValueError(f"[sample] minimize = {column!r} can't be added up over "
                         f"{', '.join(networks)}; choose one network")


def draw(sample: Sample, lengths: Sequence[int]) -> np.ndarray:
    """Distinct places in the cross product, ascending, int64."""
    # scipy.stats takes half a second to import: only where points are drawn.
    from scipy.stats import qmc
    strides = np.cumprod([1, *lengths[:0:-1]])[::-1].astype(np.int64)
    rng = np.random.default_rng(sample.seed)
    if not lengths:
        return np.zeros(1, np.int64)
    engine = qmc.Sobol(len(lengths), rng=rng) if sample.method == "sobol" else None
    places = np.empty(0, np.int64)
    seen: set[int] = set()
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


def check_keys(where: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse keys that a table has not, listing those it has."""
    for key in given:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; {hint(key, known)}known: "
                             + ", ".join(known))
