"""The command ``hardware``: presets, one of them as a file, and the fields of one."""

import argparse
import sys

from rich.console import Console

from eyeriss_sim.hardware import load_hardware, preset_names
from eyeriss_sim.terminal import add_plugin_option, make_console


def add_hardware(commands: argparse._SubParsersAction) -> None:
    """``hardware [NAME]``: what a hardware file may say, and what a preset says."""
    cmd = commands.add_parser(
        "hardware", help="print a preset as a complete file, or what a file may say",
        epilog="without any option: a line for each preset")
    cmd.add_argument("hardware", nargs="?", metavar="H",
                     help="a preset or a .toml file, printed with all that it extends")
    cmd.add_argument("--fields", action="store_true",
                     help="every field of a hardware file: unit, default, meaning")
    add_plugin_option(cmd)
    cmd.set_defaults(action=run_hardware)


def run_hardware(args: argparse.Namespace) -> None:
    if args.fields and args.hardware:
        raise ValueError("--fields are the same for every hardware; leave "
                         f"{args.hardware} out")
    if args.fields:
        print_fields(make_console())
    elif args.hardware:
        from eyeriss_sim.hardware_toml import toml_text
        sys.stdout.write(toml_text(load_hardware(args.hardware)))
    else:
        print_presets(make_console())


def print_fields(console: Console) -> None:
    """All fields, table by table."""
    from rich.table import Table

    from eyeriss_sim.hardware_fields import FIELDS, TABLES, TOP_FIELDS
    from eyeriss_sim.hardware_toml import default_text, meaning_text, read_by
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for column in ("key", "unit", "default", "read by", "meaning"):
        table.add_column(column, overflow="fold")
    for section in ("", *TABLES):
        if section:
            table.add_row("")
            table.add_row(f"[{section}]")
        for field in TOP_FIELDS if not section else FIELDS:
            if field.table == section:
                table.add_row(field.key, " ".join(field.units), default_text(field),
                              read_by(field), meaning_text(field))
    console.print(table)
    console.print("Where a key ends in a unit, those after the first may stand in its "
                  "place (glb.ifmap_psum_KB). In --set the key is enough where one "
                  "table has it: rows=8,16; else TABLE.KEY: spad_words.filter=64,128.")


def print_presets(console: Console) -> None:
    """A line for each preset."""
    from rich.table import Table
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for column in ("preset", "accounting", "PEs", "GLB (KB)", "zeros"):
        table.add_column(column, justify="right" if column in ("PEs", "GLB (KB)")
                         else "left")
    for name in preset_names():
        one = load_hardware(name)
        table.add_row(name, one.accounting, f"{one.rows} x {one.cols}",
                      f"{one.glb_ifmap_psum_B / 1024:g}", one.zeros)
    console.print(table)
    console.print("One of them as a file: eyeriss-sim hardware "
                  f"{preset_names()[0]}; all fields: eyeriss-sim hardware --fields")
