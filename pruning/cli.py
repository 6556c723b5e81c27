"""Command line of ``eyeriss-prune``: parses arguments and prints, nothing else."""

import argparse
import math

from eyeriss_sim.terminal import (
    OneLineParser, add_plugin_option, progress, run_command, whole_number)

MOST_THREADS = 1024


def add_train(commands):
    """``train NETWORK``: a dense network, into a result folder."""
    from pruning.models import MODELS
    from pruning.recipe import OPTIMIZERS, PRECISIONS
    cmd = commands.add_parser(
        "train", help="train a dense network",
        epilog="Killed at any time, the same command goes on after the last whole "
               "epoch. Numbers not given are those of the network's own recipe.")
    cmd.add_argument("network", help=", ".join(MODELS))
    add_data_options(cmd)
    cmd.add_argument("--out", metavar="FOLDER",
                     help="result folder (default: runs/NETWORK_dense_sSEED)")
    cmd.add_argument("--epochs", type=whole_number, metavar="N")
    cmd.add_argument("--seed", type=int, metavar="N", help="(default: 0)")
    cmd.add_argument("--optimizer", choices=OPTIMIZERS)
    cmd.add_argument("--lr", type=float, metavar="X",
                     help="learning rate at the top of its one cycle")
    cmd.add_argument("--momentum", type=float, metavar="X")
    cmd.add_argument("--weight-decay", type=float, metavar="X")
    cmd.add_argument("--batch", type=whole_number, metavar="N", help="images of a step")
    cmd.add_argument("--label-smoothing", type=float, metavar="X")
    cmd.add_argument("--warm-up", type=float, metavar="SHARE",
                     help="share of the steps in which the learning rate rises")
    cmd.add_argument("--ema", type=float, metavar="DECAY",
                     help="keep a moving average of the weights")
    cmd.add_argument("--crop", type=int, metavar="PIXELS",
                     help="how far a crop moves an image at most")
    cmd.add_argument("--cutout", type=int, metavar="PIXELS",
                     help="side of the square that is blanked in each image")
    cmd.add_argument("--no-augment", dest="augment", action="store_const", const=False,
                     help="neither flip, crop nor cutout")
    cmd.add_argument("--precision", choices=PRECISIONS,
                     help="float32 for CPUs that have no bfloat16 instructions")
    cmd.add_argument("--no-test", action="store_true",
                     help="leave the test images alone, to choose something first")
    add_machine_options(cmd)
    cmd.set_defaults(action=run_train)


def add_data_options(cmd):
    """Which images, and where they are, for every command that needs some."""
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


def add_machine_options(cmd):
    """Options for the device and the cores that a command computes on."""
    cmd.add_argument("--device", metavar="D",
                     help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    cmd.add_argument("--threads", type=whole_number, metavar="N",
                     help="cores to use on the CPU (default: all)")


def run_train(args):
    from pruning.dense import recipe_for, train_dense
    from pruning.recipe import Recipe
    args.network = args.network.lower()
    recipe = recipe_for(args.network, args.dataset, **{
        key: getattr(args, key, None) for key in Recipe.__dataclass_fields__})
    choose_machine(args)
    folder = args.out or f"runs/{args.network}_dense_s{recipe.seed}"
    check_is_no_file(folder)
    splits = load_data(args)
    _, metrics = train_dense(
        args.network, splits, recipe, folder, data_name=data_name(args),
        test=not args.no_test, device=args.device)
    print(f"{args.network}, {recipe.epochs} epochs, seed {recipe.seed}, on "
          f"{data_name(args)}: choosing {percent(metrics['choosing_accuracy'])}, test "
          f"{percent(metrics['test_accuracy'])}; {metrics['wall_minutes']:.1f} min, "
          f"{metrics['cpu_minutes']:.1f} CPU min; in {folder}")


def add_run(commands):
    """``run``: prune a trained network, rung by rung, into result folders."""
    from pruning.controls import CONTROLS
    from pruning.dense import RUNG_DISTIL
    from pruning.methods import METHODS
    from pruning.models import MODELS
    from pruning.schedules import SCHEDULES
    cmd = commands.add_parser(
        "run", help="prune a network of the collection",
        epilog="Several targets are a ladder: each rung is pruned from the one before. "
               "Killed at any time, the same command goes on; rungs that are finished "
               "are only read. Methods: " + ", ".join(METHODS)
               + "; or channels+METHOD, with targets as energy=0.8+energy=0.5: rungs "
               "of the same first target share its channels.")
    cmd.add_argument("--network", required=True, help=", ".join(MODELS))
    cmd.add_argument("--method", required=True, metavar="M")
    cmd.add_argument("--target", action="append", default=[], metavar="Q=SHARE",
                     help="energy=0.5, density=, macs=, params=; again for a ladder")
    cmd.add_argument("--option", action="append", default=[], metavar="KEY=VALUE",
                     help="of the method: support=2; of one of two: "
                          "channels.per_energy=false")
    add_data_options(cmd)
    cmd.add_argument("--dense", metavar="FOLDER",
                     help="trained network (default: runs/NETWORK_dense_sSEED)")
    cmd.add_argument("--out", metavar="FOLDER",
                     help="gets a folder a rung (default: runs/NETWORK_METHOD_sSEED)")
    cmd.add_argument("--hardware", default="eap_tool", metavar="H",
                     help="that energies are of (default: eap_tool)")
    cmd.add_argument("--images", type=whole_number, default=1, metavar="N",
                     help="batch of the energy (default: 1)")
    cmd.add_argument("--report", action="append", default=[], metavar="H[@N]",
                     help="further hardware, at a batch of N, that results tell their "
                          "energies on: mine.toml, eyeriss_chip@4 (always: eap_tool, "
                          "eyeriss_chip and dense at batch 1 and 16)")
    cmd.add_argument("--epochs", type=whole_number, default=3, metavar="N",
                     help="of training a step (default: 3)")
    cmd.add_argument("--fresh-epochs", type=whole_number, metavar="N",
                     help="of methods that start from fresh weights (default: the "
                          "dense network's and those of the steps)")
    cmd.add_argument("--lr", type=float, metavar="X",
                     help="at its top (default: " + ", ".join(
                         f"{name} {one.rung_lr:g}" for name, one in MODELS.items())
                     + "; of fresh weights the dense network's)")
    cmd.add_argument("--distil", type=float, default=RUNG_DISTIL, metavar="SHARE",
                     help="of the loss, that asks for what the dense network says "
                          f"(default: {RUNG_DISTIL:g})")
    cmd.add_argument("--steps", type=whole_number, default=1, metavar="N",
                     help="from one rung to the next (default: 1)")
    cmd.add_argument("--schedule", choices=SCHEDULES, default="geometric",
                     help="of the steps (default: geometric)")
    cmd.add_argument("--accuracy-floor", type=float, metavar="SHARE",
                     help="a step that ends below it is taken back; without a target: "
                          "prune until then")
    cmd.add_argument("--control", choices=CONTROLS)
    cmd.add_argument("--empty-layers", action="store_true",
                     help="let a layer lose its last weight (default: one stays)")
    for which in ("include", "exclude"):
        cmd.add_argument(f"--{which}", action="append", default=[], metavar="PATTERN",
                         help=f"layers to {which}: 'layer1.*'")
    cmd.add_argument("--seed", type=int, default=0, metavar="N")
    cmd.add_argument("--no-test", action="store_true",
                     help="leave the test images alone, to choose something first")
    add_machine_options(cmd)
    cmd.set_defaults(action=run_run)


def run_run(args):
    from dataclasses import replace

    import torch

    from eyeriss_sim.oracle import EnergyOracle
    from pruning.batches import Batches
    from pruning.checkpoint import load_model
    from pruning.dense import (
        accuracy_on, check_fits, fitting_batches, input_and_output)
    from pruning.ladder import climb
    from pruning.loaders import Loaders
    from pruning.models import MODELS, make_model
    from pruning.recipe import Recipe
    args.network = args.network.lower()
    kind, name = MODELS.find(args.network), data_name(args)
    rungs, reports = rungs_of(args), reports_of(args.report)
    folder = args.dense or f"runs/{args.network}_dense_s{args.seed}"
    try:
        model, trained = load_model(f"{folder}/weights.safetensors", args.network)
    except ValueError as problem:
        raise ValueError(f"{problem}; eyeriss-prune train {args.network} trains the "
                         "dense network first, or --dense names one") from None
    choose_machine(args)
    out = args.out or f"runs/{args.network}_{args.method}_s{args.seed}" + (
        f"_{args.control}" if args.control else "")
    check_is_no_file(out)
    splits = load_data(args)
    check_fits(folder, trained, splits)
    dense = Recipe(**trained["recipe"])
    recipe = replace(dense, epochs=args.epochs, distil=args.distil, seed=args.seed,
                     lr=kind.rung_lr if args.lr is None else args.lr)
    # As many epochs in all as a network that was trained dense and then pruned.
    fresh = replace(
        recipe, lr=dense.lr if args.lr is None else args.lr, epochs=math.ceil(
            (args.fresh_epochs or dense.epochs + args.epochs * args.steps)
            / args.steps))
    data = Loaders(
        fitting_batches(splits, recipe),
        Batches(splits.choosing.images, splits.choosing.labels, 1000,
                normalise=splits.normalise),
        Batches(splits.fit.images, splits.fit.labels, 1000, normalise=splits.normalise))

    def make_fresh():
        with torch.random.fork_rng():
            torch.manual_seed(args.seed)
            return make_model(args.network, splits.classes, splits.image_shape)

    def test(network):
        return accuracy_on(splits, splits.test, network, recipe)

    results = climb(
        model, args.method, rungs, out, data=data, recipe=recipe, fresh_recipe=fresh,
        config={"network": args.network, "data": name, "dense": trained["recipe"],
                **input_and_output(splits)},
        make_fresh=make_fresh, oracle=EnergyOracle(args.hardware, batch=args.images),
        control=args.control, test=None if args.no_test else test, seed=args.seed,
        steps=args.steps, schedule=args.schedule, accuracy_floor=args.accuracy_floor,
        dense_epochs=dense.epochs, include=args.include or ["*"], exclude=args.exclude,
        device=args.device, progress=True, reports=reports,
        # A result's config names what was asked for beyond what was always so.
        **({"empty_layers": True} if args.empty_layers else {}))
    from pruning.compare import collect, print_table
    print_table(collect([out]))
    for one in results:
        if one.get("stopped"):
            print(f"{one['rung']} ends before its target: {one['stopped']}")
        if one.get("held_channels"):
            print(f"{one['rung']} leaves channels of {one['held_channels']}")
        if one.get("kept_alive"):
            print(f"{one['rung']} would have emptied {one['kept_alive']}, where one "
                  "weight stays; --empty-layers lets it go")
    print(f"{len(results)} rungs in {out}; accuracies are on {name}")


def rungs_of(args):
    """The rungs that targets and options name."""
    from pruning.ladder import Rung, check_control_of
    from pruning.methods import check_steps, find_method, options_by_method
    from pruning.targets import parse_target
    names = args.method.split("+")
    for name in names:
        find_method(name)
    options = {}
    for text in args.option:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ValueError(f"--option {text}: write KEY=VALUE, as support=2")
        options[key] = number_or_text(value)
    rungs = []
    for text in args.target:
        targets = tuple(map(parse_target, text.split("+")))
        if len(targets) != len(names):
            raise ValueError(f"--target {text}: {args.method} needs {len(names)}, one "
                             "for each method, as "
                             + "+".join(f"energy={0.9 - 0.2 * place:g}"
                                        for place in range(len(names))))
        rungs.append(Rung(targets[0] if len(targets) == 1 else targets, options))
    options_by_method(names, options)           # says which there are
    check_steps(names, args.steps)
    check_control_of(args.method, rungs, args.control)
    if args.accuracy_floor is not None and not 0 <= args.accuracy_floor <= 1:
        raise ValueError(f"--accuracy-floor {args.accuracy_floor:g}: a share of the "
                         "images, 0..1")
    return rungs or [Rung(None, options)]


def reports_of(words):
    """The oracles of a report: the usual ones and those that ``--report`` names."""
    from pathlib import Path

    from eyeriss_sim.oracle import EnergyOracle
    from pruning.report import batch_ending, usual_oracles
    found = usual_oracles()
    for word in words:
        hardware, at, batch = word.partition("@")
        try:
            images = whole_number(batch) if at else 1
        except argparse.ArgumentTypeError as problem:
            raise ValueError(f"--report {word}: the batch {problem}") from None
        name = f"{Path(hardware).stem}{batch_ending(images)}"
        if name in found:
            raise ValueError(f"--report {word}: {name} is in the report already")
        found[name] = EnergyOracle(hardware, batch=images)
    return found


def number_or_text(text):
    """What a method's option is: a number where it reads as one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.lower(), text)


def add_compare(commands):
    """``compare A B C``: accuracy against energy of results."""
    cmd = commands.add_parser("compare", help="results beside each other, as a figure")
    cmd.add_argument("folders", nargs="+", metavar="FOLDER",
                     help="a result, or a folder with results in it")
    cmd.add_argument("--out", default="compare.png", metavar="FILE.png",
                     help="figure; its table goes beside it as .csv "
                          "(default: compare.png)")
    add_plugin_option(cmd)
    cmd.set_defaults(action=run_compare)


def run_compare(args):
    from pathlib import Path

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


def percent(share):
    """An accuracy as it is printed."""
    return "not looked at" if share is None else f"{100 * share:.2f} %"


def load_data(args):
    """The splits that the data options name."""
    from pruning import datasets
    if args.download:
        with progress("bytes") as show:
            datasets.fetch(args.dataset, args.data, progress=show)
    return datasets.load(args.dataset, args.data)


def data_name(args):
    """What the images are called beside an accuracy."""
    from pruning.datasets import DATASETS
    return args.data_name or DATASETS.find(args.dataset).title


def check_is_no_file(folder):
    """Refuse a file where a result folder should be, before any work is done."""
    from pathlib import Path
    for place in (Path(folder), *Path(folder).parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"--out {folder}: {place} is a file; name a folder")


def choose_machine(args):
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


COMMANDS = (add_train, add_run, add_compare)    # a new one: add_* and an entry here


def main(argv=None):
    """Run one command; returns nothing, exits with 2 on wrong input."""
    parser = OneLineParser(
        prog="eyeriss-prune",
        description="Make a network cheaper in joules, with Eyeriss as the judge.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in COMMANDS:
        add(commands)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
