"""Levels, router and threshold that serve a wish best, by the choosing images alone."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from cascade.curve import charge
from cascade.levels import pairs
from cascade.routers import system_of
from cascade.study import Choice, Study
from eyeriss_sim.pareto import pareto

SELECTORS = "cascade"       # the system of the learned selectors
MOST_OF_NEXT = 0.9          # of the next stage's energy, that a stage may need


def candidates(study: Study, progress: Callable[[int, int], None] | None = None
               ) -> pd.DataFrame:
    """Every pair of levels that may pay, with every router at every threshold.

    A pair of which the cheaper network needs ``MOST_OF_NEXT`` of the dearer one's
    energy, or more, is left out, where there are others: each image would pay for
    nearly both.

    Parameters
    ----------
    study : Study
    progress : callable, optional
        Called with (pairs done, pairs in all).

    Returns
    -------
    pandas.DataFrame
        system (``cascade`` for learned selectors, else the router's own), mild,
        aggressive, router, threshold, and on the choosing images accuracy, energy (the
        dense network's is 1) and share (that goes to the mild network).
    """
    energies = [study.mean_energy(place) for place in range(len(study.levels))]
    every = pairs(range(len(energies)))
    places = [(mild, aggressive) for mild, aggressive in every
              if energies[aggressive] < MOST_OF_NEXT * energies[mild]] or every
    found = []
    for done, (mild, aggressive) in enumerate(places, 1):
        for name in study.routers(aggressive):
            if study.router(aggressive, mild, name) is None:
                continue
            curve = study.threshold_curve(aggressive, mild, name)
            found.append(pd.DataFrame({
                "system": system_of(name), "mild": mild,
                "aggressive": aggressive, "router": name, "threshold": curve.threshold,
                "accuracy": curve.accuracy, "energy": curve.energy,
                "share": curve.share}))
        if progress is not None:
            progress(done, len(places))
    return pd.concat(found, ignore_index=True)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other beats in accuracy and energy, most accurate first."""
    return table.iloc[pareto(np.column_stack([-table.accuracy, table.energy]))]


def choose(table: pd.DataFrame, study: Study, *, accuracy: float | None = None,
           energy: float | None = None) -> tuple[Choice, pd.Series]:
    """The cascade that a wish asks for.

    Parameters
    ----------
    table : pandas.DataFrame
        All rows of :func:`candidates`, or some.
    study : Study
    accuracy : float, optional
        At least this on the choosing images, for the least energy, which must be below
        the dense network's.
    energy : float, optional
        At most this share of the dense network's, for the highest accuracy.

    Returns
    -------
    Choice
    pandas.Series
        Its row.

    Raises
    ------
    ValueError
        No cascade reaches that, or only for more than the dense network needs; with the
        highest accuracy, or the least energy, that one does.
    """
    if (accuracy is None) == (energy is None):
        raise ValueError("one of accuracy and energy is asked for")
    check_wish(energy=energy)
    if accuracy is not None:
        fit = table[table.accuracy >= accuracy - 1e-12]
        if fit.empty:
            raise ValueError(
                f"accuracy {100 * accuracy:.2f} % on the choosing images is above all "
                f"cascades of this ladder; the highest is "
                f"{100 * table.accuracy.max():.2f} %; allow more loss")
        row = fit.sort_values(["energy", "accuracy", "mild"],
                              ascending=[True, False, False]).iloc[0]
        dense = study.level(0, "choosing")[1].mean()
        if row.energy >= dense:
            raise ValueError(
                f"accuracy {100 * accuracy:.2f} % on the choosing images costs "
                f"cascades of this ladder at least {row.energy:.3f}, the dense network "
                f"{dense:.3f}; take that one, or allow more loss")
    elif energy is not None:
        fit = table[table.energy <= energy + 1e-12]
        if fit.empty:
            least = table.loc[table.energy.idxmin()]
            name = study.levels[int(least.aggressive)].name
            raise ValueError(
                f"energy {energy:.3f} of dense is below what the most aggressive "
                f"network needs alone; the least is {least.energy:.3f}, of {name}; ask "
                "for that, or prune further")
        row = fit.sort_values(["accuracy", "energy", "mild"],
                              ascending=[False, True, False]).iloc[0]
    # Where the mild network never runs, all are equal; the cheapest to store was taken.
    return as_choice(row), row


def check_wish(accuracy_loss: float | None = None,
               energy: float | None = None) -> None:
    """Refuse a wish that no network could mean, before any work is done.

    Parameters
    ----------
    accuracy_loss : float, optional
        Points.
    energy : float, optional
        Share of the dense network's.
    """
    if energy is not None and not 0 < energy <= 1:
        raise ValueError(f"energy {energy:g}: a share of the dense network's is "
                         "needed, above 0 and at most 1")
    if accuracy_loss is not None and not math.fabs(accuracy_loss) < 100:
        raise ValueError(f"accuracy loss {accuracy_loss:g}: points below the dense "
                         "network are needed, fewer than 100")


def as_choice(row: pd.Series) -> Choice:
    """A row of :func:`candidates` as the chain of two that it stands for."""
    return Choice((int(row.aggressive), int(row.mild)), (row.router,),
                  (float(row.threshold),))


def chance(study: Study, choice: Choice, part: str, share: float
           ) -> tuple[np.ndarray, np.ndarray]:
    """A chain of two with images sent on at random, as many as it sends.

    Nothing is looked at before, so that an image costs its own network alone.

    Returns
    -------
    right, costs : float64 ndarray, shape (N,)
        What is expected for each image.
    """
    first, following = choice.levels
    few_right, few = study.level(first, part)
    many_right, _ = study.level(following, part)
    _, costs = study.chain_costs(choice.levels, ("max_softmax",), part)
    few = few * study.part_of_batch(first)(np.array([1 - share]))
    many = costs.asked * costs.asked_share(np.array([share]))
    return ((1 - share) * few_right + share * many_right,
            (1 - share) * few + share * many)


def perfect(study: Study, choice: Choice, part: str
            ) -> tuple[np.ndarray, np.ndarray, float]:
    """A chain of two, and its costs, with a router that knows the answers.

    Returns
    -------
    right, costs : ndarray, shape (N,)
    share : float
    """
    few_right, many_right = (study.level(level, part)[0] for level in choice.levels)
    routes = ~few_right & many_right
    costs = study.chain_costs(choice.levels, choice.routers, part)
    return (few_right | many_right, charge(costs, routes.astype(np.int64)),
            float(routes.mean()))
