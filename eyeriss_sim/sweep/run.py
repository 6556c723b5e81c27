"""Running a sweep: chunks over processes or a cluster, written as they come."""

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import joblib

from eyeriss_sim.parallel import connected, interrupts, results_of
from eyeriss_sim.sweep.dataset import opened
from eyeriss_sim.sweep.evaluate import evaluate_base, evaluate_chunk

if TYPE_CHECKING:
    from eyeriss_sim.sweep.spec import Spec


def run_sweep(spec: "Spec", folder: str | Path, jobs: int | None = None,
              scheduler: str | None = None, resume: bool = True,
              progress: Callable | None = None,
              stopping: Callable | None = None) -> int:
    """Run what is missing of a sweep.

    Parameters
    ----------
    spec : Spec
    folder : str or Path
        Folder of the results; see ``dataset``.
    jobs : int, optional
        Processes; one for each core unless given.
    scheduler : str, optional
        Address of a Dask cluster, ``tcp://host:port``; its workers run the chunks
        instead.
    resume : bool
        False refuses a folder that has results.
    progress : callable, optional
        Called with the points that are done and those of the sweep.
    stopping : callable, optional
        Called at the first Ctrl-C, after which the chunks in flight are waited for.

    Returns
    -------
    int
        Points that were run now.

    Raises
    ------
    ValueError
        See ``dataset.opened``; or processes died.
    OSError
    """
    progress = progress or (lambda done, points: None)
    # The cluster first: without one, no folder is left behind that claims its place.
    with (connected(scheduler) as client, opened(folder, spec, resume) as results,
          interrupts(stopping) as interrupted):
        # Compiles the kernels, if need be, before several processes do so at once.
        results.write_base(evaluate_base(spec))
        if spec.generations:
            from eyeriss_sim.sweep.optimize import run_generations
            return run_generations(spec, results, jobs, client, progress, interrupted)
        todo = results.missing()
        if not todo:
            return 0
        ran = sum(len(spec.points_of(chunk)) for chunk in todo)
        done = spec.points - ran
        progress(done, spec.points)
        going_on = takewhile(lambda chunk: not interrupted.is_set(), todo)
        calls = (joblib.delayed(_numbered)(spec, chunk) for chunk in going_on)
        for chunk, table in results_of(calls, jobs, client):
            results.write(chunk, table)
            done += len(spec.points_of(chunk))
            progress(done, spec.points)
        if interrupted.is_set():
            raise KeyboardInterrupt
    return ran


def _numbered(spec, chunk):
    return chunk, evaluate_chunk(spec, chunk)
