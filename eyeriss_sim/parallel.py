"""Calls over processes or a cluster: a sweep's chunks, a table's shapes."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

CONNECT_S = 10
ORPHANED_S = 1      # how often a process looks whether its parent lives
IN_ADVANCE = 2      # calls queued for each process, so that none waits for the writer


@contextmanager
def interrupts(stopping: Callable | None = None) -> Iterator[threading.Event]:
    """Let the first Ctrl-C end a run after the chunks in flight, the second at once.

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


def results_of(calls: Iterable, jobs: int | None = None,
               client: Any = None) -> Iterator:
    """Results of calls, in whatever order they are done.

    Parameters
    ----------
    calls : iterable of joblib.delayed calls
        Taken a few at a time, as processes become free.
    jobs : int, optional
        Processes; one for each core unless given.
    client : dask.distributed.Client, optional
        Of ``connected``; its workers run the calls instead.

    Raises
    ------
    ValueError
        Processes died, or the cluster was lost.
    """
    if client:
        yield from _results_of_cluster(calls, client)
        return
    jobs = jobs or joblib.cpu_count()
    try:
        with joblib.parallel_config(backend="loky", n_jobs=jobs, initializer=_end_with,
                                    initargs=(os.getpid(),)):
            yield from _in_parallel(calls, IN_ADVANCE * jobs)
    except BrokenProcessPool:
        raise ValueError("a process of the run was killed, perhaps for want of "
                         "memory; the same command goes on from here, --jobs 1 with "
                         "the least memory") from None


@contextmanager
def connected(scheduler: str | None) -> Iterator[Any]:
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


def _results_of_cluster(calls, client):
    from dask.distributed import KilledWorker
    threads = sum(client.nthreads().values())
    try:
        with joblib.parallel_config(backend="dask", client=client):
            yield from _in_parallel(calls, IN_ADVANCE * threads)
    except CancelledError:
        raise ValueError(f"the Dask scheduler at {client.scheduler.address} was lost; "
                         f"start it and its workers again: the same command goes on "
                         f"from here") from None
    except KilledWorker:
        raise ValueError("several workers died of the same chunk, perhaps for want of "
                         "memory; the same command goes on from here") from None


def _in_parallel(calls, in_advance):
    run = joblib.Parallel(return_as="generator_unordered", batch_size=1,
                          pre_dispatch=in_advance)
    yield from run(calls)
