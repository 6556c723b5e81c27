"""Cascades against pruning to one level, and against every other rival.

    python -m benchmarks.cascade_vs_single --data DIR --dense FOLDER ...
        --ladders runs/leaderboard [--only METHOD ...] [--seeds N] [--out FOLDER]

Reads the ladders that ``benchmarks.pruning_leaderboard`` or ``eyeriss-prune run`` left
in LADDERS/NETWORK/METHOD_sSEED; those that are not there are left out, and named, and
the seeds of a method must have the same rungs. What
is computed once (outputs, selectors, costs) is kept in each ladder's folder.

Everything is chosen on the choosing images. ``lost`` and ``saved`` are those of the
test images; a saving "on the curve" is the largest of what was chosen, at any allowed
loss, that loses no more than so many points on the test images: what one knows only
after having looked at them.
"""

from pathlib import Path

import pandas as pd

from cascade.bench import (
    SETTING,
    curves,
    enter,
    learned_against_free,
    shipped_router,
    verdicts,
)
from cascade.figures import draw
from cascade.folder_study import folder_study
from cascade.levels import dense_level
from cascade.report import print_learned_against_free, print_verdicts
from cascade.routers import systems
from eyeriss_sim.atomic import replacing
from eyeriss_sim.terminal import OneLineParser, make_console, run_command, whole_number
from pruning.datasets import load
from pruning.progress import telling

METHODS = ("magnitude_global", "magnitude_uniform", "energy_aware", "energy_budget",
           "channels+energy_aware")
SETTINGS = (("eap_tool", 1), ("eap_tool", 16), ("eyeriss_chip", 1))
# Points lost and least share of energy saved that the project set itself, by network
# and by whether channels go first. Of ResNet-20's the last is an aim.
WANTED = {("vgg16", False): {1: 0.80, 3: 0.85}, ("vgg16", True): {1: 0.80, 3: 0.85},
          ("resnet20", False): {1: 0.50, 3: 0.55}, ("resnet20", True): {3: 0.70}}
PAPER = {3: 0.70}           # Maleki et al. 2021, CIFAR-10, their own networks


def saved_on_curve(table, points):
    """Largest saving of a cascade that loses no more on the test images.

    Parameters
    ----------
    table : pandas.DataFrame
        Of :func:`cascade.bench.curves`.
    points : float

    Returns
    -------
    pandas.DataFrame
        By network, method, hardware, objective, batch, seed, system.
    """
    keys = ["network", "method", *SETTING, "seed"]
    table = table[table.split == "test"]
    dense = table[table.system == "dense"].set_index(keys).accuracy
    rows = table[table.system.isin((*systems(), "single"))].join(
        dense.rename("dense"), on=keys)
    near = rows[rows.accuracy >= rows.dense - points / 100 - 1e-12]
    saved = (1 - near.groupby([*keys, "system"]).energy_rel.min()).clip(lower=0)
    # What never comes so near, or costs more, saves nothing: the dense network answers.
    every = rows.groupby([*keys, "system"]).size().index
    return saved.reindex(every, fill_value=0.0).rename("saved")


def ladders_of(folder, method, seeds):
    """The seeds of a method whose ladders are there.

    Parameters
    ----------
    folder : Path
        Folder of one network's ladders.
    method : str
    seeds : int
        How many are looked for.

    Returns
    -------
    list of (int, Path)
        Seeds that are there.
    list of str
        What is not: seeds, rungs that are not finished.

    Raises
    ------
    ValueError
        Seeds with other rungs: they have no hull, and no mean, in common.
    """
    there, missing, rungs = [], [], {}
    for seed in range(seeds):
        place = folder / f"{method}_s{seed}"
        names = {file.parent.name for file in place.glob("*/metrics.json")}
        begun = {file.parent.name for file in place.glob("*/training")} - names
        missing += [f"{folder.name} {method} seed {seed} {one} (not finished)"
                    for one in sorted(begun)]
        if names:
            there.append((seed, place))
            rungs[place] = names
        elif not begun:
            missing.append(f"{folder.name} {method} seed {seed}")
    if not there and not any("not finished" in one for one in missing):
        missing = [f"{folder.name} {method}"]
    if there:
        first = rungs[there[0][1]]
        for place, names in rungs.items():
            if names != first:
                raise ValueError(
                    f"{place} and {there[0][1]} have other rungs, "
                    f"{', '.join(sorted(names ^ first))}; climb them with "
                    "eyeriss-prune run, or ask for fewer --seeds")
    return there, missing


def summary(table):
    """Savings at 1 and 3 points, the mean of seeds, beside what was wanted.

    Returns
    -------
    pandas.DataFrame
    """
    found = []
    for points in (1, 3):
        saved = saved_on_curve(table, points).reset_index()
        means = saved.groupby(["network", "method", *SETTING, "system"],
                              sort=False).saved.mean().reset_index()
        means["points"] = points
        means["wanted"] = [
            WANTED.get((network, "channels" in method), {}).get(points)
            for network, method in zip(means.network, means.method, strict=True)]
        found.append(means)
    return pd.concat(found, ignore_index=True)


def run(args):
    """Every network, method, setting; tables, figures."""
    splits = load("cifar10", args.data)
    if args.threads:
        import torch
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    dense: dict[str, Path] = {}
    for folder in args.dense:
        other = dense.setdefault(dense_level(folder)[1], folder)
        if other != folder:
            raise ValueError(f"--dense {other} and {folder} are of one network; give "
                             "one of them, the others in a run with another --out")
    all_curves, all_verdicts, all_learned, missing = [], [], [], []
    ladders = {}
    for network in dense:
        for method in args.only or METHODS:
            ladders[network, method], absent = ladders_of(
                args.ladders / network, method, args.seeds)
            missing += absent
    for network, folder in dense.items():
        for method in args.only or METHODS:
            there, own = ladders[network, method], []
            if not there:
                continue
            for hardware, batch in SETTINGS:
                entrants = []
                for seed, place in there:
                    with telling(True) as tell:
                        study = folder_study(network, folder, place, splits, hardware,
                                              batch, progress=tell)
                        tell(f"{network} {method} seed {seed}: pairs on {hardware}")
                        entrants.append(enter(study, network, method, seed))
                own += [curves(one, part) for one in entrants
                        for part in ("choosing", "test")]
                judged = verdicts(entrants)
                if judged.empty:
                    print(f"{network}, {method}, {hardware}, batch {batch}:")
                else:
                    judged["shipped"] = judged.loss.map(
                        {loss: shipped_router(entrants, loss)
                         for loss in judged.loss.unique()})
                    all_verdicts.append(judged)
                print_verdicts(judged)
                learned = learned_against_free(entrants)
                print_learned_against_free(learned)
                all_learned.append(learned)
            one = pd.concat(own, ignore_index=True)
            all_curves.append(one)
            figure = draw(one[one.split == "test"], f"{network}, {method}",
                          args.data_name)
            name = f"cascade_vs_single_{network}_{method.replace('+', '_')}.png"
            with replacing(args.out / name) as fresh:
                figure.savefig(fresh, format="png", dpi=110)
    if not all_curves:
        raise ValueError(f"{args.ladders}: no ladder of {', '.join(missing)}; "
                         "eyeriss-prune run makes them")
    table = pd.concat(all_curves, ignore_index=True)
    for name, content in (("", table),
                          ("_verdicts", pd.concat(all_verdicts or [judged])),
                          ("_learned", pd.concat(all_learned, ignore_index=True))):
        with replacing(args.out / f"cascade_vs_single{name}.csv") as fresh:
            content.to_csv(fresh, index=False, float_format="%.6g")
    print_summary(summary(table))
    print(f"written: {args.out}/cascade_vs_single.csv, _verdicts.csv, _learned.csv and "
          f"figures; "
          f"accuracies are on {args.data_name}")
    if missing:
        print("no ladder of: " + ", ".join(missing))


def print_summary(table):
    """One line a network, method and setting, and the means beside the paper."""
    from rich.table import Table
    console = make_console()
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0),
                  title="energy saved, % (on the curve: the best in hindsight)",
                  title_justify="left")
    keys = ["network", "method", *SETTING, "points"]
    for heading in keys:
        shown.add_column(heading, overflow="fold")
    headings = ("single", *systems())
    for heading in (*headings, "wanted"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for key, rows in table.groupby(keys, sort=False):
        by_system = rows.set_index("system").saved
        wanted = rows.wanted.iloc[0]
        shown.add_row(
            # With blanks, at which lines may break.
            *(str(one).replace("+", " + ") for one in key),
            *(f"{100 * by_system[one]:.1f}" if one in by_system else "-"
              for one in headings),
            "-" if pd.isna(wanted) or key[2:5] != ("eap_tool", "energy", 1)
            else f"{100 * wanted:.0f}")
    console.print(shown)
    for points, paper in PAPER.items():
        rows = table[(table.points == points) & (table.hardware == "eap_tool")
                     & (table.batch == 1) & table.system.isin(systems())]
        mean = rows.groupby("network").saved.max().mean()
        console.print(f"best cascade at {points} points, mean of networks: "
                      f"{100 * mean:.1f} % (paper, its own networks: "
                      f"{100 * paper:.0f} %)")


def main(argv=None):
    """The command."""
    parser = OneLineParser(prog="cascade_vs_single",
                           description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, metavar="DIR",
                        help="CIFAR-10, as eyeriss-prune reads it")
    parser.add_argument("--data-name", default="CIFAR-10", metavar="TEXT",
                        help="what to call the images beside an accuracy")
    parser.add_argument("--dense", required=True, nargs="+", type=Path,
                        metavar="FOLDER",
                        help="dense networks: trainings, or density=1 rungs")
    parser.add_argument("--ladders", default=Path("runs/leaderboard"), type=Path,
                        metavar="FOLDER", help="(default: runs/leaderboard)")
    parser.add_argument("--only", nargs="+", metavar="METHOD",
                        help="(default: " + ", ".join(METHODS) + ")")
    parser.add_argument("--seeds", type=whole_number, default=3, metavar="N")
    parser.add_argument("--out", default=Path("runs/cascade"), type=Path,
                        metavar="FOLDER", help="(default: runs/cascade)")
    parser.add_argument("--threads", type=whole_number, metavar="N")
    parser.set_defaults(action=run)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
