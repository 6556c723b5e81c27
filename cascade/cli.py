"""Command line of ``eyeriss-cascade``: parses arguments and prints, nothing else."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.deadlines.command import add_deadline
from eyeriss_sim.search import OBJECTIVES
from eyeriss_sim.terminal import (
    OneLineParser,
    add_plugin_option,
    progress,
    run_command,
    whole_number,
)
from eyeriss_sim.zero_handling import ZERO_HANDLINGS
from pruning.command_options import add_data_options, data_name, load_data, percent

if TYPE_CHECKING:
    from cascade.study import Study

# Where a ladder is not there yet: rungs of the pruning, mildest first.
RUNGS = {"resnet20": (0.7, 0.55, 0.45, 0.4), "resnet18": (0.4, 0.3, 0.2, 0.17),
         "vgg16": (0.3, 0.2, 0.15, 0.12)}
# Of two methods, of which the first takes channels: the energies after each.
RUNGS_OF_TWO = {
    "resnet20": ((0.7, 0.55), (0.7, 0.45), (0.7, 0.38), (0.6, 0.32), (0.6, 0.28)),
    "resnet18": ((0.6, 0.3), (0.6, 0.2), (0.6, 0.14)),
    "vgg16": ((0.6, 0.3), (0.6, 0.2), (0.6, 0.12))}
CLIMBING = "climbing.json"      # in a ladder, until all that it was asked for is there


def add_ladder_options(cmd: argparse.ArgumentParser) -> None:
    """Add the options that say which networks, on what."""
    from pruning.models import MODELS
    cmd.add_argument("--network", required=True, help=", ".join(MODELS))
    cmd.add_argument("--method", default="energy_aware", metavar="M",
                     help="a method of eyeriss-prune (default: energy_aware)")
    add_data_options(cmd)
    cmd.add_argument("--dense", metavar="FOLDER",
                     help="trained network (default: runs/NETWORK_dense_sSEED)")
    cmd.add_argument("--ladder", action="append", metavar="FOLDER",
                     help="folder of eyeriss-prune run; again to pool the levels of "
                          "several, also of other architectures (default: "
                          "runs/NETWORK_METHOD_sSEED; a single one is climbed first if "
                          "it is not there)")
    cmd.add_argument("--rung", action="append", metavar="Q=SHARE",
                     help="rung of a ladder that is climbed first: energy=0.4; of "
                          "channels and then weights: energy=0.7+energy=0.4")
    cmd.add_argument("--epochs", type=whole_number, default=3, metavar="N",
                     help="a rung that is climbed first (default: 3)")
    cmd.add_argument("--hardware", default="eap_tool", metavar="H",
                     help="machine that energies are of, also those of a ladder that "
                          "is climbed first (default: eap_tool)")
    cmd.add_argument("--batch", type=whole_number, default=1, metavar="N",
                     help="images that run together (default: 1); a ladder that is "
                          "climbed first is one of batch 1")
    # Not among choices, which would be looked at before plugins are run.
    cmd.add_argument("--zeros", metavar="HANDLING",
                     help=f"what zeros save here: {', '.join(ZERO_HANDLINGS)}, or one "
                          "of a plugin (default: the hardware's own)")
    cmd.add_argument("--bits", metavar="B|ifmap=B,...",
                     help="widths of the cascade's operands: 8, or "
                          "ifmap=8,filter=4,ofmap=8 (default: 16)")
    cmd.add_argument("--objective", choices=OBJECTIVES,
                     help="what the search of the cascade's mappings minimises "
                          "(default: the hardware's own)")
    cmd.add_argument("--seed", type=int, default=0, metavar="N")
    cmd.add_argument("--cache", metavar="FOLDER",
                     help="keeps outputs, selectors, costs (default: LADDER/cascade)")
    cmd.add_argument("--threads", type=whole_number, metavar="N",
                     help="cores to use (default: all)")


def add_build(commands: argparse._SubParsersAction) -> None:
    """``build``: one cascade, from a wish."""
    cmd = commands.add_parser(
        "build", help="choose levels, router and threshold; write one folder",
        epilog="All is chosen on 2,500 images set apart; the test images are looked at "
               "once, at the end.")
    add_ladder_options(cmd)
    wish = cmd.add_mutually_exclusive_group(required=True)
    wish.add_argument("--accuracy-loss", type=float, metavar="POINTS",
                      help="at most, below the dense network; the least energy wins")
    wish.add_argument("--energy", type=float, metavar="SHARE",
                      help="at most, of the dense network's; the best accuracy wins")
    cmd.add_argument("--no-test", action="store_true",
                     help="leave the test images alone")
    cmd.add_argument("--out", metavar="FOLDER",
                     help="(default: runs/NETWORK_METHOD_sSEED_cascade)")
    cmd.set_defaults(action=run_build)


def run_build(args: argparse.Namespace) -> None:
    from cascade.building import build
    from cascade.choose import check_wish
    from cascade.folder import check_folder
    from cascade.folder_study import PARTS
    from eyeriss_sim.atomic import only_writer_of
    check_wish(args.accuracy_loss, args.energy)
    out = args.out or f"runs/{args.network.lower()}_{args.method}_s{args.seed}_cascade"
    check_folder(out)
    with only_writer_of(out):
        study = study_of(args, PARTS[:2] if args.no_test else PARTS)
        with progress("pairs") as show:
            told = build(study, out, args.network, accuracy_loss=args.accuracy_loss,
                         energy=args.energy, data=args.data_name, progress=show)
    choice = told["choice"]
    names = [study.levels[level].name for level in choice.levels]
    worst_uJ, worst_ms = told["worst_uJ"], told["worst_ms"]
    print(" > ".join(reversed(names)) + "".join(
        f", router {router}, threshold {threshold:.4g}"
        for router, threshold in zip(choice.routers, choice.thresholds, strict=True)))
    if choice.thresholds and not told["choosing"]["share_mild"]:
        print(f"one network is enough: {names[0]} answers every image")
    for part in ("choosing", "test"):
        if part in told:
            print_part(part, told[part])
    rivals = ", ".join(f"{name} {energy:.3f}" for name, energy in sorted(
        told["rivals_choosing"].items(), key=lambda one: one[1]))
    print(textwrap.fill(f"energy at this accuracy (choosing): {rivals}", 100,
                        subsequent_indent="  "))
    if len(names) > 1:
        print(f"an image that goes through all {len(names)} networks, alone: "
              f"{worst_uJ:.2f} uJ, {worst_ms:.4f} ms")
    print(f"written: {out}\nenergies are shares of dense on {study.hardware}, batch "
          f"{args.batch}; accuracies are on {args.data_name}")


def print_part(part: str, told: dict) -> None:
    """One line of accuracy and energy."""
    print(f"{part:8}  accuracy {percent(told['accuracy'])} "
          f"(dense {percent(told['dense_accuracy'])})  energy {told['energy_rel']:.3f}"
          f"  latency {told['latency_rel']:.3f}"
          f"  mild answers {percent(told['share_mild'])}")


def add_run(commands: argparse._SubParsersAction) -> None:
    """``run FOLDER``: a cascade on the test images, image by image."""
    cmd = commands.add_parser(
        "run", help="route the test images through a cascade's folder")
    cmd.add_argument("folder", metavar="FOLDER")
    add_data_options(cmd)
    cmd.add_argument("--images", type=whole_number, metavar="N",
                     help="only the first (default: all)")
    cmd.add_argument("--out", metavar="FILE.csv",
                     help="prediction, route, score, uJ and ms of each image")
    cmd.add_argument("--threads", type=whole_number, metavar="N")
    cmd.set_defaults(action=run_run)


def run_run(args: argparse.Namespace) -> None:
    import pandas as pd

    from cascade.building import check_routed
    from cascade.stages import NEAR
    from eyeriss_sim.atomic import replacing
    from eyeriss_sim.result_files import check_output_path
    from pruning.records import read_json
    out = args.out and check_output_path(args.out, (".csv",))
    set_threads(args)
    splits = load_data(args)
    images = splits.normalise(splits.test.images[:args.images])
    labels = splits.test.labels[:args.images]
    with progress("images") as show:
        routed, differences = check_routed(args.folder, images, progress=show)
    right = float((routed.predictions == labels).double().mean())
    told = read_json(Path(args.folder) / "cascade.json")
    data = args.data_name or told.get("data") or "CIFAR-10"
    print(f"{len(images)} images: accuracy {percent(right)} on {data}\n"
          f"mild answers {percent(float(routed.routes.double().mean()))}; "
          f"{float(routed.uJ.mean()):.2f} uJ and {float(routed.ms.mean()):.4f} ms an "
          f"image on {told.get('hardware')}, at batch 1")
    print(f"{'all' if len(told.get('stages', ())) > 2 else 'both'} networks run on all "
          f"of them: {differences['predictions']} predictions "
          f"and {differences['routes']} routes differ, energy by "
          f"{differences['energy']:.1e}\n"
          f"in batches: {differences['together_predictions']} predictions and "
          f"{differences['together_routes']} routes differ; "
          f"{differences['near']} images have a score within {NEAR:g} of its threshold")
    built = told.get("test")
    if built and args.images is None:
        share = float(routed.routes.double().mean())
        print(f"beside what build counted: accuracy {right - built['accuracy']:+.4f}, "
              f"share {share - built['share_mild']:+.4f}, energy "
              f"{float(routed.uJ.mean()) / built['routed_uJ'] - 1:+.1e}")
    if out:
        # Where "mild", any stage but the first, does not say which one answered.
        further = {} if len(told.get("stages", ())) < 3 else {"stage": routed.stages}
        with replacing(out) as fresh:
            pd.DataFrame({
                "prediction": routed.predictions, "label": labels,
                "mild": routed.routes, "score": routed.scores, "uJ": routed.uJ,
                "ms": routed.ms, **further}).to_csv(fresh, index=False)


def add_export(commands: argparse._SubParsersAction) -> None:
    """``export FOLDER``: programs that run without this package."""
    cmd = commands.add_parser(
        "export", help="write a cascade as torch.export programs for batch 1",
        epilog="cascade.pt2 decides for itself (torch.cond); first.pt2, mild.pt2 and "
               "perhaps back.pt2 leave the choice to the caller.")
    cmd.add_argument("folder", metavar="FOLDER", help="a cascade that build wrote")
    cmd.add_argument("--out", required=True, metavar="FOLDER")
    add_plugin_option(cmd)
    cmd.set_defaults(action=run_export)


def run_export(args: argparse.Namespace) -> None:
    import torch

    from cascade.export import save_programs
    from cascade.folder import load_cascade
    from pruning.records import read_json
    net = load_cascade(args.folder)
    shape = read_json(Path(args.folder) / "cascade.json")["image_shape"]
    for path in save_programs(net, torch.zeros(1, *shape), args.out):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def add_bench(commands: argparse._SubParsersAction) -> None:
    """``bench``: all systems' curves of one ladder, or of several together."""
    cmd = commands.add_parser(
        "bench", help="accuracy against energy of cascades and all their rivals")
    add_ladder_options(cmd)
    cmd.add_argument("--out", default="cascade.png", metavar="FILE.png",
                     help="figure; its table goes beside it as .csv "
                          "(default: cascade.png)")
    cmd.set_defaults(action=run_bench)


def run_bench(args: argparse.Namespace) -> None:
    from eyeriss_sim.atomic import only_writer_of
    from eyeriss_sim.result_files import check_output_path
    out = check_output_path(args.out, (".png",))
    with only_writer_of(out):
        write_bench(args, out)


def write_bench(args: argparse.Namespace, out: Path) -> None:
    """All that ``bench`` works out, writes and prints."""
    from cascade.bench import (
        curves,
        enter,
        learned_against_free,
        network_table,
        verdicts,
    )
    from cascade.figures import draw
    from cascade.report import print_learned_against_free, print_verdicts
    from eyeriss_sim.atomic import replacing
    from pruning.progress import telling
    with progress("pairs") as show:
        study = study_of(args)
        entrant = enter(study, args.network, args.method, args.seed, show)
    with telling(True) as tell:
        tell("drawing images again, for intervals")
        table, judged = curves(entrant, "test"), verdicts([entrant])
        learned = learned_against_free([entrant])
    with replacing(out.with_suffix(".csv")) as fresh:
        table.to_csv(fresh, index=False, float_format="%.6g")
    networks = out.with_name(f"{out.stem}_networks.csv")
    with replacing(networks) as fresh:
        network_table(study).to_csv(fresh, index=False, float_format="%.6g")
    with replacing(out) as fresh:
        draw(table, f"{args.network}, {args.method}", args.data_name).savefig(
            fresh, format="png", dpi=130)
    print_verdicts(judged)
    print_learned_against_free(learned)
    print(f"written: {out}, {out.with_suffix('.csv')}, and {networks} for eyeriss-"
          f"cascade deadline;\naccuracies are on test images of {args.data_name}")


def study_of(args: argparse.Namespace, parts: Sequence[str] | None = None) -> "Study":
    """The study that a command's options describe."""
    from cascade.folder_study import PARTS, folder_study
    from cascade.oracles import as_oracle
    from eyeriss_sim.oracle import EnergyOracle
    from eyeriss_sim.widths import BITS_16
    from pruning.models import MODELS
    from pruning.progress import telling
    args.network, args.data_name = args.network.lower(), data_name(args)
    MODELS.find(args.network)           # says which there are
    # What is wrong with it is told before hours of pruning.
    oracle = as_oracle(EnergyOracle(
        args.hardware, args.zeros, args.batch, objective=args.objective,
        bits=BITS_16 if args.bits is None else args.bits))
    set_threads(args)
    dense_folder = args.dense or f"runs/{args.network}_dense_s{args.seed}"
    ladders = [Path(one) for one in args.ladder or (
        f"runs/{args.network}_{args.method}_s{args.seed}",)]
    folders = {rung: rung_folder(rung, args.method) for rung in args.rung or ()}
    if len(ladders) == 1:
        ladder = ladders[0]
        if (ladder / CLIMBING).exists() or not list(ladder.glob("*/metrics.json")):
            climb_first(args, dense_folder, ladder)
    elif folders:
        raise ValueError(f"--rung {next(iter(folders))}: of {len(ladders)} ladders "
                         "none is climbed first; eyeriss-prune run adds rungs to one")
    for place in sorted(one for ladder in ladders for one in ladder.glob("*/training")):
        if not (place.parent / "metrics.json").exists():
            print(f"{place.parent} is not finished and left out; the eyeriss-prune run "
                  "that began it goes on with it", file=sys.stderr)
    for rung, name in folders.items():
        if not (ladders[0] / name / "metrics.json").exists():
            raise ValueError(f"--rung {rung}: the ladder {ladders[0]} is there without "
                             "it; eyeriss-prune run adds rungs to a ladder")
    with telling(True) as tell:
        return folder_study(
            args.network, dense_folder, ladders, load_data(args), oracle,
            cache=args.cache, parts=parts or PARTS, progress=tell)


def rung_folder(rung: str, method: str) -> str:
    """Name of the folder of a rung that ``--rung`` asks for."""
    from pruning.ladder import Rung
    from pruning.targets import parse_target
    targets = tuple(map(parse_target, rung.split("+")))
    methods = method.count("+") + 1
    if len(targets) != methods:
        raise ValueError(f"--rung {rung}: {method} needs {methods}, as "
                         + "+".join(["energy=0.5"] * methods))
    return Rung(targets).name


def default_rungs(network: str, method: str) -> list[str]:
    """Rungs of a ladder of which none were asked for, mildest first.

    Examples
    --------
    >>> default_rungs("vgg16", "channels+energy_aware")[0]
    'energy=0.6+energy=0.3'
    """
    count = method.count("+") + 1
    if count > 2:
        raise ValueError(f"--method {method}: name its rungs, as --rung "
                         + "+".join(["energy=0.5"] * count))
    known = RUNGS if count == 1 else RUNGS_OF_TWO
    if network not in known:
        raise ValueError(f"{network} has no rungs of its own; name those to climb, as "
                         "--rung " + "+".join(["energy=0.5"] * count))
    shares = known[network]
    return ["+".join(f"energy={share}" for share in (
        one if isinstance(one, tuple) else (one,))) for one in shares]


def climb_first(args: argparse.Namespace, dense: str, ladder: Path) -> None:
    """Prune the ladder that is not there yet, or go on where that was stopped.

    What it was asked for stays in the ladder until all of it is there.
    """
    from pruning.cli import main as eyeriss_prune
    from pruning.records import read_json, write_json
    asked = ladder / CLIMBING
    rungs = args.rung or (read_json(asked)["rungs"] if asked.exists()
                          else default_rungs(args.network, args.method))
    threads = ["--threads", str(args.threads)] if args.threads else []
    made = [one for one in (ladder, *ladder.parents) if not one.exists()]
    noted = asked.read_text(encoding="utf-8") if asked.exists() else None
    before = set(ladder.rglob("*.safetensors"))
    ladder.mkdir(parents=True, exist_ok=True)
    write_json(asked, {"rungs": rungs})
    try:
        eyeriss_prune([
            "run", "--network", args.network, "--method", args.method, "--data",
            args.data, "--dataset", args.dataset,
            *(["--download"] if args.download else []), "--data-name",
            args.data_name, "--dense", str(dense), "--out",
            str(ladder), "--seed", str(args.seed), "--epochs", str(args.epochs),
            "--hardware", args.hardware, "--no-test", *threads,
            *(word for rung in rungs for word in ("--target", rung))])
        asked.unlink()
    finally:
        if set(ladder.rglob("*.safetensors")) == before and asked.exists():
            # Refused before anything began: the next one is not asked for its rungs.
            if noted is None:
                asked.unlink()
            else:
                asked.write_text(noted, encoding="utf-8")
            for one in made:
                if not any(one.iterdir()):
                    one.rmdir()


def set_threads(args: argparse.Namespace) -> None:
    """Cores to use."""
    if args.threads:
        import torch
        torch.set_num_threads(args.threads)


# A new one: add_* and an entry here.
COMMANDS = (add_build, add_run, add_export, add_bench, add_deadline)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; returns nothing, exits with 2 on wrong input."""
    parser = OneLineParser(
        prog="eyeriss-cascade",
        description="The cheapest pruned network that still gets the image right.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in COMMANDS:
        add(commands)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
