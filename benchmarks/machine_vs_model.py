"""The counting model beside the stepped machine, layer by layer, at batch 1.

    python -m benchmarks.machine_vs_model [--hardware H] [--network N ...] [--out DIR]
    python -m benchmarks.machine_vs_model --drawn K [--out DIR]

Every layer of the networks (AlexNet, VGG-16, ResNet-18 and MobileNetV1) under the
mapping that the search finds for energy. The machine steps each kind of pass once;
cycles are processing cycles, fmap loads and dumps left out. Access counts must be
equal, word for word. The files are machine_vs_model_H.csv and .png, H the name of the
hardware. With ``--drawn``, K random layers, mappings and machines of
``drawn_machines`` instead, by the settings of filters_first and window_first;
machine_vs_model_drawn.csv.
"""

from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.drawn_machines import draw_case
from eyeriss_sim import load_hardware
from eyeriss_sim.atomic import replacing
from eyeriss_sim.counts import count
from eyeriss_sim.cycles import count_cycles
from eyeriss_sim.figure_style import INK, SERIES, STYLE
from eyeriss_sim.labels import clip_middle
from eyeriss_sim.machine.layer_run import check_machine
from eyeriss_sim.machine.timing import time_layer
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.search import search
from eyeriss_sim.terminal import OneLineParser, make_console, run_command, with_progress
from eyeriss_sim.zeros import NO_SAVINGS

NETWORKS = ("alexnet", "vgg16", "resnet18", "mobilenet_v1")


def compare_layer(layer, hardware):
    """Cycles and accesses of one layer by both.

    Returns
    -------
    dict
        Mapping and its cuts, passes, kinds of pass, cycles of both and their error,
        words that all levels move and the sum of their differences.
    """
    mapping = search(layer, hardware, "energy").mappings[0]
    counts = count(layer, hardware, mapping)
    model = count_cycles(layer, hardware, mapping, counts, NO_SAVINGS).processing
    timing = time_layer(layer, hardware, mapping)
    machine = timing.processing_cycles
    return {
        "mapping": " ".join(map(str, mapping.letters)),
        "cuts": mapping.cuts,
        "passes": counts.passes,
        "pass_kinds": len(timing.passes),
        "machine_cycles": machine,
        "model_cycles": model,
        "error_percent": 100 * (model / machine - 1),
        "machine_words": int(timing.accesses.sum()),
        "model_words": int(counts.accesses.sum()),
        "words_that_differ": int(np.abs(timing.accesses - counts.accesses).sum()),
    }


def compare(hardware, networks, *, progress=lambda layers: layers):
    """All layers of all networks; layers of one shape are stepped once.

    Returns
    -------
    pandas.DataFrame
        network, layer and the columns of ``compare_layer``.
    """
    layers = [(name, layer) for name in networks for layer in load_zoo(name, 1).layers]
    known = {}
    rows = []
    for name, layer in progress(layers):
        if layer.shape not in known:
            known[layer.shape] = compare_layer(layer, hardware)
        rows.append({"network": name, "layer": layer.name, **known[layer.shape]})
    return pd.DataFrame(rows)


def summarise(table):
    """Mean and worst absolute error of each network and of all, and of their sums.

    Returns
    -------
    pandas.DataFrame
        layers, mean_percent, worst_percent, worst_layer, sum_percent,
        layers_of_other_counts; one row a network, the last one of all.
    """
    rows = {}
    groups = [*table.groupby("network", sort=False), ("all", table)]
    for name, layers in groups:
        errors = layers.error_percent.abs()
        total = layers.model_cycles.sum() / layers.machine_cycles.sum()
        rows[name] = {
            "layers": len(layers), "mean_percent": errors.mean(),
            "worst_percent": errors.max(),
            "worst_layer": layers.layer[errors.idxmax()],
            "sum_percent": 100 * (total - 1),
            "layers_of_other_counts": int((layers.words_that_differ > 0).sum())}
    return pd.DataFrame.from_dict(rows, orient="index")


def layer_table(name, table):
    """The layers of a network, one line each."""
    out = Table(title=f"{name}: processing cycles, and words that all levels move",
                title_justify="left", box=None, pad_edge=False)
    for heading in ("layer", "m n e p q r t", "cut", "passes", "machine k", "model k",
                    "error %", "M words", "differ"):
        text = heading in ("layer", "m n e p q r t", "cut")
        out.add_column(heading, justify="left" if text else "right", no_wrap=True)
    for row in table.itertuples():
        out.add_row(
            clip_middle(row.layer, 21), row.mapping, row.cuts, f"{row.passes:,}",
            f"{row.machine_cycles / 1e3:,.1f}", f"{row.model_cycles / 1e3:,.1f}",
            f"{row.error_percent:+.2f}", f"{row.machine_words / 1e6:,.1f}",
            f"{row.words_that_differ:,}")
    return out


def summary_table(summary):
    """One line a network."""
    out = Table(title="Error of the counting model's cycles, percent of the machine's",
                title_justify="left", box=None, pad_edge=False)
    for heading in ("network", "layers", "mean of |error|", "worst", "of the sum",
                    "other counts"):
        out.add_column(heading, justify="left" if heading == "network" else "right",
                       no_wrap=heading == "worst")
    for name, row in summary.iterrows():
        out.add_row(name, f"{row.layers}", f"{row.mean_percent:.2f}",
                    f"{row.worst_percent:.2f} ({row.worst_layer})",
                    f"{row.sum_percent:+.2f}", f"{row.layers_of_other_counts}")
    return out


@matplotlib.rc_context(STYLE)
def draw(table, hardware):
    """Error of each layer over the machine's cycles a pass, a mark a network."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    panel = figure.subplots()
    # More networks than marks begin again with the first.
    for (name, rows), colour, mark in zip(
            table.groupby("network", sort=False), cycle(SERIES), cycle("os^D"),
            strict=False):
        panel.scatter(rows.machine_cycles / rows.passes, rows.error_percent, 28,
                      color=colour, marker=mark, label=name, alpha=0.85)
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.set_xscale("log")
    panel.set_xlabel("machine cycles a pass")
    panel.set_ylabel("model over machine - 1, %")
    panel.set_title(f"Processing cycles of every layer on {hardware.name}, batch 1: "
                    f"counting model beside the stepped machine", loc="left",
                    fontsize=10)
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def compare_drawn(seeds):
    """Drawn layers on drawn machines, a seed each.

    Returns
    -------
    pandas.DataFrame
        seed, filters_first, window_first, glb_ports, machine_cycles, model_cycles,
        error_percent.
    """
    rows = []
    for seed in seeds:
        layer, hardware, mapping = draw_case(np.random.default_rng(seed))
        model = count_cycles(layer, hardware, mapping, count(layer, hardware, mapping),
                             NO_SAVINGS).processing
        machine = time_layer(layer, hardware, mapping).processing_cycles
        rows.append({"seed": seed, "filters_first": hardware.filters_first,
                     "window_first": hardware.window_first,
                     "glb_ports": hardware.glb_ports, "machine_cycles": machine,
                     "model_cycles": model,
                     "error_percent": 100 * (model / machine - 1)})
    return pd.DataFrame(rows)


def drawn_table(table):
    """One line a setting, without and with ports of GLB banks in the way."""
    out = Table(title="Drawn layers and machines: cycles of the model and machine",
                title_justify="left", box=None, pad_edge=False)
    for heading in ("filters_first", "window_first", "banks contend", "cases", "differ",
                    "above 1 %", "lowest %", "highest %"):
        out.add_column(heading, justify="right")
    groups = table.groupby(["filters_first", "window_first", table.glb_ports > 0])
    for (filters, window, banked), rows in groups:
        error = rows.error_percent
        out.add_row(str(filters), str(window), "yes" if banked else "no",
                    f"{len(rows)}", f"{(error != 0).sum()}",
                    f"{(error.abs() > 1).sum()}", f"{error.min():+.2f}",
                    f"{error.max():+.2f}")
    return out


def main():
    """Print the tables, write csv and figure."""
    parser = OneLineParser(prog="machine_vs_model",
                           description=__doc__.splitlines()[0])
    parser.add_argument("--hardware", default="eyeriss_chip", metavar="H")
    parser.add_argument("--network", nargs="+", default=NETWORKS, metavar="N",
                        help=f"networks of the zoo (default: {' '.join(NETWORKS)})")
    parser.add_argument("--drawn", type=int, metavar="K",
                        help="K drawn layers and machines instead")
    parser.add_argument("--out", default="out", metavar="DIR")
    parser.set_defaults(action=run)
    run_command(parser, None)


def run(args):
    """Compare, print, write."""
    hardware = load_hardware(args.hardware)
    check_machine(hardware)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    console = make_console()

    if args.drawn is not None:
        if args.drawn < 1:
            raise ValueError(f"--drawn must be at least 1, got {args.drawn}")
        table = compare_drawn(with_progress("machines", range(args.drawn)))
        console.print(drawn_table(table))
        with replacing(folder / "machine_vs_model_drawn.csv") as path:
            table.to_csv(path, index=False)
        console.print(f"written: {folder}/machine_vs_model_drawn.csv")
        return
    table = compare(hardware, args.network,
                    progress=lambda layers: with_progress("layers", layers))
    for name, layers in table.groupby("network", sort=False):
        console.print(layer_table(name, layers))
        console.print()
    console.print(summary_table(summarise(table)))
    name = f"machine_vs_model_{hardware.name}"
    with replacing(folder / f"{name}.csv") as path:
        table.assign(hardware=hardware.name).to_csv(path, index=False)
    with replacing(folder / f"{name}.png") as path:
        draw(table, hardware).savefig(path, format="png", dpi=130)
    console.print(f"written: {folder}/{name}.csv and .png")


if __name__ == "__main__":
    main()
