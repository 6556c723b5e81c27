"""Groups of tied channels, removed in an order until a target is met."""

import torch

from pruning.calibration import recalibrated
from pruning.channels import Channels, find_channels
from pruning.masks import Masks
from pruning.problem import Problem
from pruning.prunable import prunable
from pruning.selection import least, refuse
from pruning.shrink import shrink


def removable_channels(problem: Problem) -> Channels:
    """The channels of a problem's network; why layers keep theirs goes to its report.

    Raises
    ------
    ValueError
        No channel of any layer can go.
    """
    found = find_channels(problem.model, problem.images)
    if not found.groups:
        why = "; ".join(f"{layer}: {reason}" for layer, reason in found.held.items())
        raise ValueError(f"{type(problem.model).__name__} has no channel that can go: "
                         f"{why or 'no layer makes any'}")
    problem.held = found.held
    return found


def meet_by_channels(problem: Problem, found: Channels, order: torch.Tensor,
                     worth: torch.Tensor) -> Masks:
    """Masks without as few groups as meet the target, the first of the order first.

    Costs are those of the smaller network, built and measured anew; where it is trained
    next, with its normalisations' statistics recalibrated, which foretells its zeros.

    Parameters
    ----------
    problem : Problem
    found : Channels
    order : int64 Tensor, shape (groups,)
        Numbers of all groups. Those that earlier pruning left nothing of, that make or
        feed an excluded layer, or that are the last of a layer are passed over.
    worth : Tensor, shape (groups,)
        The group of most worth is the last of its layer.

    Raises
    ------
    ValueError
        A target that not even the last channel of each layer meets.
    """
    protected = _of_layers_left_alone(found, problem)
    alone = ~found.unread(problem.within) | protected       # what earlier pruning left
    order = order[alone[order] & ~protected[order]]
    order = order[~torch.isin(order, _last_of_a_layer(
        found, worth.masked_fill(~alone, -torch.inf)))]

    def masks(count):
        gone = ~alone
        gone[order[:count]] = True
        return problem.within & found.masks(gone, problem.prunables)

    def cost(count):
        problem.tell(f"channels: cost without {count} of {len(order)} groups")
        network = shrink(problem.model, problem.images, masks(count))
        return problem.cost(recalibrated(network, problem.images) if problem.trains
                            else network)

    share = problem.target.share
    problem.floor = cost(len(order))
    count = least(lambda count: cost(count) <= share, len(order))
    if count is None:
        refuse(str(problem.target), f"of the {problem.target.quantity}", problem.floor,
               problem.floor, least_left="one channel a layer" + (
                   ", and what makes or feeds excluded layers whole,"
                   if protected.any() else ""))
    return masks(count)


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
