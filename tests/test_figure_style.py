"""One palette and one style for all figures, told apart by colour-blind readers too."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from eyeriss_sim import figure_style

ROOT = Path(__file__).parents[1]
# The page of the HTML report follows the reader's light or dark theme.
OWN_COLOURS = {"eyeriss_sim/figure_style.py", "eyeriss_sim/html_report.py"}
SOURCES = sorted(path for package in ("eyeriss_sim", "pruning", "cascade", "benchmarks")
                 for path in (ROOT / package).rglob("*.py"))
# Linear RGB as dichromats see it (Vienot, Brettel, Mollon, 1999), protan and deutan.
SEEN = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]}


@pytest.mark.parametrize("eyes", SEEN)
def test_series_differ_for_colour_blind_readers(eyes):
    def seen(colour):
        srgb = np.array([int(colour[at:at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
        return np.clip(np.array(SEEN[eyes]) @ linear, 0, 1) ** (1 / 2.2)

    for one, other in combinations(figure_style.SERIES, 2):
        assert np.abs(seen(one) - seen(other)).max() > 0.07, (one, other)


def test_no_file_but_the_style_has_colours_of_its_own():
    named = re.compile(r"""["'](#[0-9a-fA-F]{6}|black|grey|red|blue|k[-ox.^]+)["']""")
    found = {str(path.relative_to(ROOT)): named.findall(path.read_text())
             for path in SOURCES}
    assert {name for name, colours in found.items() if colours} <= OWN_COLOURS


def test_every_file_that_draws_draws_in_the_one_style():
    drawing = [path for path in SOURCES
               if re.search(r"^from matplotlib.figure import", path.read_text(), re.M)]
    assert len(drawing) > 6
    for path in drawing:
        assert "@matplotlib.rc_context(STYLE)" in path.read_text(), path
