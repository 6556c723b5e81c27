"""Running a sweep: chunks over processes or a cluster, written as they come."""

import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import takewhile

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

from eyeriss_sim.sweep.dataset import opened
from eyeriss_sim.sweep.evaluate import evaluate_base, evaluate_chunk

CONNECT_S = 10
ORPHANED_S = 1      # how often a process looks whether its parent lives
IN_ADVANCE = 2      # chunks queued for each process, so that none waits for the writer


def run_sweep(spec, folder, jobs=None, scheduler=None, resume=True, progress=None,
              stopping=None):
    """Run what is missing of a sweep.

    Parameters
    ----------
    spec : Spec
    folder : str or Path
        Of the results; see ``dataset``.
    jobs : int, optional
        Processes; one for each core unless given.
    scheduler : str, optional
        Of a Dask cluster, ``tcp://host:port``; its workers run the chunks instead.
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
        todo = results.missing()
        if not todo:
            return 0
        ran = sum(len(spec.points_of(chunk)) for chunk in todo)
        done = spec.points - ran
        progress(done, spec.points)
        going_on = takewhile(lambda chunk: not interrupted.is_set(), todo)
        for chunk, table in _tables(spec, going_on, jobs, client):
            results.write(chunk, table)
            done += len(spec.points_of(chunk))
            progress(done, spec.points)
        if interrupted.is_set():
            raise KeyboardInterrupt
    return ran


@contextmanager
def interrupts(stopping=None):
    """Let the first Ctrl-C end a sweep after the chunks in flight, the second at once.

    Yields
    ------
    threading.Event
        Set by the first.
    """
    interrupted = threading.Event()

    def note(number, frame):
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        if stopping:
            stopping()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted       # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _numbered(spec, chunk):
    return chunk, evaluate_chunk(spec, chunk)


def _end_with(parent):
    """Let this process end when its parent is killed, and with nothing else.

    It would wait for work for ever. Runs before all else in a process, so that even one
    whose parent was killed meanwhile sees it. A Ctrl-C is for the parent to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        while os.getppid() == parent:
            time.sleep(ORPHANED_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _tables(spec, todo, jobs, client):
    """(chunk, table) of every chunk, in whatever order they are done."""
    if client:
        yield from _tables_of_cluster(spec, todo, client)
        return
    jobs = jobs or joblib.cpu_count()
    try:
        with joblib.parallel_config(backend="loky", n_jobs=jobs, initializer=_end_with,
                                    initargs=(os.getpid(),)):
            yield from _in_parallel(spec, todo, IN_ADVANCE * jobs)
    except BrokenProcessPool:
        raise ValueError("a process of the sweep was killed, perhaps for want of "
                         "memory; the same command goes on from here, --jobs 1 with "
                         "the least memory") from None


@contextmanager
def connected(scheduler):
    """A client of a Dask cluster that has workers; None without an address.

    Raises
    ------
    ValueError
        Dask isn't installed, nobody answers, or there are no workers.
    """
    if not scheduler:
        yield None
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise ValueError("--scheduler needs Dask: pip install 'eyeriss-sim[cluster]'"
                         ) from None
    try:
        client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as problem:
        raise ValueError(f"no Dask scheduler answers at {scheduler} ({problem}); start "
                         f"one with: dask scheduler") from None
    with client:
        if not client.nthreads():
            raise ValueError(f"the Dask scheduler at {scheduler} has no workers; start "
                             f"some with: dask worker {scheduler} --nthreads 1")
        yield client


def _tables_of_cluster(spec, todo, client):
    from dask.distributed import KilledWorker
    threads = sum(client.nthreads().values())
    try:
        with joblib.parallel_config(backend="dask", client=client):
            yield from _in_parallel(spec, todo, IN_ADVANCE * threads)
    except CancelledError:
        raise ValueError(f"the Dask scheduler at {client.scheduler.address} was lost; "
                         f"start it and its workers again: the same command goes on "
                         f"from here") from None
    except KilledWorker:
        raise ValueError("several workers died of the same chunk, perhaps for want of "
                         "memory; the same command goes on from here") from None


def _in_parallel(spec, todo, in_advance):
    run = joblib.Parallel(return_as="generator_unordered", batch_size=1,
                          pre_dispatch=in_advance)
    yield from run(joblib.delayed(_numbered)(spec, chunk) for chunk in todo)
