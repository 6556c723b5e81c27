"""The problem of a pruning method: a network, its cost, the cost that it may have."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch

from eyeriss_sim.oracle import EnergyOracle
from pruning.masks import Masks
from pruning.meters import Meter, Reference, macs_left, meter_of
from pruning.progress import silent
from pruning.prunable import prunable
from pruning.selection import Order
from pruning.targets import Density, Energy, Macs, Target


@dataclass
class Problem:
    """One network that is to cost a share of the dense one.

    Parameters
    ----------
    model : torch.nn.Module
        A copy: methods may change its weights.
    prunables : dict of str to Prunable
    reference : Reference
        The dense network's costs.
    oracle : EnergyOracle
    images : Tensor, shape (images, ...)
        Calibration images.
    target : Target
        Its kind says what is counted. Methods with levels of their own have none.
    within : Masks
        What earlier pruning left.
    seed : int
    zero_images : int
        The first so many images measure the zeros of activations.
    trains : bool
        Whether the network is trained once its masks are chosen.
    thinned_next : bool
        Whether a method for weights goes on with the network.
    zeros_of : torch.nn.Module, optional
        The network whose activation zeros the meter counts by; the model unless given.
    floor : float, optional
        Least share that can be reached: the meter's, unless the method says another.
    order : Order, optional
        The order in which the last ``meet`` removed weights.
    empty_layers : bool
        Whether a layer may lose its last weight.
    spared : list of str
        Parameters that the last ``meet``, or settling, left one weight for that reason.
    held : dict of str to str
        Layers whose channels must stay, and why, where whole channels go.
    tell : callable
        Hears in one line what a method is at, for whoever waits.
    """

    model: torch.nn.Module
    prunables: dict
    reference: Reference
    oracle: EnergyOracle
    images: torch.Tensor
    target: Target
    within: Masks
    seed: int = 0
    zero_images: int = 64
    trains: bool = False
    thinned_next: bool = False
    zeros_of: torch.nn.Module | None = None
    floor: float | None = None
    order: Order | None = None
    empty_layers: bool = False
    spared: list = field(default_factory=list)
    held: dict = field(default_factory=dict)
    tell: Callable[[str], None] = silent

    @property
    def shapes(self) -> dict[str, tuple]:
        """Shapes of the parameters."""
        return {name: one.shape for name, one in self.prunables.items()}

    @cached_property
    def meter(self) -> Meter:
        """Measures the target's quantity under masks."""
        return meter_of(self.target, self.zeros_of or self.model, self.prunables,
                        self.reference, self.oracle, self.few_images)

    @property
    def few_images(self) -> torch.Tensor:
        """Those that measure zeros."""
        return self.images[:self.zero_images]

    def meet(self, scores: dict, share: float | None = None,
             within: Masks | None = None) -> Masks:
        """Masks that remove lowest scores first, until the target is met.

        Parameters
        ----------
        scores : dict of str to Tensor
        share : float, optional
            A milder share on the way to the target.
        within : Masks, optional
            What may stay, instead of ``problem.within``.
        """
        order = self.order = Order(scores, self.shapes, self.within if within is None
                                   else within, self.empty_layers)
        masks = order.meet(
            self.meter, self.target.share if share is None else share, str(self.target))
        self.spared = order.spared(order.removed)
        return masks

    def cost(self, network: torch.nn.Module) -> float:
        """Share of the target's quantity that a network takes as it is.

        An energy is that of its own activation zeros, measured now. Other quantities
        are those of a network of fewer channels, its zeros left out.
        """
        kind, reference = type(self.target), self.reference
        if kind is Energy:
            return self.oracle(network, self.few_images).total_uJ / reference.energy
        if kind is Macs:
            return macs_left(network, self.images) / reference.macs
        masks = Masks.of(network, prunable(network))
        if kind is Density:
            return sum(int(mask.sum()) for name, mask in masks.items()
                       if name in self.prunables) / reference.weights
        masked = sum(mask.numel() for mask in masks.values()) - masks.kept
        return (sum(weight.numel() for weight in network.parameters()) - masked
                ) / reference.params
