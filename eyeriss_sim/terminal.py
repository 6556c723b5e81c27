"""Shared parts of commands: parsing, running, one-line errors, waiting."""

import argparse
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from eyeriss_sim.registry import import_plugin

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Item = TypeVar("Item")
WIDTH = 100
CLOSED_PIPE = 141      # what shells call the end of a program by SIGPIPE
MOST = 2**53           # that an option counts; no size of a layer is larger


def make_console(file: TextIO | None = None) -> "Console":
    """A console for tables: at most 100 columns wide, and 100 in a pipe.

    Parameters
    ----------
    file : file, optional
        Standard output unless given.

    Returns
    -------
    rich.console.Console
    """
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self):
            raise BrokenPipeError           # rich would end the program with 1

    options: dict[str, Any] = dict(
        file=file, highlight=False, markup=False, emoji=False)
    console = Output(**options)
    if not console.is_terminal or console.width >= WIDTH:
        console = Output(width=WIDTH, **options)
    return console


def make_bar(**options: Any) -> "Progress":
    """A bar on stderr for things done of all, which leaves nothing behind.

    A task's field ``rate`` is shown before the time that is left.

    Parameters
    ----------
    **options
        Options of rich's Progress.

    Returns
    -------
    rich.progress.Progress
    """
    # rich's progress takes a while to import: only where something is waited for.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, **options)


@contextmanager
def progress(what: str,
             patience_s: float = 2.0) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, with rate and time left, for work longer than a glance."""
    start = time.monotonic()
    bar = make_bar()
    task = bar.add_task(what, rate="")

    def show(done, total):
        # Not before: even an empty bar leaves an empty line behind.
        if time.monotonic() - start > patience_s:
            bar.start()
        speed = bar.tasks[0].speed
        bar.update(task, completed=done, total=total,
                   rate=f"{speed:,.{0 if speed >= 10 else 2}f}/s" if speed else "")

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def with_progress(what: str, items: Iterable[Item]) -> Iterator[Item]:
    """Items one after the other, with a bar of those that are done."""
    items = list(items)
    with progress(what) as show:
        for done, item in enumerate(items):
            show(done, len(items))
            yield item


@contextmanager
def announced_compilation(patience_s: float = 1.0) -> Iterator[None]:
    """Say so on stderr if kernels are compiled inside, and that takes long."""
    from numba.core import event
    notice = threading.Timer(patience_s, lambda: print(
        "eyeriss-sim: first use, compiling the kernels (a minute, then cached) ...",
        file=sys.stderr, flush=True))
    notice.daemon = True

    class Compiling(event.Listener):
        """Starts the clock at the first kernel that no cache holds."""

        def on_start(self, event):
            if notice.ident is None:
                notice.start()

        def on_end(self, event):
            pass

    with event.install_listener("numba:compile", Compiling()):
        try:
            yield
        finally:
            notice.cancel()


@contextmanager
def announced_run(network: str, patience_s: float = 2.0) -> Iterator[None]:
    """Say so on stderr if a network is long in coming: a real run, or a large file."""
    doing = ("tracing, or running once where values decide" if ".py:" in network
             else "reading it and searching its mappings")
    notice = threading.Timer(patience_s, lambda: print(
        f"eyeriss-sim: {network}: {doing} ...", file=sys.stderr, flush=True))
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


@contextmanager
def waiting(text: str) -> Iterator[Callable]:
    """Say on a terminal's stderr what is waited for, for as long as it takes.

    Yields
    ------
    callable
        Says another text instead.
    """
    from rich.console import Console
    with Console(stderr=True).status(text) as shown:
        yield shown.update


def zeros_known(weights: bool) -> str:
    """Words on what is known to be zero where no one gave densities."""
    return ("only the weights' zeros are known; fmaps count as dense" if weights
            else "nothing says what is zero, so nothing is saved")


def whole_number(text: str) -> int:
    """An option that counts something."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= MOST:
        shown = text if len(text) < 40 else f"{text[:20]}..."
        raise argparse.ArgumentTypeError(
            f"must be a whole number in 1..{MOST}, got {shown!r}" if value > MOST else
            f"must be a whole number of at least 1, got {shown!r}")
    return value


def shape(text: str) -> tuple[int, ...]:
    """A tensor's shape: 1,3,224,224."""
    return tuple(whole_number(part.strip()) for part in text.split(","))


def network_input(text: str) -> tuple[str | None, Any]:
    """An input of a network: 1,3,224,224, with a name and a dtype tokens=1,77:int64.

    Returns
    -------
    (name or None, shape or (shape, dtype))
    """
    name, _, rest = text.rpartition("=")
    sizes, colon, dtype = rest.partition(":")
    given: Any = shape(sizes)
    if colon:
        if not dtype:
            raise argparse.ArgumentTypeError(f"{text!r} names no dtype after the colon")
        given = given, dtype
    return name or None, given


def network_inputs(options: list | None) -> Any:
    """All ``--input`` of a command: a shape, a list of them, or a dict by name."""
    if not options:
        return None
    names = [name for name, _ in options]
    if any(names):
        if not all(names) or len({*names}) < len(names):
            raise ValueError("--input: give each input its own name, or none of them "
                             "one")
        return dict(options)
    shapes = [given for _, given in options]
    return shapes[0] if len(shapes) == 1 else shapes


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others here."""

    def error(self, message: str) -> NoReturn:
        # A command's parser is called "eyeriss-sim simulate".
        self.exit(2, f"{self.prog.split()[0]}: {message}\n")


def add_plugin_option(cmd: argparse.ArgumentParser) -> None:
    """``--plugin FILE.py``: a command also knows what the files of a user register.

    :func:`run_command` runs the files before the command itself.

    Parameters
    ----------
    cmd : argparse.ArgumentParser
    """
    cmd.add_argument("--plugin", action="append", default=[], metavar="FILE.py",
                     help="run this file first, which registers what it defines; "
                          "again for another")


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> None:
    """Parse, run the command's action, tell what is wrong with the input in one line.

    Files that ``--plugin`` names are run before.

    Parameters
    ----------
    parser : OneLineParser
        Each of its commands sets ``action``, a function of the arguments.
    argv : list of str or None
        None: those of the process.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # A layer's name must not end a command on a terminal that lacks its letters.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            args = parser.parse_args(argv)
            for file in getattr(args, "plugin", ()):
                import_plugin(file)
            args.action(args)
        finally:
            flush_stdout()
    except BrokenPipeError:
        # The reader of a pipe has seen enough: as other programs, end without a word.
        discard_stdout()
        parser.exit(CLOSED_PIPE)
    except OSError as problem:
        where = problem.filename
        if where is None and problem.errno == errno.ENOSPC:
            where = "standard output"       # files are named, see ``replacing``
        parser.error(f"{f'{where}: ' if where else ''}{problem.strerror or problem}")
    except (ValueError, ArithmeticError, EOFError, ImportError) as problem:
        parser.error(" ".join(str(problem).split()) or type(problem).__name__)
    except RecursionError:
        parser.error("the input is nested more deeply than can be followed; flatten it")
    except (MemoryError, RuntimeError) as problem:
        # torch has no other name for it.
        if isinstance(problem, RuntimeError) and "allocate" not in str(problem):
            raise
        parser.error("not enough memory; lower the sizes or the batch")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")


def flush_stdout() -> None:
    """Write what standard output still holds; what stops that is told only once."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_stdout()
        raise


def discard_stdout() -> None:
    """Let nothing more come out, not even when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
