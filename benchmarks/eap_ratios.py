"""The energies of energy-aware pruning's paper, AlexNet and GoogLeNet, from densities.

    python -m benchmarks.eap_ratios [--out DIR]

Published (CVPR 2017, Table 1) are three sums a network: non-zero weights, MACs that are
not skipped, energy. Here two of them, weights and MACs, fix the densities that
the paper does not give, and the third is what comes out.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.optimize import brentq

from eyeriss_sim import Densities
from eyeriss_sim.atomic import replacing
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.number_table import read_table
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.terminal import OneLineParser, make_console, run_command
from eyeriss_sim.validation.tables import PUBLISHED, published

NETWORKS = ("alexnet", "googlenet")
FMAPS = {"coded": "significance_map", "uncoded": "none"}
ASSUMED = """Assumed, because the paper does not say:
- which layers keep what. Two families, each with two unknowns that the published
  weights and MACs fix. power: a layer's density is s (MACs per weight)^-g. groups: one
  density for all CONV layers, one for all FC layers.
- ifmap densities, the same dense and pruned. AlexNet: those that the tool's table
  implies (eap_tool_alexnet.csv). GoogLeNet: the image 1, all other ifmaps one density,
  which the dense network's published MACs give. An ofmap is as dense as the next
  layer's ifmap.
- the batch. AlexNet: CONV 1, FC6 and FC7 12, FC8 46 images, which the tool's table
  implies. GoogLeNet: 1.
- that fmaps are stored as the tool stores them (coded); uncoded is the other end."""
LARGEST_EXPONENT = 2.0


def published_sums():
    """Table 1: weights_1e6, macs_1e8, energy_1e9 by (network, weights)."""
    return read_table(PUBLISHED / "eap_cvpr_table1.csv").set_index(
        ["network", "weights"])


class Shapes:
    """Sizes of a network that the sums hang on, one value a layer.

    Parameters
    ----------
    network : {"alexnet", "googlenet"}
    """

    def __init__(self, network):
        self.network = load_zoo(network)
        layers = self.network.layers
        self.names = [one.name for one in layers]
        self.weights = np.array([one.filter_words for one in layers], float)
        self.macs = np.array([one.macs for one in layers], float)
        self.is_fc = np.array([one.E == one.F == 1 for one in layers])
        if network == "alexnet":
            tool = published("eap_tool_alexnet")
            self.images = tool.images.to_dict()
            self.ifmaps = tool.ifmap_density[self.names].to_numpy()
        else:
            self.images = dict.fromkeys(self.names, 1)
            paired = published_sums().macs_1e8[network, "dense"] * 1e8
            rest = (paired - self.macs[0]) / self.macs[1:].sum()
            self.ifmaps = np.array([1.0] + [rest] * (len(layers) - 1))
        self.paired = self.macs * self.ifmaps       # MACs with an ifmap value


def power_densities(shapes, weights, macs):
    """Densities s (MACs per weight)^-g, at most 1, that leave two sums.

    Parameters
    ----------
    shapes : Shapes
    weights : float
        That are not zero.
    macs : float
        That are not skipped.

    Returns
    -------
    ndarray
    """
    reuse = np.log(shapes.macs / shapes.weights)

    def densities(exponent):
        def short(scale):
            return (shapes.weights * shape(scale)).sum() - weights

        def shape(scale):
            return np.exp(np.minimum(0, scale - exponent * reuse))

        return shape(brentq(short, -100, 100))

    return densities(brentq(
        lambda exponent: (shapes.paired * densities(exponent)).sum() - macs,
        -LARGEST_EXPONENT, LARGEST_EXPONENT))


def group_densities(shapes, weights, macs):
    """One density for CONV layers and one for FC layers that leave two sums."""
    groups = np.stack([~shapes.is_fc, shapes.is_fc])
    sums = np.stack([groups @ shapes.weights, groups @ shapes.paired])
    return np.linalg.solve(sums, [weights, macs]) @ groups


FAMILIES = {"power": power_densities, "groups": group_densities}


def energy(shapes, kept, fmaps="coded"):
    """Energy of one image by operand, in that of one MAC.

    Parameters
    ----------
    shapes : Shapes
    kept : ndarray
        Densities of the filters.
    fmaps : {"coded", "uncoded"}
        In DRAM.

    Returns
    -------
    dict
        ifmap, weight, ofmap, compute, total.
    """
    hardware = replace(load_hardware("eap_tool"), fmap_code=FMAPS[fmaps])
    ofmaps = [*shapes.ifmaps[1:], 1.0]
    densities = {name: Densities(*map(float, values)) for name, *values in zip(
        shapes.names, shapes.ifmaps, kept, ofmaps, strict=True)}
    sums = np.zeros(4)
    for batch in set(shapes.images.values()):
        result = EnergyOracle(hardware, batch=batch, search="sparse").energy(
            shapes.network, densities)
        for one in result.by_layer:
            if shapes.images[one.layer.name] == batch:
                sums += np.append(one.energy_MAC.sum(axis=0), one.alu_MAC) / batch
    return dict(zip(("ifmap", "weight", "ofmap", "compute"), sums, strict=True),
                total=sums.sum())


def compare():
    """The model beside Table 1; tidy.

    Returns
    -------
    pandas.DataFrame
        network, fmaps, family, published_dense, model_dense, published_pruned,
        model_pruned (10^9 MAC energies an image), published_ratio, model_ratio, and
        pruned_ifmap to pruned_compute, the parts of model_pruned.
    pandas.DataFrame
        network, family, layer, ifmap, filter: the densities.
    """
    truth = published_sums()
    rows, kept_rows = [], []
    for network in NETWORKS:
        shapes = Shapes(network)
        sums = truth.loc[network, "energy_aware"]
        said = truth.energy_1e9[network]
        for fmaps in FMAPS:
            dense = energy(shapes, np.ones(len(shapes.names)), fmaps)["total"] / 1e9
            for family, infer in FAMILIES.items():
                kept = infer(shapes, sums.weights_1e6 * 1e6, sums.macs_1e8 * 1e8)
                pruned = {key: one / 1e9
                          for key, one in energy(shapes, kept, fmaps).items()}
                total = pruned.pop("total")
                rows.append({
                    "network": network, "fmaps": fmaps, "family": family,
                    "published_dense": said["dense"], "model_dense": dense,
                    "published_pruned": said["energy_aware"], "model_pruned": total,
                    "published_ratio": said["dense"] / said["energy_aware"],
                    "model_ratio": dense / total,
                    **{f"pruned_{key}": one for key, one in pruned.items()}})
                if fmaps == "coded":
                    kept_rows += [
                        {"network": network, "family": family, "layer": layer,
                         "ifmap": ifmap, "filter": one} for layer, ifmap, one in zip(
                             shapes.names, shapes.ifmaps, kept, strict=True)]
    return pd.DataFrame(rows), pd.DataFrame(kept_rows)


def render(table):
    """Published, model and error a row."""
    out = Table(title="10^9 MAC energies an image: paper, model (error)",
                title_justify="left", box=None, pad_edge=False)
    for heading in ("network", "fmaps", "densities"):
        out.add_column(heading)
    for heading in ("dense", "pruned", "dense / pruned"):
        out.add_column(heading, justify="right")
    for one in table.to_dict("records"):
        cells = []
        for key in ("dense", "pruned", "ratio"):
            said, found = one[f"published_{key}"], one[f"model_{key}"]
            cells.append(f"{said:.2f} {found:.2f} ({100 * (found / said - 1):+.0f}%)")
        out.add_row(one["network"], one["fmaps"], one["family"], *cells)
    return out


def run(args):
    """Print assumptions, densities and energies; write csv."""
    args.out.mkdir(parents=True, exist_ok=True)
    with (replacing(args.out / "eap_ratios.csv") as sums,
          replacing(args.out / "eap_ratios_densities.csv") as layers):
        table, densities = compare()
        table.to_csv(sums, index=False)
        densities.to_csv(layers, index=False)
    console = make_console()
    console.print(ASSUMED)
    for (network, family), rows in densities.groupby(["network", "family"], sort=False):
        said = (", ".join(f"{one.layer} {one.filter:.3f}" for one in rows.itertuples())
                if len(rows) < 10 else f"{rows['filter'].min():.3f} to "
                f"{rows['filter'].max():.3f} (all of them in the csv)")
        console.print(f"{network}, {family}: ifmaps {rows.ifmap.min():.3f} to 1; "
                      f"weights kept {said}")
    console.print(render(table))
    for network, rows in table[table.fmaps == "coded"].groupby("network", sort=False):
        one = rows.iloc[0]
        parts = ", ".join(f"{key} {one[f'pruned_{key}']:.2f}" for key in (
            "ifmap", "weight", "ofmap", "compute"))
        console.print(f"{network} pruned, coded, {one.family}: {parts}")
    console.print(f"written: {args.out}/eap_ratios.csv and eap_ratios_densities.csv")


def main(argv=None):
    """The command."""
    parser = OneLineParser(prog="eap_ratios", description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=Path("out"), type=Path, metavar="DIR",
                        help="(default: out)")
    parser.set_defaults(action=run)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
