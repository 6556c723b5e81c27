"""The commands of sweeps: ``sweep``, ``pareto`` and ``heatmap``."""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeriss_sim.labels import field_text
from eyeriss_sim.search import OBJECTIVES
from eyeriss_sim.sweep.axes import BATCH, OBJECTIVE
from eyeriss_sim.terminal import (
    announced_compilation,
    make_console,
    progress,
    shape,
    whole_number,
    zeros_known,
)
from eyeriss_sim.zero_handling import ZERO_HANDLINGS

if TYPE_CHECKING:
    from rich.console import Console

    from eyeriss_sim.sweep.front import Points, Within
    from eyeriss_sim.sweep.spec import Spec

MOST_LISTED = 40
FIGURE_FORMATS = (".png", ".svg", ".pdf")
# Rows named at the end of a sweep: the least of each, and the objective whose search
# looks for it.
OF_INTEREST = {"total_uJ": "joules", "total_ms": "cycles", "area_mm2": ""}


def setting(text: str) -> tuple[str, Any]:
    """An option that varies a field: rows=8:32:4."""
    name, equals, values = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(
            f"must be FIELD=VALUES, as in rows=8:32:4, got {text!r}")
    return name.strip(), values


def add_sweep(commands: argparse._SubParsersAction) -> None:
    """``sweep [SPEC.toml]``: many machines x networks."""
    cmd = commands.add_parser(
        "sweep", help="many machines x networks, into one Parquet dataset",
        epilog="options add to what SPEC.toml says, or replace it")
    cmd.add_argument("spec", nargs="?", metavar="SPEC.toml",
                     help="hardware, networks, [set], [sample], [constraints]")
    cmd.add_argument("--set", type=setting, action="append", default=[],
                     metavar="FIELD=VALUES", dest="axes",
                     help="vary a hardware field or the batch: rows=8:32:4, "
                          "cols=8:64:x2, glb_KB=32,64,108")
    cmd.add_argument("--network", action="append", default=[], dest="networks",
                     metavar="NETWORK",
                     help="run this one; may be repeated")
    cmd.add_argument("--batch", metavar="N,...", help="short for --set batch=N,...")
    cmd.add_argument("--input", type=shape, metavar="N,C,H,W",
                     help="input shape of torch modules")
    cmd.add_argument("--hardware", metavar="H",
                     help="start from this preset or .toml (default: eyeriss_chip)")
    cmd.add_argument("--objective", metavar="OBJ,...",
                     help=f"what each search minimises: {', '.join(OBJECTIVES)}; with "
                          "several, every machine is a point under each (default: the "
                          "hardware's own)")
    cmd.add_argument("--bits", metavar="B|ifmap=B,...",
                     help="widths of the operands: 8, or ifmap=8,filter=4,ofmap=8 "
                          "(default: 16)")
    cmd.add_argument("--price-by-size", action=argparse.BooleanOptionalAction,
                     help="let a word of a larger memory cost more (default: where "
                          "sizes are varied)")
    cmd.add_argument("--sample", type=whole_number, metavar="K",
                     help="run K points of the cross product")
    cmd.add_argument("--sampling", choices=("sobol", "random", "optimize"),
                     help="how to choose them; optimize looks for the least of "
                          "--minimize within the limits below (default: sobol)")
    cmd.add_argument("--minimize", metavar="COLUMN",
                     help="with --sampling optimize: a figure (default: total_uJ)")
    cmd.add_argument("--seed", type=int, metavar="S", help="of the sample (default: 0)")
    cmd.add_argument("--equal-storage-area", metavar="H|MM2",
                     help="the GLB gets what the RFs leave of a hardware's storage "
                          "area (ISCA 2016, Eq. 2), or of so many mm2")
    cmd.add_argument("--equal-area", metavar="H|MM2",
                     help="the same with the area of the PEs")
    cmd.add_argument("--max-area", metavar="MM2", help="refuse larger machines")
    cmd.add_argument("--max-power", metavar="MW",
                     help="refuse machines whose chip takes more")
    add_limits(cmd, "the least rows")
    cmd.add_argument("--layers", action="store_true", default=None,
                     help="a row for each layer as well")
    cmd.add_argument("--out", metavar="RESULTS",
                     help="folder of the dataset (default: SPEC-sweep, or sweep)")
    cmd.add_argument("--jobs", type=whole_number, metavar="J",
                     help="processes (default: one for each core)")
    cmd.add_argument("--scheduler", metavar="tcp://HOST:PORT",
                     help="run on the workers of this Dask scheduler")
    cmd.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True,
                     help="go on with results that are there (default: yes)")
    cmd.set_defaults(action=run_sweep_command)


def run_sweep_command(args: argparse.Namespace) -> None:
    from eyeriss_sim.sweep.evaluate import evaluate_base
    from eyeriss_sim.sweep.run import run_sweep
    spec = spec_of(args)
    folder = args.out or (f"{Path(args.spec).stem}-sweep" if args.spec else "sweep")
    with announced_compilation():
        evaluate_base(spec)
    start = time.monotonic()
    with progress("points") as show:
        ran = run_sweep(spec, folder, args.jobs, args.scheduler, args.resume, show,
                        lambda: print("finishing the chunks in flight; Ctrl-C again "
                                      "gives them up", file=sys.stderr, flush=True))
    took = time.monotonic() - start
    networks = ", ".join(spec.names)
    console = make_console()
    said = f"{spec.points:,} points x {networks} in {folder}"
    if ran:
        said += f"; {ran:,} run now in {took:.1f} s, {ran / took:,.0f} a second"
    else:
        said += "; nothing was left to run"
    console.print(said)
    within = within_of(args)
    if spec.generations and spec.sample:
        from eyeriss_sim.sweep.front import Within
        within = Within(**spec.sample.limits)
    print_best(folder, spec, within, console)
    say_zeros(spec, console)


def say_zeros(spec: "Spec", console: "Console") -> None:
    """One line if the zeros of fmaps were asked to save something: a sweep has none."""
    asked = [zeros for axis in spec.axes if axis.field == "zeros"
             for zeros in axis.values if zeros != "dense"]
    if asked:
        weights = any(ZERO_HANDLINGS[one].counts_weights for one in asked) and any(
            one.filter != 1 for of_layers in spec.densities.values()
            for one in of_layers.values())
        console.print(f"zeros={','.join(asked)}: {zeros_known(weights)}; simulate "
                      "takes --densities", soft_wrap=True)


def _given(**options):
    """The options that are given."""
    return {key: value for key, value in options.items() if value is not None}


def spec_of(args: argparse.Namespace) -> "Spec":
    """The Spec that file and options ask for."""
    from eyeriss_sim.sweep.spec import make_spec, read_spec
    tables = read_spec(args.spec) if args.spec else {}
    axes = dict(tables.get("set", {}))
    axes.update(args.axes)
    if args.batch is not None:
        axes[BATCH] = args.batch
    if args.objective is not None:
        axes[OBJECTIVE] = args.objective
    sample = dict(tables.get("sample", {})) | _given(
        points=args.sample, method=args.sampling, seed=args.seed,
        minimize=args.minimize)
    if sample.get("method") == "optimize":
        sample |= _given(max_latency_ms=args.most_total_ms,
                         max_energy_uJ=args.most_total_uJ)
    constraints = dict(tables.get("constraints", {})) | _given(
        equal_storage_area=args.equal_storage_area, equal_area=args.equal_area,
        max_area_mm2=args.max_area, max_power_mW=args.max_power)
    return make_spec(
        args.networks or tables.get("networks"), axes,
        args.hardware or tables.get("hardware", "eyeriss_chip"),
        objective=tables.get("objective"),
        sample=sample, constraints=constraints,
        layers=tables.get("layers", False) if args.layers is None else args.layers,
        bits=tables.get("bits") if args.bits is None else args.bits,
        price_by_size=tables.get("price_by_size") if args.price_by_size is None
        else args.price_by_size,
        input_shape=args.input or tables.get("input_shape"))


def print_best(folder: str | Path, spec: "Spec", within: "Within",
               console: "Console") -> None:
    """The points with the least energy, time and area, beside the chip's own.

    Each is of the rows that were searched for it, where the sweep has them; the table
    says for what they were.
    """
    from eyeriss_sim.sweep.front import read_points
    batch = min(batch for _, batch in spec.networks)
    read, rows, of_interest = {}, [], dict(OF_INTEREST)
    if spec.generations and spec.sample:
        of_interest.setdefault(spec.sample.minimize, "")
    for column, wanted in of_interest.items():
        objective = wanted if wanted in spec.objectives else spec.objective
        if objective not in read:
            try:
                read[objective] = read_points(folder, of_interest, None, batch,
                                              objective, within)
            except ValueError as problem:
                console.print(str(problem))
                return
        table = read[objective].table
        rows.append((f"least {column}", table.loc[table[column].idxmin()]))
    rows += [(points.hardware, points.base) for points in read.values()
             if points.base is not None]
    points = read[spec.objective] if spec.objective in read else next(
        iter(read.values()))
    console.print(f"{' + '.join(points.networks)}, batch {batch}:")
    print_rows(points, rows, of_interest, console, searched_for=True)
    print_about(points, within, console)


def print_about(points: "Points", within: "Within", console: "Console") -> None:
    """Print notes on the points of a table or figure that its reader should know."""
    if within.limits:
        every = len(points.table) + len(points.beyond)
        console.print(f"{len(points.table):,} of {every:,} points keep to {within}, "
                      f"{' + '.join(points.networks)} together at batch {points.batch}")
    if points.base is not None and points.outside:
        said = ", ".join(f"{field} {own_text(points.base[field])}"
                         for field in points.outside)
        console.print(f"{points.hardware} is no point of this grid: {said}")
    print_refused(points, console)


def own_text(value: Any) -> str:
    """A field of the hardware, which may have no value of its own: null is NaN then."""
    from pandas import isna
    return "none" if isna(value) else field_text(value)


def add_limits(cmd: argparse.ArgumentParser, what: str) -> None:
    """Limits on what a command shows; rows beyond them stay in the data."""
    for option, column, metavar in (("--max-latency-ms", "total_ms", "MS"),
                                    ("--max-energy-uJ", "total_uJ", "UJ")):
        cmd.add_argument(option, dest=f"most_{column}", type=positive, metavar=metavar,
                         help=f"{what} keep to {column} of at most this, the networks "
                              "added up, the whole batch")


def positive(text: str) -> float:
    """An option that is a positive number."""
    from math import isfinite
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return value


def within_of(args: argparse.Namespace) -> "Within":
    """The limits of ``add_limits``."""
    from eyeriss_sim.sweep.front import Within
    return Within(args.most_total_ms, args.most_total_uJ)


def print_refused(points: "Points", console: "Console") -> None:
    """Print how many points have a reason instead of figures, and the first reason."""
    if len(points.refused):
        console.print(f"{len(points.refused):,} points have a reason instead; the "
                      f"first: {points.refused.reason.iloc[0]}")


def print_rows(points: "Points", rows: list, figures: Iterable[str], console: "Console",
               searched_for: bool = False) -> None:
    """A table of (name, point): fields, then figures in four digits."""
    from rich import box
    from rich.table import Table
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False, show_edge=False)
    named = any(name for name, _ in rows)
    if named:
        table.add_column("")
    for column in (*points.fields, *figures):
        table.add_column(column.replace(".", ".\n"), justify="right", overflow="fold")
    if searched_for:
        table.add_column("searched for")
    for name, row in rows:
        cells = [own_text(row[field]) for field in points.fields]
        cells += [f"{row[column]:,.4g}" if abs(row[column]) < 1e4
                  else f"{row[column]:,.0f}" for column in figures]
        cells += [row["objective"]] * searched_for
        table.add_row(*([name] if named else []), *cells)
    console.print(table)


def add_reading_options(cmd: argparse.ArgumentParser, default: str) -> None:
    """Add the options that commands which read a sweep have in common."""
    cmd.add_argument("results", metavar="RESULTS", help="folder of a sweep")
    cmd.add_argument("--network", help="one of the sweep's (default: all, added up)")
    cmd.add_argument("--batch", type=whole_number, metavar="N",
                     help="one of the sweep's batches")
    cmd.add_argument("--objective", choices=OBJECTIVES,
                     help="one of the sweep's objectives")
    add_limits(cmd, "points shown")
    cmd.add_argument("--out", metavar="FILE", action="append", default=[],
                     help=f"figure, .png .svg .pdf, or .csv (default: {default})")


def add_pareto(commands: argparse._SubParsersAction) -> None:
    """``pareto RESULTS``: the points that nobody beats."""
    cmd = commands.add_parser(
        "pareto", help="the Pareto front of a sweep as table and figure")
    add_reading_options(cmd, "RESULTS-pareto.png")
    cmd.add_argument("--x", default="total_uJ", metavar="COLUMN",
                     help="a figure, or a field (default: total_uJ)")
    cmd.add_argument("--y", default="total_ms", metavar="COLUMN",
                     help="another (default: total_ms)")
    cmd.add_argument("--area", action="store_true",
                     help="area_mm2 counts too: a front of three figures")
    cmd.set_defaults(action=run_pareto)


def run_pareto(args: argparse.Namespace) -> None:
    from eyeriss_sim.sweep.front import pareto_front, read_points
    outs = outputs(args, "pareto")
    figures = [args.x, args.y, *(["area_mm2"] if args.area else [])]
    if len(set(figures)) < len(figures):
        raise ValueError(f"a front has different figures, got {', '.join(figures)}")
    points = read_points(args.results, figures, args.network, args.batch,
                         args.objective, within_of(args))
    front = pareto_front(points.table, figures)
    for path in outs:
        if path.suffix == ".csv":
            write_csv(front, path)
        else:
            from eyeriss_sim.plots import save_figure
            from eyeriss_sim.sweep.figures import front_figure
            save_figure(front_figure(points, front, args.x, args.y, args.area), path)
    console = make_console()
    console.print(f"{points.title}: {len(front):,} of {len(points.table):,} points "
                  f"are on the front")
    # Numbered as in the figure.
    rows = [(str(place + 1), row)
            for place, (_, row) in enumerate(front.head(MOST_LISTED).iterrows())]
    if points.base is not None:
        rows.append((points.hardware, points.base))
    print_rows(points, rows, figures, console)
    if len(front) > MOST_LISTED:
        console.print(f"{len(front) - MOST_LISTED} more; all with --out front.csv")
    close_reading(points, within_of(args), outs, console)


def add_heatmap(commands: argparse._SubParsersAction) -> None:
    """``heatmap RESULTS``: one figure over two fields."""
    cmd = commands.add_parser(
        "heatmap", help="a figure of a sweep over two of its fields")
    add_reading_options(cmd, "RESULTS-heatmap.png")
    cmd.add_argument("--x", default="cols", metavar="FIELD",
                     help="also pes, storage_B (default: cols)")
    cmd.add_argument("--y", default="rows", metavar="FIELD",
                     help="also pes, storage_B (default: rows)")
    cmd.add_argument("--value", default="total_uJ", metavar="COLUMN",
                     help="a figure (default: total_uJ)")
    cmd.set_defaults(action=run_heatmap)


def run_heatmap(args: argparse.Namespace) -> None:
    from eyeriss_sim.sweep.front import (
        BETTER_LARGE,
        DERIVED_AXES,
        best_over,
        check_fields,
        read_points,
    )
    outs = outputs(args, "heatmap")
    check_fields(args.x, args.y)
    derived = [field for field in DERIVED_AXES if field in (args.x, args.y)]
    points = read_points(args.results, [args.value, *derived], args.network, args.batch,
                         args.objective, within_of(args))
    best, asked = best_over(points, args.x, args.y, args.value)
    for path in outs:
        if path.suffix == ".csv":
            write_csv(best.reset_index(), path)
        else:
            from eyeriss_sim.plots import save_figure
            from eyeriss_sim.sweep.figures import heatmap_figure
            save_figure(heatmap_figure(points, best, asked, args.value), path)
    console = make_console()
    console.print(f"{points.title}: {args.value} over {args.x} and {args.y}")
    column = points.table[args.value]
    large = args.value in BETTER_LARGE
    rows = [("best", points.table.loc[column.idxmax() if large else column.idxmin()]),
            ("worst", points.table.loc[column.idxmin() if large else column.idxmax()])]
    if points.base is not None:
        rows.append((points.hardware, points.base))
    print_rows(points, rows, [args.value], console)
    close_reading(points, within_of(args), outs, console)


def close_reading(points: "Points", within: "Within", outs: Sequence,
                  console: "Console") -> None:
    """Print what every reader of a figure should know, and where the figure is."""
    print_about(points, within, console)
    if not points.complete:
        console.print("the sweep is not complete; run its command again to go on")
    console.print(f"written: {', '.join(map(str, outs))}", soft_wrap=True)


def outputs(args: argparse.Namespace, kind: str) -> list[Path]:
    """Checked paths to write to, before any work is done."""
    from eyeriss_sim.result_files import check_output_path
    folder = Path(args.results)
    if not folder.name:         # "." and "..": beside the folder that they stand for
        folder = folder.resolve()
    return [check_output_path(path, (*FIGURE_FORMATS, ".csv")) for path in
            args.out or [folder.with_name(f"{folder.resolve().name}-{kind}.png")]]


def write_csv(table: Any, path: str | Path) -> None:
    """Write a table; an old file is replaced whole."""
    from eyeriss_sim.atomic import replacing
    with replacing(path) as fresh:
        table.to_csv(fresh, index=False, lineterminator="\n")
