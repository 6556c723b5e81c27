"""The rows of a chunk of points: variant, limits, mappings, energy, cycles, area."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from eyeriss_sim.area import PE_UM2, UM2_PER_MM2, area_mm2, glb_that_fits, storage_mm2
from eyeriss_sim.cycles import CAUSES
from eyeriss_sim.energy import edp_isca16
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.levels import COST_LEVELS, JOULE_PARTS
from eyeriss_sim.result import layer_row
from eyeriss_sim.search import search, search_shape
from eyeriss_sim.simulate import evaluate_shape, provenance_of, simulate_layer
from eyeriss_sim.sweep.axes import BATCH, NO_FIELDS, OBJECTIVE, changes_to
from eyeriss_sim.widths import at_widths
from eyeriss_sim.zeros import Densities

if TYPE_CHECKING:
    from eyeriss_sim.sweep.spec import Spec

# Columns of ``SimulationResult.table`` whose layers add up to a network's figure.
SUMS = {"macs": pa.int64(), "cycles": pa.int64(), **dict.fromkeys((
    "processing_ms", "total_ms", "glb_MB", "dram_MB", "energy_MAC",
    *(f"{level}_MAC" for level in COST_LEVELS), "chip_uJ",
    *(f"{part}_uJ" for part in JOULE_PARTS), "total_uJ", "total_uJ_per_image"),
    pa.float64())}
RATIOS = dict.fromkeys(("power_mW", "utilization", "edp_isca16", "macs_per_s"),
                       pa.float64())
OF_LAYERS = {
    **dict.fromkeys((*"mnepqrt", "row_segments", "column_strips",
                     "map_H", "map_W", "padding_macs", "steps", "passes",
                     "active_pes"), pa.int64()),
    **dict.fromkeys(("glb_dram_side_MB", "glb_filter_MB", "ifmap_MAC", "filter_MAC",
                     "psum_MAC", "filter_density"), pa.float64()),
    **dict.fromkeys((f"{cause}_cycles" for cause in CAUSES), pa.int64())}
# Columns of the machine itself, whatever it runs.
MACHINE = {"pes": pa.int64(), "storage_B": pa.int64(), "area_mm2": pa.float64(),
           "storage_mm2": pa.float64()}
# Prices of accesses and MACs of 16 bits that a row's energies are made of.
PRICES = {f"{name}_price_MAC": name.split("_") for name in (
    "alu", "rf_ifmap", "rf_filter", "rf_psum", "noc", "glb", "glb_filter", "dram")}
PROVENANCE = ("hardware", "accounting", "zeros", "cost_table", "version")
DENSE = Densities()
MOST_REMEMBERED = 4096
SOLVED_GLB = "glb_KB"


def schema_of(spec: "Spec") -> pa.Schema:
    """Columns and types of the results, the same whatever is in a chunk.

    Returns
    -------
    pyarrow.Schema
    """
    columns = {"point": pa.int64()}
    for axis in spec.axes:
        columns[axis.column] = _type_of(axis)
    if spec.constraints.sets_glb:
        columns[SOLVED_GLB] = pa.float64()
    columns |= {"network": pa.string(), "batch": pa.int64()}
    if spec.layers:
        columns["layer"] = pa.string()
    columns |= SUMS | RATIOS | MACHINE | {"price_by_size": pa.bool_()}
    columns |= dict.fromkeys(PRICES, pa.float64())
    if spec.layers:
        columns |= OF_LAYERS
    columns |= {"reason": pa.string(), "objective": pa.string()}
    columns |= {key: pa.string() for key in PROVENANCE if key not in columns}
    return pa.schema(list(columns.items()))


def _type_of(axis):
    if isinstance(axis.values[0], str):
        return pa.string()
    if isinstance(axis.values[0], bool):
        return pa.bool_()
    fields = Hardware.__dataclass_fields__
    whole = axis.field == BATCH or fields[axis.field].type is int
    if whole and all(isinstance(value, int) for value in axis.values):
        return pa.int64()
    return pa.float64()


def evaluate_chunk(spec: "Spec", chunk: int) -> pa.Table:
    """All rows of a chunk.

    Parameters
    ----------
    spec : Spec
    chunk : int

    Returns
    -------
    pyarrow.Table
        Columns of ``schema_of(spec)``; a row for each network at each point and, if
        asked for, one for each of its layers, whose ``layer`` is not null.
    """
    points = spec.points_of(chunk)
    return evaluate_points(spec, points, [spec.picks(point) for point in points])


def evaluate_points(spec: "Spec", points: Sequence[int], picks: Sequence) -> pa.Table:
    """The same of points with these picks, one a point."""
    # Answers for one chunk are of no use to most others: memory stays flat.
    for remembered in (search_shape, evaluate_shape):
        if remembered.cache_info().currsize > MOST_REMEMBERED:
            remembered.cache_clear()
    rows = []
    for point, picked in zip(points, picks, strict=True):
        rows += point_rows(spec, point, picked)
    return pa.Table.from_pylist(rows, schema_of(spec))


def evaluate_base(spec: "Spec") -> pa.Table:
    """The rows of the hardware that the sweep starts from, for every network and batch.

    They are what figures mark as the chip's own point; ``point`` is -1.

    Returns
    -------
    pyarrow.Table
    """
    schema = schema_of(spec)
    own: dict[str, Any] = {
        "point": -1, SOLVED_GLB: spec.hardware.glb_ifmap_psum_B / 1024}
    for axis in spec.axes:
        if axis.field not in NO_FIELDS:
            own[axis.column] = _in_unit_of(axis, spec.hardware)
    rows = []
    for objective in spec.objectives:
        own["objective"] = objective
        for network in spec.networks.values():
            rows += network_rows(spec, spec.hardware, network, own, spec.hardware.name)
    return pa.Table.from_pylist(rows, schema)


def _in_unit_of(axis, hardware):
    """The hardware's own value in the unit of an axis; None if it can't be said."""
    value = getattr(hardware, axis.field)
    if value is None or isinstance(value, (str, bool)):
        return value
    scale = next((said / setting for said, setting
                  in zip(axis.values, axis.settings, strict=True) if setting), 1)
    scaled = value * scale
    if _type_of(axis) == pa.int64():
        return int(scaled) if scaled == int(scaled) else None
    return float(scaled)


def point_rows(spec: "Spec", point: int, picks: Sequence[int]) -> list[dict]:
    """Rows of one point, every network in turn."""
    settings, own = {}, {"point": point, "objective": spec.objective}
    for axis, pick in zip(spec.axes, picks, strict=True):
        settings[axis.field] = axis.settings[pick]
        own[axis.column] = axis.values[pick]
    batch = settings.pop(BATCH, None)
    settings.pop(OBJECTIVE, None)       # own says it
    reason, hardware = "", None
    try:
        hardware = variant(spec, settings)
        if spec.constraints.sets_glb:
            own[SOLVED_GLB] = hardware.glb_ifmap_psum_B / 1024
        reason = _too_large(spec.constraints, hardware)
    except ValueError as problem:
        reason = str(problem)
    rows = []
    for (_, its_batch), network in spec.networks.items():
        if batch is not None and its_batch != batch:
            continue
        if reason or hardware is None:
            rows += refused_rows(spec, hardware, network, own, reason)
        else:
            rows += network_rows(spec, hardware, network, own, spec.hardware.name)
    return rows


def variant(spec: "Spec", settings: dict[str, Any]) -> Hardware:
    """The hardware of a point; its GLB as large as an equal area leaves.

    Raises
    ------
    ValueError
        No such hardware: a bank larger than its buffer, PEs that leave no GLB.
    """
    base, limits = spec.hardware, spec.constraints
    changes = changes_to(settings)
    if not limits.sets_glb:
        return replace(base, name=f"the variant of {base.name}", **changes)
    # The PEs are what counts here; any GLB of one bank makes a machine of them.
    glb = changes.get("glb_bank_B", base.glb_bank_B) or 2
    unsized = replace(base, name=f"the variant of {base.name}",
                      **changes | {"glb_ifmap_psum_B": glb})
    storage = limits.equal_storage_mm2
    what = "storage"
    if storage is None:
        what = "storage and PEs"
        storage = (cast(float, limits.equal_area_mm2)
                   - unsized.pes * PE_UM2 / UM2_PER_MM2)
    size_B = glb_that_fits(unsized, storage)
    if not size_B:
        limit = limits.equal_storage_mm2 or limits.equal_area_mm2
        raise ValueError(f"{unsized.pes} PEs leave no GLB of {limit:.4g} mm2 of "
                         f"{what}; give them smaller RFs, or take fewer")
    return replace(unsized, glb_ifmap_psum_B=size_B)


def _too_large(limits, hardware):
    area = area_mm2(hardware)
    if limits.max_area_mm2 is not None and area > limits.max_area_mm2:
        return f"area of {area:.4g} mm2 exceeds {limits.max_area_mm2:g} mm2"
    return ""


def network_rows(spec: "Spec", hardware: Hardware, network: Network, own: dict,
                 base_name: str) -> list[dict]:
    """One network on one machine: its row, and those of its layers if asked for."""
    common = common_columns(spec, hardware, network, own) | {"hardware": base_name}
    by_key, problems = {}, {}
    # The first layer apart: no code shortens the network's input.
    own_bits = spec.own_bits.get(network.name, {})
    keys = [(layer.shape, layer.steps, place == 0,
             densities_of(spec, hardware, network, layer),
             own_bits.get(layer.name, spec.bits))
            for place, layer in enumerate(network.layers)]
    for layer, key in zip(network.layers, keys, strict=True):
        if key in by_key or key in problems:
            continue
        *_, first, densities, bits = key
        try:
            sized = at_widths(hardware, bits, layer.name)
            mapping = search(layer, sized, own["objective"]).mappings[0]
        except ValueError as problem:
            problems[key] = str(problem)
            if not spec.layers:
                break
            continue
        result = simulate_layer(layer, hardware, mapping, "", densities, first, bits)
        by_key[key] = layer_row(result, hardware, network.batch)
        by_key[key]["macs_per_s"] = macs_per_s(by_key[key])
    row = dict(common)
    if problems:
        row["reason"] = next(iter(problems.values()))
    else:
        times = Counter(keys)
        for column in SUMS:
            row[column] = sum(by_key[key][column] * count
                              for key, count in times.items())
        row["macs_per_s"] = macs_per_s(row)
        row["power_mW"] = row["chip_uJ"] / row["total_ms"]
        row["utilization"] = row["macs"] / (row["cycles"] * hardware.pes)
        energy_MAC, macs, active_pes, padding_macs = (
            [by_key[key][column] for key in keys]
            for column in ("energy_MAC", "macs", "active_pes", "padding_macs"))
        row["edp_isca16"] = edp_isca16(energy_MAC, macs, active_pes, hardware.pes,
                                       network.batch, padding_macs)
        limit = spec.constraints.max_power_mW
        if limit is not None and row["power_mW"] > limit:
            row["reason"] = f"power of {row['power_mW']:.4g} mW exceeds {limit:g} mW"
    rows = [row]
    if spec.layers:
        for layer, key in zip(network.layers, keys, strict=True):
            figures = by_key.get(key) or {"reason": problems[key]}
            rows.append({**figures, **common, "layer": layer.name,
                         "reason": figures.get("reason")})
    return rows


def macs_per_s(row: Any) -> Any:
    """Throughput: MACs of a row over its total latency; columns of a table too."""
    return row["macs"] / row["total_ms"] * 1e3


def storage_B(hardware: Hardware) -> int:
    """Bytes of all RFs or spads, the global buffer and the filter buffer.

    Examples
    --------
    >>> from eyeriss_sim.hardware import load_hardware
    >>> storage_B(load_hardware("isca16_256")) == 256 * 512 + 256 * 512
    True
    """
    buffers = [hardware.glb_ifmap_psum_B]
    if "glb_filter_B" not in hardware.dataflow.ignores:
        buffers.append(hardware.glb_filter_B)
    return int(hardware.pes * sum(hardware.dataflow.rf_memories_B(hardware))
               + sum(buffers))


def densities_of(spec: "Spec", hardware: Hardware, network: Network,
                 layer: ConvLayer) -> Densities:
    """Densities of a layer as far as a machine makes use of them."""
    known = spec.densities.get(network.name, {}).get(layer.name, DENSE)
    if hardware.zero_handling.counts_weights:
        return known
    return replace(known, filter=1.0)


def refused_rows(spec: "Spec", hardware: Hardware | None, network: Network, own: dict,
                 reason: str) -> list[dict]:
    """The same rows, without figures, for a machine that can't be or may not be."""
    row = common_columns(spec, hardware, network, own) | {
        "reason": reason, "hardware": spec.hardware.name}
    rows = [row]
    if spec.layers:
        rows += [row | {"layer": layer.name} for layer in network.layers]
    return rows


def common_columns(spec: "Spec", hardware: Hardware | None, network: Network,
                   own: dict) -> dict[str, Any]:
    """Columns that all rows of one network on one machine share."""
    if hardware is None:
        return own | {"network": network.name, "batch": network.batch,
                      "version": provenance_of(network, spec.hardware)["version"]}
    return provenance_of(network, hardware) | own | {
        "pes": hardware.pes, "area_mm2": area_mm2(hardware),
        "storage_mm2": storage_mm2(hardware), "storage_B": storage_B(hardware),
        "price_by_size": hardware.price_by_size,
        **{column: hardware.cost_MAC(*memory) for column, memory in PRICES.items()}}
