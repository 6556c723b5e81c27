"""Controls: what of a pruned network's accuracy its masks deserve, what its training.

reinit
    The masks, but weights drawn anew and trained for the whole schedule.
shuffle
    The weights, but each layer's mask shuffled.
random
    Fresh weights under random masks of the same layer densities.
scratch
    The masks and fresh weights, trained as long as the dense network and its pruning
    together.
dense
    No mask and no channel gone, the extra epochs only.
"""

import copy

import torch

from pruning.masks import Masks

CONTROLS = ("reinit", "shuffle", "random", "scratch", "dense")
OF_CHANNELS = ("reinit", "scratch")     # the smaller network has no masks to exchange
FROM_FRESH_WEIGHTS = ("reinit", "random", "scratch")


def check_control(control: str | None) -> None:
    """Refuse a control that is not known."""
    if control is not None and control not in CONTROLS:
        raise ValueError(f"unknown control {control!r}; known: {', '.join(CONTROLS)}")


def control_masks(control: str, masks: Masks, seed: int) -> Masks:
    """The masks that a control trains under.

    Parameters
    ----------
    control : str
    masks : Masks
        Masks that a method found.
    seed : int

    Returns
    -------
    Masks
        Masks of as many weights a layer as in ``masks``.
    """
    return shuffled(masks, seed) if control in ("shuffle", "random") else masks


def shuffled(masks: Masks, seed: int) -> Masks:
    """Each mask with its places exchanged at random, its count kept."""
    draw = torch.Generator().manual_seed(seed)
    return Masks({name: mask.flatten()[torch.randperm(mask.numel(), generator=draw)]
                  .reshape(mask.shape) for name, mask in masks.items()})


def fresh(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """A copy of a model with every module's parameters drawn as torch does at first.

    Modules without ``reset_parameters`` keep their values.
    """
    twin = copy.deepcopy(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return twin


def control_epochs(control: str, epochs: int, dense_epochs: int,
                   epochs_before: int = 0) -> int:
    """Epochs of a control's training.

    Parameters
    ----------
    epochs : int
        Epochs that the pruned network was trained.
    dense_epochs : int
        Epochs of the dense network's training.
    epochs_before : int
        Epochs of the methods before this one in a composition.
    """
    if control == "dense":
        return epochs_before + epochs
    if control not in FROM_FRESH_WEIGHTS:
        return epochs
    return dense_epochs + (epochs_before + epochs if control == "scratch" else 0)
