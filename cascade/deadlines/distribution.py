"""Distributions of the time that a deadline leaves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from eyeriss_sim.number_table import read_number_table


class SampledDeadlines:
    """Deadlines that were seen, each with a weight.

    Parameters
    ----------
    ms : sequence of float
    weights : sequence of float, optional
        Weights of any sum; equal unless given.

    Raises
    ------
    ValueError
        No deadline, one that is no number, a negative weight, or no weight at all.

    Examples
    --------
    >>> SampledDeadlines([1.0, 2.0, 4.0, 4.0]).met([0.5, 2.0, 4.0, 5.0]).tolist()
    [1.0, 0.75, 0.5, 0.0]
    """

    def __init__(self, ms: Sequence[float] | np.ndarray,
                 weights: Sequence[float] | np.ndarray | None = None):
        ms = np.asarray(ms, np.float64)
        weights = np.ones(len(ms)) if weights is None else np.asarray(weights, float)
        if not len(ms) or not np.isfinite(ms).all() or (ms < 0).any():
            raise ValueError("deadlines are numbers of ms, at least one, none below 0")
        if weights.shape != ms.shape or not np.isfinite(weights).all() or (
                (weights < 0).any() or not weights.sum()):
            raise ValueError("weights of deadlines are numbers, one each, none below 0 "
                             "and not all of them 0")
        order = np.argsort(ms, kind="stable")
        self._ms = ms[order]
        # Summed from the longest: what no deadline leaves time for is met by exactly 0.
        later = np.cumsum(weights[order][::-1])[::-1]
        self._met = np.append(later / later[0], 0.0)

    def met(self, ms: np.ndarray) -> np.ndarray:
        """Share of the deadlines that leave at least so much time, float64 ndarray."""
        return self._met[np.searchsorted(self._ms, ms, side="left")]


class DrawnDeadlines:
    """Deadlines of a continuous distribution.

    Parameters
    ----------
    distribution : frozen distribution of scipy.stats
    """

    def __init__(self, distribution: Any):
        self._distribution = distribution

    def met(self, ms: np.ndarray) -> np.ndarray:
        """Share of the deadlines that leave at least so much time, float64 ndarray."""
        return np.asarray(self._distribution.sf(ms), np.float64)


def parse_deadlines(text: str) -> SampledDeadlines | DrawnDeadlines:
    """Deadlines that a text describes.

    Parameters
    ----------
    text : str
        ``lognormal:MEDIAN,SIGMA`` (ms; deviation of the natural logarithm),
        ``uniform:LOW,HIGH`` (ms), or a .csv file with columns ms and perhaps weight.

    Returns
    -------
    SampledDeadlines or DrawnDeadlines

    Raises
    ------
    ValueError
        None of these, or numbers that make no distribution.

    Examples
    --------
    >>> parse_deadlines("uniform:10,30").met([5, 15, 40]).tolist()
    [1.0, 0.75, 0.0]
    """
    kind, colon, numbers = text.partition(":")
    if kind in ("lognormal", "uniform") and colon:
        try:
            first, second = map(float, numbers.split(","))
        except ValueError:
            first = second = np.nan
        if kind == "uniform" and 0 <= first < second < np.inf:
            return DrawnDeadlines(stats.uniform(first, second - first))
        if kind == "lognormal" and 0 < first < np.inf and 0 < second < np.inf:
            return DrawnDeadlines(stats.lognorm(second, scale=first))
        raise ValueError(
            f"deadlines {text!r}: two numbers are needed, "
            + ("0 <= LOW < HIGH" if kind == "uniform" else "MEDIAN and SIGMA above 0"))
    if not text.endswith(".csv"):
        raise ValueError(f"deadlines {text!r}: a .csv file, lognormal:MEDIAN,SIGMA or "
                         "uniform:LOW,HIGH is needed")
    table = read_number_table(text, ("ms",), ("weight",))
    try:
        return SampledDeadlines(table.ms, table.get("weight"))
    except ValueError as problem:
        raise ValueError(f"{text}: {problem}") from None
