"""Command line of ``eyeriss-prune``: its commands, each in a file of its own."""

from eyeriss_sim.terminal import OneLineParser, run_command
from pruning.compare_command import add_compare
from pruning.run_command import add_run
from pruning.train_command import add_train

COMMANDS = (add_train, add_run, add_compare)    # a new one: add_* and an entry here


def main(argv: list[str] | None = None) -> None:
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
