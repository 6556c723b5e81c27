"""Colours and style of every figure, in all packages and benchmarks.

A function that draws has ``@matplotlib.rc_context(STYLE)`` above it. The colours are
Okabe and Ito's (2008), which differ for colour-blind readers too. What is drawn next to
each other differs in lightness as well, for print in grey.
"""

from typing import Any

GREY, BLUE, SKY, GREEN = "#8c8c8c", "#0072b2", "#56b4e9", "#009e73"
YELLOW, ORANGE, RED, PINK = "#f0e442", "#e69f00", "#d55e00", "#cc79a7"
INK, GRID, PALE = "#1f2328", "#808080", "#d9d9d9"
# Colours of series that have none of their own, in the order in which they are drawn.
SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY, YELLOW)

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "xtick.color": INK,
    "ytick.color": INK,
    # Letters stay letters: an SVG can be searched, and takes the font of its page.
    "svg.fonttype": "none",
    "svg.hashsalt": "eyeriss-sim",
}
