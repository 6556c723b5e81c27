"""Strips of fmaps that move between DRAM and the global buffer, row by row."""

import numpy as np


def ifmap_strips(layer, hardware, mapping):
    """Rows of each ifmap strip that the GLB loads: those that some filter row meets.

    Returns
    -------
    list of int64 ndarray, shape (rows,)
        All rows at once on ``isca16`` hardware, which strips the columns.
    """
    if hardware.accounting == "isca16":
        return [np.arange(layer.H)]
    taps = np.arange(layer.R) * layer.dilation[0]
    return [np.unique(np.add.outer(rows * layer.U, taps))
            for rows in ofmap_strips(layer, hardware, mapping)]


def ofmap_strips(layer, hardware, mapping):
    """Rows of each ofmap strip that the GLB dumps, as ``ifmap_strips``."""
    if hardware.accounting == "isca16":
        return [np.arange(layer.E)]
    return [np.arange(top, min(top + mapping.e, layer.E))
            for top in range(0, layer.E, mapping.e)]
