"""``eyeriss-prune run``: prune a trained network, rung by rung, into result folders."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eyeriss_sim.terminal import whole_number
from pruning.command_options import (
    add_data_options,
    add_machine_options,
    check_is_no_file,
    choose_machine,
    data_name,
    load_data,
)

EPOCHS = 3      # of training a step, where a method has no number of its own


def add_run(commands: argparse._SubParsersAction) -> None:
    """``run``: prune a trained network, rung by rung, into result folders."""
    from pruning.controls import CONTROLS
    from pruning.dense import RUNG_DISTIL
    from pruning.methods import METHODS
    from pruning.models import MODELS
    from pruning.recipe import PRECISIONS
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
                     help="option of the method: support=2; of one of two "
                          "methods: channels.per_energy=false")
    add_data_options(cmd)
    cmd.add_argument("--dense", metavar="FOLDER",
                     help="trained network (default: runs/NETWORK_dense_sSEED)")
    cmd.add_argument("--out", metavar="FOLDER",
                     help="gets a folder a rung (default: runs/NETWORK_METHOD_sSEED)")
    cmd.add_argument("--hardware", default="eap_tool", metavar="H",
                     help="hardware of the energies (default: eap_tool)")
    cmd.add_argument("--images", type=whole_number, default=1, metavar="N",
                     help="batch of the energy (default: 1)")
    cmd.add_argument("--report", action="append", default=[], metavar="H[@N]",
                     help="further hardware, at a batch of N, that results tell their "
                          "energies on: mine.toml, eyeriss_chip@4 (always: eap_tool, "
                          "eyeriss_chip and dense at batch 1 and 16)")
    cmd.add_argument("--epochs", type=by_method(whole_number), action="append",
                     default=[], metavar="[METHOD=]N",
                     help="epochs of training a step, of all methods or of one ("
                          f"default: {', '.join(usual_by_method('epochs'))}; others "
                          f"{EPOCHS})")
    cmd.add_argument("--fresh-epochs", type=whole_number, metavar="N",
                     help="epochs of methods that start from fresh weights (default: "
                          "the dense network's and those of the steps)")
    cmd.add_argument("--lr", type=by_method(float), action="append", default=[],
                     metavar="[METHOD=]X",
                     help="learning rate at its top, of all methods or of one (default "
                          + ", ".join(usual_by_method("lr")) + "; of others "
                          + ", ".join(f"{name} {one.rung_lr:g}"
                                      for name, one in MODELS.items())
                     + "; of fresh weights the dense network's)")
    cmd.add_argument("--precision", choices=PRECISIONS,
                     help="float32 for CPUs without bfloat16 instructions (default:"
                          " the dense network's)")
    cmd.add_argument("--distil", type=float, default=RUNG_DISTIL, metavar="SHARE",
                     help="share of the loss that asks for what the dense network says "
                          f"(default: {RUNG_DISTIL:g})")
    cmd.add_argument("--steps", type=whole_number, default=1, metavar="N",
                     help="steps from one rung to the next (default: 1)")
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


def run_run(args: argparse.Namespace) -> None:
    from dataclasses import replace

    import torch

    from eyeriss_sim.oracle import EnergyOracle
    from pruning.batches import Batches
    from pruning.checkpoint import load_model
    from pruning.dense import accuracy_on, check_fits, fitting_batches, input_and_output
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
    methods = args.method.split("+")
    recipe = replace(dense, distil=args.distil, seed=args.seed, **(
        {"precision": args.precision} if args.precision else {}))
    recipes = {method: replace(
        recipe, epochs=setting_of(args, "epochs", method, EPOCHS),
        lr=setting_of(args, "lr", method, kind.rung_lr)) for method in methods}
    last = recipes[methods[-1]]
    # It has as many epochs in all as a network that was trained dense and then pruned.
    rates = {"": dense.lr, **dict(args.lr)}
    fresh = replace(
        last, lr=rates.get(methods[-1], rates[""]),
        epochs=math.ceil((args.fresh_epochs or dense.epochs + last.epochs * args.steps)
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
        model, args.method, rungs, out, data=data,
        recipe=last if all(one == last for one in recipes.values()) else recipes,
        fresh_recipe=fresh,
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


def rungs_of(args: argparse.Namespace) -> list:
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
    for key in ("epochs", "lr"):
        setting_of(args, key, names[-1], 0)
    check_steps(names, args.steps)
    check_control_of(args.method, rungs, args.control)
    if args.accuracy_floor is not None and not 0 <= args.accuracy_floor <= 1:
        raise ValueError(f"--accuracy-floor {args.accuracy_floor:g}: a share of the "
                         "images, 0..1")
    return rungs or [Rung(None, options)]


def reports_of(words: Sequence[str]) -> dict:
    """The oracles of a report: the usual ones and those that ``--report`` names."""
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


def by_method(kind: Callable[[str], float]) -> Callable[[str], tuple[str, float]]:
    """Parser of ``VALUE`` or ``METHOD=VALUE``; gives the method, or "", and the value.
    """
    def parse(text):
        method, equals, value = text.rpartition("=")
        if equals and not method:
            raise argparse.ArgumentTypeError(f"{text!r} names no method before =")
        return method, kind(value)
    parse.__name__ = getattr(kind, "__name__", "value")     # which argparse tells
    return parse


def setting_of(args: argparse.Namespace, key: str, method: str,
               usual: float) -> Any:
    """Setting of a method's training: what was asked for it, or for all, or its own.

    Parameters
    ----------
    args : argparse.Namespace
    key : {"epochs", "lr"}
    method : str
    usual : int or float
        Of a method that has none of its own.

    Raises
    ------
    ValueError
        A value for a method that is not run.
    """
    from pruning.methods import find_method
    given, methods = dict(getattr(args, key)), args.method.split("+")
    for name, value in given.items():
        if name and name not in methods:
            raise ValueError(f"--{key} {name}={value:g}: {name} is none of the methods "
                             f"that are run, {args.method}")
    own = find_method(method).recipe.get(key, usual)
    return given.get(method, given.get("", own))


def usual_by_method(key: str) -> list[str]:
    """Settings that methods have of their own: "slim 30"."""
    from pruning.methods import METHODS
    return [f"{name} {method.recipe[key]:g}" for name, method in METHODS.items()
            if key in method.recipe]


def number_or_text(text: str) -> int | float | bool | str:
    """Value of a method's option: a number where it reads as one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.lower(), text)
