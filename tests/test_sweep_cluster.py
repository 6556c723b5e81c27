"""A sweep on a Dask cluster of one host, as the README starts it."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from eyeriss_sim import parallel
from eyeriss_sim.sweep import run
from eyeriss_sim.sweep.dataset import opened, read_results
from eyeriss_sim.sweep.spec import make_spec

distributed = pytest.importorskip("distributed")
# Several processes that wait for each other's ports: for a machine with time to spare.
pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def dask(tmp_path):
    """Starts a dask command; ends all that it started."""
    processes = []

    def start(*args):
        with open(tmp_path / f"{len(processes)}.log", "w") as log:
            processes.append(subprocess.Popen(
                [sys.executable, "-m", "dask", *args], cwd=tmp_path, stdout=log,
                stderr=log, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
                start_new_session=True))
        return processes[-1]

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_cluster(dask):
    """A scheduler and two workers, the README's three commands; its address."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask("scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2],
         "--no-dashboard")
    workers = [dask("worker", address, "--nthreads", "1", "--no-dashboard")
               for _ in range(2)]
    with distributed.Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    return address, workers


def test_a_cluster_loses_a_worker_in_the_middle_and_no_row(dask, tmp_path):
    spec = make_spec(["resnet20_cifar"], {"rows": "4:19", "cols": "4:23"})
    address, workers = start_cluster(dask)
    killed = []

    def kill_one(done, points):
        if done > points / 4 and not killed:
            killed.append(done)
            os.killpg(workers[0].pid, signal.SIGKILL)

    run.run_sweep(spec, tmp_path / "cluster", scheduler=address, progress=kill_one)
    assert killed and killed[0] < spec.points
    run.run_sweep(spec, tmp_path / "alone", jobs=1)
    alone, cluster = (read_results(tmp_path / name) for name in ("alone", "cluster"))
    assert cluster.point.tolist() == list(range(spec.points))
    assert cluster.equals(alone)
    with opened(tmp_path / "cluster", spec) as results:
        assert results.missing() == []


def test_an_optimiser_asks_for_the_same_points_on_a_cluster(dask, tmp_path):
    pytest.importorskip("optuna")
    spec = make_spec(["resnet20_cifar"], {"rows": "4:19", "cols": "4:23"},
                     sample={"points": 64, "method": "optimize"})
    address, _ = start_cluster(dask)
    run.run_sweep(spec, tmp_path / "cluster", scheduler=address)
    run.run_sweep(spec, tmp_path / "alone", jobs=1)
    alone, cluster = (read_results(tmp_path / name) for name in ("alone", "cluster"))
    assert cluster.equals(alone) and len(alone) == 64


def test_a_scheduler_that_nobody_runs_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_S", 1)
    spec = make_spec(["resnet20_cifar"], {"rows": [8, 9]})
    for address in (f"tcp://127.0.0.1:{free_port()}", "nonsense"):
        with pytest.raises(ValueError, match=f"no Dask scheduler answers at {address}"):
            run.run_sweep(spec, tmp_path / "out", scheduler=address)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("problem, message", [
    (distributed.client.FutureCancelledError("chunk", "scheduler-connection-lost"),
     "was lost; start it"),
    (distributed.KilledWorker("chunk", None, 3), "several workers died"),
])
def test_a_cluster_that_gives_up_is_told_in_one_line(
        dask, tmp_path, monkeypatch, problem, message):
    def gives_up(calls, in_advance):
        yield 0, run.evaluate_chunk(spec, 0)
        raise problem

    monkeypatch.setattr(parallel, "_in_parallel", gives_up)
    spec = make_spec(["resnet20_cifar"], {"rows": "4:19", "cols": "4:23"})
    address, _ = start_cluster(dask)
    with pytest.raises(ValueError, match=message):
        run.run_sweep(spec, tmp_path / "out", scheduler=address)
    with opened(tmp_path / "out", spec) as results:
        assert results.missing() == list(range(1, spec.chunks))
