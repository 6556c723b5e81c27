"""Whole filters and the channels that they make, so that the network gets smaller."""

import copy

import torch

from pruning import scores
from pruning.channel_removal import meet_by_channels, removable_channels
from pruning.masks import Masks
from pruning.meters import taken_by_layer
from pruning.methods import register
from pruning.problem import Problem

# Share of the weights at which channels are priced that other methods then thin out:
# energy of weights those methods can save, too, that of activations only channels can.
# On ResNet-20, channels to 0.7: at 1 0.249 of the energy is left below which weights
# can't bring it, and 75.1 % of the choosing images are right before any training; at
# 0.3 0.232 and 73.6 %, at 0.1 0.229 and 71.5 %. To get to 0.224 with 1 leaves 66.1 %.
THINNED = 0.2


@register("channels", shrinks=True)
def channels(problem: Problem, *, per_energy: bool = True) -> Masks:
    """Remove groups of tied channels, least squared weight (per joule) first.

    A group's worth is the squared norm of its filters as a share of their layers':
    one of 16 channels is a greater loss than one of 512. It is divided by what goes
    with the group of the target's quantity (joules of an energy), its filters' share of
    their layers and its inputs' of those that read it; or, not ``per_energy``, by its
    share of their filters. Where a method for weights follows, that quantity is of
    weights thinned out at random.
    """
    found = removable_channels(problem)
    worth = _worth(found, problem, per_energy)
    return meet_by_channels(problem, found, worth.argsort(stable=True), worth)


def _worth(found, problem, per_energy):
    squared = {name.removesuffix(".weight"): weight.flatten(1).sum(1)
               for name, weight in scores.energy_of_weights(
                   problem.model, problem.prunables).items()}
    worth = found.sums({name: one / one.sum().clamp_min(1e-300)
                        for name, one in squared.items()})
    sides: tuple[str, ...]
    if per_energy:
        cost, sides = _priced(problem), ("outputs", "inputs")
    else:
        cost, sides = dict.fromkeys(found.outputs, 1.0), ("outputs",)
    saved = sum(found.sums(
        {name: torch.full(numbers.shape, cost.get(name, 0.0) / len(numbers))
         for name, numbers in getattr(found, side).items()}, side) for side in sides)
    return worth / saved.clamp_min(1e-300)


def _priced(problem):
    """Shares of layers in the target's quantity, by module name.

    The weights are about as sparse as what follows leaves them, and activations have
    the zeros of now.
    """
    model = copy.deepcopy(problem.model)
    result = problem.oracle(model, problem.few_images)
    if not problem.thinned_next:
        return taken_by_layer(problem.target, model, result)
    draws = torch.Generator().manual_seed(problem.seed)
    Masks({name: torch.rand(model.get_parameter(name).shape, generator=draws) < THINNED
           for name in problem.prunables}).apply(model)
    return taken_by_layer(problem.target, model, problem.oracle(model))
