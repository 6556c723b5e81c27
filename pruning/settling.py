"""An energy target met by the finished network, with the zeros that it really has.

Masks are chosen by the activation zeros of a moment. Weights that go, and training
after them, change the activations, and an energy with them. So the order in which
the method removed weights is taken up once more, a few weights on or back, until
the energy that is measured meets the target to one weight: at a few moments of the
training, so that weights which come back learn a value and the others make up for
those that go, and once more after it, when weights only go.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch

from pruning import scores
from pruning.calibration import follow, recalibrated
from pruning.masks import Masks
from pruning.meters import meter_of
from pruning.problem import Problem
from pruning.selection import (
    Order,
    OutOfReach,
    bottom,
    knapsack,
    least,
    least_near,
    refuse,
)
from pruning.targets import Energy
from pruning.training import to_cpu

# Shares of a training's steps: activations hardly change, and time is left to learn in.
MOMENTS = (0.5, 0.75, 0.9)


class SettlingMasks:
    """Masks that training keeps to, and that are settled on its way.

    Parameters
    ----------
    masks : Masks
    problem : Problem
        What the step had that chose them.
    folder : Path, optional
        The training's; masks are kept beside its state, for a resume.
    """

    shares = MOMENTS

    def __init__(self, masks: Masks, problem: Problem,
                 folder: str | Path | None = None):
        self.masks, self.problem = masks, problem
        self.folder = folder and Path(folder)

    def project(self, model: torch.nn.Module,
                optimizer: torch.optim.Optimizer | None = None) -> None:
        """Zero what the masks of now do not keep, as ``Masks.project`` does."""
        self.masks.project(model, optimizer)

    def resume(self, done: int) -> None:
        """Take up the masks that held when so many steps were done."""
        made = {int(file.stem.removeprefix("masks")): file for file in (
            self.folder.glob("masks*.safetensors") if self.folder else ())}
        for step in [step for step in made if step > done]:
            made.pop(step).unlink()     # of an epoch that was not finished
        if made:
            self.masks = Masks.load(made[max(made)])

    def settle(self, model: torch.nn.Module, done: int) -> None:
        """Settle by the zeros that a model has once so many steps are done."""
        network = to_cpu(copy.deepcopy(model))
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


def not_yet_learnt(weight: torch.Tensor) -> torch.Tensor:
    """A weight that comes back: it counts as not zero, and moves no activation."""
    return torch.tensor(torch.finfo(weight.dtype).tiny, dtype=weight.dtype,
                        device=weight.device)


def settle(problem: Problem, network: torch.nn.Module, masks: Masks,
           returned: Mapping[str, torch.Tensor] | None = None) -> tuple[Masks, float]:
    """Trim a network, or give weights back, until its measured energy meets the target.

    Where the network is one that is trained, its normalisations follow. With the
    statistics of before, each weight that goes makes activations denser: near the
    floor, half of the network would have to go for a ten-thousandth of the energy.

    Parameters
    ----------
    problem : Problem
        What the step had that chose the masks; targets other than energies are met
        already.
    network : torch.nn.Module
        Changed in place.
    masks : Masks
        Those that the network has.
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
    OutOfReach
        The energy is above the target, however many weights go.
    """
    if not isinstance(problem.target, Energy):
        return masks, problem.meter.share(masks)
    trial = _Trial(problem, network, masks, returned)
    share, low, high = problem.target.share, trial.low, trial.order.units

    def meets(count):
        return trial.cost(count) <= share

    removed = least_near(meets, trial.guess(), low, high)
    if removed is None:
        removed = least_near(meets, trial.lowest(), low, high)
    masks = trial.put(removed)
    problem.spared = trial.order.spared(removed)
    network.load_state_dict(trial.network.state_dict())
    return masks, trial.tried[removed]


def check_reachable(problem: Problem, network: torch.nn.Module, masks: Masks,
                    returned: Mapping[str, torch.Tensor] | None) -> None:
    """Refuse an energy that no number of weights meets, before the network is trained.

    The activations are those that it has now. Any number of weights that meets the
    energy will do, and nothing is changed.

    Raises
    ------
    OutOfReach
    """
    trial = _Trial(problem, network, masks, returned)
    count, step, most = trial.guess(), 1, trial.order.units
    while trial.cost(count) > problem.target.share:
        if count == most:
            trial.lowest()
            return
        count, step = min(most, count + step), 2 * step


class _Trial:
    """A network under other masks of an order, its energy measured.

    Parameters
    ----------
    problem, network, masks, returned
        Those of ``settle``.
    """

    def __init__(self, problem, network, masks, returned):
        self.problem, self.given, self.masks = problem, network, masks
        self.returned, self.network = returned, copy.deepcopy(network)
        self.order, self.now = _order(problem, network, masks)
        self.low = self.now if returned is None else 0
        self.was = recalibrated(network, problem.few_images) if problem.trains else None
        self.tried = {}

    def guess(self):
        """Number of weights that go if their going changes no activation."""
        meter = _meter(self.problem, self.given)
        found = least(lambda count: meter.share(self.order.masks(count))
                      <= self.problem.target.share, self.order.units)
        return max(self.low, self.now if found is None else found)

    def put(self, removed):
        """Take so many weights away; returns the masks that are left."""
        chosen = self.masks if removed == self.now else self.order.masks(removed)
        _put(self.network, self.given, chosen, self.masks, self.returned)
        if self.was is not None:
            follow(self.network, self.was, self.problem.few_images)
        return chosen

    def cost(self, removed):
        """Share of the dense energy that is left then, measured once."""
        if removed not in self.tried:
            self.problem.tell(f"settling: energy without {removed:,} of "
                              f"{self.order.units:,} weights")
            self.put(removed)
            self.tried[removed] = self.problem.cost(self.network)
        return self.tried[removed]

    def lowest(self):
        """A number that meets the target after all, or OutOfReach with the least.

        With the last weights biases are all that is left, activations become dense,
        and the energy rises again.
        """
        share = self.problem.target.share
        found = bottom(self.cost, share, self.tried, self.low, self.order.units)
        if self.tried[found] > share:
            refuse(str(self.problem.target), self.problem.meter.unit,
                   self.tried[found])
        return found


def _order(problem, network, masks):
    """The method's order, and how much of it has gone.

    The order is that of worth per joule where the method chose by none.
    """
    def gone(order):
        return least(lambda count: order.masks(count).kept <= masks.kept, order.units)

    if problem.order is not None:
        now = gone(problem.order)
        if problem.order.masks(now) == masks:
            return problem.order, now
    prices = _meter(problem, network).prices
    order = Order(knapsack(scores.energy_of_weights(network, masks), prices),
                  problem.shapes, masks, problem.empty_layers)
    return order, gone(order)


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
