"""``eyeriss-prune train``: a dense network, into a result folder."""

import argparse

from eyeriss_sim.terminal import whole_number
from pruning.command_options import (
    add_data_options,
    add_machine_options,
    check_is_no_file,
    choose_machine,
    data_name,
    load_data,
    percent,
)


def add_train(commands: argparse._SubParsersAction) -> None:
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


def run_train(args: argparse.Namespace) -> None:
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
