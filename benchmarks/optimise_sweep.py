"""An optimiser's sweep beside the full grid, and on a grid that is too large to be run.

    python -m benchmarks.optimise_sweep [--jobs J]

The least joules of ResNet-20 (CIFAR) within the latency of the chip itself are looked
for: first on a grid of some thousands of machines, which is run as a whole, so that the
rank of what the optimiser and as many Sobol points find is known, for several seeds;
then on 10^6 machines. It writes optimise_sweep.csv.
"""

import argparse
import tempfile
from math import prod
from pathlib import Path

import pandas as pd
from rich.table import Table

from eyeriss_sim.atomic import replacing
from eyeriss_sim.sweep.dataset import read_base, read_results
from eyeriss_sim.sweep.run import run_sweep
from eyeriss_sim.sweep.spec import make_spec
from eyeriss_sim.terminal import make_console, progress

RESULTS = Path(__file__).parent / "results" / "optimise_sweep.csv"
NETWORK, OBJECTIVE = "resnet20_cifar", "energy"
SMALL = {"rows": "4:32:4", "cols": "4:32:4", "glb_KB": [32, 64, 100, 128, 256],
         "spad_words.filter": "64:448:64", "spad_words.psum": [16, 24]}
LARGE = {"rows": "3:42", "cols": "3:42", "glb_KB": "32:256:16",
         "spad_words.filter": "64:448:64", "spad_words.psum": "12:32:4"}
POINTS, SEEDS = 320, 3
EVERY = 80              # points after which what was found so far is noted


def swept(axes, jobs, what, sample=None):
    """Rows of a sweep of the axes, and those of the chip itself."""
    spec = make_spec([NETWORK], axes, objective=OBJECTIVE, sample=sample)
    with tempfile.TemporaryDirectory() as folder, progress(what) as show:
        run_sweep(spec, folder, jobs, progress=show)
        return read_results(folder), read_base(folder), spec


def within(rows, limit):
    """Joules of the points that can be mapped and keep to the limit, else infinite."""
    return rows.total_uJ.where(rows.reason.isna() & (rows.total_ms <= limit),
                               float("inf"))


def compare(name, axes, jobs, limit, grid=None):
    """Rows of the table: the best that each way has found after so many points."""
    found = []
    for method in ("optimize", "sobol"):
        for seed in range(SEEDS):
            sample = {"points": POINTS, "method": method, "seed": seed}
            if method == "optimize":
                sample |= {"minimize": "total_uJ", "max_latency_ms": limit}
            rows, _, spec = swept(axes, jobs, f"{name}: {method}, seed {seed}", sample)
            joules = within(rows, limit)
            # Sobol points lie in the order of the grid, not in that of their drawing.
            counts = range(EVERY, POINTS + 1, EVERY) if method == "optimize" else (
                POINTS,)
            for count in counts:
                least = joules.iloc[:count].min()
                found.append(dict(
                    network=NETWORK, objective=OBJECTIVE, most_total_ms=limit,
                    grid=prod(len(axis.values) for axis in spec.axes), method=method,
                    seed=seed, evaluated=count, least_uJ=least,
                    rank=None if grid is None else int(
                        (grid < least * (1 - 1e-12)).sum()) + 1,
                    least_of_grid_uJ=None if grid is None else grid.min()))
    return found


def main():
    """Run both grids, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, help="processes (default: one a core)")
    jobs = parser.parse_args().jobs
    every, chip, _ = swept(SMALL, jobs, "the full grid")
    limit = float(chip.total_ms.iloc[0])
    found = pd.DataFrame(
        compare("small grid", SMALL, jobs, limit, within(every, limit))
        + compare("large grid", LARGE, jobs, limit))
    with replacing(RESULTS) as fresh:
        found.to_csv(fresh, index=False, lineterminator="\n")
    table = Table(box=None, pad_edge=False)
    for heading in ("grid", "method", "seed", "evaluated", "least uJ", "rank", "least"):
        table.add_column(heading, justify="right")
    for row in found.itertuples():
        ranked = pd.notna(row.rank)
        table.add_row(f"{row.grid:,}", row.method, str(row.seed), str(row.evaluated),
                      f"{row.least_uJ:.2f}", f"{row.rank:.0f}" if ranked else "",
                      f"{row.least_of_grid_uJ:.2f}" if ranked else "")
    console = make_console()
    console.print(f"least total_uJ of {NETWORK} within the chip's own {limit:.3f} ms, "
                  f"mappings searched for {OBJECTIVE}; the chip takes "
                  f"{chip.total_uJ.iloc[0]:.2f} uJ")
    console.print(table)


if __name__ == "__main__":
    main()
