"""Prices of one access of each memory and network, over one 16-bit MAC at 1.0 V."""

from math import log
from typing import TYPE_CHECKING

from eyeriss_sim.levels import COST_LEVELS

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware

# Memories of a level that may be priced apart from it ("chip").
PARTS = ("rf_ifmap", "rf_filter", "rf_psum", "glb_filter")
PRICED = (*COST_LEVELS, *PARTS)
# Fields of Hardware with the sizes that prices may go by.
SIZES = ("spad_ifmap_words", "spad_filter_words", "spad_psum_words", "rf_words",
         "glb_ifmap_psum_B", "glb_filter_B")
# The voltage that prices in files are for: the one of JSSC 2017, Tables V and VI.
NOMINAL_V = 1.0
# 0.5 KB costs 1 a word and 100 KB cost 6 (ISCA 2016), a power of the size in between.
SIZE_EXPONENT = log(6) / log(200)


def price_MAC(hardware: "Hardware", level: str, kind: str) -> float:
    """Price of one 16-bit access at a level, as a multiple of one MAC at 1.0 V.

    The nearest that the hardware says holds: of this memory before that of its level, a
    measured one before a ratio. Where prices go by size, a ratio holds at the size that
    the hardware's preset has, and a measured price for the memory that was measured.
    Supply voltage scales all that is on the chip.

    Parameters
    ----------
    hardware : Hardware
    level : {"alu", "rf", "noc", "glb", "dram"}
    kind : {"ifmap", "filter", "psum"}

    Returns
    -------
    float
    """
    supply = 1.0 if level == "dram" else supply_factor(hardware)
    for name in (f"{level}_{kind}", level):
        if name not in PRICED:
            continue
        measured = getattr(hardware, f"{name}_pJ")
        if measured is not None:
            return measured / hardware.mac_pJ * supply
        ratio = getattr(hardware, f"{name}_MAC")
        if ratio is not None:
            return ratio * size_factor(hardware, level, kind) * supply
    raise ValueError(f"{hardware.name}: no price of {level}")


def sizes_of(hardware: "Hardware") -> tuple:
    """Sizes of all memories, in the order of ``SIZES``; None for those it has not."""
    return tuple(getattr(hardware, field) for field in SIZES)


def size_factor(hardware: "Hardware", level: str, kind: str) -> float:
    """Factor of a price by the memory's size: 1 at the preset's own size."""
    field = hardware.dataflow.memory_of(level, kind)
    if not hardware.price_by_size or field is None:
        return 1.0
    size = getattr(hardware, field)
    return (size / hardware.priced_sizes[SIZES.index(field)]) ** SIZE_EXPONENT


def supply_factor(hardware: "Hardware") -> float:
    """Energy of the chip at its supply voltage over that at the nominal one: C V^2."""
    return (hardware.voltage_V / NOMINAL_V) ** 2


def resolved_prices(hardware: "Hardware") -> dict[str, float | None]:
    """The fields of Hardware that say the same prices as ratios, each on its own.

    Where all memories of a level have one price, none of them says it.

    Returns
    -------
    dict of str to float or None
    """
    prices: dict[str, float | None] = {
        f"{level}_MAC": hardware.cost_MAC(level) for level in COST_LEVELS}
    for level in ("rf", "glb"):
        parts = [name for name in PARTS if name.startswith(level)]
        own: list[float | None] = [
            hardware.cost_MAC(*name.split("_")) for name in parts]
        if set(own) == {prices[f"{level}_MAC"]}:
            own = [None] * len(parts)
        prices |= {f"{name}_MAC": price for name, price in zip(parts, own, strict=True)}
    return prices
