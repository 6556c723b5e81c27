"""Speed of a sweep: 10,000 machines x ResNet-18, every mapping searched exhaustively.

    python -m benchmarks.sweep_rate

Each line is a process of its own, from nothing: start-up, searches and writing the
dataset are in its time. The points are drawn from fields that all change the mappings,
so none is shared; the last line varies two prices instead, which share mappings.
CPU seconds are those of all processes: other work on the machine hardly changes them.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from joblib.externals.loky import get_reusable_executor
from rich.table import Table

from eyeriss_sim.sweep.dataset import read_results
from eyeriss_sim.sweep.run import run_sweep
from eyeriss_sim.sweep.spec import make_spec
from eyeriss_sim.terminal import make_console

POINTS = 10_000
NETWORK = "resnet18"
AXES = {"rows": "4:40", "cols": "4:40", "glb_KB": "32:256:4",
        "spad_filter_words": "64:448:16", "spad_psum_words": "8:32:4"}
PRICES = {"mac_pJ": [0.5, 1.44], "static_mW": [0, 10, 20, 30, 40]}
ASKED_S = 600


def spec_of(points, shared):
    """So many points that share nothing, or a tenth of them at ten prices each.

    Prices are shared by searches for energy; joules know the clock's price.
    """
    if not shared:
        return make_spec([NETWORK], AXES, sample={"points": points}, objective="energy")
    wide = {"rows": "5:40", "cols": "5:40"}         # 36 x 36 arrays, about as many
    return make_spec([NETWORK], wide | PRICES, objective="energy")


def measure(points, jobs, shared):
    """Run in a process of its own; prints its figures as JSON."""
    start = time.perf_counter()
    spec = spec_of(points, shared)
    with tempfile.TemporaryDirectory() as folder:
        run_sweep(spec, folder, jobs=jobs)
        seconds = time.perf_counter() - start
        rows = len(read_results(folder, ["point"]))
        size_MB = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    get_reusable_executor().shutdown()      # so that its processes' times are known
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in map(
        resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    peak_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    worker_MB = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    print(json.dumps(dict(points=spec.points, rows=rows, seconds=seconds, cpu=cpu,
                          peak_MB=peak_MB, worker_MB=worker_MB,
                          size_MB=size_MB)))


def in_a_process(points, jobs, shared=False):
    """``measure`` in a fresh interpreter."""
    call = [sys.executable, "-m", "benchmarks.sweep_rate", str(points), str(jobs),
            str(int(shared))]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def cores_to_be_had():
    """Times the work of one busy loop that two of them do at once: 2 if idle."""
    loop = ("import time\nstart, turns = time.perf_counter(), 0\n"
            "while time.perf_counter() < start + 2: turns += 1\nprint(turns)")

    def turns(copies):
        running = [subprocess.Popen([sys.executable, "-c", loop], text=True,
                                    stdout=subprocess.PIPE) for _ in range(copies)]
        return sum(int(process.communicate()[0]) for process in running)

    return turns(2) / turns(1)


def main():
    """Print the table as it fills."""
    console = make_console()
    load = os.getloadavg()[0]
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python "
                  f"{platform.python_version()}; load before the start {load:.1f}")
    table = Table(box=None, pad_edge=False)
    for heading in ("points", "processes", "seconds", "points/s", "CPU s", "peak MB",
                    "asked"):
        table.add_column(heading, justify="right")
    in_a_process(50, 1)      # compiles, if need be
    rates = {}
    for points, jobs, shared in (
            (POINTS // 10, 1, False), (POINTS, 1, False), (POINTS, 2, False),
            (4 * POINTS, 2, False), (POINTS, 1, True)):
        found = in_a_process(points, jobs, shared)
        if found["rows"] != found["points"]:
            raise SystemExit(f"{found['rows']} rows of {found['points']} points")
        rates[points, jobs, shared] = found["points"] / found["seconds"]
        table.add_row(
            f"{found['points']:,}" + (" (10 prices each)" if shared else ""), str(jobs),
            f"{found['seconds']:.1f}", f"{rates[points, jobs, shared]:.0f}",
            f"{found['cpu']:.1f}", f"{found['peak_MB']:.0f} / {found['worker_MB']:.0f}",
            f"< {ASKED_S} s" if points == POINTS and jobs == 2 else "")
        console.print(f"  {points:,} points, {jobs} processes: "
                      f"{found['seconds']:.1f} s", style="dim")
    console.print(table)
    cores = cores_to_be_had()
    scaling = rates[POINTS, 2, False] / rates[POINTS, 1, False]
    console.print(f"two processes: {scaling:.2f}x the rate of one, where two busy "
                  f"loops do {cores:.2f}x the work of one; peaks are those of "
                  f"the process that writes / of the largest that it started; "
                  f"dataset {found['size_MB']:.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]), int(sys.argv[2]), bool(int(sys.argv[3])))
    else:
        main()
