"""The points of a sweep chosen by an optimiser, generation by generation.

The next points follow from the rows of the generations before and the seed
alone, so that a sweep that was stopped goes on as if it had not been, on any number of
processes: the folder of its results is all that is remembered.
"""

import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import joblib
import numpy as np

from eyeriss_sim.parallel import results_of
from eyeriss_sim.sweep.evaluate import SUMS, evaluate_points
from eyeriss_sim.sweep.sample import Sample, draw

if TYPE_CHECKING:
    from eyeriss_sim.sweep.dataset import Results
    from eyeriss_sim.sweep.spec import Spec

STARTING_POINTS = 32    # spread over the grid, before anything is known
SLICE_POINTS = 4        # of a generation, which processes share
MOST_ASKED = 20         # times for a point that is new
# Scores of what is beyond a limit, by how much, and of what can't be mapped at all;
# only their order counts.
BEYOND, IMPOSSIBLE = 1e18, 1e30


def run_generations(spec: "Spec", results: "Results", jobs: int | None, client: Any,
                    progress: Callable, interrupted: threading.Event) -> int:
    """Run what is missing of a sweep whose points an optimiser chooses.

    Parameters
    ----------
    spec : Spec
    results : Results
    jobs, client
        See ``parallel.results_of``.
    progress : callable
        Called with the points that are done and those of the sweep.
    interrupted : threading.Event
        Set where the sweep shall end after this generation.

    Returns
    -------
    int
        Points that were run now.
    """
    missing = set(results.missing())
    known: list[tuple] = []
    scores: list[float] = []
    ran = 0
    for generation in range(spec.chunks):
        if interrupted.is_set():
            raise KeyboardInterrupt
        points = spec.points_of(generation)
        if generation in missing:
            picks = next_picks(spec, known, scores, generation, len(points))
            table = _evaluated(spec, points, picks, jobs, client)
            results.write(generation, table)
            ran += len(points)
        else:
            table = results.read(generation)
        new_picks, new_scores = told_by(spec, table)
        known += new_picks
        scores += new_scores
        progress(points.stop, spec.points)
    return ran


def _evaluated(spec, points, picks, jobs, client):
    """Rows of a generation, in the order of its points."""
    import pyarrow as pa
    starts = range(0, len(points), SLICE_POINTS)
    calls = [joblib.delayed(_numbered)(
        start, spec, points[start:start + SLICE_POINTS],
        picks[start:start + SLICE_POINTS]) for start in starts]
    tables = dict(results_of(calls, jobs, client))
    return pa.concat_tables([tables[start] for start in starts])


def _numbered(start, spec, points, picks):
    return start, evaluate_points(spec, points, picks)


def next_picks(spec: "Spec", known: list, scores: list[float], generation: int,
               count: int) -> list:
    """Points to try next, none of them known.

    Parameters
    ----------
    spec : Spec
    known : list of tuple of int
        Places of the values that the points so far had, one for each axis.
    scores : list of float
        Score of each of them; the least is the best.
    generation : int
    count : int

    Returns
    -------
    list of tuple of int
    """
    lengths = [len(axis.values) for axis in spec.axes]
    sample = cast(Sample, spec.sample)      # a sweep of generations has one
    rng = np.random.default_rng([sample.seed, generation])
    starting = min(STARTING_POINTS, sample.points)
    if len(known) < starting:
        places = draw(Sample(starting, "sobol", sample.seed), lengths)
        drawn = [spec.picks_of(int(place)) for place in places]
        picks = drawn[len(known):len(known) + count]
    else:
        picks = _asked_for(spec, known, scores, count, int(rng.integers(2**31)))
    taken = {*known, *picks}
    while len(picks) < count:       # a grid that is nearly full, or asked all over
        fresh = spec.picks_of(int(rng.integers(np.prod(lengths, dtype=np.int64))))
        if fresh not in taken:
            taken.add(fresh)
            picks.append(fresh)
    return picks


def _asked_for(spec, known, scores, count, seed):
    """New points that Optuna's tree-structured Parzen estimator asks for, or fewer."""
    optuna = optuna_or_cure()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranks = [_ranks(axis) for axis in spec.axes]
    choices = {
        str(place): (optuna.distributions.IntDistribution(0, len(axis.values) - 1)
                     if ranks[place] is not None else
                     optuna.distributions.CategoricalDistribution(
                         range(len(axis.values))))
        for place, axis in enumerate(spec.axes) if len(axis.values) > 1}

    def params(picks):
        return {name: picks[int(name)] if ranks[int(name)] is None
                else int(ranks[int(name)][picks[int(name)]]) for name in choices}

    def picks_from(params):
        picks = [0] * len(spec.axes)
        for name, value in params.items():
            rank = ranks[int(name)]
            picks[int(name)] = value if rank is None else rank.index(value)
        return tuple(picks)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True))
        study.add_trials([optuna.trial.create_trial(
            params=params(picks), distributions=choices, value=score)
            for picks, score in zip(known, scores, strict=True)])
        found, taken = [], set(known)
        for _ in range(MOST_ASKED * count):
            trial = study.ask(choices)
            picks = picks_from(trial.params)
            if picks in taken:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            taken.add(picks)
            found.append(picks)
            if len(found) == count:
                break
    return found


def _ranks(axis):
    """Place of each value of an axis in their order; None where they have none."""
    if isinstance(axis.values[0], (str, bool)):
        return None
    ordered = sorted(axis.values)
    return [ordered.index(value) for value in axis.values]


def told_by(spec: "Spec", table: Any) -> tuple[list, list[float]]:
    """Picks and scores of the points in a table of rows, in their order.

    Returns
    -------
    picks : list of tuple of int
    scores : list of float
    """
    columns = [axis.column for axis in spec.axes]
    rows = table.to_pylist()
    by_point: dict[int, list[dict]] = {}
    for row in rows:
        if row.get("layer") is None:
            by_point.setdefault(row["point"], []).append(row)
    picks, scores = [], []
    for _, of_point in sorted(by_point.items()):
        picks.append(tuple(axis.values.index(of_point[0][column])
                           for axis, column in zip(spec.axes, columns, strict=True)))
        scores.append(score_of(cast(Sample, spec.sample), of_point))
    return picks, scores


def score_of(sample: Sample, rows: list[dict]) -> float:
    """The score of a point from its rows, one a network; the least is the best."""
    if any(row["reason"] is not None for row in rows):
        return IMPOSSIBLE

    def figure(column):
        return (sum(row[column] for row in rows) if column in SUMS
                else rows[0][column])

    over = max((figure(column) / most for column, most in sample.limits.items()),
               default=0)
    return float(figure(sample.minimize)) if over <= 1 else BEYOND * over


def optuna_or_cure() -> Any:
    """Optuna, or one line about how to get it."""
    try:
        import optuna
    except ImportError:
        raise ValueError("[sample] method = \"optimize\" needs Optuna: pip install "
                         "'eyeriss-sim[optimize]'") from None
    return optuna
