"""Options that commands share: which images, on what they compute; what they print."""

import argparse
from pathlib import Path

from eyeriss_sim.terminal import add_plugin_option, progress, whole_number
from pruning.datasets.splits import Splits

MOST_THREADS = 1024


def add_data_options(cmd: argparse.ArgumentParser) -> None:
    """Add the options that say which images, and where they are."""
    from pruning.datasets import DATASETS
    cmd.add_argument("--dataset", default="cifar10", metavar="NAME",
                     help=f"{', '.join(DATASETS)}, or one of a plugin (default: "
                          "cifar10)")
    cmd.add_argument("--data", required=True, metavar="DIR",
                     help="where it is; CIFAR-10: cifar-10-batches-bin or -py, their "
                          ".tar.gz, or a folder with one of them")
    cmd.add_argument("--download", action="store_true",
                     help="fetch the data set into DIR first, if it is not there")
    cmd.add_argument("--data-name", metavar="TEXT",
                     help="what to call the images beside an accuracy, if they are not "
                          "the original ones (default: the data set's title)")
    add_plugin_option(cmd)


def load_data(args: argparse.Namespace) -> Splits:
    """The splits that the data options name."""
    from pruning import datasets
    if args.download:
        with progress("bytes") as show:
            datasets.fetch(args.dataset, args.data, progress=show)
    return datasets.load(args.dataset, args.data)


def data_name(args: argparse.Namespace) -> str:
    """Name of the images beside an accuracy."""
    from pruning.datasets import DATASETS
    return args.data_name or DATASETS.find(args.dataset).title


def add_machine_options(cmd: argparse.ArgumentParser) -> None:
    """Options for the device and the cores that a command computes on."""
    cmd.add_argument("--device", metavar="D",
                     help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    cmd.add_argument("--threads", type=whole_number, metavar="N",
                     help="cores to use on the CPU (default: all)")


def choose_machine(args: argparse.Namespace) -> None:
    """Set the threads; refuse a device that is not there, or has no autocast."""
    import torch
    if args.threads:
        if args.threads > MOST_THREADS:
            raise ValueError(f"--threads {args.threads}: at most {MOST_THREADS}")
        torch.set_num_threads(args.threads)
    if args.device:
        try:
            torch.zeros(1, device=args.device)
            torch.autocast(torch.device(args.device).type, torch.bfloat16)
        except (RuntimeError, AssertionError, NotImplementedError) as problem:
            told = str(problem).splitlines()[0].split(". ")[0]
            raise ValueError(f"--device {args.device}: {told}") from None


def check_is_no_file(folder: str | Path) -> None:
    """Refuse a file where a result folder should be, before any work is done."""
    for place in (Path(folder), *Path(folder).parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"--out {folder}: {place} is a file; name a folder")


def percent(share: float | None) -> str:
    """An accuracy as it is printed."""
    return "not looked at" if share is None else f"{100 * share:.2f} %"
