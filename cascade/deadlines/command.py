"""``eyeriss-cascade deadline``: a few networks for a distribution of deadlines."""

import argparse
import math
import os
from typing import TYPE_CHECKING

from eyeriss_sim.terminal import make_console, whole_number

if TYPE_CHECKING:
    from cascade.deadlines.serve import Service

MEGABYTE = 1_000_000


def add_deadline(commands: argparse._SubParsersAction) -> None:
    """``deadline TABLE.csv``: the networks that serve deadlines best."""
    cmd = commands.add_parser(
        "deadline", help="choose few networks so that each deadline gets a good answer",
        epilog="An image runs the most accurate member that its deadline leaves time "
               "for. Exact: no other choice of so many networks answers better.")
    cmd.add_argument("table", metavar="TABLE.csv",
                     help="columns name, ms, accuracy (0..1), and bytes for a memory "
                          "limit")
    cmd.add_argument("--members", type=whole_number, required=True, metavar="K",
                     help="networks to choose at most")
    cmd.add_argument("--deadlines", required=True, metavar="D",
                     help="FILE.csv with columns ms and perhaps weight, "
                          "lognormal:MEDIAN,SIGMA or uniform:LOW,HIGH, in ms")
    cmd.add_argument("--miss", type=float, default=0.0, metavar="ACCURACY",
                     help="what a missed deadline counts: 0.1 for a guess among ten "
                          "classes (default: 0)")
    cmd.add_argument("--memory-MB", type=float, metavar="X",
                     help="most that all members take together; 1 MB = 10^6 bytes")
    cmd.add_argument("--out", metavar="FILE.csv", help="also write the members here")
    cmd.set_defaults(action=run_deadline)


def run_deadline(args: argparse.Namespace) -> None:
    from cascade.deadlines.distribution import parse_deadlines
    from cascade.deadlines.serve import COLUMNS, serve
    from eyeriss_sim.atomic import replacing
    from eyeriss_sim.number_table import read_number_table
    from eyeriss_sim.result_files import check_output_path
    if args.out:
        check_output_path(args.out, (".csv",))
        for read in (args.table, args.deadlines):
            if os.path.exists(args.out) and os.path.exists(read) and os.path.samefile(
                    args.out, read):
                raise ValueError(f"--out {args.out} would replace the input {read}; "
                                 "name another file")
    limit = args.memory_MB
    if limit is not None and not 0 < limit < math.inf:
        raise ValueError(f"--memory-MB {limit:g}: a number above 0 is needed")
    table = read_number_table(args.table, COLUMNS, () if limit is None else ("bytes",))
    deadlines = parse_deadlines(args.deadlines)
    try:
        found = serve(table, deadlines, args.members, miss=args.miss,
                      memory_bytes=None if limit is None else limit * MEGABYTE)
    except ValueError as problem:
        raise ValueError(f"{args.table}: {problem}") from None
    if args.out:
        with replacing(args.out) as fresh:
            found.members.to_csv(fresh, index=False)
    print_service(found, with_bytes=limit is not None)
    one, all_of_them = (serve(table, deadlines, count, miss=args.miss).accuracy
                        for count in (1, len(table)))
    if len(table) > 1 and table.ms.nunique() == 1:
        print(f"all {len(table)} networks take {table.ms.iloc[0]:.4g} ms: no deadline "
              "tells them apart.\nZeros of weights save no time on the presets, fewer "
              "channels do.")
    print(f"without limits: one network at best {100 * one:.2f} %, all that are of use "
          f"{100 * all_of_them:.2f} %")


def print_service(service: "Service", with_bytes: bool = False) -> None:
    """The members on standard output, at most 100 columns wide."""
    from rich.table import Table
    console = make_console()
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("network", overflow="fold")
    for heading in ("ms", "accuracy", *(["MB"] if with_bytes else []),
                    "serves deadlines, ms", "share"):
        shown.add_column(heading, justify="right")
    for row in service.members.to_dict("records"):
        until = ("and later" if math.isinf(row["until_ms"])
                 else f"to {row['until_ms']:.4g}")
        shown.add_row(
            row["name"], f"{row['ms']:.4g}", f"{100 * row['accuracy']:.2f} %",
            *([f"{row['bytes'] / MEGABYTE:.3g}"] if with_bytes else []),
            f"{row['ms']:.4g} {until}", f"{100 * row['share']:.1f} %")
    console.print(shown)
    console.print(f"expected accuracy {100 * service.accuracy:.2f} %; "
                  f"{100 * service.missed:.1f} % of the deadlines are missed")
