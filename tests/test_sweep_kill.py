"""A sweep that is killed at random moments ends with what it would have written."""

import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from eyeriss_sim.sweep.run import run_sweep
from eyeriss_sim.sweep.spec import make_spec

COMMAND = [sys.executable, "-m", "eyeriss_sim.cli", "sweep", "--set", "rows=4:35",
           "--set", "cols=4:23", "--set", "glb_KB=32,108", "--network",
           "resnet20_cifar", "--network", "resnet18", "--layers", "--jobs", "2"]
KILLS = 20


def start(folder):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.Popen([*COMMAND, "--out", str(folder)], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def parts(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")
            if path.name.startswith("part-")}


@pytest.mark.slow
def test_twenty_kills_lose_repeat_and_halve_no_row(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    began = time.monotonic()
    process = start(undisturbed)
    assert process.wait() == 0, process.stderr.read()
    took = time.monotonic() - began
    rng = random.Random(0)
    before, kills_at_work = {}, 0
    for _ in range(KILLS):
        process = start(killed)
        # Into start-up, work and writing: the moment is random, the number of chunks
        # that it may take before is not, so that work is left for the last kill.
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, took / 4))
        else:
            deadline = time.monotonic() + 120
            most = len(before) + rng.randint(1, 4)
            while (process.poll() is None and len(parts(killed)) < most
                   and time.monotonic() < deadline):
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
        kills_at_work += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        after = parts(killed) if killed.exists() else {}
        assert before.items() <= after.items(), "a chunk was written twice"
        before = after
    assert kills_at_work == KILLS, "the sweep ended before it could be killed"
    assert len(before) < len(parts(undisturbed))
    process = start(killed)
    assert process.wait() == 0, process.stderr.read()
    assert before.items() <= parts(killed).items()
    assert sorted(path.name for path in killed.iterdir()) == sorted(
        path.name for path in undisturbed.iterdir())
    for path in undisturbed.glob("*.parquet"):
        assert path.read_bytes() == (killed / path.name).read_bytes(), path.name
    rows = pd.read_parquet(killed)
    assert not rows.duplicated(["point", "network", "layer"]).any()
    assert rows.point.nunique() == 32 * 20 * 2


def test_ctrl_c_ends_a_sweep_in_one_line_and_keeps_what_was_done(tmp_path):
    process = start(tmp_path)
    deadline = time.monotonic() + 120
    while len(parts(tmp_path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().split("\n")[-2:] == ["eyeriss-sim: interrupted", ""]
    assert "Traceback" not in err.decode()
    assert 3 <= len(parts(tmp_path)) < 80
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_process_that_was_killed_is_told_in_one_line(tmp_path):
    spec = make_spec(["resnet20_cifar"], {"rows": "4:19", "cols": "4:23"})

    killed = []

    def kill_all(done, points):
        if done and not killed:
            killed.extend(child for child in psutil.Process().children() if any(
                "LokyProcess" in part for part in child.cmdline()))
            for child in killed:
                child.kill()

    with pytest.raises(ValueError, match="a process of the run was killed"):
        run_sweep(spec, tmp_path, jobs=2, progress=kill_all)
    assert run_sweep(spec, tmp_path, jobs=1) < spec.points
