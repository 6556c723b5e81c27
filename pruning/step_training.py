"""Training of a network after a pruning step, under its masks."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from pruning.loaders import Loaders, accuracy
from pruning.masks import Masks
from pruning.recipe import Recipe
from pruning.settling import SettlingMasks
from pruning.training import fit, to_cpu


@dataclass
class StepTraining:
    """Training of the networks of one method, and what it has told so far.

    Parameters
    ----------
    data : Loaders
    recipe : Recipe, optional
        Without one no network is trained.
    teacher : torch.nn.Module, optional
        The network that teaches, for a recipe that distils.
    folder : Path, optional
        Each training keeps its state in a folder of its own there.
    device : str, optional
    progress : bool or callable or None
    history : list of dict
        One row an epoch, with its step.
    """

    data: Loaders
    recipe: Recipe | None = None
    teacher: torch.nn.Module | None = None
    folder: Path | None = None
    device: str | None = None
    progress: bool | Callable | None = None
    history: list = field(default_factory=list)

    def trains(self, epochs: int | None = None) -> bool:
        """True if there is a training of so many epochs, or of the recipe's."""
        return self.recipe is not None and epochs != 0

    def folder_of(self, step: str) -> Path | None:
        """The folder where the training after a step keeps its state."""
        return self.folder and self.folder / step

    def train(self, network: torch.nn.Module, masks: Masks | SettlingMasks, step: str,
              epochs: int | None = None, midway: SettlingMasks | None = None) -> None:
        """Train a network in place, on the CPU again afterwards.

        Parameters
        ----------
        network : torch.nn.Module
        masks : Masks or SettlingMasks
        step : str
            Name of the step, in the history and in ``folder``.
        epochs : int, optional
            The recipe's unless given; 0: none.
        midway : SettlingMasks, optional
            Given to :func:`pruning.training.fit`.
        """
        if self.recipe is None or epochs == 0:
            return
        recipe = self.recipe if epochs is None else replace(self.recipe, epochs=epochs)
        choose = self.data.choose
        with torch.random.fork_rng():
            history = fit(
                network, self.data.fit, recipe, after_step=(masks.project,),
                evaluate=(None if choose is None
                          else lambda model: accuracy(model, choose)),
                folder=self.folder_of(step), midway=midway, teacher=self.teacher,
                device=self.device, progress=self.progress)
        to_cpu(network)
        masks.project(network)
        self.history += [{"step": step, **row} for row in history.rows]

    def accuracy(self, network: torch.nn.Module) -> float | None:
        """Share of the images to choose by that a network gets right, if there are any.
        """
        if self.data.choose is None:
            return None
        return accuracy(network.eval(), self.data.choose)
