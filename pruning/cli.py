"""Command line of ``eyeriss-prune``: parses arguments and prints, nothing else."""


from eyeriss_sim.cli import OneLineParser, progress, run_command, whole_number


def add_train(commands):
    """``train NETWORK``: a dense network on CIFAR-10, into a result folder."""
    from pruning.models import MODELS
    from pruning.recipe import OPTIMIZERS, PRECISIONS
    cmd = commands.add_parser(
        "train", help="train a dense network on CIFAR-10",
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
    cmd.add_argument("--no-augment", dest="augment", action="store_const", const=False,
                     help="neither flip nor crop")
    cmd.add_argument("--precision", choices=PRECISIONS,
                     help="float32 for CPUs that have no bfloat16 instructions")
    cmd.add_argument("--no-test", action="store_true",
                     help="leave the test images alone, to choose something first")
    add_machine_options(cmd)
    cmd.set_defaults(action=run_train)


def add_data_options(cmd):
    """Where CIFAR-10 is, for every command that needs images."""
    cmd.add_argument("--data", required=True, metavar="DIR",
                     help="cifar-10-batches-bin or -py, their .tar.gz, or a folder "
                          "with one of them")
    cmd.add_argument("--download", action="store_true",
                     help="fetch the archive into DIR first, if it is not there")
    cmd.add_argument("--data-name", default="CIFAR-10", metavar="TEXT",
                     help="what to call the images beside an accuracy, if they are not "
                          "the original ones")


def add_machine_options(cmd):
    """On what a command computes."""
    cmd.add_argument("--device", metavar="D",
                     help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    cmd.add_argument("--threads", type=whole_number, metavar="N",
                     help="cores to use on the CPU (default: all)")


def run_train(args):
    from pruning.dense import recipe_for, train_dense
    from pruning.models import MODELS, make_model
    from pruning.recipe import Recipe
    args.network = args.network.lower()
    if args.network not in MODELS:
        make_model(args.network)        # says which there are
    recipe = recipe_for(args.network, **{
        key: getattr(args, key) for key in Recipe.__dataclass_fields__})
    choose_machine(args)
    folder = args.out or f"runs/{args.network}_dense_s{recipe.seed}"
    splits = load_data(args)
    _, metrics = train_dense(
        args.network, splits, recipe, folder, data_name=args.data_name,
        test=not args.no_test, device=args.device)
    print(f"{args.network}, {recipe.epochs} epochs, seed {recipe.seed}, on "
          f"{args.data_name}: choosing {percent(metrics['choosing_accuracy'])}, test "
          f"{percent(metrics['test_accuracy'])}; {metrics['wall_minutes']:.1f} min, "
          f"{metrics['cpu_minutes']:.1f} CPU min; in {folder}")


def percent(share):
    """An accuracy as it is printed."""
    return "not looked at" if share is None else f"{100 * share:.2f} %"


def load_data(args):
    """The splits that the data options name."""
    from pruning.cifar10 import load_cifar10
    from pruning.cifar10_archive import download
    if args.download:
        with progress("bytes") as show:
            download(args.data, progress=show)
    return load_cifar10(args.data)


def choose_machine(args):
    """Set the threads; refuse a device that is not there."""
    import torch
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device:
        try:
            torch.zeros(1, device=args.device)
        except (RuntimeError, AssertionError, NotImplementedError) as problem:
            raise ValueError(f"--device {args.device}: "
                             f"{str(problem).splitlines()[0]}") from None


COMMANDS = (add_train,)     # a new command: one add_* and one entry here


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
