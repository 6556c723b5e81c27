"""A control: the masks that a method finds, and another training under them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pruning.controls import (
    FROM_FRESH_WEIGHTS,
    OF_CHANNELS,
    control_epochs,
    control_masks,
    fresh,
)
from pruning.masks import Masks
from pruning.method_run import MethodRun, Start
from pruning.prunable import prunable
from pruning.pruned import Pruned
from pruning.recipe import Recipe
from pruning.smaller import smaller


@dataclass(frozen=True)
class Control:
    """A network that is trained in place of a pruned one.

    Parameters
    ----------
    name : str
        One of ``pruning.controls.CONTROLS``.
    dense : Start
        What the first method of a composition was given.
    dense_epochs : int, optional
        Epochs of the dense network's training; for controls from fresh weights.
    make_fresh : callable, optional
        Gives a network with fresh weights.
    fresh_recipe : Recipe, optional
        Training of fresh weights, but for its epochs.
    """

    name: str
    dense: Start
    dense_epochs: int | None = None
    make_fresh: Callable[[], torch.nn.Module] | None = None
    fresh_recipe: Recipe | None = None

    def run(self, method_run: MethodRun, trained_before: int) -> Pruned:
        """Prune, then train the control under the masks that were found.

        Parameters
        ----------
        method_run : MethodRun
            The last method of a composition; its training's history becomes the
            control's.
        trained_before : int
            Epochs of the methods before.

        Raises
        ------
        ValueError
            A control that the method has not, or that lacks what it needs.
        """
        training, shared = method_run.training, method_run.shared
        self._check(method_run)
        pruned = method_run.prune()
        masks = control_masks(self.name, pruned.masks, shared.seed + 1)
        shrinks = pruned.shrinks
        if self.name == "dense":
            network, shrinks = copy.deepcopy(self.dense.network), self.dense.shrinks
            masks = Masks.dense(network, prunable(
                network, shared.include, shared.exclude, strict=not shrinks))
        else:
            network = self._network(method_run, pruned)
        training.history = []
        # A method for fresh weights has had the whole schedule itself.
        epochs = method_run.epochs if method_run.method.at_init else control_epochs(
            self.name, method_run.epochs, self.dense_epochs or 0, trained_before)
        if self.name in FROM_FRESH_WEIGHTS and self.fresh_recipe is not None:
            training.recipe = self.fresh_recipe
        training.train(network, masks, f"control_{self.name}", epochs)
        return method_run.result(network, masks, shrinks, pruned.report["met"],
                                 training.accuracy(network))

    def _check(self, method_run):
        if method_run.training.recipe is None:
            raise ValueError(f"control {self.name!r} is a training and needs a recipe")
        if self.name in FROM_FRESH_WEIGHTS and self.dense_epochs is None:
            raise ValueError(f"control {self.name!r} needs dense_epochs, the epochs of "
                             "the dense network's training")
        if method_run.method.shrinks and self.name not in OF_CHANNELS:
            raise ValueError(f"control {self.name!r} is for masks of weights; of a "
                             "network of fewer channels there are "
                             + ", ".join(OF_CHANNELS))

    def _network(self, method_run, pruned):
        """The network that is trained, as small as the pruned one."""
        start, seed = method_run.start, method_run.shared.seed
        if self.name not in FROM_FRESH_WEIGHTS:
            return copy.deepcopy(start.network)
        if self.make_fresh is not None:
            network, gone = self.make_fresh(), pruned.shrinks
        else:
            network = fresh(start.network, seed + 1)
            gone = pruned.shrinks[len(start.shrinks):]
        for step in gone:
            network = smaller(network, method_run.shared.images, step)
        return network
