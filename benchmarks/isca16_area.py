"""ISCA 2016's two questions to row stationary, asked again by sweeps.

    python -m benchmarks.isca16_area

How do energy and DRAM accesses of AlexNet's CONV layers change with 256, 512 and 1024
PEs (storage as in the paper, 512 B of RF and of GLB a PE) and batches of 1, 16 and 64?
And at the area of its 256-PE machine: what do more PEs with smaller buffers give? Each
number of PEs gets the RF that serves it best, the GLB gets the rest of the area. The
paper's answer: over 10 times the throughput for a little more energy. Writes
out/isca16_area.csv and out/isca16_area.png.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from eyeriss_sim.atomic import replacing
from eyeriss_sim.codes import WORD_B
from eyeriss_sim.figure_style import BLUE, GREEN, GREY, INK, ORANGE, RED, SKY, STYLE
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.plots import save_figure
from eyeriss_sim.sweep.dataset import read_results
from eyeriss_sim.sweep.run import run_sweep
from eyeriss_sim.sweep.spec import make_spec
from eyeriss_sim.terminal import make_console, progress

MACHINES = ("isca16_256", "isca16_512", "isca16_1024")
BATCHES = (1, 16, 64)
LEVELS = ("alu", "rf", "noc", "glb", "dram")
# What is expected in kind (ISCA 2016); how little is little is our reading.
SPEED_UP, LITTLE = 10.0, 1.15
BATCH = 16
# Up to where a few PEs would take no more.
RF_WORDS = [*range(16, 1024, 16), *range(1024, 4097, 128)]


def conv_layers(batch=1):
    """AlexNet's CONV layers, which the paper is about."""
    network = load_zoo("alexnet", batch)
    return replace(network, layers=[layer for layer in network.layers
                                    if layer.name.startswith("CONV")])


def swept(spec, console):
    """The rows of a sweep."""
    with tempfile.TemporaryDirectory() as folder:
        with progress("points") as show:
            run_sweep(spec, folder, progress=show)
        rows = read_results(folder)
    console.print(f"{spec.points:,} points, {rows.reason.notna().sum():,} of them "
                  f"without a mapping or a GLB")
    return rows


def sizes_and_batches(console):
    """Energy and DRAM accesses a MAC by PEs and batch."""
    parts = []
    for name in MACHINES:
        spec = make_spec([conv_layers()], {"batch": list(BATCHES)}, name)
        parts.append(swept(spec, console))
    rows = pd.concat(parts)
    rows["energy_per_mac"] = rows.energy_MAC / rows.macs
    rows["dram_per_mac"] = rows.dram_MB * 1e6 / WORD_B / rows.macs
    for level in LEVELS:
        rows[f"{level}_share"] = rows[f"{level}_MAC"] / rows.energy_MAC
    return rows.sort_values(["pes", "batch"])


def fixed_area(console):
    """The RF of least energy at each number of PEs; area as the 256-PE machine.

    Only the product of rows and columns matters to the paper's analysis.
    """
    spec = make_spec([conv_layers(BATCH)], {
        "cols": 8, "rows": "4:48:2", "rf_words": RF_WORDS}, "isca16_256",
        constraints={"equal_area": "isca16_256"}, price_by_size=False)
    rows = swept(spec, console)
    rows = rows[rows.reason.isna()].astype({"pes": int})
    best = rows.loc[rows.groupby("pes").energy_MAC.idxmin()].sort_values("pes")
    best["energy_per_mac"] = best.energy_MAC / best.macs
    best["macs_per_cycle"] = best.macs / best.cycles
    return best


def print_batches(rows, console):
    """The first question's table."""
    table = Table(title="AlexNet CONV layers, row stationary", box=None)
    for heading in ("PEs", "N", "energy/MAC", "DRAM accesses/MAC", "ALU", "RF", "NoC",
                    "GLB", "DRAM", "PEs busy"):
        table.add_column(heading, justify="right")
    for row in rows.itertuples():
        table.add_row(
            str(row.pes), str(row.batch), f"{row.energy_per_mac:.3f}",
            f"{row.dram_per_mac:.5f}",
            *(f"{getattr(row, f'{level}_share'):.1%}" for level in LEVELS),
            f"{row.utilization:.0%}")
    console.print(table)


def print_area(best, console):
    """The second question's table; every other line of it."""
    area = load_hardware("isca16_256")
    table = Table(title=f"at the area of {area.name}, {best.area_mm2.max():.2f} mm2, "
                        f"N = {BATCH}", box=None)
    for heading in ("PEs", "RF B", "GLB KB", "storage mm2", "energy/MAC", "MACs/cycle",
                    "energy", "throughput"):
        table.add_column(heading, justify="right")
    first = best.iloc[0]
    for place, row in enumerate(best.itertuples()):
        if place % 2 and place < len(best) - 1:
            continue
        table.add_row(
            str(row.pes), str(row.rf_words * WORD_B), f"{row.glb_KB:.0f}",
            f"{row.storage_mm2:.2f}", f"{row.energy_per_mac:.3f}",
            f"{row.macs_per_cycle:.0f}",
            f"{row.energy_MAC / first.energy_MAC:.2f}",
            f"{row.macs_per_cycle / first.macs_per_cycle:.1f}")
    console.print(table)


@matplotlib.rc_context(STYLE)
def draw(rows, best):
    """Both answers: bars by level, and energy and throughput over the PEs."""
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = dict(zip(LEVELS, (GREY, SKY, GREEN, ORANGE, RED), strict=True))
    bottom = np.zeros(len(rows))
    names = [f"{row.pes}\nN={row.batch}" for row in rows.itertuples()]
    for level in LEVELS:
        heights = (rows[f"{level}_MAC"] / rows.macs).to_numpy()
        left.bar(names, heights, 0.7, bottom=bottom, color=colours[level],
                 label=level.upper().replace("NOC", "NoC"))
        bottom = bottom + heights
    left.set(xlabel="PEs and batch", ylabel="energy per MAC (MAC)",
             title="storage grows with the PEs")
    left.tick_params("x", labelsize=7)
    left.legend(ncols=5, loc="upper center", fontsize=7.5,
                handlelength=1, columnspacing=1)
    left.set_ylim(0, bottom.max() * 1.15)
    right.plot(best.pes, best.macs_per_cycle / best.macs_per_cycle.iloc[0], color=BLUE,
               marker="o", markersize=3)
    right.set(xlabel="PEs, all at the area of the 256-PE machine",
              title="smaller buffers for more PEs")
    right.set_ylabel(f"throughput over that of {best.pes.iloc[0]} PEs", color=BLUE)
    energy = right.twinx()
    energy.plot(best.pes, best.energy_per_mac, color=RED, marker="s", markersize=3)
    energy.set_ylabel("energy per MAC (MAC)", color=RED)
    energy.set_ylim(0, best.energy_per_mac.max() * 1.25)
    own = rows[(rows.pes == 256) & (rows.batch == BATCH)]
    energy.scatter(own.pes, own.energy_per_mac, marker="*", s=120, color=RED, zorder=5,
                   edgecolors=INK, linewidths=0.6, label="the paper's own, 512 B RFs")
    energy.spines["right"].set_visible(True)
    energy.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(axis="y")
    return figure


def main(out="out"):
    """Print both tables, write csv and figure; exit with 1 if the trade-off is gone."""
    console = make_console()
    rows, best = sizes_and_batches(console), fixed_area(console)
    print_batches(rows, console)
    print_area(best, console)
    first = best.iloc[0]
    gain = best.macs_per_cycle / first.macs_per_cycle
    ratio = best.energy_MAC / first.energy_MAC
    most = gain[ratio <= LITTLE].idxmax()
    console.print(
        f"from {first.pes} to {best.pes[most]} PEs: {gain[most]:.1f}x the throughput, "
        f"{ratio[most] - 1:+.1%} energy (paper: over {SPEED_UP:g}x for a little more)")
    folder = Path(out)
    folder.mkdir(exist_ok=True)
    with replacing(folder / "isca16_area.csv") as fresh:
        pd.concat([rows, best]).to_csv(fresh, index=False)
    save_figure(draw(rows, best), folder / "isca16_area.png")
    console.print(f"written: {folder}/isca16_area.csv, {folder}/isca16_area.png")
    if gain[most] < SPEED_UP:
        sys.exit(1)


if __name__ == "__main__":
    main()
