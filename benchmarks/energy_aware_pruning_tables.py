"""Dense and Deep-Compression AlexNet beside the energy-aware-pruning papers' figures.

    python -m benchmarks.energy_aware_pruning_tables [--out DIR]

The tool's table (Asilomar 2017, Fig. 6) has no batch size. Its CONV rows fit a batch
of one, its FC rows weights that are shared by 12 (FC6, FC7) and 46 images (FC8); the
last line shows how much hangs on that. Nor does it say its ifmaps' densities: they are
those that its compute column implies, which is no check, therefore. Sums: CVPR 2017 has
3.97e9 for dense AlexNet, the tool's rows add up to 3.88e9; Deep Compression is 1.85e9.
"""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from eyeriss_sim import Densities
from eyeriss_sim.atomic import replacing
from eyeriss_sim.figure_style import SERIES, STYLE
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.terminal import OneLineParser, make_console, run_command
from eyeriss_sim.validation.tables import published

TERMS = ("ifmap", "ofmap", "weight", "compute")
DEEP_COMPRESSION_TOTAL = 18.5       # 10^8 MAC energies, CVPR 2017, Table 1
LAYER_BAND, SUM_BAND, DEEP_COMPRESSION_BAND = 10, 6, 12     # percent
BATCHES = (1, 4, 12, 44, 46)


def densities(kept=None):
    """AlexNet's densities by layer; an ofmap is as dense as the next layer's ifmap."""
    truth = published("eap_tool_alexnet")
    layers = list(truth.index)
    following = [*truth.ifmap_density[1:], 1.0]
    return {layer: Densities(truth.ifmap_density[layer],
                             1.0 if kept is None else kept[layer], ofmap)
            for layer, ofmap in zip(layers, following, strict=True)}


def energies(images, kept=None):
    """Energy of each layer by term, 10^8 MAC energies an image.

    Parameters
    ----------
    images : dict
        Batch by layer.
    kept : dict, optional
        Share of the weights that is left, by layer.

    Returns
    -------
    pandas.DataFrame
        Columns ifmap, ofmap, weight, compute, total; one row a layer.
    """
    rows = {}
    of_batch = {}
    for layer, batch in images.items():
        if batch not in of_batch:
            oracle = EnergyOracle("eap_tool", batch=batch, search="sparse")
            result = oracle.energy(load_zoo("alexnet"), densities(kept))
            of_batch[batch] = {one.layer.name: one for one in result.by_layer}
        one = of_batch[batch][layer]
        ifmap, weight, ofmap = one.energy_MAC.sum(axis=0) / batch / 1e8
        compute = one.alu_MAC / batch / 1e8
        rows[layer] = dict(zip(TERMS, (ifmap, ofmap, weight, compute), strict=True),
                           total=ifmap + ofmap + weight + compute)
    return pd.DataFrame.from_dict(rows, orient="index")


def compare():
    """Model beside the tool, by layer and term; tidy.

    Returns
    -------
    pandas.DataFrame
        weights (dense or deep_compression), layer, term, published, model,
        band_percent, error_percent.
    """
    truth = published("eap_tool_alexnet")
    images = truth.images.to_dict()
    dense = energies(images)
    pruned = energies(images, truth.deep_compression.to_dict())
    rows = [
        *(("dense", layer, term, truth[term][layer], dense[term][layer],
           LAYER_BAND if term == "total" else None)
          for layer in truth.index for term in (*TERMS, "total")),
        ("dense", "sum", "total", truth.total.sum(), dense.total.sum(), SUM_BAND),
        *(("deep_compression", layer, "total", None, pruned.total[layer], None)
          for layer in truth.index),
        ("deep_compression", "sum", "total", DEEP_COMPRESSION_TOTAL,
         pruned.total.sum(), DEEP_COMPRESSION_BAND)]
    table = pd.DataFrame(rows, columns=[
        "weights", "layer", "term", "published", "model", "band_percent"])
    table["published"] = table.published.astype(float)
    table["error_percent"] = 100 * (table.model / table.published - 1)
    return table


def batch_dependence():
    """Sum over the layers, 10^8 MAC energies an image, at one batch for all."""
    layers = published("eap_tool_alexnet").index
    return {batch: float(energies(dict.fromkeys(layers, batch)).total.sum())
            for batch in BATCHES}


def main():
    """Print the tables, write csv and figure."""
    parser = OneLineParser(prog="energy_aware_pruning_tables",
                           description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="out", metavar="DIR")
    parser.set_defaults(action=run)
    run_command(parser, None)


def run(args):
    """Compare, print, write."""
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    console = make_console()
    table = compare()
    console.print(render(table))
    for weights in ("dense", "deep_compression"):
        one = table[(table.weights == weights) & (table.layer == "sum")].iloc[0]
        console.print(f"sum, {weights}: published {one.published:.2f}, model "
                      f"{one.model:.2f} ({one.error_percent:+.1f} %, band "
                      f"{one.band_percent:.0f} %)")
    console.print("Densities of ifmaps are those that the compute column implies, "
                  "which is no check.")
    console.print("One batch for all layers instead: " + ", ".join(
        f"N={batch} {total:.1f}" for batch, total in batch_dependence().items()))
    with replacing(folder / "energy_aware_pruning_tables.csv") as path:
        table.to_csv(path, index=False)
    with replacing(folder / "energy_aware_pruning_tables.png") as path:
        draw(table).savefig(path, format="png", dpi=130)
    console.print(f"written: {folder}/energy_aware_pruning_tables.csv and .png")


def render(table):
    """Layers by terms: published, model and error."""
    dense = table[(table.weights == "dense") & (table.layer != "sum")]
    out = Table(title="Dense AlexNet, 10^8 MAC energies an image: tool, model (error)",
                title_justify="left", box=None, pad_edge=False)
    out.add_column("layer")
    for term in (*TERMS, "total"):
        out.add_column(term, justify="right")
    for layer in dict.fromkeys(dense.layer):
        cells = dense[dense.layer == layer].set_index("term")
        out.add_row(layer, *(
            f"{cells.published[term]:.2f} {cells.model[term]:.2f} "
            f"({cells.error_percent[term]:+.0f}%)" for term in (*TERMS, "total")))
    return out


@matplotlib.rc_context(STYLE)
def draw(table):
    """Stacked terms of each layer, the tool's bar pale and left of ours."""
    dense = table[(table.weights == "dense") & (table.layer != "sum")]
    layers = list(dict.fromkeys(dense.layer))
    figure = Figure(figsize=(10, 5), layout="constrained")
    panel = figure.subplots()
    for side, shift, alpha in (("published", -0.2, 0.5), ("model", 0.2, 1.0)):
        bottom = [0.0] * len(layers)
        for place, term in enumerate(TERMS):
            values = dense[dense.term == term][side].tolist()
            panel.bar([at + shift for at in range(len(layers))], values, 0.38, bottom,
                      color=SERIES[place], alpha=alpha,
                      label=term if side == "model" else None)
            bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    panel.set_xticks(range(len(layers)), layers)
    panel.set_ylabel("10$^8$ MAC energies an image")
    panel.set_title("Dense AlexNet: the tool (pale, left) and the model", loc="left")
    panel.legend()
    return figure


if __name__ == "__main__":
    main()
