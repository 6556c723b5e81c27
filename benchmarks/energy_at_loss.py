"""Energy that a loss of accuracy buys each method, read off a leaderboard's table.

    python -m benchmarks.energy_at_loss [TABLE.csv] [--points 1] [--batch 1]

Rungs that a cheaper one equals do not count. Between two of the others the energy is
that of the straight line. The dense network is the better one of the trained one and
the one that had a rung's further epochs. A ratio says how many times less energy than
the better of uniform and global magnitude a method needs for the same loss: of all
energy, and of what is above the floor, below which no zero of a weight leads. That is
the dense network's, for all methods the same; networks of fewer channels have lower
ones of their own.
"""

from pathlib import Path

import pandas as pd
from rich.table import Table

from eyeriss_sim.number_table import read_table
from eyeriss_sim.terminal import OneLineParser, make_console, run_command, whole_number

TABLE = Path(__file__).parent / "results" / "pruning_leaderboard.csv"
ENERGY = "energy_rel_eap_tool"
MAGNITUDE = ("magnitude_global", "magnitude_uniform")
# Times less energy that energy-aware pruning or the energy budget should need: above
# the floor on ResNet-20, whose floor is a third of all, in all on VGG-16.
WANTED = 1.3
WANTED_OF = {"resnet20": "ratio_above_floor", "vgg16": "ratio"}


def energy_at(rungs, dense, points):
    """Energy at which a ladder has lost so many points.

    Parameters
    ----------
    rungs : pandas.DataFrame
        accuracy (share of 1) and energy, of one seed.
    dense : float
        Accuracy of the dense network, at energy 1.
    points : float

    Returns
    -------
    energy : float
    open_end : bool
        The last rung has not lost as much: the energy is its own, and less would do.

    Examples
    --------
    >>> ladder = pd.DataFrame({"accuracy": [.90, .88], "energy": [.5, .3]})
    >>> energy, open_end = energy_at(ladder, .9, 1)
    >>> round(energy, 3), open_end
    (0.4, False)
    """
    wanted = dense - points / 100
    energy, accuracy = 1.0, dense
    rungs = rungs.sort_values(["energy", "accuracy"], ascending=[True, False])
    best = rungs.accuracy.cummax().shift(fill_value=0.0)
    for rung in rungs[rungs.accuracy > best][::-1].itertuples():
        if rung.accuracy < wanted:
            share = (accuracy - wanted) / (accuracy - rung.accuracy)
            return energy + share * (rung.energy - energy), False
        energy, accuracy = rung.energy, rung.accuracy
    return energy, True


def verdicts(table, points=1.0, batch=1):
    """Each network's methods, least energy first.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of ``pruning_leaderboard.csv``; those of no energy target are left out.
    points : float
        Points of accuracy, lost.
    batch : int

    Returns
    -------
    pandas.DataFrame
        network, method, seeds, energy (mean of the seeds), least, most, open_ends
        (seeds whose last rung has not lost as much), floor (the dense network's; of
        channels the lowest of their own networks'), ratio and ratio_above_floor to the
        better magnitude, rival_open (that one's last rung has not lost as much).

    Raises
    ------
    ValueError
        A column is missing, or no row is left; a network without its dense row; an
        accuracy that is none; a gain instead of a loss.
    """
    missing = {"network", "method", "target", "seed", "accuracy", "batch", "floor_rel",
               ENERGY} - set(table)
    if missing:
        raise ValueError(f"the table has no column {sorted(missing)[0]}; is it a "
                         "pruning_leaderboard.csv?")
    if not 0 <= points < 100:
        raise ValueError(f"{points:g} points: a loss of 0 to less than 100 is needed")
    table = table[table.batch == batch]
    for column, most in (("accuracy", 1), (ENERGY, float("inf")), ("floor_rel", 1)):
        numbers = pd.to_numeric(table[column], errors="coerce")
        unknown = table[~numbers.between(0, most)]
        if len(unknown):
            row = unknown.iloc[0]
            raise ValueError(f"{row.network} {row.method} {row.target} seed "
                             f"{row.seed}: {column} is {row[column]}, no share of 1")
        table = table.assign(**{column: numbers})
    found = []
    for network, rows in table.groupby("network", sort=False):
        dense = rows[rows.method == "dense"].accuracy.max()
        rungs = rows[rows.target.str.contains("energy=") & (rows.method != "dense")]
        if len(rungs) and pd.isna(dense):
            raise ValueError(f"the table has no row of {network}'s dense network, from "
                             "which a loss is counted")
        floor = rows[rows.target == "dense"].floor_rel.max()
        for method, ladders in rungs.groupby("method", sort=False):
            ends = [energy_at(ladder.assign(energy=ladder[ENERGY]), dense, points)
                    for _, ladder in ladders.groupby("seed")]
            energies = [energy for energy, _ in ends]
            found.append({
                "network": network, "method": method, "seeds": len(ends),
                "energy": sum(energies) / len(ends), "least": min(energies),
                "most": max(energies), "open_ends": sum(end for _, end in ends),
                "floor": ladders.floor_rel.min() if "channels" in method else floor})
    if not found:
        raise ValueError("the table has no rung with an energy target at batch "
                         f"{batch}")
    result = pd.DataFrame(found)
    rivals = result[result.method.isin(MAGNITUDE)].sort_values("energy").groupby(
        "network").first()
    rival = result.network.map(rivals.energy)
    result["rival_open"] = result.network.map(rivals.open_ends) > 0
    result["ratio"] = rival / result.energy
    # Whole channels take activations with them: the floor is not theirs.
    own = ~result.method.str.contains("channels")
    result["ratio_above_floor"] = ((rival - result.floor) / (
        result.energy - result.floor)).where(own)
    return result.sort_values(["network", "energy"], ignore_index=True)


def print_verdicts(found, points):
    """The table on standard output."""
    console = make_console()
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left",
                  title=f"energy at {points:g} points lost, of the dense network's")
    for heading in ("network", "method"):
        shown.add_column(heading, overflow="fold")
    for heading in ("seeds", "energy", "least", "most", "floor", "ratio",
                    "above floor", "wanted"):
        shown.add_column(heading, justify="right")
    for row in found.to_dict("records"):
        wanted = WANTED_OF.get(row["network"])
        shown.add_row(
            row["network"], row["method"], str(row["seeds"]),
            ("<" if row["open_ends"] else "") + f"{row['energy']:.3f}",
            *(f"{row[key]:.3f}" for key in ("least", "most", "floor")),
            *("-" if pd.isna(row[key]) else f"{bound(row)}{row[key]:.2f}x"
              + ("*" if key == wanted else "")
              for key in ("ratio", "ratio_above_floor")),
            f"{WANTED:g}x" if wanted and row["method"] in (
                "energy_aware", "energy_budget") else "")
    console.print(shown)
    console.print("floor: the dense network's; of channels the lowest of their own "
                  "networks'\nratio: to the better of uniform and global magnitude; *: "
                  "the wanted one\n<: a last rung has not lost as much; of a ratio, > "
                  "where that is the method's, < where\nit is magnitude's, ~ both")


def bound(row):
    """Bound of a ratio where an energy is only the most that is needed."""
    if row["method"] in MAGNITUDE:
        return ""
    return {(False, False): "", (True, False): ">", (False, True): "<"}.get(
        (row["open_ends"] > 0, row["rival_open"]), "~")


def run(args):
    """Read, judge, print."""
    try:
        table = read_table(args.table)
    except OSError:
        raise ValueError(f"{args.table}: no such table; benchmarks.pruning_leaderboard "
                         "writes one") from None
    except ValueError as problem:
        why = str(problem).removeprefix(f"{args.table}: ")
        raise ValueError(f"{args.table}: no table of comma-separated values "
                         f"({why})") from None
    print_verdicts(verdicts(table, args.points, args.batch), args.points)


def main(argv=None):
    """The command."""
    parser = OneLineParser(prog="energy_at_loss", description=__doc__.splitlines()[0])
    parser.add_argument("table", nargs="?", type=Path, default=TABLE, metavar="TABLE",
                        help="pruning_leaderboard.csv (default: the committed one)")
    parser.add_argument("--points", type=float, default=1.0, metavar="X",
                        help="of accuracy that may be lost (default: 1)")
    parser.add_argument("--batch", type=whole_number, default=1, metavar="N",
                        help="of the energy: 1 or 16 (default: 1)")
    parser.set_defaults(action=run)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
