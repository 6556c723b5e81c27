"""Accuracy against energy of cascades and their rivals."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from cascade.bench import SETTING
from eyeriss_sim.figure_style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PINK,
    SKY,
    STYLE,
)

# Label, colour and format. What routers offer is of many pairs, each point a choice of
# its own; random ones belong to a point each and make no curve.
LINES = {"cascade": ("learned selector", BLUE, "o-"),
         "max_softmax": ("max-softmax", ORANGE, "s-"),
         "margin": ("margin", GREEN, "D-"),
         "gain": ("expected gain", SKY, "v-"),
         "random": ("random, same pairs and shares", GREY, "x"),
         "hull": ("single levels, mixed", INK, "--")}
OTHERS = ("dense", "single", "perfect")     # systems that are drawn in their own ways


@matplotlib.rc_context(STYLE)
def draw(table: pd.DataFrame, title: str, data: str) -> Figure:
    """Each system's curve, in a panel for each hardware and batch.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`cascade.bench.curves` found, one network, method and split; of
        several seeds the first is drawn.
    title, data : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    seeds = sorted(set(table.seed))
    if len(seeds) > 1:
        title += f", seed {seeds[0]} of {len(seeds)} seeds"
    table = table[table.seed == seeds[0]]
    groups = list(table.groupby(list(SETTING), sort=False))
    figure = Figure(figsize=(5.4 * len(groups) + 2.4, 4.8), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for panel, ((hardware, objective, batch), rows) in zip(
            panels, groups, strict=True):
        _panel(panel, rows)
        images = "an image alone" if batch == 1 else f"in a batch of {batch}"
        panel.set_xlabel(f"energy on {hardware}, {images}, dense = 1\n"
                         f"(mappings searched for {objective})")
    panels[0].set_ylabel("accuracy on test images, %")
    # Panels share it. Far below the levels' own accuracies nothing is of use.
    own = table[table.system.isin(("single", "dense"))].accuracy
    panels[0].set_ylim(100 * own.min() - 1,
                       100 * max(own.max(), table.accuracy.max()) + 0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8,
                  loc="outside right upper")
    figure.suptitle(f"{title} ({data})", x=0.01, ha="left")
    return figure


def _panel(panel, rows):
    own = {system: (system, None, "v-") for system in rows.system
           if system not in LINES and system not in OTHERS}
    for system, (label, colour, style) in (LINES | own).items():
        line = rows[rows.system == system].sort_values("energy_rel")
        if len(line):
            panel.plot(line.energy_rel, 100 * line.accuracy, style, color=colour,
                       label=label, markersize=3.5,
                       linewidth=1.6 if system == "hull" else 0.7)
    bound = rows[rows.system == "perfect"]
    panel.plot(bound.energy_rel, 100 * bound.accuracy, "^", color=PINK,
               markersize=4, label="perfect selector (a bound)")
    singles = rows[rows.system.isin(("single", "dense"))]
    panel.errorbar(singles.energy_rel, 100 * singles.accuracy, 100 * abs(
        singles[["ci_lo", "ci_hi"]].sub(singles.accuracy, axis=0)).T.to_numpy(),
        fmt="o", color=INK, markersize=5, linewidth=0.8, capsize=2,
        label="single level, 95 %")
    dense = rows[rows.system == "dense"].floor_rel.iloc[0]
    floors = {dense: "floor"}
    if rows.floor_rel.min() < dense:
        floors = {dense: "floor, all channels",
                  rows.floor_rel.min(): "floor, fewest channels"}
    left = max(0, min(*floors, singles.energy_rel.min()) - 0.05)
    right = max(1.05, singles.energy_rel.max() * 1.05)
    panel.set_xlim(left, right)
    for height, (floor, label) in enumerate(floors.items()):
        panel.axvline(floor, color=PALE, linewidth=1, zorder=0)
        # On the side where there is room for it.
        before = floor > (left + right) / 2
        panel.annotate(label, (floor, 0), (-2 if before else 2, 4 + 12 * height),
                       xycoords=("data", "axes fraction"), textcoords="offset points",
                       color=GREY, ha="right" if before else "left", fontsize=8)
    panel.grid()
