"""Spec of a sweep: machines, networks, points and limits; read, checked, described."""

import hashlib
import tomllib
from dataclasses import asdict, dataclass, replace
from dataclasses import field as of_dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from eyeriss_sim.access_prices import PRICED, SIZES
from eyeriss_sim.area import area_mm2, storage_mm2
from eyeriss_sim.hardware import Hardware, check_value, load_hardware
from eyeriss_sim.importers import as_workload
from eyeriss_sim.layer import Network
from eyeriss_sim.plain import ENDLESS, is_whole, plain, shown
from eyeriss_sim.sweep.axes import BATCH, NO_FIELDS, OBJECTIVE, Axis, make_axis
from eyeriss_sim.sweep.evaluate import schema_of
from eyeriss_sim.sweep.sample import (
    OPTIMIZE,
    Sample,
    check_figure,
    check_keys,
    draw,
    make_sample,
)
from eyeriss_sim.version import VERSION
from eyeriss_sim.widths import BITS_16, Bits, as_bits
from eyeriss_sim.zero_handling import ZERO_HANDLINGS
from eyeriss_sim.zeros import Densities

MOST_POINTS = 10**7
KEYS = ("hardware", "networks", "input_shape", "objective", "layers", "bits",
        "price_by_size", "set", "sample", "constraints")
# A chunk is what a kill can cost: seconds. Nor should a folder hold more than some
# thousand files.
CHUNK_POINTS, CHUNKS = (16, 1000), 256
# Points that an optimiser asks for at once: more would be told less, fewer would leave
# processes idle. The same on every machine, since all that follows depends on it.
GENERATION_POINTS = 16


@dataclass(frozen=True)
class Constraints:
    """Limits on the whole machine, in mm2 and mW.

    Parameters
    ----------
    equal_storage_mm2 : float, optional
        Storage area (ISCA 2016, Eq. 2): the GLB gets what the RFs leave of it.
    equal_area_mm2 : float, optional
        The same for the area of storage and PEs.
    max_area_mm2 : float, optional
    max_power_mW : float, optional
        Power of a network, averaged over its run, DRAM not included.
    """

    equal_storage_mm2: float | None = None
    equal_area_mm2: float | None = None
    max_area_mm2: float | None = None
    max_power_mW: float | None = None

    @property
    def sets_glb(self) -> bool:
        """Whether the size of the GLB follows from the rest."""
        return self.equal_storage_mm2 is not None or self.equal_area_mm2 is not None


@dataclass(frozen=True, eq=False)
class Spec:
    """A checked sweep.

    Parameters
    ----------
    hardware : Hardware
        Hardware that every point starts from; its ``price_by_size`` is that of the
        points.
    axes : tuple of Axis
        Axes that mappings don't depend on stand last, so that neighbours share them.
    networks : dict of (str, int) to Network
        By name and batch.
    objective : str
        The first of its objectives, see ``objectives``.
    constraints : Constraints
    sample : Sample or None
        None for the whole cross product.
    layers : bool
        Whether each layer is a row too.
    bits : Bits
        Widths of all layers' operands.
    densities : dict of str to dict of str to Densities
        Densities by network and layer, as far as files tell; those of weights are of
        use to points that save by zeros of weights.
    own_bits : dict of str to dict of str to Bits
        Widths by network and layer of files that state them, where the sweep does not.
    """

    hardware: Hardware
    axes: tuple[Axis, ...]
    networks: dict[tuple[str, int], Network]
    objective: str
    constraints: Constraints = Constraints()
    sample: Sample | None = None
    layers: bool = False
    bits: Bits = BITS_16
    densities: dict[str, dict[str, Densities]] = of_dataclass(default_factory=dict)
    own_bits: dict[str, dict[str, Bits]] = of_dataclass(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the networks, in the order of their rows."""
        return tuple(dict.fromkeys(name for name, _ in self.networks))

    @property
    def objectives(self) -> tuple[str, ...]:
        """Objectives that mappings are searched for; each point has one of them."""
        return next((axis.values for axis in self.axes if axis.field == OBJECTIVE),
                    (self.objective,))

    @property
    def points(self) -> int:
        """Points of the sweep."""
        if self.sample:
            return self.sample.points
        return prod(len(axis.values) for axis in self.axes)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Places in the cross product that a sample drew, ascending."""
        return draw(cast(Sample, self.sample), [len(axis.values) for axis in self.axes])

    @property
    def generations(self) -> bool:
        """Whether chunks are generations, whose points follow from those before."""
        return self.sample is not None and self.sample.method == OPTIMIZE

    @property
    def chunk_points(self) -> int:
        """Points of a chunk, the last may have fewer."""
        if self.generations:
            return GENERATION_POINTS
        least, most = CHUNK_POINTS
        return min(max(least, -(-self.points // CHUNKS)), most)

    @property
    def chunks(self) -> int:
        """Parts that the sweep is run and written in."""
        return -(-self.points // self.chunk_points)

    def points_of(self, chunk: int) -> range:
        """The range of points in a chunk."""
        start = chunk * self.chunk_points
        return range(start, min(start + self.chunk_points, self.points))

    def picks(self, point: int) -> list[int]:
        """Places of a point's values, one for each axis."""
        return list(self.picks_of(int(self.drawn[point]) if self.sample else point))

    def picks_of(self, place: int) -> tuple[int, ...]:
        """The same of a place in the cross product, as a tuple."""
        picked = []
        for axis in reversed(self.axes):
            place, pick = divmod(place, len(axis.values))
            picked.append(pick)
        return tuple(picked[::-1])

    def rows_of(self, chunk: int) -> int:
        """Rows of a chunk."""
        batch = next((axis for axis in self.axes if axis.field == BATCH), None)
        any_batch = next(iter(self.networks))[1] if batch is None else batch.values[0]
        rows = sum(1 + self.layers * len(self.networks[name, any_batch].layers)
                   for name in self.names)
        return rows * len(self.points_of(chunk))

    def described(self) -> dict[str, Any]:
        """The sweep in plain values: two that differ give different rows.

        Returns
        -------
        dict of str to JSON values
        """
        return {
            "version": VERSION,
            **{f"hardware {key}": value
               for key, value in asdict(self.hardware).items()},
            "fields": [axis.column for axis in self.axes],
            **{f"values of {axis.column}": list(axis.values) for axis in self.axes},
            "networks": list(self.names),
            **{f"layers of {name}, batch {batch}": _digest(network)
               for (name, batch), network in self.networks.items()},
            **{f"densities of {name}": _digest_of(
                (layer, one.filter if (one.ifmap, one.ofmap) == (1, 1) else one)
               for layer, one in of_layers.items())
               for name, of_layers in self.densities.items() if of_layers},
            **{f"bits of {name}": _digest_of(of_layers.items())
               for name, of_layers in self.own_bits.items() if of_layers},
            "objective": self.objective,
            "constraints": asdict(self.constraints),
            "sample": asdict(self.sample) if self.sample else None,
            "rows for layers": self.layers,
            "bits": asdict(self.bits),
            "columns": schema_of(self).names,
            "points in a chunk": self.chunk_points,
            "chunks": self.chunks,
        }


def _digest(network):
    """Tells two networks apart that have the same name."""
    # Plain tuples, as the folders of earlier sweeps say them.
    shapes = [(layer.name, tuple(layer.shape), *([layer.steps] * (layer.steps > 1)))
              for layer in network.layers]
    return _digest_of(shapes)


def _digest_of(rows):
    rows = list(rows)
    return (f"{len(rows)} layers, sha256 "
            + hashlib.sha256(repr(rows).encode()).hexdigest()[:16])


def read_spec(path: str | Path) -> dict[str, Any]:
    """The raw tables of a sweep's TOML file, for ``make_spec``.

    Raises
    ------
    ValueError
        No TOML, or an unknown key; the message lists the known ones.
    OSError
    """
    content = Path(path).read_bytes()
    try:
        tables = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: not a TOML file: {problem}") from None
    check_keys(str(path), tables, KEYS)
    for key in ("set", "sample", "constraints"):
        if not isinstance(tables.get(key, {}), dict):
            raise ValueError(f"{path}: [{key}] must be a table, got {tables[key]!r}")
    return tables


def make_spec(networks: Any, axes: dict[str, Any] | None = None,
              hardware: str | Path | Hardware = "eyeriss_chip", *,
              objective: str | None = None, sample: dict[str, Any] | None = None,
              constraints: dict[str, Any] | None = None, layers: bool = False,
              bits: Any = None, price_by_size: Any = None,
              input_shape: Any = None) -> Spec:
    """A checked sweep.

    Parameters
    ----------
    networks : list of str or Network
    axes : dict of str to values
        See ``axes.make_axis``; nested tables as TOML makes them of dotted keys.
    hardware : str or Hardware
        Hardware that the points start from.
    objective : str or list of str, optional
        Objective of the search for mappings; with several, each machine is a point
        under each. The hardware's own unless given.
    sample : dict, optional
        ``points``, and ``method`` and ``seed`` unless the first Sobol sequence will do;
        for ``method="optimize"`` also ``minimize``, a figure, and limits that the best
        keeps to, ``max_latency_ms`` and ``max_energy_uJ``.
    constraints : dict, optional
        ``equal_storage_area`` and ``equal_area``, each a hardware or mm2;
        ``max_area_mm2``, ``max_power_mW``.
    layers : bool
        A row for each layer too.
    bits : int, str, dict or Bits, optional
        Widths of the operands, the same in all layers, as in ``simulate``.
    price_by_size : bool, optional
        Whether the price of a memory goes by its size, see ``Hardware``; unless given,
        where the sweep varies sizes, or as the hardware says.
    input_shape : list of int, optional
        Input shape of torch modules, batch first.

    Raises
    ------
    ValueError
        One line with the cure.
    """
    hardware = load_hardware(hardware)
    axes = dict(_flat(axes or {}))
    if objective is None:
        objective = hardware.objective
    objectives = make_axis(OBJECTIVE, axes.pop(OBJECTIVE, objective), hardware)
    if input_shape is not None and not (
            isinstance(input_shape, (list, tuple)) and input_shape
            and all(is_whole(plain(size), 1) for size in input_shape)):
        raise ValueError(f"input_shape must be a list of whole numbers above 0, batch "
                         f"first, as in [1, 3, 224, 224], got {input_shape!r}")
    if not isinstance(layers, bool):
        raise ValueError(f"layers must be true or false, got {layers!r}")
    files_say_bits, bits = bits is None, as_bits(bits)
    if not isinstance(bits, Bits):
        raise ValueError(f"a sweep has the same bits in all layers, as in "
                         f"ifmap=8,filter=4, got {', '.join(map(str, bits))}")
    made = [make_axis(name, values, hardware)
            for name, values in axes.items()]
    if len(objectives.values) > 1:
        made.append(objectives)
    for place, axis in enumerate(made):
        for other in made[:place]:
            if _same(axis.field, other.field):
                raise ValueError(f"{other.name} and {axis.name} are the same field; "
                                 f"drop one")
    limits = make_constraints(constraints or {})
    hardware = replace(hardware, price_by_size=_by_size(
        price_by_size, hardware, made, limits))
    made.sort(key=lambda axis: not axis.searched)      # stable: the order of the user
    glb = next((axis for axis in made if axis.field == "glb_ifmap_psum_B"), None)
    if glb and limits.sets_glb:
        raise ValueError(f"{glb.name} can't be varied under an equal area, which gives "
                         f"the GLB what the PEs leave; drop one of both")
    batches = next((axis.values for axis in made if axis.field == BATCH), (None,))
    product = prod(len(axis.values) for axis in made)
    chosen = make_sample(sample, product) if sample else None
    if chosen and chosen.method == OPTIMIZE:
        for axis in made:
            if axis.field in NO_FIELDS and len(axis.values) > 1:
                raise ValueError(f"an optimiser compares machines under one "
                                 f"{axis.name}, got {', '.join(map(str, axis.values))}")
    points = chosen.points if chosen else product
    if points > MOST_POINTS:
        raise ValueError(f"{points:,} points are more than the {MOST_POINTS:,} of one "
                         f"sweep; draw a sample of them: --sample 10000")
    handlings = (hardware.zeros, *(
        setting for axis in made if axis.field == "zeros" for setting in axis.settings))
    weights_count = any(ZERO_HANDLINGS[name].counts_weights for name in handlings)
    loaded, densities, own_bits = _load(networks, batches, input_shape, weights_count)
    if chosen:
        check_figure(chosen, [name for name, _ in loaded])
    return Spec(hardware, tuple(made), loaded, objectives.values[0], limits, chosen,
                layers, bits, densities, own_bits if files_say_bits else {})


def _same(field, other):
    """Whether two fields say the same thing, a price in either unit."""
    if field == other:
        return True
    return any({field, other} == {f"{name}_MAC", f"{name}_pJ"} for name in PRICED)


def _by_size(asked, hardware, axes, constraints):
    """Whether prices go by size: as asked, else if sizes vary or the hardware says."""
    if asked is not None:
        return check_value("a sweep", "price_by_size", asked)
    varied = constraints.sets_glb or any(axis.field in SIZES for axis in axes)
    return varied or hardware.price_by_size


def make_constraints(given: dict[str, Any]) -> Constraints:
    """Constraints from what a file says or options say."""
    known = ("equal_storage_area", "equal_area", "max_area_mm2", "max_power_mW")
    check_keys("[constraints]", given, known)
    if "equal_storage_area" in given and "equal_area" in given:
        raise ValueError("equal_storage_area and equal_area both set the GLB; drop one")
    values = {}
    for key, field, area in (
            ("equal_storage_area", "equal_storage_mm2", storage_mm2),
            ("equal_area", "equal_area_mm2", area_mm2)):
        if key in given:
            value = given[key]
            if isinstance(value, str) and not _is_number(value):
                value = area(load_hardware(value))
            values[field] = _positive(key, value)
    for key in known[2:]:
        if key in given:
            values[key] = _positive(key, given[key])
    return Constraints(**values)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _positive(key, value):
    if isinstance(value, str) and _is_number(value):
        value = float(value)
    value = plain(value)
    if (isinstance(value, bool) or not isinstance(value, (int, float))
            or not 0 < value < ENDLESS):
        raise ValueError(f"{key} must be a positive number, got {shown(value)}")
    return float(value)


def _load(networks, batches, input_shape, weights_count):
    """Networks by name and batch, and what their files say of values, by name."""
    if isinstance(networks, (str, Network)):
        networks = [networks]
    if not isinstance(networks, (list, tuple)) or not networks:
        raise ValueError("a sweep needs networks: --network resnet18, or networks = "
                         "[\"resnet18\"] in its file")
    loaded: dict[tuple[str, int], Network] = {}
    densities, own_bits = {}, {}
    for given in networks:
        if not isinstance(given, (str, Network)):
            raise ValueError(f"networks are names, got {given!r}")
        shape = None
        if input_shape is not None and isinstance(given, str) and (
                ".py:" in given or given.lower().endswith(".onnx")):
            shape = tuple(input_shape)
        workload = as_workload(given, None, shape, weights=weights_count)
        network = workload.network
        if any(name == network.name for name, _ in loaded):
            raise ValueError(f"two networks are called {network.name}; drop one")
        densities[network.name] = workload.densities
        own_bits[network.name] = workload.bits
        for batch in batches:
            sized = network if batch is None else as_workload(
                given, batch, shape, weights=False).network
            loaded[network.name, sized.batch] = sized
    if batches == (None,) and len({batch for _, batch in loaded}) > 1:
        raise ValueError("the networks come with different batches: "
                         + ", ".join(f"{name} {batch}" for name, batch in loaded)
                         + "; give one, as in --set batch=1")
    return loaded, densities, own_bits


def _flat(tables, above=""):
    """Nested tables as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[above + key] = value
    return flat
