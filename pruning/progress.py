"""Progress of a training: a bar in a terminal, and one line an epoch anywhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eyeriss_sim.terminal import make_bar, waiting
from pruning.recipe import Recipe

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Silent:
    """Shows nothing."""

    def step(self) -> None:
        """One step of the optimizer is done."""

    def epoch(self, row: dict) -> None:
        """One epoch is done; ``row`` is its row of the history."""

    def doing(self, what: str) -> None:
        """Something else is under way than "steps", or they are again."""


class Told(Silent):
    """Tells a function of each epoch, in one line."""

    def __init__(self, tell: Callable[[str], object], epochs: int):
        self.tell, self.epochs = tell, epochs

    def epoch(self, row: dict) -> None:
        self.tell(epoch_line(row, self.epochs))


def epoch_line(row: dict, epochs: int) -> str:
    """Line on an epoch that is done.

    Parameters
    ----------
    row : dict
        A row of a history.
    epochs : int
        Epochs in all.
    """
    accuracy = "" if row["accuracy"] is None else (
        f"  accuracy {100 * row['accuracy']:.2f} %")
    return (f"epoch {row['epoch']:>3} of {epochs}  loss {row['loss']:.4f}"
            f"{accuracy}  {row['wall_s']:.1f} s")


class OnScreen(Silent):
    """Shows steps as a bar and epochs as lines, on stderr."""

    def __init__(self, bar: "Progress", epochs: int, steps: int):
        self.bar, self.epochs, self.steps = bar, epochs, steps
        self.task: TaskID | None = None

    def step(self) -> None:
        if self.task is None:
            self.task = self.bar.add_task("steps", total=self.steps, rate="")
        self.bar.advance(self.task)

    def epoch(self, row: dict) -> None:
        self.bar.console.print(epoch_line(row, self.epochs), highlight=False)
        if self.task is not None:
            self.bar.reset(self.task)

    def doing(self, what: str) -> None:
        if self.task is not None:
            self.bar.update(self.task, description=what)


@contextmanager
def training_progress(recipe: Recipe, steps: int,
                      wanted: bool | Callable | None) -> Iterator[Silent]:
    """Something with ``step()`` and ``epoch(row)`` for the time of a training.

    Parameters
    ----------
    recipe : Recipe
    steps : int
        Steps of one epoch.
    wanted : bool or callable or None
        False: nothing is shown; None: only where stderr is a terminal; a callable is
        told each epoch in one line instead.
    """
    if callable(wanted):
        yield Told(wanted, recipe.epochs)
        return
    if not is_shown(wanted):
        yield Silent()
        return
    # Outside a terminal a bar would leave only its last state: lines are enough.
    with make_bar(disable=not sys.stderr.isatty()) as bar:
        yield OnScreen(bar, recipe.epochs, steps)


def is_shown(wanted: bool | None) -> bool:
    """True if progress is shown; None: where standard error is a terminal."""
    return sys.stderr.isatty() if wanted is None else bool(wanted)


def silent(text: str) -> None:
    """Say nothing."""


@contextmanager
def telling(wanted: bool | Callable | None) -> Iterator[Callable[[str], None]]:
    """A function that says in a terminal, on stderr, what is under way for now.

    Parameters
    ----------
    wanted : bool or callable or None
        False: nothing is said; None: only where stderr is a terminal; a callable is
        told instead.
    """
    if callable(wanted):
        yield wanted
        return
    if not is_shown(wanted):
        yield silent
        return
    with waiting("") as say:
        yield say
