"""All comparisons: as one table, printed, as csv and as figure."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from eyeriss_sim.atomic import replacing
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.terminal import waiting
from eyeriss_sim.validation.papers import (
    FIG_11,
    compare_fig_10,
    compare_fig_11,
    compare_fig_13,
)
from eyeriss_sim.validation.silicon import (
    OPEN_RTL,
    SUPPLY,
    TABLE_V,
    TABLE_VI,
    compare_power_shares,
    compare_rlc,
    compare_rtl,
    compare_supply,
    compare_table_v,
    compare_table_vi,
)

NOTES = (
    "Fitted to silicon: mac_pJ, clock_pJ_per_PE_cycle, to the five powers of Table "
    "V.",
    "Chosen to agree with Table V, so no independent check: that passes wait for "
    "their filters and windows for their last pixel (latencies), CONV3's mapping "
    "(GLB).",
    "Inferred from Table VI: VGG-16's mapping (active PEs, GLB and DRAM accesses; "
    "the fastest that fits), and that its MB are 2^20 bytes and its GLB accesses "
    "count filters. Powers are independent checks, and latencies but for that "
    "choice.",
    "Chosen for the powers: that gating spares psum accesses, and the constant "
    "power runs over the total latency.",
    "Inferred from Table V's DRAM column and the RLC reductions: five ofmap "
    "densities, so that those ten figures are no independent check.",
    "AlexNet's CONV5 latency is reported only: its passes equal CONV4's, yet the "
    "chip ran them 6.5 % faster. So are VGG-16's DRAM accesses before each pooling "
    "(ofmap densities unknown) and the power of CONV1-1, which waits for DRAM half "
    "of its time.",
    "Voltages: prices and clock constant times V^2, link at 60 MHz, nothing fitted; "
    "which clock runs at which supply isn't published, and all powers but the one "
    "at 1.0 V were read off a figure by eye.",
    "What the clocks of networks and GLB burn is in the PEs' share: one constant is "
    "fitted.",
)


def compare() -> pd.DataFrame:
    """All comparisons.

    Returns
    -------
    pandas.DataFrame
        source, layer, quantity, published, model, error, error_unit, band, verdict.
    """
    return pd.DataFrame([*compare_table_v(), *compare_table_vi(), *compare_rtl(),
                         *compare_rlc(), *compare_power_shares(), *compare_supply(),
                         *compare_fig_10(), *compare_fig_11(), *compare_fig_13()])


def validate(folder: str | Path, console: Console) -> int:
    """Print all comparisons, write them as csv and figure.

    Parameters
    ----------
    folder : str or Path
        Made if it isn't there; receives validate.csv and validate.png.
    console : rich.console.Console

    Returns
    -------
    int
        Comparisons outside their band.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with waiting("stepping the machine beside the model"):
        table = compare()
    for source, rows in table.groupby("source", sort=False):
        console.print(comparison_table(source, rows))
        console.print()
    asked = table[table.band.notna()]
    missed = asked[asked.verdict == "MISSED"]
    console.print("Each cell: published, ours (error; ! outside its band, ~ reported "
                  "without one).")
    met = len(asked) - len(missed)
    console.print(f"{met} of {len(asked)} figures within their band; "
                  f"model {load_hardware('eyeriss_chip').name}; AlexNet under the "
                  "published mapping\n(CONV3 as the GLB counter fits it), VGG-16 under "
                  "one inferred from Table VI.")
    console.print("machine: stepped cycle by cycle; with the micro-architecture of the "
                  "open RTL beside its passes.")
    for note in NOTES:
        console.print(note)
    with replacing(folder / "validate.csv") as path:
        table.to_csv(path, index=False)
    with replacing(folder / "validate.png") as path:
        from eyeriss_sim.validation.figure import draw  # matplotlib takes a while
        draw(table).savefig(path, format="png", dpi=130)
    console.print(f"written: {folder / 'validate.csv'}, {folder / 'validate.png'}")
    return len(missed)


def comparison_table(source: str, rows: pd.DataFrame) -> Table:
    """A rich table: a line a layer, published / model / error for each quantity."""
    table = Table(title=source, title_justify="left", box=None, pad_edge=False)
    table.add_column("layer", min_width=len(source) - 12)
    quantities = list(dict.fromkeys(rows.quantity))
    cells = {(one.layer, one.quantity): one for one in rows.itertuples()}
    for quantity in quantities:
        name, _, unit = quantity.rpartition("_")
        has_unit = unit in ("ms", "MB", "mW", "cycles")
        name = name.replace("_", "\n")
        table.add_column(f"{name}\n{unit}" if has_unit else quantity, justify="right")
    digits = {TABLE_V: 1, TABLE_VI: 1, SUPPLY: 1, FIG_11: 5}.get(source, 2)
    for layer in dict.fromkeys(rows.layer):
        line = [layer]
        for quantity in quantities:
            one = cells.get((layer, quantity))
            if one is None:
                line.append("")
                continue
            mark = {"ok": "", "MISSED": "!", "reported": "~"}[one.verdict]
            whole = source == OPEN_RTL or quantity in ("active_pes", "power_mW")
            places = 0 if whole else digits
            error = f"{one.error:+.1f}{one.error_unit}" if one.error_unit else (
                f"{one.error:+.2f}")
            line.append(f"{one.published:.{places}f} {one.model:.{places}f}\n"
                        f"({error}{mark})")
        table.add_row(*line)
    return table
