"""PE-array power that gating on zero ifmap values saves on the chip, AlexNet, N = 4.

    python -m benchmarks.gating

Published: 45 % of PE power, without saying for which layer (JSSC 2017). The PE array is
spads, MACs and the clock of the PEs; the densities are those that the chip measured.
"""

import pandas as pd
from rich.table import Table

from eyeriss_sim.levels import RF
from eyeriss_sim.terminal import make_console
from eyeriss_sim.validation.silicon import simulate_chip
from eyeriss_sim.validation.tables import chip_densities

PUBLISHED_PERCENT = 45


def pe_array_mW(result):
    """Power of the PE array by layer, over the total latency."""
    return {one.layer.name: (float(one.energy_pJ[RF].sum()) + one.alu_pJ + one.clock_pJ)
            * result.hardware.clock_MHz / one.cycles.total / 1e3
            for one in result.by_layer if one.layer.name in chip_densities()}


def compare():
    """Dense and gated power by layer and over CONV1-5.

    Returns
    -------
    pandas.DataFrame
        layer, dense_mW, gated_mW, saved_percent.
    """
    # Only what happens inside the PEs is gated: time and DRAM coding stay as they are.
    gated = simulate_chip()
    layers = [one for one in gated.by_layer if one.layer.name in chip_densities()]
    dense_result = simulate_chip(zeros="dense")
    dense_pJ = {one.layer.name: float(one.energy_pJ[RF].sum()) + one.alu_pJ
                for one in dense_result.by_layer}
    after = pe_array_mW(gated)
    rows, ms = [], []
    for one in layers:
        name = one.layer.name
        scale = gated.hardware.clock_MHz / one.cycles.total / 1e3
        before = (dense_pJ[name] + one.clock_pJ) * scale
        rows.append((name, before, after[name]))
        ms.append(1 / scale)
    total = sum(ms)
    rows.append((
        "CONV1-5",
        sum(mW * t for (_, mW, _), t in zip(rows, ms, strict=True)) / total,
        sum(mW * t for (_, _, mW), t in zip(rows, ms, strict=True)) / total))
    table = pd.DataFrame(rows, columns=["layer", "dense_mW", "gated_mW"])
    table["saved_percent"] = 100 * (1 - table.gated_mW / table.dense_mW)
    return table


def main():
    """Print the table."""
    table = Table(title="PE-array power, mW", title_justify="left", box=None)
    for heading in ("layer", "ungated", "gated", "saved"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for row in compare().itertuples():
        table.add_row(row.layer, f"{row.dense_mW:.0f}", f"{row.gated_mW:.0f}",
                      f"{row.saved_percent:.0f} %")
    console = make_console()
    console.print(table)
    console.print(f"published: {PUBLISHED_PERCENT} %, layer not said")


if __name__ == "__main__":
    main()
