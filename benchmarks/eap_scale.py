"""Time and memory of energy-aware pruning at AlexNet's size, CONV layers, no data.

    python -m benchmarks.eap_scale [--layers CONV3] [--threads 2]

Random weights and random images: what there is to compute depends little on
either. The FC layers stay dense. The time is that of one prune(): activation zeros, and
for every CONV layer Gram matrices, restoring and the refit, CONV3's (the largest, 384
filters of 2304 weights) among them. The peak is the process's, network and images
included.
"""

import os
import platform
import resource
import time
from collections import OrderedDict

import torch
from torch import nn

from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.terminal import OneLineParser, run_command, whole_number
from pruning import Energy, prune

ASKED_MINUTES, ASKED_GB = 10, 4
CONVS = ("CONV1", "CONV2", "CONV3", "CONV4", "CONV5")
IMAGES_A_WEIGHT = 44        # of the oracle: FC weights fetched once for so many images
SHARE = 0.5


def alexnet():
    """AlexNet (Krizhevsky et al., NeurIPS 2012) with the zoo's names and shapes."""
    def conv(before, filters, taps, stride=1, padding=0, groups=1):
        return nn.Conv2d(before, filters, taps, stride, padding, groups=groups)

    norm = nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0)
    return nn.Sequential(OrderedDict([
        ("CONV1", conv(3, 96, 11, stride=4)), ("relu1", nn.ReLU()), ("norm1", norm),
        ("pool1", nn.MaxPool2d(3, 2)),
        ("CONV2", conv(96, 256, 5, padding=2, groups=2)), ("relu2", nn.ReLU()),
        ("norm2", norm), ("pool2", nn.MaxPool2d(3, 2)),
        ("CONV3", conv(256, 384, 3, padding=1)), ("relu3", nn.ReLU()),
        ("CONV4", conv(384, 384, 3, padding=1, groups=2)), ("relu4", nn.ReLU()),
        ("CONV5", conv(384, 256, 3, padding=1, groups=2)), ("relu5", nn.ReLU()),
        ("pool5", nn.MaxPool2d(3, 2)), ("flat", nn.Flatten()),
        ("FC6", nn.Linear(9216, 4096)), ("relu6", nn.ReLU()),
        ("FC7", nn.Linear(4096, 4096)), ("relu7", nn.ReLU()),
        ("FC8", nn.Linear(4096, 1000))]))


def measure(layers=CONVS, share=SHARE, images=512, rows=8192):
    """Prune some layers of a random AlexNet.

    Parameters
    ----------
    layers : sequence of str
    share : float
        Share of the dense energy, the FC layers' included.
    images, rows : int
        That calibrate; output positions of a layer that its Gram matrix sums over.

    Returns
    -------
    pruned : Pruned
    seconds : float
    cpu : float
        CPU seconds of all threads.
    """
    target = Energy(share)          # refused before there is anything to compute
    torch.manual_seed(0)
    model = alexnet().eval()
    pictures = torch.randn(images, 3, 227, 227)
    start, cpu = time.perf_counter(), time.process_time()
    pruned = prune(model, "energy_aware", target, data=[(pictures, None)],
                   oracle=EnergyOracle("eap_tool", batch=IMAGES_A_WEIGHT),
                   include=layers, calibration=images, rows=rows)
    return pruned, time.perf_counter() - start, time.process_time() - cpu


def run(args):
    """Print what it took beside what is asked."""
    torch.set_num_threads(args.threads)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, "
          f"torch {torch.__version__}; load before the start {os.getloadavg()[0]:.1f}")
    pruned, seconds, cpu = measure(args.layers, args.share)
    peak_GB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    for name, mask in pruned.masks.items():
        print(f"{name}: {int(mask.sum()):,} of {mask.numel():,} weights left")
    print(f"energy {pruned.report['met']:.4f} of dense on eap_tool, batch "
          f"{IMAGES_A_WEIGHT} (floor {pruned.report['floor']:.3f})")
    for what, found, asked, unit in (("time", seconds / 60, ASKED_MINUTES, "min"),
                                     ("peak", peak_GB, ASKED_GB, "GB")):
        print(f"{what}: {found:.2f} {unit} (asked < {asked} {unit}): "
              + ("met" if found < asked else "missed"))
    print(f"CPU time: {cpu / 60:.2f} min")


def main(argv=None):
    """The command."""
    parser = OneLineParser(prog="eap_scale", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=CONVS, metavar="LAYER",
                        help=f"(default: {' '.join(CONVS)})")
    parser.add_argument("--share", type=float, default=SHARE, metavar="X",
                        help=f"of the dense network's energy (default: {SHARE})")
    parser.add_argument("--threads", type=whole_number, default=2, metavar="N")
    parser.set_defaults(action=run)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
