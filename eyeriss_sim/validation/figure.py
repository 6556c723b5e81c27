"""The figure of ``validate``: errors against the chip, and bars beside the papers'."""

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eyeriss_sim.figure_style import INK, PALE, SERIES, STYLE
from eyeriss_sim.validation.papers import FIG_10
from eyeriss_sim.validation.silicon import (
    RLC,
    TABLE_V,
    TABLE_V_BANDS,
    TABLE_VI,
    TABLE_VI_BANDS,
)


@matplotlib.rc_context(STYLE)
def draw(table: pd.DataFrame) -> Figure:
    """Tables V and VI as errors; RLC and Fig. 10 as bars beside the published ones."""
    figure = Figure(figsize=(11, 15), layout="constrained")
    alexnet, vgg16, reduction, levels = figure.subplots(
        4, 1, height_ratios=[1.1, 1.1, 0.7, 1.1])
    draw_errors(alexnet, table[table.source == TABLE_V], TABLE_V_BANDS,
                "AlexNet on the chip, N = 4 (JSSC 2017, Table V; CONV5 latency has no "
                "band)")
    draw_errors(vgg16, table[table.source == TABLE_VI], TABLE_VI_BANDS,
                "VGG-16 on the chip, N = 3 (JSSC 2017, Table VI; no constant fitted to "
                "it)")
    draw_reduction(reduction, table[table.source == RLC])
    draw_levels(levels, table[table.source == FIG_10])
    for panel in (alexnet, vgg16, reduction, levels):
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_errors(panel: Axes, rows: pd.DataFrame, bands: dict, title: str) -> None:
    """Error of each quantity and layer, in percent."""
    layers, quantities = list(dict.fromkeys(rows.layer)), dict.fromkeys(rows.quantity)
    width = 0.8 / len(quantities)
    for place, quantity in enumerate(quantities):
        cells = rows[rows.quantity == quantity]
        shift = (place - (len(quantities) - 1) / 2) * width
        band = bands[quantity]
        panel.bar([layers.index(layer) + shift for layer in cells.layer], cells.error,
                  width, color=SERIES[list(TABLE_V_BANDS).index(quantity)],
                  label=f"{quantity} ({'exact' if band == 0 else f'band {band} %'})")
    panel.axhline(0, color=INK, linewidth=0.8)
    short = len(layers) > 10    # else the names would run into one another
    panel.set_xticks(range(len(layers)),
                     [one.removeprefix("CONV") if short else one for one in layers])
    panel.set_ylabel("ours over chip - 1, %")
    panel.set_title(title, loc="left")


def draw_reduction(panel: Axes, rows: pd.DataFrame) -> None:
    """Reduction of DRAM accesses by run-length coding."""
    places = range(len(rows))
    panel.bar([place - 0.2 for place in places], rows.published, 0.38, label="chip",
              color=PALE)
    panel.bar([place + 0.2 for place in places], rows.model, 0.38, label="model",
              color=SERIES[0])
    panel.set_xticks(list(places), rows.layer)
    panel.set_ylabel("uncoded over coded")
    panel.set_title("DRAM accesses saved by run-length coding (JSSC 2017)", loc="left")


def draw_levels(panel: Axes, rows: pd.DataFrame) -> None:
    """Energy by level: the paper's bar, and the model's to its right."""
    layers = list(dict.fromkeys(rows.layer))
    levels = [level for level in dict.fromkeys(rows.quantity) if level != "total"]
    for side, shift, alpha in (("published", -0.2, 0.55), ("model", 0.2, 1.0)):
        bottom = [0.0] * len(layers)
        for place, level in enumerate(levels):
            values = rows[rows.quantity == level][side].tolist()
            panel.bar([at + shift for at in range(len(layers))], values, 0.38, bottom,
                      color=SERIES[place], alpha=alpha,
                      label=level.upper() if side == "model" else None)
            bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    panel.set_xticks(range(len(layers)), layers)
    panel.set_ylabel("10$^9$ MAC energies, 16 images")
    panel.set_title("Row stationary on 256 PEs, N = 16: paper (pale, left) and model "
                    "(ISCA 2016, Fig. 10)", loc="left")
