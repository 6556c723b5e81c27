"""An energy target met by the finished network, with the zeros that it really has.

Masks are chosen by the activation zeros of a moment. Weights that go, and training
after them, change the activations, and an energy with them. So the order in which
the method removed weights is taken up once more, a few weights on or back, until
the energy that is measured meets the target to one weight.
"""

import copy

import torch

from pruning import scores
from pruning.meters import meter_of
from pruning.selection import Order, knapsack, least, least_near, refuse
from pruning.targets import Energy


def settle(problem, network, masks, before):
    """Trim a network, or give weights back, until its measured energy meets the target.

    Parameters
    ----------
    problem : Problem
        Of the step that chose the masks; targets other than energies are met already.
    network : torch.nn.Module
        Finished; changed in place.
    masks : Masks
        That it has.
    before : torch.nn.Module or None
        The network before the step, whose values weights get back; None: none
        comes back, and the energy may stay below the target.

    Returns
    -------
    masks : Masks
        At or below the target; with one weight more, it would be above.
    share : float
        What is measured then.

    Raises
    ------
    ValueError
        The energy is above the target even without weights.
    """
    if not isinstance(problem.target, Energy):
        return masks, problem.meter.share(masks)
    share, trial = problem.target.share, copy.deepcopy(network)
    order, now = _order(problem, network, masks)

    def tried(removed):
        chosen = masks if removed == now else order.masks(removed)
        _put(trial, network, chosen, masks, before)
        return chosen, problem.cost(trial)

    low = now if before is None else 0
    guess = _guess(problem, order, network, now)
    removed = least_near(
        lambda count: tried(count)[1] <= share, max(low, guess), low, order.units)
    if removed is None:
        refuse(str(problem.target), tried(order.units)[1], problem.meter.unit,
               "all prunable weights at zero and the activations of then")
    masks, reached = tried(removed)
    network.load_state_dict(trial.state_dict())
    return masks, reached


def _order(problem, network, masks):
    """The method's order, and how much of it has gone.

    By worth per joule where the method chose otherwise than by an order.
    """
    def gone(order):
        return least(lambda count: order.masks(count).kept <= masks.kept, order.units)

    if problem.order is not None:
        now = gone(problem.order)
        if problem.order.masks(now) == masks:
            return problem.order, now
    prices = _meter(problem, network).prices
    order = Order(knapsack(scores.energy_of_weights(network, masks), prices),
                  problem.shapes, masks)
    return order, gone(order)


def _guess(problem, order, network, now):
    """How many weights go if their going changes no activation."""
    meter = _meter(problem, network)
    found = least(lambda count: meter.share(order.masks(count)) <= problem.target.share,
                  order.units)
    return now if found is None else found


def _meter(problem, network):
    return meter_of(problem.target, network, problem.prunables, problem.reference,
                    problem.oracle, problem.few_images)


@torch.no_grad()
def _put(trial, network, chosen, masks, before):
    """Make ``trial`` the network under other masks."""
    for name, mask in chosen.items():
        weight, trained = trial.get_parameter(name), network.get_parameter(name)
        values = trained if before is None else torch.where(
            masks[name], trained, before.get_parameter(name))
        weight.copy_(values * mask)
