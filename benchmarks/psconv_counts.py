"""Parameters and MACs of pSConv networks, counted without training.

    python -m benchmarks.psconv_counts [--out DIR]

ResNet-18 and VGG-16 in their CIFAR-10 form and at 64x64 pixels (200 classes, as Tiny
ImageNet; VGG-16's first FC layer then sees 2x2 pixels), dense, with every 3x3 kernel
of 1 to 4 taps, and periodic: one dense kernel in a period of 8 or 16. Beside them
ShuffleNet (3 groups, width 1) and MobileNetV2 (width 1) with the strides of their first
layers left out, so that 32 pixels end as 4.

The papers' reductions (Kundu et al., IEEE TC 2020) do not come with a support and a
period in what we have of them. Of the forms counted here one fits all three: one tap,
and one dense kernel in 16. That is our inference, not a statement of theirs.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.table import Table

from eyeriss_sim.atomic import replacing
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.terminal import OneLineParser, make_console, run_command, waiting
from pruning.masks import Masks
from pruning.meters import macs_by_layer
from pruning.methods import find_method
from pruning.models import make_model
from pruning.problem import Problem
from pruning.prunable import prunable

CLASSES = {32: 10, 64: 200}         # by pixels
SUPPORTS = (1, 2, 3, 4)
PERIODS = (8, 16)
# Network, pixels, quantity, how many times less; "up to", Kundu et al., abstract.
PUBLISHED = (("resnet18", 32, "params", 1 / (1 - 0.82)),
             ("resnet18", 32, "macs", 5.6), ("vgg16", 64, "macs", 5.8))
SHUFFLENET_WIDTHS, SHUFFLENET_UNITS, SHUFFLENET_GROUPS = (240, 480, 960), (4, 8, 4), 3


def dense_network(name, pixels):
    """A network of the collection for images of so many pixels."""
    return make_model(name, CLASSES[pixels], (3, pixels, pixels))


def masks_of(network, image, method, **options):
    """The masks that a pre-defined sparsity gives, before any training."""
    names = prunable(network)
    # Costs nothing to choose: no reference, oracle or target is asked.
    none: Any = None
    problem = Problem(network, names, none, none, image, none,
                      Masks.dense(network, names))
    return find_method(method).choose(problem, **options)


def sparse_counts(name, pixels):
    """Counts of one network, dense and with each kind of kernels.

    Parameters
    ----------
    name : str
        One of ``pruning.models.MODELS``.
    pixels : int
        32 or 64.

    Returns
    -------
    list of dict
        network, pixels, kernels, params (all of them: biases and normalisation, too),
        macs (of one image, of weights that are not zero), params_less, macs_less:
        how many times fewer than dense.
    """
    network = dense_network(name, pixels)
    image = torch.zeros(1, 3, pixels, pixels)
    macs = macs_by_layer(network, image)
    layers = {one.name: one.layer for one in prunable(network).values()}
    dense_params = sum(weight.numel() for weight in network.parameters())
    dense_macs = sum(macs.values())
    kinds: dict[str, tuple[str, dict] | None] = {"dense": None}
    for support in SUPPORTS:
        kinds[f"pSC{support}"] = ("psconv_random", {"support": support})
    for period in PERIODS:
        for support in SUPPORTS:
            kinds[f"pSC{support}, 1 of {period} dense"] = (
                "psconv", {"support": support, "period": period})
    rows = []
    for kernels, kind in kinds.items():
        params, left = dense_params, dense_macs
        if kind:
            masks = masks_of(network, image, kind[0], **kind[1])
            for weight, mask in masks.items():
                gone = mask.numel() - int(mask.sum())
                params -= gone
                # Each weight of a layer is used once at every output position.
                left -= gone * (macs[layers[weight]] // mask.numel())
        rows.append(dict(network=name, pixels=pixels, kernels=kernels, params=params,
                         macs=left, params_less=dense_params / params,
                         macs_less=dense_macs / left))
    return rows


def shufflenet(pixels, classes):
    """ShuffleNet (Zhang et al., CVPR 2018, Table 1), stem without stride and pooling.

    Returns
    -------
    list of ConvLayer
    """
    layers = []

    def conv(name, filters, channels, size, taps=1, stride=1, groups=1):
        pad = taps // 2
        layers.append(ConvLayer(
            name=name, M=filters, C=channels // groups, H=size + 2 * pad,
            W=size + 2 * pad, R=taps, S=taps, U=stride, groups=groups, padding=pad))
        return layers[-1].E

    channels = 24
    size = conv("stem", channels, 3, pixels, taps=3)
    for stage, (width, units) in enumerate(
            zip(SHUFFLENET_WIDTHS, SHUFFLENET_UNITS, strict=True), 2):
        for unit in range(units):
            name, middle = f"stage{stage}.{unit}", width // 4
            # The very first has too few channels to be cut into groups.
            conv(f"{name}.reduce", middle, channels, size,
                 groups=1 if channels == 24 else SHUFFLENET_GROUPS)
            size = conv(f"{name}.depthwise", middle, middle, size, 3,
                        1 if unit else 2, middle)
            # With a stride the pooled input is put beside the result, not added.
            conv(f"{name}.expand", width if unit else width - channels, middle, size,
                 groups=SHUFFLENET_GROUPS)
            channels = width
    conv("fc", classes, channels, 1)
    return layers


def mobilenet_v2(pixels, classes):
    """The zoo's MobileNetV2 for small images: the first two strides are left out.

    Returns
    -------
    list of ConvLayer
    """
    layers, size, strides = [], pixels, 0
    for one in load_zoo("mobilenet_v2").layers:
        stride = one.U
        if stride == 2:
            strides += 1
            stride = 1 if strides <= 2 else 2
        last = one.name == "classifier.1"
        size = 1 if last else size
        pad = one.padding[0]
        layers.append(ConvLayer(
            name=one.name, M=classes if last else one.M, C=one.C, H=size + 2 * pad,
            W=size + 2 * pad, R=one.R, S=one.S, U=stride, groups=one.groups,
            padding=(pad,) * 4))
        size = layers[-1].E
    return layers


def shape_counts(name, pixels, layers):
    """Counts from shapes: every CONV layer is batch-normalised, the last has a bias."""
    weights = sum(one.M * one.C * one.R * one.S for one in layers)
    norms = 2 * sum(one.M for one in layers[:-1])
    return dict(network=name, pixels=pixels, kernels="dense",
                params=weights + norms + layers[-1].M,
                macs=sum(one.macs for one in layers), params_less=1.0, macs_less=1.0)


def count():
    """Every network at both sizes.

    Returns
    -------
    pandas.DataFrame
        As :func:`sparse_counts`.
    """
    rows = []
    for pixels, classes in CLASSES.items():
        for name in ("resnet18", "vgg16"):
            rows += sparse_counts(name, pixels)
        for name, make in (("shufflenet", shufflenet), ("mobilenet_v2", mobilenet_v2)):
            rows.append(shape_counts(name, pixels, make(pixels, classes)))
    return pd.DataFrame(rows)


def beside_published(table):
    """Savings of each form beside the published reductions.

    Returns
    -------
    pandas.DataFrame
        network, pixels, quantity, kernels, published, ours: times fewer than dense.
    """
    rows = []
    for network, pixels, quantity, published in PUBLISHED:
        for kernels in ("pSC1", *(f"pSC1, 1 of {period} dense" for period in PERIODS)):
            found = table[(table.network == network) & (table.pixels == pixels)
                          & (table.kernels == kernels)]
            rows.append((network, pixels, quantity, kernels, published,
                         found[f"{quantity}_less"].item()))
    return pd.DataFrame(rows, columns=["network", "pixels", "quantity", "kernels",
                                       "published", "ours"])


def run(args):
    """Print both tables, write the first as csv."""
    args.out.mkdir(parents=True, exist_ok=True)
    with (waiting("pruning each network, to count what is left"),
          replacing(args.out / "psconv_counts.csv") as path):
        table = count()
        table.to_csv(path, index=False)
    console = make_console()
    shown = Table(box=None, pad_edge=False)
    for heading in ("network", "kernels"):
        shown.add_column(heading)
    for heading in ("pixels", "params, M", "fewer", "MACs, M", "fewer"):
        shown.add_column(heading, justify="right")
    for row in table.itertuples():
        shown.add_row(row.network, row.kernels, str(row.pixels),
                      f"{row.params / 1e6:.3f}", f"{row.params_less:.2f}x",
                      f"{row.macs / 1e6:.1f}", f"{row.macs_less:.2f}x")
    console.print(shown)
    console.print('\nTimes fewer than dense, published ("up to") and counted:')
    for row in beside_published(table).itertuples():
        console.print(f"  {row.network}, {row.pixels} pixels, {row.quantity}: "
                      f"published {row.published:.2f}x, {row.kernels} {row.ours:.2f}x")
    console.print(f"written: {args.out}/psconv_counts.csv")


def main(argv=None):
    """The command."""
    parser = OneLineParser(prog="psconv_counts", description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=Path("out"), type=Path, metavar="DIR",
                        help="(default: out)")
    parser.set_defaults(action=run)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
