"""A result as a table in the terminal."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eyeriss_sim.codes import WORD_BITS
from eyeriss_sim.cycles import CAUSES
from eyeriss_sim.energy import edp_isca16
from eyeriss_sim.labels import CAUSE_NAMES, decimals, pick_unit, printable, shorten
from eyeriss_sim.levels import (
    CLOCK_AND_LEAKAGE,
    COST_LEVELS,
    JOULE_PARTS,
    LEVEL_NAMES,
    PART_NAMES,
)
from eyeriss_sim.plain import plain
from eyeriss_sim.widths import BITS_16

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware
    from eyeriss_sim.result import SimulationResult

MAPPING = "mnepqrt"

TIMES = {"us": 1e-3, "ms": 1, "s": 1e3}
MEMORY = {"kB": 1e-3, "MB": 1, "GB": 1e3, "TB": 1e6}
ENERGY = {"nJ": 1e-3, "uJ": 1, "mJ": 1e3, "J": 1e6}
COUNTS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

# Column of the result: heading, units, the usual unit.
SCALED = {
    "macs": ("MACs", COUNTS, "M"),
    "cycles": ("cycles", COUNTS, "k"),
    "processing_ms": ("proc.", TIMES, "ms"),
    "total_ms": ("total", TIMES, "ms"),
    "glb_MB": ("GLB", MEMORY, "MB"),
    "dram_MB": ("DRAM", MEMORY, "MB"),
    "energy_MAC": ("energy",
                   {f"{unit} MAC".strip(): size for unit, size in COUNTS.items()},
                   "M MAC"),
    "chip_uJ": ("chip", ENERGY, "uJ"),
    "dram_uJ": ("DRAM", ENERGY, "uJ"),
    "power_mW": ("power", {"uW": 1e-3, "mW": 1, "W": 1e3}, "mW"),
}
COLUMNS = ("macs", "mapping", "active_pes", "utilization", "cycles", "processing_ms",
           "total_ms", "glb_MB", "dram_MB", "energy_MAC", "chip_uJ", "dram_uJ",
           "power_mW")
# What a narrow terminal does without, first to go first.
DISPENSABLE = ("cycles", "active_pes", "mapping", "processing_ms", "power_mW",
               "glb_MB", "macs", "dram_MB", "utilization", "energy_MAC", "dram_uJ")
SHORT_NAME = 12


# ---------------------------------------------------------------- sums over a network


def totals(result: "SimulationResult") -> dict[str, Any]:
    """Sums over the layers, and the ratios of those sums.

    Returns
    -------
    dict
        Keys and units as in ``result.table``.

    Examples
    --------
    >>> from eyeriss_sim import simulate
    >>> totals(simulate("alexnet", batch=4))["macs"]
    2897627264
    """
    table = result.columns
    joules = [key for key in table if key.endswith(("_uJ", "_uJ_per_image"))]
    sums = {key: plain(table[key].sum())
            for key in dict.fromkeys([*SCALED, *joules]) if key != "power_mW"}
    sums["power_mW"] = sums["chip_uJ"] / sums["total_ms"]
    sums["utilization"] = sums["macs"] / (sums["cycles"] * result.hardware.pes)
    sums["edp_isca16"] = edp_isca16(
        table["energy_MAC"], table["macs"], table["active_pes"], result.hardware.pes,
        result.network.batch, table["padding_macs"])
    return sums


def joules_by_part(table: Any, hardware: "Hardware") -> dict[str, Any]:
    """Joules of a result by what they are spent on, the MACs first.

    Where the hardware has no leakage of its own (``static_mW`` is 0) what it leaks is
    in the constant of the clock, and both are one part.

    Parameters
    ----------
    table : pandas.DataFrame or Series, or dict of str to ndarray
        The table of a result, one of its rows, or the columns of a result.
    hardware : Hardware

    Returns
    -------
    dict of str to pandas.Series, ndarray or float
        uJ by the name of the part; they add up to ``total_uJ``.
    """
    parts = {PART_NAMES[part]: table[f"{part}_uJ"] for part in JOULE_PARTS}
    if not hardware.static_mW:
        both = parts.pop(PART_NAMES["clock"]) + parts.pop(PART_NAMES["leakage"])
        parts[CLOCK_AND_LEAKAGE] = both
    return parts


def joules(result: "SimulationResult") -> dict[str, float]:
    """Energy of a network by part, as ``joules_by_part``, all layers added up.

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> from eyeriss_sim import simulate
    >>> parts = joules(simulate("vgg16", batch=3))
    >>> max(parts, key=parts.get)
    'clock and leakage'
    """
    return {name: float(part.sum())
            for name, part in joules_by_part(result.columns, result.hardware).items()}


def joules_text(result: "SimulationResult") -> str:
    """The joules of a network in one line: all, and each part with its share."""
    parts, whole = joules(result), totals(result)["total_uJ"]
    unit = pick_unit(whole, ENERGY, "uJ")
    places = decimals(whole / ENERGY[unit], 5, most=2)
    texts = [f"{name} {part / ENERGY[unit]:,.{places}f} ({part / whole:.1%})"
             for name, part in parts.items() if part]
    return f"{whole / ENERGY[unit]:,.{places}f} {unit}: {', '.join(texts)}"


def energy_shares(result: "SimulationResult") -> dict[str, float]:
    """Share of the normalised energy of each level, the MACs first.

    Returns
    -------
    dict of str to float
    """
    return _shares(result.columns, {
        LEVEL_NAMES[level]: f"{level}_MAC" for level in COST_LEVELS})


def cycle_shares(result: "SimulationResult") -> dict[str, float]:
    """Share of the cycles of each cause.

    Returns
    -------
    dict of str to float
    """
    return _shares(result.columns, {
        CAUSE_NAMES[cause]: f"{cause}_cycles" for cause in CAUSES})


def _shares(table, columns):
    sums = {name: float(table[column].sum()) for name, column in columns.items()}
    whole = sum(sums.values()) or 1.0
    return {name: part / whole for name, part in sums.items()}


def mapping_sources(result: "SimulationResult") -> str:
    """Sources of the mappings, with their numbers of layers: ``published (5)``."""
    sources = Counter(layer.mapping_source for layer in result.by_layer)
    return ", ".join(f"{source} ({layers})" for source, layers in sources.items())


def widths(result: "SimulationResult") -> str:
    """Widths of the operands and what they save, or "" where all have 16 bits."""
    hardware = result.hardware
    known = {layer.bits for layer in result.by_layer}
    if known == {BITS_16} and hardware.psum_bits == WORD_BITS:
        return ""
    said = "by layer"
    if len(known) == 1:
        said = ", ".join(f"{kind} {bits}" for kind, bits in vars(*known).items())
    return (f"{said}, psum {hardware.psum_bits} bits; narrow values "
            + ("share words" if hardware.pack else "take whole words of 16 bits"))


def not_counted(result: "SimulationResult") -> str:
    """The operators whose work is in no figure: ``relu x7 (2,633,088 values)``."""
    return ", ".join(
        f"{op.op} x{op.calls}"
        + (f" ({op.outputs:,} values)" if op.outputs is not None else "")
        for op in result.network.not_counted)


# ------------------------------------------------------------------------ the terminal


def print_report(result: "SimulationResult", console: Console) -> None:
    """Print one row a layer and what they add up to.

    Parameters
    ----------
    result : SimulationResult
    console : rich.console.Console
        Its width decides how many digits and columns there are; ``make_console`` makes
        one of 100.
    """
    def say(text, style=""):
        console.print(Text(printable(text, console.encoding), style))

    said = result.provenance
    say(f"{said['network']}, batch {said['batch']}, on {said['hardware']} "
        f"({said['accounting']} accounting); zeros: {said['zeros']}; "
        f"mapping: {mapping_sources(result)}", "bold")
    if widths(result):
        say(f"widths: {widths(result)}")
    left_out, shortened = _print_table(result, console)
    for column, what in (("steps", "steps, one after the other, of"),
                         ("row_segments", "filter rows cut into segments"),
                         ("column_strips", "fmaps cut into column strips")):
        cuts = [f"{name} {pieces}" for name, pieces in zip(
            result.columns["layer"], result.columns[column], strict=True) if pieces > 1]
        if cuts:
            say(f"{what}: {', '.join(cuts)}")
    padded = [f"{one.layer.name} {one.layer.H * one.layer.W} on {one.mapping.map_H}x"
              f"{one.mapping.map_W}" for one in result.by_layer if one.mapping.map_H]
    if padded:
        say(f"rows of products laid on another map: {', '.join(padded)} (padding: "
            f"{result.columns['padding_macs'].sum() / 1e6:,.2f} M MACs)")
    percent = {
        what: ", ".join(
            f"{name} {share:.1%}" for name, share in shares.items() if share)
        for what, shares in (("energy", energy_shares(result)),
                             ("cycles", cycle_shares(result)))}
    say(f"joules: {joules_text(result)}")
    say(f"normalised energy: {percent['energy']}")
    say(f"prices: {said['cost_table']}")
    say(f"cycles: {percent['cycles']} ({totals(result)['cycles']:,} at "
        f"{result.hardware.clock_MHz:g} MHz)")
    if result.network.not_counted:
        say(f"not counted: {not_counted(result)}")
    for note in result.network.notes:
        say(note)
    if shortened:
        say("layer names are shortened here, not in files", "dim")
    if left_out:
        say(f"left out at {console.width} columns: {', '.join(left_out)}", "dim")


def _print_table(result, console):
    """Print what fits; returns the columns left out, and if names are shortened."""
    names = [printable(name, console.encoding) for name in result.columns["layer"]]
    columns, room = _fitting(result, names, console.width)
    short = shorten(names, room)
    table = Table(box=box.SIMPLE, padding=0, pad_edge=False, show_edge=False,
                  show_footer=True, header_style="bold", footer_style="bold")
    table.add_column("layer\n", "total", overflow="fold",
                     width=max(5, min(room, max(map(cell_len, short)))))
    for head, unit, *cells in columns.values():
        table.add_column(f"{head}\n{unit}", cells[-1], justify="right", no_wrap=True,
                         min_width=_width((head, unit, *cells)))
    for place, name in enumerate(short):
        table.add_row(Text(name), *(cells[2 + place] for cells in columns.values()))
    console.print(table)
    return [key for key in COLUMNS if key not in columns], short != names


def _fitting(result, names, width):
    """The columns, with as many digits as fit, and the cells left for names."""
    longest = max(5, *map(cell_len, names))
    sums = totals(result)
    for gone in range(len(DISPENSABLE) + 1):
        columns = {key: _column(result, key, sums.get(key), digits=4)
                   for key in COLUMNS if key not in DISPENSABLE[:gone]}
        room = width - sum(_width(cells) + 1 for cells in columns.values())
        if room >= min(longest, SHORT_NAME):
            break
    # What whole names leave over goes to more digits, a column at a time.
    for digits in (5, 6):
        for key, cells in columns.items():
            wider = _column(result, key, sums.get(key), digits)
            growth = _width(wider) - _width(cells)
            if growth <= room - longest:
                columns[key] = wider
                room -= growth
    return columns, max(room, 5)


def _width(cells):
    return max(map(len, cells))


def _column(result, key, total, digits):
    """Heading, unit, a cell for each layer and one for the total."""
    table = result.columns
    if key == "mapping":
        cells = [[str(value) for value in table[letter]] for letter in MAPPING]
        widths = [max(map(len, column)) for column in cells]
        rows = [" ".join(value.rjust(w) for value, w in zip(row, widths, strict=True))
                for row in zip(*cells, strict=True)]
        letters = " ".join(f"{letter:>{w}}"
                           for letter, w in zip(MAPPING, widths, strict=True))
        return ["mapping".center(len(letters)), letters, *rows, ""]
    if key == "active_pes":
        return ["", "PEs", *(str(pes) for pes in table[key]), ""]
    if key == "utilization":
        return ["util", "%", *(f"{100 * share:.1f}" for share in (*table[key], total))]
    head, units, home = SCALED[key]
    unit = pick_unit(total, units, home)
    size = units[unit]
    places = decimals(total / size, digits, most=1 if key == "power_mW" else 2)
    return [head, unit,
            *(f"{value / size:.{places}f}" for value in (*table[key], total))]
