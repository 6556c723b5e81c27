"""Strips of fmaps that move between DRAM and the global buffer."""

from typing import TYPE_CHECKING

import numpy as np

from eyeriss_sim.plain import ceil_div
from eyeriss_sim.product_maps import laid

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware
    from eyeriss_sim.layer import ConvLayer
    from eyeriss_sim.mapping import Mapping


def column_strips(layer: "ConvLayer", mapping: "Mapping") -> list[tuple]:
    """Columns of each column strip, from left to right.

    Returns
    -------
    list of (slice, slice)
        Columns of the ofmap, and of the ifmap that the GLB loads for them: those under
        the strip's windows and those up to the next strip's, or to the edge.
    """
    layer = laid(layer, mapping)
    width = ceil_div(layer.F, mapping.column_strips)
    strips = []
    for left in range(0, layer.F, width):
        right, end = left + width, layer.W
        if right < layer.F:
            end = max((right - 1) * layer.V + layer.S_span, right * layer.V)
        strips.append((slice(left, min(right, layer.F)), slice(left * layer.V, end)))
    return strips


def ifmap_strips(layer: "ConvLayer", hardware: "Hardware",
                 mapping: "Mapping") -> list[tuple]:
    """Strips of each ifmap that the GLB loads and that are coded each by itself.

    Returns
    -------
    list of (int64 ndarray, slice)
        Rows and columns.
    """
    return hardware.dataflow.ifmap_strips(laid(layer, mapping), mapping)


def ofmap_strips(layer: "ConvLayer", hardware: "Hardware",
                 mapping: "Mapping") -> list[tuple]:
    """Strips of each ofmap that the GLB dumps, as ``ifmap_strips``."""
    return hardware.dataflow.ofmap_strips(laid(layer, mapping), mapping)


def row_strips(layer: "ConvLayer", mapping: "Mapping") -> list[np.ndarray]:
    """Ofmap rows of each strip of e rows."""
    return [np.arange(top, min(top + mapping.e, layer.E))
            for top in range(0, layer.E, mapping.e)]
