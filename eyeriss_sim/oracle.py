"""EnergyOracle: the energy that pruning and cascade ask for, as often as they like."""

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from eyeriss_sim.hardware import Hardware, load_hardware
from eyeriss_sim.importers import as_workload
from eyeriss_sim.mapping import check_mapping
from eyeriss_sim.mapping_files import chosen_mappings
from eyeriss_sim.measure import ZeroMeter, measure_together
from eyeriss_sim.plain import is_whole, plain, shown
from eyeriss_sim.product_maps import laid
from eyeriss_sim.search import search
from eyeriss_sim.simulate import (
    SimulationResult,
    bits_of,
    check_names,
    clip_to_batch,
    provenance_of,
    simulate_layer,
)
from eyeriss_sim.widths import Bits, as_bits, at_widths
from eyeriss_sim.zero_prices import LayerWork, mean_price_uJ, tap_prices_uJ
from eyeriss_sim.zeros import NO_SAVINGS, Densities, savings_of

SEARCHES = ("dense", "sparse")


class EnergyOracle:
    """Costs of networks with their zeros; quick to ask again.

    Parameters
    ----------
    hardware : Hardware or str
        A preset, or the path of a TOML file.
    zeros : str, optional
        What the machine does with zeros, one of ``ZERO_HANDLINGS``; the hardware's own
        unless given.
    batch : int
        Images of a run.
    objective : {"energy", "cycles", "edp", "joules", "edp_normalised"}, optional
        What the mapping search minimises; the hardware's own unless given.
    search : {"dense", "sparse"}
        Whether the search, for whatever objective, takes zeros into account. Dense
        keeps one mapping a shape, whatever is pruned; every result says which it was.
    mapping : str or dict
        Mappings, given as to ``simulate``; layers not named are searched.
    filter_code : str, optional
        One of ``codes.FILTER_CODES``; the hardware's own unless given.
    bits : int, str, Bits or dict, optional
        Widths of the operands, as in ``simulate``.

    Examples
    --------
    >>> oracle = EnergyOracle("eap_tool")
    >>> from eyeriss_sim.networks import load_zoo
    >>> dense = oracle.energy(load_zoo("resnet20_cifar"))
    >>> sparse = oracle.energy(load_zoo("resnet20_cifar"),
    ...                        {"conv1": Densities(filter=0.1)})
    >>> sparse.total_uJ < dense.total_uJ
    True
    """

    def __init__(self, hardware: Hardware | str = "eyeriss_chip",
                 zeros: str | None = None, batch: int = 1, *,
                 objective: str | None = None, search: str = "dense",
                 mapping: Any = "search",
                 filter_code: str | None = None, bits: Any = None):
        self.hardware = load_hardware(hardware)
        if zeros is not None:
            self.hardware = self.hardware.with_zeros(zeros)
        if filter_code is not None:
            self.hardware = replace(self.hardware, filter_code=filter_code)
        if search not in SEARCHES:
            raise ValueError(f"unknown search {search!r}; known: {', '.join(SEARCHES)}")
        self.batch = _checked_batch(batch)
        self.objective = self.hardware.objective if objective is None else objective
        self.search = search
        self.mappings, self.mapping_name = chosen_mappings(mapping, self.hardware)
        self.bits = as_bits(bits)
        self._own_bits = bits is not None
        self._lock = threading.Lock()
        self._measured: weakref.WeakKeyDictionary[Any, tuple] = (
            weakref.WeakKeyDictionary())

    def with_batch(self, batch: int) -> "EnergyOracle":
        """The same oracle for runs of another number of images; nothing is measured."""
        other = copy(self)
        other.batch = _checked_batch(batch)
        other._lock = threading.Lock()
        other._measured = weakref.WeakKeyDictionary()
        return other

    def __call__(
            self, model: Any, images: Any = None, *,
            changed: Iterable[str] | None = None, name: str | None = None,
            progress: Callable[[int, int], None] | None = None) -> SimulationResult:
        """Energy of a torch module with its real zeros.

        Parameters
        ----------
        model : torch.nn.Module
            Pruned in any way, or not at all.
        images : tensor or array, shape (images, ...), or list of them, optional
            Images for each input of the model, which run through it once, to measure
            the zeros of its activations. Without them the last measurement of this
            model is used, and only its weights are looked at again.
        changed : iterable of str, optional
            Names of layers, modules or parameters: only their weights, and those that
            they share, are looked at again, and all others are as this oracle saw them
            last. Unless given, all weights are read.
        name : str, optional
            Name of the network in the report; by default the module's class.
        progress : callable, optional
            Called with (images done, images in all).

        Returns
        -------
        SimulationResult
            For ``batch`` images with the measured shares of zeros.

        Raises
        ------
        ValueError
            No images for a model that was never measured, or whose forward masks or
            turns its weights in a way of its own, so that a change needs a run; a name
            in ``changed`` that the model has not, or images beside it.
        """
        if images is not None:
            if changed is not None:
                raise ValueError("changed says which weights to look at again, and "
                                 "images measure all; give one of both")
            network, measured = self._meter().measure(model, images, name, progress)
            self._keep(model, network, measured)
        else:
            with self._lock:
                if model not in self._measured:
                    raise ValueError(
                        f"{type(model).__name__} was not measured yet; give the oracle "
                        f"images once: oracle(model, images)")
                network, measured = self._measured[model]
            measured = self._meter().recount(model, measured, changed)
            self._keep(model, network, measured)
        return self._report_measured(network, measured)

    def _keep(self, model, network, measured):
        with self._lock:
            self._measured[model] = network, measured

    def _report_measured(self, network, measured):
        return self._report(network, {
            name: (one.densities, one.savings(self.hardware))
            for name, one in measured.items()}, self.bits)

    def energy(self, network: Any, densities: dict[str, Densities] | None = None,
               input_shape: Any = None) -> SimulationResult:
        """Energy of a network whose zeros are known as shares.

        Parameters
        ----------
        network : Network, Workload, str or torch.nn.Module
            The network, given as to ``simulate``.
        densities : dict, optional
            Densities by layer name; layers not named have what the network's file
            says, and are dense where it says nothing.
        input_shape : tuple of int, optional
            Shape of the input of a module or a ``file.py:factory``, batch first.

        Returns
        -------
        SimulationResult
        """
        densities = densities or {}
        workload = as_workload(
            network, self.batch, input_shape,
            weights=self.hardware.zero_handling.counts_weights, told=densities)
        network, densities = workload.network, {**workload.densities, **densities}
        bits = self.bits if self._own_bits else workload.bits
        known = {layer.name for layer in network.layers}
        for name in densities:
            if name not in known:
                raise ValueError(
                    f"density for layer {name!r}, which {network.name} has not; its "
                    f"layers are {', '.join(layer.name for layer in network.layers)}")
        shares = {}
        for place, layer in enumerate(network.layers):
            own = densities.get(layer.name, Densities())
            own.check(layer.name)
            savings = savings_of(
                self.hardware, own, place == 0, bits_of(layer, bits))
            shares[layer.name] = own, savings
        return self._report(network, shares, bits)

    def works(self, result: SimulationResult) -> dict[str, LayerWork]:
        """The LayerWork of each layer of a result of this oracle, by layer name."""
        return {
            one.layer.name: LayerWork(
                laid(one.layer, one.mapping).shape, one.mapping, one.savings,
                one.bits, round(one.densities.filter * one.layer.filter_words),
                one.layer.steps)
            for one in result.by_layer}

    def marginal(self, work: LayerWork) -> float:
        """Energy that one more zero weight of a layer saves, the mean of its weights.

        Parameters
        ----------
        work : LayerWork
            From ``works``.

        Returns
        -------
        float
            uJ of the whole batch, DRAM included; 0 where a zero weight saves nothing.
        """
        return mean_price_uJ(work, self.hardware)

    def weight_prices(self, model: Any) -> dict[str, np.ndarray]:
        """Energy that each weight of a measured model costs while it is not zero.

        A weight meets the ifmap values of its tap, whichever filter it is of, so the
        weights of one tap have one price; those that meet zeros only cost their
        storage. The mean of a layer's non-zero weights is ``marginal``.

        Parameters
        ----------
        model : torch.nn.Module

        Returns
        -------
        dict of str to float64 ndarray, shape (groups * C, R, S)
            uJ of the whole batch by layer; without the layers whose filters are no
            weights of the model. 0 where a zero weight saves nothing.
        """
        works = self.works(self(model))
        _, measured = self._measured[model]
        return {name: tap_prices_uJ(works[name], one, self.hardware)
                for name, one in measured.items()
                if one.met is not None and one.followed}

    def _meter(self):
        """The ZeroMeter of this oracle's settings."""
        def mapping_of(layer, savings):
            return self._mapping_of(layer, savings, self.bits)[0]
        return ZeroMeter(self.hardware, self.bits, self.batch, mapping_of)

    def _mapping_of(self, layer, savings, bits):
        """The mapping of a layer and where it comes from."""
        sized = at_widths(self.hardware, bits_of(layer, bits), layer.name)
        if layer.name in self.mappings:
            mapping = clip_to_batch(self.mappings[layer.name], layer)
            check_mapping(layer, sized, mapping)
            return mapping, self.mapping_name
        seen = savings if self.search == "sparse" else NO_SAVINGS
        found = search(layer, sized, self.objective, savings=seen)
        return found.mappings[0], f"search:{self.objective}:{self.search}"

    def _report(self, network, shares, bits):
        check_names(network, self.mappings, self.mapping_name, "mapping")
        if not isinstance(bits, Bits):
            check_names(network, bits, "bits", "bits")
        layers = []
        for place, layer in enumerate(network.layers):
            densities, savings = shares[layer.name]
            mapping, source = self._mapping_of(layer, savings, bits)
            layers.append(simulate_layer(
                layer, self.hardware, mapping, source, densities, place == 0,
                bits_of(layer, bits), savings))
        return SimulationResult(network, self.hardware, tuple(layers),
                                provenance_of(network, self.hardware))


def _checked_batch(batch):
    batch = plain(batch)
    if not is_whole(batch, 1):
        raise ValueError(
            f"batch must be a whole number of at least 1, got {shown(batch)}")
    return batch


def ask_together(oracles: Mapping[Any, EnergyOracle], model: Any,
                 images: Any) -> dict[Any, SimulationResult]:
    """Energy of a torch module by several oracles, whose images run through it once.

    Parameters
    ----------
    oracles : dict of EnergyOracle
    model : torch.nn.Module
    images : tensor or array, shape (images, ...), or list of them

    Returns
    -------
    dict of SimulationResult, by the same keys
        What each oracle says when it is called with the model and the images; each
        remembers the measurement, as it does then.

    Raises
    ------
    ValueError
        What an oracle refuses that is called.
    """
    found = measure_together([one._meter() for one in oracles.values()], model, images)
    results = {}
    for (key, oracle), (network, measured) in zip(oracles.items(), found, strict=True):
        oracle._keep(model, network, measured)
        results[key] = oracle._report_measured(network, measured)
    return results
