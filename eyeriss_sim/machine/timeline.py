"""A figure of what PE columns, networks and FIFOs do over the cycles of some passes."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from eyeriss_sim.figure_style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PALE,
    PINK,
    RED,
    SKY,
    STYLE,
    YELLOW,
)
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.labels import printable
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array
from eyeriss_sim.machine.timing import CAUSES
from eyeriss_sim.machine.trace import PassTrace
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.plain import ceil_div

# States of a PE, in the order in which a band stacks them.
DOES = {
    "mac": ("MAC", BLUE), "accumulate": ("adds up psums", SKY),
    "shift": ("shifts its window", GREEN), "wait_filter": ("waits for filters", ORANGE),
    "wait_ifmap": ("waits for ifmaps", YELLOW),
    "wait_psum_in": ("waits for psums", PINK),
    "wait_psum_out": ("can't pass psums on", RED), "finished": ("finished", PALE)}
NETWORKS = {
    array.IFMAP_NET: "ifmaps in", array.FILTER_NET: "filters in",
    array.PSUM_IN_NET: "psums in", array.LOCAL_NET: "psums up",
    array.PSUM_OUT_NET: "psums out"}
CARRIES = {"carries": GREEN, "blocked": RED, "nothing to carry": PALE}
FIFOS: dict[str, tuple[int, int, str, Any]] = {
    "ifmaps": (array.IN_IFMAP_FIFO, array.IFMAP_FIFO, ORANGE, "-"),
    "filters": (array.IN_FILTER_FIFO, array.FILTER_FIFO, INK, ":"),
    "psums in": (array.IN_PSUM_IN_FIFO, array.PSUM_IN_FIFO, PINK, "-"),
    "psums out": (array.IN_PSUM_OUT_FIFO, array.PSUM_OUT_FIFO, BLUE, "--")}

BINS = 900          # about the pixels of the axis; a bin is a whole number of cycles
BAND = 24           # pixels of a band's height ...
MARGIN = 3          # ... of which so many part it from the next
LABELS = 14         # PE columns with a label; of more, every second, third ...
MOST_COLUMNS = 40   # with a height of their own; more share it


@matplotlib.rc_context(STYLE)
def draw_timeline(passes: Sequence[PassTrace], layer: ConvLayer, hardware: Hardware,
                  mapping: Mapping) -> Figure:
    """Work of each PE column, network and kind of FIFO over time.

    Parameters
    ----------
    passes : list of PassTrace
        Drawn one after the other.
    layer : ConvLayer
    hardware : Hardware
    mapping : Mapping

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = max(one.pes.shape[2] for one in passes)
    starts = np.cumsum([0, *(len(one.pes) for one in passes)])
    width = ceil_div(int(starts[-1]), BINS)
    heights = (0.17 * min(max(columns, 8), MOST_COLUMNS), 0.9, 1.1)
    figure = Figure(figsize=(11, 1.6 + sum(heights)), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    figure.suptitle(
        printable(f"{layer.name} on {hardware.name}, N={layer.N}, {mapping}: "
                  + described(passes)),
        x=0.01, ha="left", fontsize=10, fontweight="bold", parse_math=False)
    for draw, panel in zip((draw_pes, draw_networks, draw_fifos), panels, strict=True):
        draw(panel, passes, starts, width)
        panel.set_xlim(0, starts[-1])
        panel.tick_params("both", length=2)
        for start in starts[1:-1]:
            panel.axvline(start, color=INK, linewidth=0.8)
    pes, _, fifos = panels
    fifos.set_xlabel(
        "cycle" if width == 1 else f"cycle, averaged over {width} at a time")
    fifos.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    per_us = hardware.clock_MHz
    time = pes.secondary_xaxis(
        "top", functions=(lambda x: x / per_us, lambda us: us * per_us))
    time.set_xlabel(f"µs at {hardware.clock_MHz:g} MHz")
    time.tick_params(length=2)
    time.spines["top"].set_visible(False)
    return figure


def described(passes: Sequence[PassTrace]) -> str:
    """Words for some passes: ``pass 1, 8,412 cycles``."""
    total = sum(one.cycles for one in passes)
    shown = sum(len(one.pes) for one in passes)
    which = "pass 1" if len(passes) == 1 else f"passes 1-{len(passes)}"
    return f"{which}, {total:,} cycles" + (
        f", {shown:,} of them shown" if shown < total else "")


def draw_pes(panel: Axes, passes: Sequence[PassTrace], starts: np.ndarray,
             width: int) -> None:
    """A band a PE column: shares of its PEs, stacked from the bottom."""
    causes = [CAUSES.index(cause) for cause in DOES]
    colours = [colour for _, colour in DOES.values()]
    occurs = set()
    for one, start in zip(passes, starts[:-1], strict=True):
        did = one.pes[..., array.DOING]
        occurs |= set(np.unique(did).tolist())
        shares = np.stack([averages((did == cause).mean(axis=1), width)
                           for cause in causes], axis=-1)
        draw_bands(panel, shares, colours, start, width)
    columns = max(one.pes.shape[2] for one in passes)
    panel.set_ylim(0, columns)
    step = ceil_div(columns, LABELS)
    panel.set_yticks(np.arange(0, columns, step) + 0.5,
                     [*map(str, range(0, columns, step))])
    panel.set_ylabel("PE column")
    legend(panel, "share of a column's PEs", [
        Patch(color=colour, label=name)
        for (name, colour), cause in zip(DOES.values(), causes, strict=True)
        if cause in occurs])


def draw_networks(panel: Axes, passes: Sequence[PassTrace], starts: np.ndarray,
                  width: int) -> None:
    """A band a network: shares of the cycles. Psums climb by many links: by any."""
    for one, start in zip(passes, starts[:-1], strict=True):
        of_networks = one.networks[:, list(NETWORKS)]
        carried = averages(of_networks[..., array.CARRIED] > 0, width)
        offered = averages(of_networks[..., array.OFFERED] > 0, width)
        shares = np.stack([carried, offered - carried, 1 - offered], axis=-1)
        # The first one on top.
        draw_bands(panel, shares[:, ::-1], list(CARRIES.values()), start, width)
    panel.set_ylim(0, len(NETWORKS))
    panel.set_yticks(np.arange(len(NETWORKS)) + 0.5, list(NETWORKS.values())[::-1])
    panel.set_ylabel("network")
    legend(panel, "share of the cycles", [
        Patch(color=colour, label=name) for name, colour in CARRIES.items()])


def draw_fifos(panel: Axes, passes: Sequence[PassTrace], starts: np.ndarray,
               width: int) -> None:
    """Mean filling of the PEs' FIFOs."""
    for one, start in zip(passes, starts[:-1], strict=True):
        for axis, depth, colour, dashes in FIFOS.values():
            filling = averages(one.pes[..., axis].mean(axis=(1, 2)), width)
            panel.plot(start + width * (np.arange(len(filling)) + 0.5),
                       100 * filling / one.micro[depth], dashes, color=colour,
                       linewidth=1.2)
    panel.set_ylim(0, 105)
    panel.yaxis.set_major_locator(MultipleLocator(50))
    panel.set_ylabel("FIFOs, % full")
    legend(panel, "average PE", [
        Line2D([], [], color=colour, linestyle=dashes,
               label=f"{name} ({passes[0].micro[depth]} words)")
        for name, (_, depth, colour, dashes) in FIFOS.items()])


def averages(values: np.ndarray, width: int) -> np.ndarray:
    """Means over ``width`` cycles at a time; of the last bin, over those in it."""
    firsts = np.arange(0, len(values), width)
    lengths = np.diff([*firsts, len(values)])
    return (np.add.reduceat(values.astype(float), firsts, axis=0).T / lengths).T


def draw_bands(panel: Axes, shares: np.ndarray, colours: Sequence[str], start: int,
               width: int) -> None:
    """One picture of stacked shares.

    Parameters
    ----------
    shares : float ndarray, shape (bins, bands, colours)
        Sum to one along the last axis; the first band is the lowest.
    """
    bins, bands, _ = shares.shape
    tops = np.cumsum(shares, axis=-1)
    levels = (np.arange(BAND - MARGIN) + 0.5) / (BAND - MARGIN)
    place = (tops[:, :, None, :-1] <= levels[:, None]).sum(axis=-1)
    picture = np.ones((bands, BAND, bins, 3))
    rgb = np.array([to_rgb(colour) for colour in colours])
    picture[:, :BAND - MARGIN] = rgb[place].transpose(1, 2, 0, 3)
    panel.imshow(
        picture.reshape(bands * BAND, bins, 3), origin="lower", aspect="auto",
        interpolation="nearest", extent=(start, start + bins * width, 0, bands))


def legend(panel: Axes, title: str, handles: Sequence[Artist]) -> None:
    """A legend to the right of the data."""
    panel.legend(
        handles=handles, title=title, alignment="left", loc="upper left",
        bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0.2, borderpad=0.2,
        handlelength=1.6, fontsize=8.5, title_fontsize=8.5)
