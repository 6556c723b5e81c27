"""The command ``table``: latency and energy of many layer shapes."""

import argparse
import sys
import time

from eyeriss_sim.search import OBJECTIVES
from eyeriss_sim.terminal import (
    add_plugin_option,
    announced_compilation,
    make_console,
    progress,
    whole_number,
)


def add_table(commands):
    """``table SHAPES.csv``: a look-up table."""
    cmd = commands.add_parser(
        "table", help="latency and energy of many layer shapes, as one Parquet file",
        epilog="columns of SHAPES.csv: M,C,H,W,R,S and, where wanted, N,U,V,groups,"
               "dilation,padding,steps,ifmap_bits,filter_bits,ofmap_bits",
        formatter_class=argparse.HelpFormatter)
    cmd.add_argument("shapes", metavar="SHAPES.csv", help="a row for each shape")
    cmd.add_argument("--hardware", default="eyeriss_chip", metavar="H",
                     help="a preset or a .toml file (default: eyeriss_chip)")
    cmd.add_argument("--objective", choices=OBJECTIVES,
                     help="what each search minimises (default: the hardware's own)")
    cmd.add_argument("--bits", metavar="B|ifmap=B,...",
                     help="widths of the operands where the file says none "
                          "(default: 16)")
    cmd.add_argument("--out", default="lut.parquet", metavar="FILE.parquet",
                     help="(default: lut.parquet)")
    cmd.add_argument("--jobs", type=whole_number, metavar="J",
                     help="processes (default: one for each core)")
    add_plugin_option(cmd)
    cmd.set_defaults(action=run_table)


def run_table(args):
    from eyeriss_sim.hardware import load_hardware
    from eyeriss_sim.layer import ConvLayer
    from eyeriss_sim.lookup.table import evaluate_shapes, lookup_table
    from eyeriss_sim.result_files import check_output_path
    from eyeriss_sim.widths import BITS_16
    check_output_path(args.out, (".parquet",))
    hardware = load_hardware(args.hardware)
    with announced_compilation():
        smallest = ConvLayer(name="warm-up", M=1, C=1, H=1, W=1, R=1, S=1)
        evaluate_shapes([(smallest, BITS_16)], hardware, args.objective)
    start = time.monotonic()
    with progress("shapes") as show:
        rows = lookup_table(
            args.shapes, hardware, args.objective, bits=args.bits, out=args.out,
            jobs=args.jobs, progress=show,
            stopping=lambda: print("finishing the chunks in flight; Ctrl-C again gives "
                                   "them up", file=sys.stderr, flush=True))
    took = time.monotonic() - start
    make_console().print(
        f"{rows:,} distinct shapes on {hardware.name}, mappings searched for "
        f"{args.objective}, in {args.out}; {took:.1f} s", soft_wrap=True)
