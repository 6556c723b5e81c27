"""Reasons of a layer's cost: its mapping as a loop nest, limits, runners-up."""

from dataclasses import replace
from html import escape
from io import StringIO

from rich.table import Table
from rich.text import Text

from eyeriss_sim.cycles import CAUSES
from eyeriss_sim.dataflows.rs_geometry import even_cuts
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.labels import decimals, pick_unit, printable
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import KINDS, LEVELS
from eyeriss_sim.mapping import Mapping, check_mapping
from eyeriss_sim.product_maps import laid
from eyeriss_sim.report import COUNTS, joules_by_part
from eyeriss_sim.result import SimulationResult
from eyeriss_sim.search import search
from eyeriss_sim.simulate import simulate_layer
from eyeriss_sim.terminal import make_console
from eyeriss_sim.widths import BITS_16, at_widths
from eyeriss_sim.zeros import Densities

CAUSE_MEANINGS = {
    "mac": "MACs, one a PE and cycle",
    "ramp": "spads filling, windows shifting, last psums climbing",
    "psum_net": "psum networks slower than the MACs",
    "glb": "ifmaps leaving the GLB slower than both",
    "dram_filter": "waiting for the next pass's filters",
    "dram_fmap": "ifmaps loading, ofmaps dumping",
}


class Explanation:
    """All that is known of one layer: shown as tables by print, rich and notebooks.

    Parameters
    ----------
    parts : list of rich renderables
    """

    def __init__(self, parts: list):
        self.parts = parts

    def __rich_console__(self, console, options):
        for part in self.parts:
            yield part
            yield ""

    def __str__(self):
        text = StringIO()
        make_console(text).print(self)
        return text.getvalue()

    def __repr__(self):
        return f"<{type(self).__name__}: {str(self).splitlines()[0]}; print it>"

    def _repr_html_(self):
        return f"<pre>{escape(str(self))}</pre>"


def explain(result: SimulationResult, layer: str, objective: str | None = None,
            runners_up: int = 5) -> Explanation:
    """Reasons of a layer's cost: loop nest, limits, breakdowns, runners-up.

    Parameters
    ----------
    result : SimulationResult
    layer : str
        Its name; upper or lower case does not matter where one layer has it.
    objective : {"energy", "cycles", "edp", "joules", "edp_normalised"}, optional
        Ranks the runners-up; the hardware's own unless given.
    runners_up : int
        How many to show.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        A layer that the network has not.

    Examples
    --------
    >>> from eyeriss_sim import explain, simulate
    >>> "loop nest" in str(explain(simulate("alexnet"), "conv3")).lower()
    True
    """
    name = result.network.layer(layer).name
    place, chosen = next((place, one) for place, one in enumerate(result.by_layer)
                         if one.layer.name == name)

    def simulate_mapping(mapping):
        return simulate_layer(
            chosen.layer, result.hardware, mapping, "search", chosen.densities,
            first_layer=place == 0, bits=chosen.bits, savings=chosen.savings)

    if objective is None:
        objective = result.hardware.objective
    on_map = laid(chosen.layer, chosen.mapping)
    hardware = at_widths(result.hardware, chosen.bits, on_map.name)
    return Explanation([
        _headline(result, chosen),
        _loop_table(on_map, hardware, chosen.mapping),
        _limit_table(on_map, hardware, chosen.mapping),
        _joule_table(chosen, hardware),
        _energy_table(chosen),
        _cycle_table(chosen),
        _runner_up_table(chosen, hardware, simulate_mapping, objective, runners_up),
    ])


def _headline(result, layer_result):
    own, mapping = layer_result.layer, layer_result.mapping
    layer = laid(own, mapping)
    shape = " ".join(f"{key}={getattr(layer, key)}" for key in "NMCHWRSEFU")
    if layer.V != layer.U:
        shape += f" V={layer.V}"
    if layer.groups > 1:
        shape += f" groups={layer.groups}"
    if layer.dilation != (1, 1):
        shape += f" dilation={layer.dilation[0]}x{layer.dilation[1]}"
    if layer.steps > 1:
        shape += f" steps={layer.steps}"
    text = Text()
    names = layer.name, result.network.name, result.hardware.name
    text.append("{} of {} on {}".format(*map(printable, names)), style="bold")
    padding = (layer.macs - own.macs) / 1e6
    text.append(f"\n{shape}: {own.macs / 1e6:,.2f} M MACs"
                + (f" of {own.H * own.W} rows, and {padding:,.2f} M of the padding of "
                   f"their map" if padding else "")
                + f"\nmapping {mapping} ({layer_result.mapping_source}), "
                f"zeros {result.hardware.zeros}")
    if layer_result.bits != BITS_16:
        said = ", ".join(f"{kind} {bits}" for kind, bits in
                         vars(layer_result.bits).items())
        text.append(f"\nwidths {said}, psum {result.hardware.psum_bits} bits")
    return text


def _loop_table(layer, hardware, mapping):
    table = Table(title="Loop nest, outermost first", title_justify="left", box=None,
                  pad_edge=False)
    for heading in ("level", "for each of", "held there, in words"):
        table.add_column(heading)
    for depth, loop in enumerate(
            hardware.dataflow.loop_nest(layer, hardware, mapping)):
        table.add_row(loop.level, "  " * depth + loop.step, loop.held)
    return table


def limits_reached(layer: ConvLayer, hardware: Hardware, mapping: Mapping) -> dict:
    """Limits that stop a parameter from being one larger, or strips from being fewer.

    Returns
    -------
    dict
        Parameter to the next value, and the message of its limit or "" where it fits.
    """
    following = {key: getattr(mapping, key) + 1 for key in "mnepqrt"}
    if mapping.column_strips > 1:
        following["column_strips"] = max(cuts for cuts in even_cuts(layer.F, layer.F)
                                         if cuts < mapping.column_strips)
    reached = {}
    for key, value in following.items():
        reached[key] = value, ""
        try:
            check_mapping(layer, hardware, replace(mapping, **{key: value}))
        except ValueError as problem:
            limit = str(problem).removeprefix(f"{layer.name}: ").split(";")[0]
            reached[key] = value, limit
    return reached


def _limit_table(layer, hardware, mapping):
    table = Table(title="What limits it", title_justify="left", box=None,
                  pad_edge=False, show_header=False)
    for key, (value, limit) in limits_reached(layer, hardware, mapping).items():
        name = key.removeprefix("column_")      # so that the limit stays on its line
        table.add_row(f"{name}={getattr(mapping, key)}",
                      f"at {value}: {limit}" if limit else f"{value} would fit")
    return table


def _joule_table(layer_result, hardware):
    total = layer_result.total_uJ
    places = decimals(total, 6)
    table = Table(title=f"Joules, {total:,.{places}f} uJ", title_justify="left",
                  box=None, pad_edge=False)
    table.add_column("part")
    for heading in ("uJ", "%"):
        table.add_column(heading, justify="right")
    columns = {f"{part}_uJ": uJ for part, uJ in layer_result.parts_uJ.items()}
    for name, energy in joules_by_part(columns, hardware).items():
        table.add_row(name, f"{energy:,.{places}f}" if energy else "-",
                      f"{100 * energy / total:.1f}")
    return table


def _energy_table(layer_result):
    total = layer_result.total_MAC
    table = Table(title=f"Normalised energy, {total:,.0f} MAC energies",
                  title_justify="left", box=None, pad_edge=False)
    table.add_column("level")
    for heading in (*KINDS, "MAC", "all", "%"):
        table.add_column(heading, justify="right")
    rows = [(level, *layer_result.energy_MAC[axis], 0.0)
            for axis, level in enumerate(LEVELS)]
    rows.append(("ALU", 0.0, 0.0, 0.0, layer_result.alu_MAC))
    for name, *energies in rows:
        table.add_row(name, *(f"{v:,.0f}" if v else "-" for v in energies),
                      f"{sum(energies):,.0f}", f"{100 * sum(energies) / total:.1f}")
    return table


def _cycle_table(layer_result):
    cycles = layer_result.cycles
    table = Table(title=f"Cycles, {cycles.total:,} ({cycles.processing:,} of them "
                        f"processing)", title_justify="left", box=None, pad_edge=False)
    table.add_column("cause")
    table.add_column("cycles", justify="right")
    table.add_column("%", justify="right")
    table.add_column("meaning")
    for cause in CAUSES:
        value = getattr(cycles, cause)
        table.add_row(cause, f"{value:,}", f"{100 * value / cycles.total:.1f}",
                      CAUSE_MEANINGS[cause])
    return table


def _runner_up_table(layer_result, hardware, simulate_mapping, objective, runners_up):
    layer, chosen = layer_result.layer, layer_result.mapping
    found = search(layer, hardware, objective, keep=runners_up + 1)
    others = [mapping for mapping in found.mappings if mapping != chosen][:runners_up]
    title = f"Best by {objective} of the searched mappings, beside the chosen"
    if layer_result.densities != Densities():
        # The search knows no zeros, so these figures may fall out of order.
        title += "\n(ranked as if nothing were zero)"
    if note := hardware.dataflow.search_note(objective):
        title += f"\n({note})"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    names = ["chosen", *(f"#{place}" for place in range(1, len(others) + 1))]
    results = [simulate_mapping(mapping) for mapping in (chosen, *others)]
    # More than ten digits would be cut off at the edge of a terminal.
    energy_unit = pick_unit(max(other.total_MAC for other in results), COUNTS, "", 1e10)
    cycle_unit = pick_unit(max(other.cycles.total for other in results), COUNTS, "",
                           1e10)
    for heading in (*"mnepqrt", "cut", "PEs", f"energy {energy_unit}".strip(), "%",
                    f"cycles {cycle_unit}".strip(), "%", "uJ", "%"):
        table.add_column(heading, justify="right")
    for name, mapping, other in zip(names, (chosen, *others), results, strict=True):
        table.add_row(
            name, *(str(value) for value in mapping.letters),
            mapping.cuts, str(other.counts.active_pes),
            f"{other.total_MAC / COUNTS[energy_unit]:,.0f}",
            f"{100 * (other.total_MAC / layer_result.total_MAC - 1):+.1f}",
            f"{other.cycles.total / COUNTS[cycle_unit]:,.0f}",
            f"{100 * (other.cycles.total / layer_result.cycles.total - 1):+.1f}",
            f"{other.total_uJ:,.0f}",
            f"{100 * (other.total_uJ / layer_result.total_uJ - 1):+.1f}")
    return table
