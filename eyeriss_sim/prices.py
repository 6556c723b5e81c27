"""What one access of each memory and network costs, over one 16-bit MAC at 1.0 V."""

from math import log

KINDS = ("ifmap", "filter", "psum")
LEVELS = ("alu", "rf", "noc", "glb", "dram")
# Memories of a level that may be priced apart from it ("chip").
PARTS = ("rf_ifmap", "rf_filter", "rf_psum", "glb_filter")
PRICED = (*LEVELS, *PARTS)
# The voltage that prices in files are for: the one of JSSC 2017, Tables V and VI.
NOMINAL_V = 1.0
# 0.5 KB costs 1 a word and 100 KB cost 6 (ISCA 2016), a power of the size in between.
SIZE_EXPONENT = log(6) / log(200)


def price_MAC(hardware, level, kind):
    """Price of one 16-bit access at a level, as a multiple of one MAC at 1.0 V.

    The nearest that the hardware says holds: of this memory before that of its level, a
    measured one before a ratio. Supply voltage scales all that is on the chip.

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
            return ratio * supply
    raise ValueError(f"{hardware.name}: no price of {level}")


def supply_factor(hardware):
    """Energy of the chip at its supply voltage over that at the nominal one: C V^2."""
    return (hardware.voltage_V / NOMINAL_V) ** 2


def resolved_prices(hardware):
    """The fields of Hardware that say the same prices as ratios, each on its own.

    A memory whose price is that of its level, which most are, says none.

    Returns
    -------
    dict of str to float or None
    """
    prices = {f"{level}_MAC": hardware.cost_MAC(level) for level in LEVELS}
    for name in PARTS:
        level, kind = name.split("_")
        own = hardware.cost_MAC(level, kind)
        prices[f"{name}_MAC"] = None if own == prices[f"{level}_MAC"] else own
    return prices
