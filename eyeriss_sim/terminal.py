"""What commands share: types of options, and what is shown while one waits."""

import argparse
import sys
import threading
import time
from contextlib import contextmanager

WIDTH = 100
MOST = 2**53           # that an option counts; no size of a layer is larger


def make_console(file=None):
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
    options = dict(file=file, highlight=False, markup=False, emoji=False)
    console = Console(**options)
    if console.is_terminal and console.width < WIDTH:
        return console
    return Console(width=WIDTH, **options)


@contextmanager
def progress(what, patience_s=2.0):
    """A bar on stderr, with rate and time left, for work longer than a glance."""
    # rich's progress takes a while to import: only where something is waited for.
    from rich.console import Console
    from rich.progress import (
        BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn)
    start = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True)
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


@contextmanager
def announced_compilation(patience_s=2.0):
    """Say so on stderr if what runs inside takes long: only compiling does."""
    notice = threading.Timer(patience_s, lambda: print(
        "eyeriss-sim: first use, compiling the kernels (a minute, then cached) ...",
        file=sys.stderr, flush=True))
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


@contextmanager
def announced_run(network, patience_s=2.0):
    """Say so on stderr if a network is long in coming: only a real run is."""
    notice = threading.Timer(patience_s, lambda: print(
        f"eyeriss-sim: {network}: tracing, or running once where values decide ...",
        file=sys.stderr, flush=True))
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


@contextmanager
def waiting(text):
    """Say on a terminal's stderr what is waited for, for as long as it takes."""
    from rich.console import Console
    with Console(stderr=True).status(text):
        yield


def whole_number(text):
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


def shape(text):
    """A tensor's shape: 1,3,224,224."""
    return tuple(whole_number(part.strip()) for part in text.split(","))


def network_input(text):
    """An input of a network: 1,3,224,224, with a name and a dtype tokens=1,77:int64.

    Returns
    -------
    (name or None, shape or (shape, dtype))
    """
    name, _, rest = text.rpartition("=")
    sizes, colon, dtype = rest.partition(":")
    given = shape(sizes)
    if colon:
        if not dtype:
            raise argparse.ArgumentTypeError(f"{text!r} names no dtype after the colon")
        given = given, dtype
    return name or None, given


def network_inputs(options):
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
