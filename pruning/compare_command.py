"""``eyeriss-prune compare``: results beside each other, as a table and a figure."""

import argparse
from pathlib import Path

from eyeriss_sim.terminal import add_plugin_option


def add_compare(commands: argparse._SubParsersAction) -> None:
    """``compare A B C``: accuracy against energy of results."""
    cmd = commands.add_parser("compare", help="results beside each other, as a figure")
    cmd.add_argument("folders", nargs="+", metavar="FOLDER",
                     help="a result, or a folder with results in it")
    cmd.add_argument("--out", default="compare.png", metavar="FILE.png",
                     help="figure; its table goes beside it as .csv "
                          "(default: compare.png)")
    add_plugin_option(cmd)
    cmd.set_defaults(action=run_compare)


def run_compare(args: argparse.Namespace) -> None:
    from eyeriss_sim.atomic import replacing
    from eyeriss_sim.result_files import check_output_path
    from pruning.compare import collect, draw, print_table
    out = check_output_path(Path(args.out), (".png",))
    table = collect(args.folders)
    with replacing(out.with_suffix(".csv")) as fresh:
        table.to_csv(fresh, index=False)
    with replacing(out) as fresh:
        draw(table).savefig(fresh, format="png", dpi=130)
    print_table(table)
    print(f"written: {out} and {out.with_suffix('.csv')}")
