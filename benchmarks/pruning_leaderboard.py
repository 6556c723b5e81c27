"""Every pruning method at the same energies: accuracy, both hardwares, weights, MACs.

    python -m benchmarks.pruning_leaderboard --data DIR --dense runs/resnet20_dense_s0
        [--only METHOD ...] [--seeds N] [--epochs N] [--fresh-epochs N] [--lr X]
        [--out FOLDER]

A piece is one method, network and seed: a ladder that ``eyeriss-prune run`` climbs.
Killed at any time, the same command goes on with the last whole epoch; rungs that are
finished are only read. Table and figures are written anew after each piece. A piece
that stops short does not keep the others from being climbed; the command then ends
with 1. VGG-16 takes the three methods that did best on ResNet-20 by the choosing
images, unless --only names them.

Accuracies are those of the test images, energies those of one image, of dense = 1, at
batch 1 and 16; minutes are wall time of a rung. floor_rel is each network's own: what
is left on eap_tool when its prunable weights are zero, lower where channels have gone.
``dense`` with ``density=1`` is the dense network after as many further epochs as the
last rung has had. Methods for fresh weights start each rung anew, for the epochs of the
dense network and a rung, or --fresh-epochs.
"""

from pathlib import Path

import pandas as pd
import torch

from benchmarks.energy_at_loss import print_verdicts, verdicts
from eyeriss_sim.atomic import replacing
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.terminal import OneLineParser, run_command, whole_number
from pruning.checkpoint import load_model
from pruning.cli import main as eyeriss_prune
from pruning.compare import collect, draw, print_periodic
from pruning.datasets import load
from pruning.meters import Reference, meter_of
from pruning.method_run import ZERO_IMAGES
from pruning.methods import find_method
from pruning.prunable import prunable
from pruning.records import read_metrics
from pruning.report import BATCHES
from pruning.targets import Energy

RUNGS = {"resnet20": (0.7, 0.55, 0.45, 0.4), "vgg16": (0.3, 0.2, 0.15)}
SEEDS = {"resnet20": 3, "vgg16": 1}
SUPPORTS = (4, 3, 2, 1)             # pSConv's own levels, mildest first
# The dense network first; then what most hangs on.
SEVERAL_SEEDS = ("energy_aware", "energy_budget", "magnitude_global",
                 "magnitude_uniform")
ONE_SEED = ("channels", "slim", "resolution", "random", "psconv", "psconv_random",
            "synflow")
EVERYTHING = ("dense", *SEVERAL_SEEDS, *ONE_SEED)
BEST = 3
OBJECTIVES = ("objective_eap_tool", "objective_eyeriss_chip")   # of the mapping search
COLUMNS = ("network", "method", "target", "seed", "accuracy", "batch",
           "energy_rel_eap_tool", "energy_rel_eyeriss_chip", "floor_rel", "weights_rel",
           "macs_rel", "minutes", *OBJECTIVES)


def pieces(methods, seeds):
    """Methods with their seeds, one seed of each before further ones.

    Examples
    --------
    >>> pieces(("dense", "energy_aware", "random"), 2)
    [('dense', 0), ('energy_aware', 0), ('random', 0), ('energy_aware', 1)]
    """
    return [(method, seed) for seed in range(seeds) for method in methods
            if seed == 0 or method in SEVERAL_SEEDS]


def arguments(network, method, epochs, fresh_epochs=None):
    """Arguments of ``eyeriss-prune run`` for one piece: a list for each call."""
    common = ["--network", network, "--epochs", str(epochs)]
    rungs = RUNGS[network]
    if method == "dense":
        # Nothing is pruned; trained as often as the last rung has been.
        return [[*common, "--method", "magnitude_global", "--target", "density=1",
                 "--steps", str(len(rungs))]]
    common += ["--method", method]
    if find_method(method).at_init and fresh_epochs is not None:
        common += ["--fresh-epochs", str(fresh_epochs)]
    if find_method(method).own_levels:
        return [[*common, "--option", f"support={support}"] for support in SUPPORTS]
    return [[*common, *(word for share in rungs
                        for word in ("--target", f"energy={share}"))]]


def floors(folder, network, images):
    """Energy that is left of a dense network without weights, by batch.

    Parameters
    ----------
    folder : Path
        Folder of the trained dense network.
    network : str
    images : Tensor
        Images that measure the zeros of activations.
    """
    model, _ = load_model(folder / "weights.safetensors", network)
    names = prunable(model)
    found = {}
    for batch in BATCHES:
        oracle = EnergyOracle("eap_tool", batch=batch)
        reference = Reference.of(model, names, oracle, images)
        found[batch] = meter_of(
            Energy(1), model, names, reference, oracle, images).floor
    return found


def results(folder, dense):
    """Finished results, as :func:`pruning.compare.collect` has them, and more.

    Parameters
    ----------
    folder : Path
        Holds FOLDER/NETWORK/METHOD_sSEED.
    dense : dict of str to Path
        Folders of the trained networks, by network; others' ladders are left out.

    Returns
    -------
    pandas.DataFrame
        With minutes, and choosing: the accuracy that may decide something.
    """
    files = [file for network in dense
             for file in sorted((folder / network).rglob("metrics.json"))]
    table = collect([*dense.values(), *(file.parent for file in files)])
    table.loc[table.rung == "density=1", "method"] = "dense"
    metrics = [read_metrics(Path(place) / "metrics.json") for place in table.folder]
    # The dense network's own training calls them otherwise.
    for column, keys in (("minutes", ("minutes", "wall_minutes")),
                         ("choosing", ("accuracy", "choosing_accuracy"))):
        table[column] = [next((one[key] for key in keys if key in one), float("nan"))
                         for one in metrics]
    return table


def left_out(table):
    """Controls, and results without an accuracy on the test images, as bool."""
    return table.control.notna() | (table.images != "test")


def leaderboard(table, floor):
    """One row a result and batch, with the columns of the csv.

    Parameters
    ----------
    table : pandas.DataFrame
        Of :func:`results`.
    floor : dict of str to dict of int to float
        Of :func:`floors`, by network; of results that do not say their own.
    """
    rows = []
    for one in table[~left_out(table)].to_dict("records"):
        for batch in BATCHES:
            ending = "" if batch == 1 else f"_b{batch}"
            own = one["floor" + ending]
            rows.append({
                **one, "target": one["rung"], "batch": batch,
                "floor_rel": floor[one["network"]][batch] if pd.isna(own) else own,
                **{key: one[key + ending] for key in (
                    "energy_rel_eap_tool", "energy_rel_eyeriss_chip", *OBJECTIVES)}})
    return pd.DataFrame(rows, columns=COLUMNS)


def best_methods(table, count=BEST):
    """Methods by mean accuracy on the choosing images over ResNet-20's energies.

    Raises
    ------
    ValueError
        Fewer methods have all their rungs.
    """
    pruned = table[(table.network == "resnet20") & table.control.isna()]
    rows = pruned[pruned.rung.isin(
        [str(Energy(share)) for share in RUNGS["resnet20"]])]
    whole = rows.groupby("method").filter(
        lambda one: one.rung.nunique() == len(RUNGS["resnet20"]))
    if whole.method.nunique() < count:
        raise ValueError(
            f"vgg16 takes the {count} best methods of resnet20, of which "
            f"{whole.method.nunique()} are finished; name resnet20 in --dense too, "
            "or the methods with --only")
    means = whole.groupby("method").choosing.mean()
    return list(means.sort_values(ascending=False).index[:count])


def write(folder, table, floor):
    """csv of all, one figure a network."""
    with replacing(folder / "pruning_leaderboard.csv") as path:
        leaderboard(table, floor).to_csv(path, index=False, float_format="%.6g")
    for network, rows in table[~left_out(table)].groupby("network"):
        with replacing(folder / f"pruning_leaderboard_{network}.png") as path:
            draw_leaderboard(rows).savefig(path, format="png", dpi=130)


def draw_leaderboard(rows):
    """Accuracy against energy, the dense network as trained and with further epochs.

    A rung's further epochs may also cost it accuracy: both are shown.
    """
    dense = rows.method == "dense"
    longer = rows.rung == "density=1"
    return draw(rows.assign(experiment=rows.experiment.mask(
        dense & ~longer, "as trained").mask(dense & longer, "further epochs")))


def trained(folders):
    """Folders of trained dense networks, by network.

    Parameters
    ----------
    folders : sequence of Path

    Raises
    ------
    ValueError
        No training in one of them, a network without levels here, no accuracy on the
        test images, two of one network.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not (folder / "metrics.json").is_file():
            raise ValueError(f"--dense {folder}: no finished training in this very "
                             "folder; eyeriss-prune train makes one")
        one = next(one for one in collect([folder]).to_dict("records")
                   if one["folder"] == str(folder))
        network = one["network"]
        if one["method"] != "dense":
            raise ValueError(f"--dense {folder}: a network pruned by {one['method']}; "
                             "name the dense one")
        if network not in RUNGS:
            raise ValueError(f"--dense {folder}: no levels are known for {network}; "
                             f"known: {', '.join(RUNGS)}")
        if one["images"] != "test":
            raise ValueError(f"--dense {folder}: no accuracy on the test images; run "
                             f"its eyeriss-prune train {network} again without "
                             "--no-test")
        if network in found:
            raise ValueError(f"--dense {folder}: a second {network}, beside "
                             f"{found[network]}; name one")
        found[network] = folder
    return found


def run(args):
    """Climb every ladder that is not finished; table and figures after each."""
    handed_on = [word for key in ("lr", "threads", "device")
                 if getattr(args, key) is not None
                 for word in (f"--{key}", str(getattr(args, key)))]
    if args.threads:
        torch.set_num_threads(args.threads)
    dense = trained(args.dense)
    splits = load("cifar10", args.data)
    images = splits.normalise(splits.fit.images[:ZERO_IMAGES])
    args.out.mkdir(parents=True, exist_ok=True)
    floor = {network: floors(folder, network, images)
             for network, folder in dense.items()}
    refused = []
    for network in sorted(dense, key=list(RUNGS).index):
        methods, seeds = args.only or EVERYTHING, args.seeds or SEEDS[network]
        if network == "vgg16":
            methods = args.only or ["dense", *best_methods(
                results(args.out, dense))]
        for method, seed in pieces(methods, seeds):
            place = args.out / network / f"{method}_s{seed}"
            try:
                for words in arguments(network, method, args.epochs,
                                       args.fresh_epochs):
                    eyeriss_prune([
                        "run", *words, "--data", args.data, "--data-name",
                        args.data_name, "--dense", str(dense[network]), "--seed",
                        str(seed), "--out", str(place), *handed_on])
            except SystemExit as stopped:
                if stopped.code != 2:       # its one line says what is wrong
                    raise
                refused.append(f"{network} {method} seed {seed}")
            write(args.out, results(args.out, dense), floor)
    whole = results(args.out, dense)
    table = leaderboard(whole, floor)
    print_periodic(whole[~left_out(whole)])
    if table.target.str.contains("energy=").any():
        print_verdicts(verdicts(table), 1)
    others = sorted({file.relative_to(args.out).parts[0] for file in args.out.glob(
        "*/*/*/metrics.json")} - set(dense))
    print(f"written: {args.out}/pruning_leaderboard.csv and figures"
          + (f"; without {', '.join(others)}, whose dense network --dense does not name"
             if others else ""))
    for place in whole.folder[left_out(whole)]:
        print(f"left out: {place}, a control, or not looked at with the test images")
    if refused:
        raise SystemExit(f"pruning_leaderboard: stopped short: {', '.join(refused)}; "
                         "why stands above")


def main(argv=None):
    """The command."""
    parser = OneLineParser(prog="pruning_leaderboard",
                           description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, metavar="DIR",
                        help="CIFAR-10, as eyeriss-prune reads it")
    parser.add_argument("--data-name", default="CIFAR-10", metavar="TEXT",
                        help="what to call the images beside an accuracy")
    parser.add_argument("--dense", required=True, nargs="+", type=Path,
                        metavar="FOLDER", help="trained networks: resnet20, vgg16")
    parser.add_argument("--out", default=Path("runs/leaderboard"), type=Path,
                        metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="METHOD", choices=EVERYTHING,
                        help=", ".join(EVERYTHING))
    parser.add_argument("--seeds", type=whole_number, metavar="N",
                        help="of " + ", ".join(SEVERAL_SEEDS) + "; of the others 1 "
                        "(default: " + ", ".join(
                            f"{network} {seeds}" for network, seeds in SEEDS.items())
                        + ")")
    parser.add_argument("--epochs", type=whole_number, default=2, metavar="N",
                        help="a rung (default: 2)")
    parser.add_argument("--fresh-epochs", type=whole_number, metavar="N",
                        help="a rung of methods that start from fresh weights")
    parser.add_argument("--lr", type=float, metavar="X",
                        help="of all pieces (default: as eyeriss-prune run)")
    parser.add_argument("--threads", type=whole_number, metavar="N")
    parser.add_argument("--device", metavar="D")
    parser.set_defaults(action=run)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
