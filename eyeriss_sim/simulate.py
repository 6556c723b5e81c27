"""The whole way of a network through the model: mapping, counts, cycles, energy."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from os import PathLike
from typing import Any

from eyeriss_sim.access_prices import NOMINAL_V, PARTS, resolved_prices
from eyeriss_sim.counts import count
from eyeriss_sim.cycles import count_cycles
from eyeriss_sim.energy import level_energy, width_factors
from eyeriss_sim.hardware import Hardware, load_hardware
from eyeriss_sim.importers import as_workload
from eyeriss_sim.layer import ConvLayer, Network, Shape
from eyeriss_sim.levels import COST_LEVELS
from eyeriss_sim.mapping import Mapping, check_mapping
from eyeriss_sim.mapping_files import chosen_mappings
from eyeriss_sim.plain import shown
from eyeriss_sim.product_maps import laid
from eyeriss_sim.read_only import read_only
from eyeriss_sim.result import LayerResult, SimulationResult
from eyeriss_sim.search import search
from eyeriss_sim.version import VERSION
from eyeriss_sim.widths import BITS_16, Bits, as_bits, at_widths
from eyeriss_sim.zeros import Densities, Savings, read_shares, savings_of


def simulate(network: Any, hardware: Hardware | str = "eyeriss_chip",
             batch: int | None = None, *,
             mapping: str | PathLike | dict[str, Mapping] = "search",
             objective: str | None = None, zeros: str | None = None,
             densities: dict[str, Densities] | str | PathLike | None = None,
             bits: Bits | int | str | dict | None = None, price_by_size: bool = False,
             input_shape: Any = None, proposals: int | None = None) -> SimulationResult:
    """Mapping, accesses, cycles and energy of every layer of a network.

    Parameters
    ----------
    network : Network, Workload, str or torch.nn.Module
        A network, the name of one of the zoo, a file (``.onnx``, ``.csv``,
        ``file.py:factory``, or the 25-number ``.txt`` of the energy-aware-pruning tool,
        which brings densities and bits), or a module.
    hardware : Hardware or str
        A preset, or the path of a TOML file.
    batch : int, optional
        Images; the network's own number unless given.
    mapping : str or dict
        ``search``, ``published``, ``published-table3``, ``inferred-table6``, the path
        of a CSV file, or Mappings by layer name. Layers not named are searched.
    objective : {"energy", "cycles", "edp", "joules", "edp_normalised"}, optional
        What the search minimises, see ``search``; the hardware's own unless given. It
        takes no zeros into account.
    zeros : str, optional
        What the machine does with zeros, one of ``ZERO_HANDLINGS``; the hardware's own
        unless given.
    densities : str or dict, optional
        Path of a CSV file, or Densities by layer name. Layers not named have what the
        network's file says, and are dense where it says nothing; where zeros of
        weights save something, those of an ONNX file are counted.
    bits : int, str, Bits or dict, optional
        Widths of the operands, those of the network's file or 16 unless given: a
        number for all,
        ``"ifmap=8,filter=4"`` or a dict of widths by operand; or any of these by layer
        name. What a narrow value saves is the hardware's, ``[word] pack``.
    price_by_size : bool
        Whether a word of a larger memory costs more, see ``Hardware``, whatever the
        hardware says; False leaves it to the hardware.
    input_shape : tuple of int, list or dict, optional
        Shape of a module's input or an ONNX file's open ones, batch first; several as
        ``network_from_module`` takes them.
    proposals : int, optional
        Rows of a module that go on wherever values decide, as in a detector.

    Returns
    -------
    SimulationResult

    Raises
    ------
    ValueError
        One line that names the layer, the quantity, the value and the cure.
    OSError
        A file that can't be read.

    Examples
    --------
    >>> from eyeriss_sim import simulate
    >>> result = simulate("alexnet", batch=4, mapping="published")
    >>> result.table.set_index("layer").glb_MB.round(1)["CONV2"]
    np.float64(77.6)
    """
    hardware = load_hardware(hardware)
    if objective is None:
        objective = hardware.objective
    if zeros is not None:
        hardware = hardware.with_zeros(zeros)
    if price_by_size:
        hardware = replace(hardware, price_by_size=price_by_size)
    shares, densities_name = shares_of(densities)
    workload = as_workload(
        network, batch, input_shape, proposals,
        weights=hardware.zero_handling.counts_weights,
        told=[name for name, said in shares.items() if "filter" in said])
    network, known = workload.network, workload.densities
    mappings, mapping_name = chosen_mappings(mapping, hardware)
    densities = {
        name: replace(known.get(name, Densities()), **shares.get(name, {}))
        for name in {**known, **shares}}
    check_names(network, mappings, mapping_name, "mapping")
    check_names(network, densities, densities_name, "density")
    widths: Bits | dict[str, Bits] = workload.bits if bits is None else as_bits(bits)
    if not isinstance(widths, Bits):
        check_names(network, widths, "bits", "bits")
    layers = []
    for place, layer in enumerate(network.layers):
        layer_densities = densities.get(layer.name, Densities())
        layer_densities.check(layer.name)
        own_bits = bits_of(layer, widths)
        sized = at_widths(hardware, own_bits, layer.name)
        if layer.name in mappings:
            chosen, source = clip_to_batch(mappings[layer.name], layer), mapping_name
            check_mapping(layer, sized, chosen)
        else:
            chosen = search(layer, sized, objective).mappings[0]
            source = f"search:{objective}"
        layers.append(simulate_layer(
            layer, hardware, chosen, source, layer_densities, place == 0, own_bits))
    return SimulationResult(network, hardware, tuple(layers),
                            provenance_of(network, hardware))


def shares_of(
        densities: dict[str, Densities] | str | PathLike | None) -> tuple[dict, str]:
    """Shares by layer and operand of ``simulate``'s densities, and their source."""
    if isinstance(densities, (str, PathLike)):
        return read_shares(densities), str(densities)
    for name, one in (densities or {}).items():
        if not isinstance(one, Densities):
            raise ValueError(f"densities of {name} must be Densities, got "
                             f"{shown(one)}")
    return {name: vars(one) for name, one in (densities or {}).items()}, "densities"


def provenance_of(network: Network, hardware: Hardware) -> dict:
    """Sources of a result, as constant columns of its table."""
    return {
        "network": network.name,
        "batch": network.batch,
        "hardware": hardware.name,
        "accounting": hardware.accounting,
        "zeros": hardware.zeros,
        "cost_table": cost_table(hardware),
        "version": VERSION,
    }


def bits_of(layer: ConvLayer, bits: Bits | dict[str, Bits]) -> Bits:
    """The checked operand widths of a layer, from one for all or from a dict."""
    own = bits if isinstance(bits, Bits) else bits.get(layer.name, BITS_16)
    own.check(layer.name)
    return own


def simulate_layer(layer: ConvLayer, hardware: Hardware, mapping: Mapping,
                   mapping_source: str, densities: Densities, first_layer: bool,
                   bits: Bits = BITS_16, savings: Savings | None = None) -> LayerResult:
    """One layer under a legal mapping; returns its LayerResult.

    ``savings`` are what exact tensors gave, the mean of a layer's steps; without them
    the densities' expectation.
    """
    if savings is None:
        savings = savings_of(hardware, densities, first_layer, bits)
    figures = evaluate_shape(
        laid(layer, mapping).shape, hardware, mapping, savings, bits)
    return LayerResult(
        layer, mapping, mapping_source, densities, savings, bits,
        *(figures if layer.steps == 1 else times(figures, layer.steps)))


def times(figures: tuple, steps: int) -> tuple:
    """Results of ``evaluate_shape``, so many times one after the other."""
    counts, accesses, cycles, *energies = figures
    return (counts.times(steps), accesses * steps, cycles.times(steps),
            *(energy * steps for energy in energies))


@lru_cache(maxsize=16384)
def evaluate_shape(shape: Shape, hardware: Hardware, mapping: Mapping, savings: Savings,
                   bits: Bits) -> tuple:
    """Figures of one step of a layer: all layers of that shape share them."""
    hardware = at_widths(hardware, bits, shape.name)
    widths = width_factors(hardware)
    counts = count(shape, hardware, mapping)
    handling = hardware.zero_handling
    cycles = handling.cycles_left(
        count_cycles(shape, hardware, mapping, counts, savings), shape, hardware,
        mapping, savings)
    seconds = cycles.total / (hardware.clock_MHz * 1e6)
    accesses = handling.accesses_left(counts.accesses, savings)
    macs = counts.macs * savings.macs_left
    energy_MAC, alu_MAC = level_energy(accesses, macs, hardware.cost_MAC, widths)
    energy_pJ, alu_pJ = level_energy(accesses, macs, hardware.cost_pJ, widths)
    read_only(counts.accesses)
    return (counts, read_only(accesses), cycles, read_only(energy_MAC), alu_MAC,
            read_only(energy_pJ), alu_pJ,
            cycles.total * hardware.pes * hardware.clock_pJ,
            hardware.static_mW * 1e9 * seconds)


def clip_to_batch(mapping: Mapping, layer: ConvLayer) -> Mapping:
    """The mapping with n lowered to the images that there are."""
    return replace(mapping, n=min(mapping.n, layer.N))


def cost_table(hardware: Hardware) -> str:
    """The prices that a result stands on, in one line: ratios, and what sets the pJ.

    Examples
    --------
    >>> cost_table(load_hardware("eyeriss_chip"))
    'alu 1 rf 1 noc 2 glb 6 dram 200; 1 MAC = 1.44 pJ; clock 5.26 pJ a PE and cycle'
    """
    ratios = {name.removesuffix("_MAC"): price
              for name, price in resolved_prices(hardware).items()}
    said = [f"{name} {ratios[name]:g}" for level in COST_LEVELS
            for name in (level, *PARTS)
            if name.startswith(level) and ratios[name] is not None
            and not (name == "rf" and ratios["rf_ifmap"] is not None)]
    parts = [" ".join(said), f"1 MAC = {hardware.mac_pJ:g} pJ"]
    if hardware.clock_pJ:
        parts.append(f"clock {hardware.clock_pJ:g} pJ a PE and cycle")
    if hardware.static_mW:
        parts.append(f"static {hardware.static_mW:g} mW")
    if hardware.price_by_size:
        parts.append("by the size of each memory")
    if hardware.voltage_V != NOMINAL_V:
        parts.append(f"all of the chip at {hardware.voltage_V:g} V")
    return "; ".join(parts)


def check_names(network: Network, given: Iterable[str], source: str, what: str) -> None:
    """Refuse data for layers that the network has not."""
    names = {layer.name for layer in network.layers}
    for name in given:
        if name not in names:
            raise ValueError(
                f"{source}: {what} for layer {name!r}, which {network.name} has not; "
                f"its layers are {', '.join(layer.name for layer in network.layers)}")
