"""An energy target met by the finished network, with the zeros that it really has.

Masks are chosen by the activation zeros of a moment. Weights that go, and training
after them, change the activations, and an energy with them. So the order in which
the method removed weights is taken up once more, a few weights on or back, until
the energy that is measured meets the target to one weight: at a few moments of the
training, so that weights which come back learn a value and the others make up for
those that go, and once more after it, when weights only go.
"""

import copy
from pathlib import Path

import torch

from pruning import scores
from pruning.calibration import follow, recalibrated
from pruning.masks import Masks
from pruning.meters import meter_of
from pruning.selection import (
    OutOfReach, Order, knapsack, least, least_near, refuse)
from pruning.targets import Energy

# Of a training's steps: activations have mostly settled, and time is left to learn in.
MOMENTS = (0.5, 0.75, 0.9)


class SettlingMasks:
    """Masks that training keeps to, and that are settled on its way.

    Parameters
    ----------
    masks : Masks
    problem : Problem
        Of the step that chose them.
    folder : Path, optional
        Of the training: masks are kept beside its state, for a resume.
    """

    shares = MOMENTS

    def __init__(self, masks, problem, folder=None):
        self.masks, self.problem = masks, problem
        self.folder = folder and Path(folder)

    def project(self, model, optimizer=None):
        """As ``Masks.project``, with the masks of now."""
        self.masks.project(model, optimizer)

    def resume(self, done):
        """Take up the masks that held when so many steps were done."""
        made = {int(file.stem.removeprefix("masks")): file for file in (
            self.folder.glob("masks*.safetensors") if self.folder else ())}
        for step in [step for step in made if step > done]:
            made.pop(step).unlink()     # of an epoch that was not finished
        if made:
            self.masks = Masks.load(made[max(made)])

    def settle(self, model, done):
        """Settle by the zeros that a model has once so many steps are done."""
        network = copy.deepcopy(model).to("cpu", memory_format=torch.contiguous_format)
        self.masks.apply(network.eval())
        try:
            self.masks, _ = settle(self.problem, network, self.masks, {
                name: not_yet_learnt(network.get_parameter(name))
                for name in self.masks})
        except OutOfReach:      # perhaps for now only: what counts is the end
            return
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.masks.save(self.folder / f"masks{done}.safetensors")


def not_yet_learnt(weight):
    """A weight that comes back: it counts as not zero, and moves no activation."""
    return torch.tensor(torch.finfo(weight.dtype).tiny, dtype=weight.dtype,
                        device=weight.device)


def settle(problem, network, masks, returned=None):
    """Trim a network, or give weights back, until its measured energy meets the target.

    Where the network is one that is trained, its normalisations follow. With the
    statistics of before, each weight that goes makes activations denser: near the
    floor, half of the network would have to go for a ten-thousandth of the energy.

    Parameters
    ----------
    problem : Problem
        Of the step that chose the masks; targets other than energies are met already.
    network : torch.nn.Module
        Changed in place.
    masks : Masks
        That it has.
    returned : mapping of str to Tensor, optional
        Values of the weights that come back, by parameter name. Without them none
        comes back, and the energy may stay below the target.

    Returns
    -------
    masks : Masks
        At or below the target; where weights may come back, one more would be above.
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
    was = recalibrated(network, problem.few_images) if problem.trains else None

    def tried(removed):
        problem.tell(f"settling: energy without {removed:,} of {order.units:,} weights")
        chosen = masks if removed == now else order.masks(removed)
        _put(trial, network, chosen, masks, returned)
        if was is not None:
            follow(trial, was, problem.few_images)
        return chosen, problem.cost(trial)

    low = now if returned is None else 0
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
def _put(trial, network, chosen, masks, returned):
    """Make ``trial`` the network under other masks."""
    for name, value in network.named_buffers():
        trial.get_buffer(name).copy_(value)
    for name, mask in chosen.items():
        value = network.get_parameter(name)
        if returned is not None:
            value = torch.where(masks[name].to(value.device), value, returned[name])
        trial.get_parameter(name).copy_(value * mask.to(value.device))
