"""Meters of what masks leave of a network's cost: energy, MACs, parameters, weights."""

import copy
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from eyeriss_sim.importers.torch_module import network_from_module
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.simulate import SimulationResult
from pruning.masks import Masks
from pruning.prunable import Prunable, is_transposed, prunable
from pruning.targets import Density, Energy, Macs, Params, Target


@dataclass(frozen=True)
class Reference:
    """Costs of the dense network; shares are relative to them.

    Parameters
    ----------
    energy : float
        uJ of a run of the oracle's batch, with the dense network's own zeros.
    macs, params, weights : int
        MACs of one image, parameters, weights that may be pruned.
    """

    energy: float
    macs: int
    params: int
    weights: int

    @classmethod
    def of(cls, model: torch.nn.Module, prunables: dict, oracle: EnergyOracle,
           images: torch.Tensor) -> "Reference":
        """Measure a dense network."""
        return cls(
            oracle(copy.deepcopy(model), images).total_uJ,
            sum(macs_by_layer(model, images).values()),
            sum(weight.numel() for weight in model.parameters()),
            sum(int(np.prod(one.shape)) for one in prunables.values()))

    def as_dict(self) -> dict:
        """Names and values, for a report."""
        return asdict(self)


class Meter(ABC):
    """A quantity of a network under masks, as a share of the dense network's.

    Parameters
    ----------
    prunables : dict of str to Prunable
    dense : float
        The dense network's.
    unit : str
        How messages call the quantity.
    """

    def __init__(self, prunables: dict[str, Prunable], dense: float, unit: str):
        self.prunables, self.dense, self.unit = prunables, dense, unit

    @abstractmethod
    def share(self, masks: Masks) -> float:
        """What the masks leave."""

    @property
    @abstractmethod
    def prices(self) -> dict[str, torch.Tensor]:
        """What a weight adds, as a share, broadcastable to its parameter's shape."""

    @property
    def floor(self) -> float:
        """Share that is left when every prunable weight is zero."""
        return self.share(Masks({
            name: torch.zeros(one.shape, dtype=torch.bool)
            for name, one in self.prunables.items()}))


class LinearMeter(Meter):
    """A count to which each weight of a layer adds the same.

    Parameters
    ----------
    each : dict of str to int
        What one weight adds, by parameter name.
    rest : int
        What no mask takes away.
    """

    def __init__(self, prunables: dict[str, Prunable], dense: float, unit: str,
                 each: dict[str, int], rest: int):
        super().__init__(prunables, dense, unit)
        self.each, self.rest = each, rest

    def share(self, masks: Masks) -> float:
        """Share that the masks leave."""
        kept = sum(int(mask.sum()) * self.each[name] for name, mask in masks.items())
        return (kept + self.rest) / self.dense

    @property
    def prices(self) -> dict[str, torch.Tensor]:
        """Share that a weight adds; a scalar tensor a parameter."""
        return {name: torch.tensor(each / self.dense, dtype=torch.float64)
                for name, each in self.each.items()}


class EnergyMeter(Meter):
    """Energy under masks, with the activation zeros that the network has now.

    Parameters
    ----------
    model : torch.nn.Module
        Copied; masks may leave any of its prunable weights.
    oracle : EnergyOracle
    images : Tensor
        They measure the zeros of activations.
    """

    def __init__(self, prunables: dict[str, Prunable], dense: float,
                 model: torch.nn.Module, oracle: EnergyOracle, images: torch.Tensor):
        hardware = oracle.hardware
        super().__init__(prunables, dense, f"of the energy on {hardware.name} "
                         f"(zeros: {hardware.zeros}, batch {oracle.batch})")
        self.oracle = oracle
        self.model = copy.deepcopy(model).cpu()
        oracle(self.model, images)
        # Masks that are the model's weights now, by name.
        self._applied: dict[str, torch.Tensor] = {}
        full = Masks.dense(self.model, prunables)
        self.share(full)
        self._prices = self._priced()

    @torch.no_grad()
    def share(self, masks: Masks) -> float:
        """Share that the masks leave."""
        changed = [name for name, mask in masks.items() if name not in self._applied
                   or not torch.equal(mask, self._applied[name])]
        for name in changed:
            self.model.get_parameter(name).copy_(masks[name])
            self._applied[name] = masks[name].clone()
        layers = [layer for name in changed for layer in self.prunables[name].layers]
        return self.oracle(self.model, changed=layers).total_uJ / self.dense

    @property
    def prices(self) -> dict[str, torch.Tensor]:
        """What a weight adds with the activation zeros of the start."""
        return self._prices

    def _priced(self):
        by_layer: dict[str, Any] = {}
        for name, price in self.oracle.weight_prices(self.model).items():
            layer = name.split("#")[0]          # a layer that runs more than once
            by_layer[layer] = by_layer.get(layer, 0) + price
        prices = {}
        for name, one in self.prunables.items():
            found = [by_layer[layer] for layer in one.layers if layer in by_layer]
            if not found:                       # never run: costs nothing
                prices[name] = torch.zeros((), dtype=torch.float64)
                continue
            price = sum(found)
            if is_transposed(self.model, one):
                taps = price[:, ::-1, ::-1].reshape(
                    one.shape[0], 1, *one.shape[2:])
            else:
                # Filters of one group see the same ifmap channels.
                taps = price.reshape(one.groups, 1, *one.shape[1:])
                taps = np.broadcast_to(taps, (one.groups, one.shape[0] // one.groups,
                                              *one.shape[1:]))
                taps = taps.reshape(one.shape) if one.groups > 1 else taps[0, :1]
            prices[name] = torch.from_numpy(taps.copy()) / self.dense
        return prices


def macs_by_layer(model: torch.nn.Module, images: torch.Tensor) -> dict[str, int]:
    """MACs of one image, by module; a module that runs twice has those of both."""
    one = [tensor[:1] for tensor in images] if isinstance(images, (list, tuple)) else (
        images[:1])
    shapes = [tuple(t.shape) for t in one] if isinstance(one, list) else tuple(
        one.shape)
    found: dict[str, int] = {}
    for layer in network_from_module(model, shapes).layers:
        if not layer.dynamic_filters:
            name = layer.name.split("#")[0]
            found[name] = found.get(name, 0) + layer.macs
    return found


def macs_left(model: torch.nn.Module, images: torch.Tensor) -> float:
    """MACs of one image by weights that are not zero, and of layers without any."""
    weights = prunable(model)
    macs, left = macs_by_layer(model, images), 0.0
    for name, density in Masks.of(model, weights).densities.items():
        left += density * sum(macs.pop(layer, 0) for layer in weights[name].layers)
    return left + sum(macs.values())


def taken_by_layer(target: Target, model: torch.nn.Module,
                   result: SimulationResult) -> dict[str, float]:
    """Share that each layer takes now of the quantity that a target counts.

    Parameters
    ----------
    target : Target
    model : torch.nn.Module
    result : SimulationResult
        What the model costs with the weights that it has.

    Returns
    -------
    dict of str to float
        What each module takes, all its runs together: uJ with DRAM, MACs of weights
        that are not zero, or weights that are not zero.
    """
    weights = prunable(model)
    masks = Masks.of(model, weights)
    kept = {layer: masks[name] for name, one in weights.items() for layer in one.layers}
    taken: dict[str, float] = {}
    for one in result.by_layer:
        layer = one.layer.name.split("#")[0]
        mask = kept.get(layer, torch.ones(1, dtype=torch.bool))
        if isinstance(target, Energy):
            taken[layer] = taken.get(layer, 0.0) + one.total_uJ
        elif isinstance(target, Macs):
            share = int(mask.sum()) / mask.numel()
            taken[layer] = taken.get(layer, 0.0) + share * one.layer.macs
        else:
            taken[layer] = float(mask.sum())
    return taken


def meter_of(target: Target, model: torch.nn.Module, prunables: dict,
             reference: Reference, oracle: EnergyOracle, images: torch.Tensor) -> Meter:
    """The meter that a target is met on.

    Parameters
    ----------
    target : Target
    model : torch.nn.Module
        The network of now; its activation zeros count for an energy.
    prunables : dict of str to Prunable
    reference : Reference
        The dense network.
    oracle : EnergyOracle
    images : Tensor

    Returns
    -------
    Meter
    """
    sizes = {name: int(np.prod(one.shape)) for name, one in prunables.items()}
    if isinstance(target, Energy):
        return EnergyMeter(prunables, reference.energy, model, oracle, images)
    if isinstance(target, Density):
        return LinearMeter(prunables, reference.weights, "of the prunable weights",
                           dict.fromkeys(sizes, 1), 0)
    if isinstance(target, Params):
        params = sum(weight.numel() for weight in model.parameters())
        return LinearMeter(prunables, reference.params, "of the parameters",
                           dict.fromkeys(sizes, 1), params - sum(sizes.values()))
    if isinstance(target, Macs):
        macs = macs_by_layer(model, images)
        each = {name: sum(macs.get(layer, 0) for layer in one.layers) // sizes[name]
                for name, one in prunables.items()}
        pruned = sum(each[name] * size for name, size in sizes.items())
        return LinearMeter(prunables, reference.macs, "of the MACs", each,
                           sum(macs.values()) - pruned)
    raise ValueError(f"a target is Energy, Density, Macs or Params, got {target!r}")
