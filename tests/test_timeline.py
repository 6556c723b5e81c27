"""The timeline: its bands show the shares that the trace has."""

import numpy as np
import pytest
from draws import CHIP
from matplotlib.colors import to_rgb

from eyeriss_sim.figure_style import BLUE, GREEN
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array, timeline
from eyeriss_sim.machine.trace import record_passes
from eyeriss_sim.mapping import Mapping

LAYER = ConvLayer(name="conv", N=2, M=6, C=5, H=9, W=9, R=3, S=3)
MAPPING = Mapping(6, 2, 7, 3, 2, 1, 2)


@pytest.fixture(scope="module")
def drawn():
    passes = record_passes(LAYER, CHIP, MAPPING, 2)
    return passes, timeline.draw_timeline(passes, LAYER, CHIP, MAPPING)


def bands(panel, colour):
    """Share of each band's height that has a colour, in each picture: (bins, bands)."""
    for image in panel.get_images():
        picture = np.asarray(image.get_array())
        rows = (picture == to_rgb(colour)).all(axis=-1)
        height = timeline.BAND
        bands = rows.reshape(-1, height, rows.shape[1])
        yield bands.sum(axis=1).T / (height - timeline.MARGIN)


def test_blue_of_a_band_is_the_share_of_macs(drawn):
    passes, figure = drawn
    for one, shares in zip(passes, bands(figure.axes[0], BLUE), strict=True):
        macs = (one.pes[..., array.DOING] == array.MAC_CYCLE).mean(axis=1)
        assert shares.shape == macs.shape
        assert abs(shares - macs).max() <= 0.5 / (timeline.BAND - timeline.MARGIN)


def test_green_of_the_networks_is_when_they_carry_the_first_on_top(drawn):
    passes, figure = drawn
    for one, shares in zip(passes, bands(figure.axes[1], GREEN), strict=True):
        carried = one.networks[..., array.CARRIED] > 0
        assert (shares[:, ::-1] == carried[:, list(timeline.NETWORKS)]).all()
    labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert labels[-1] == "ifmaps in"


def test_time_is_in_cycles_and_at_the_clock(drawn):
    passes, figure = drawn
    assert figure.axes[2].get_xlim() == (0, sum(one.cycles for one in passes))
    assert figure.axes[2].get_xlabel() == "cycle"
    upper = figure.axes[0].child_axes[0]
    assert upper.get_xlabel() == "µs at 200 MHz"


def test_averages_weigh_the_short_last_bin_by_its_own_length():
    assert timeline.averages(np.array([1, 3, 5, 7, 10]), 2).tolist() == [2, 6, 10]
    assert timeline.averages(np.ones((5, 3), bool), 2).tolist() == [[1] * 3] * 3


def test_a_long_pass_is_averaged_into_bins(monkeypatch, drawn):
    monkeypatch.setattr(timeline, "BINS", 20)
    figure = timeline.draw_timeline(drawn[0], LAYER, CHIP, MAPPING)
    assert figure.axes[2].get_xlabel().startswith("cycle, averaged over")
    bins = sum(image.get_array().shape[1] for image in figure.axes[0].get_images())
    assert 20 <= bins <= 21
