"""Whole filters and the channels that they make, so that the network gets smaller."""

import torch

from pruning import scores
from pruning.calibration import recalibrated
from pruning.channels import find_channels
from pruning.methods import register
from pruning.prunable import prunable
from pruning.selection import least, refuse
from pruning.shrink import shrink


@register("channels", shrinks=True)
def channels(problem, *, per_energy=True):
    """Remove groups of tied channels, least squared weight (per joule) first.

    A group's worth is the squared norm of its filters as a share of their layers':
    one of 16 channels is a greater loss than one of 512. It is divided by the energy
    that goes with the group, its filters' share of their layers and its inputs' of
    those that read it; or, not ``per_energy``, by its share of their filters. Costs
    are those of the smaller network, built and measured anew; where it is trained next,
    with its normalisations' statistics recalibrated, which foretells its zeros.
    """
    found = find_channels(problem.model, problem.images)
    if not found.groups:
        raise ValueError(f"{type(problem.model).__name__} has no channel that can go: "
                         "all are tied to its input or output")
    worth = _worth(found, problem, per_energy)
    protected = _of_layers_left_alone(found, problem)
    alone = ~found.unread(problem.within) | protected       # what earlier pruning left
    order = worth.masked_fill(~alone, -torch.inf).argsort(stable=True)
    order = order[~torch.isin(order, _last_of_a_layer(found, worth))
                  & ~protected[order]]

    def masks(count):
        gone = ~alone
        gone[order[:count]] = True
        return problem.within & found.masks(gone, problem.prunables)

    def cost(count):
        network = shrink(problem.model, problem.images, masks(count))
        return problem.cost(recalibrated(network, problem.images) if problem.trains
                            else network)

    share = problem.target.share
    problem.floor = cost(len(order))
    count = least(lambda count: cost(count) <= share, len(order))
    if count is None:
        refuse(str(problem.target), problem.floor,
               f"of the {problem.target.quantity}", "one channel a layer" + (
                   ", and what makes or feeds excluded layers whole,"
                   if protected.any() else ""))
    return masks(count)


def _worth(found, problem, per_energy):
    squared = {name.removesuffix(".weight"): weight.flatten(1).sum(1)
               for name, weight in scores.energy_of_weights(
                   problem.model, problem.prunables).items()}
    worth = found.sums({name: one / one.sum().clamp_min(1e-300)
                        for name, one in squared.items()})
    if per_energy:
        result = problem.oracle(problem.model, problem.few_images)
        cost, sides = {}, ("outputs", "inputs")
        for one in result.by_layer:
            name = one.layer.name.split("#")[0]
            cost[name] = cost.get(name, 0.0) + one.total_MAC
    else:
        cost, sides = dict.fromkeys(found.outputs, 1.0), ("outputs",)
    saved = sum(found.sums(
        {name: torch.full(numbers.shape, cost.get(name, 0.0) / len(numbers))
         for name, numbers in getattr(found, side).items()}, side) for side in sides)
    return worth / saved.clamp_min(1e-300)


def _of_layers_left_alone(found, problem):
    """Groups that make or feed a layer which the caller excluded, as bool."""
    others = {one.layer for one in prunable(problem.model).values()} - {
        one.layer for one in problem.prunables.values()}
    protected = torch.zeros(found.groups, dtype=torch.bool)
    for side in (found.outputs, found.inputs):
        for layer in others & set(side):
            protected[side[layer][side[layer] >= 0]] = True
    return protected


def _last_of_a_layer(found, worth):
    """The group of each layer that is worth most: one channel must be left."""
    stay = [rows[worth[rows].argmax()] for rows in found.outputs.values()
            if (rows >= 0).all()]
    return torch.stack(stay) if stay else torch.empty(0, dtype=torch.int64)
