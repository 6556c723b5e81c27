"""Colours and style of every figure.

Okabe and Ito's colours differ for colour-blind readers too (2008). What is drawn next
to each other differs in lightness as well, for print in grey.
"""

GREY, BLUE, SKY, GREEN = "#8c8c8c", "#0072b2", "#56b4e9", "#009e73"
YELLOW, ORANGE, RED, PINK = "#f0e442", "#e69f00", "#d55e00", "#cc79a7"
INK, GRID, PALE = "#1f2328", "#808080", "#d9d9d9"
# Series that have no colour of their own, in the order in which they are drawn.
SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY, YELLOW)

STYLE = {
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    # Letters stay letters: an SVG can be searched, and takes the font of its page.
    "svg.fonttype": "none",
    "svg.hashsalt": "eyeriss-sim",
}
