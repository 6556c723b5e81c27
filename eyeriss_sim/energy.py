"""Energy of a layer: accesses times the cost table, less what zeros save, plus time."""

import numpy as np

from eyeriss_sim import kernels
from eyeriss_sim.levels import (
    ACCESSES_SHAPE, DRAIN, FILL, FILTER, IFMAP, KINDS, LEVELS, NOC, PSUM)


def access_weights():
    """Which counts cost an access of their level: 1 or 0, [level, kind, direction].

    A word that enters a network (NOC FILL) or leaves it (NOC DRAIN) is the same
    transfer as the NOC READ or WRITE at a PE, which is what the cost table prices.
    """
    weights = np.ones(ACCESSES_SHAPE)
    weights[NOC, :, [FILL, DRAIN]] = 0
    return weights


def width_factors(hardware):
    """Bits of an access and of a MAC at the hardware's widths, over those of a word.

    An access scales with the bits that its value takes, a MAC with those of both its
    operands (Yang et al., Asilomar 2017). An ofmap has its own width in DRAM, that of a
    psum elsewhere.

    Returns
    -------
    access : float64 ndarray, shape (4, 3)
        [level, kind].
    mac : float
    """
    return hardware.width_factors


def level_energy(accesses, macs, cost, widths=(1.0, 1.0)):
    """Energy by level and kind.

    Parameters
    ----------
    accesses : ndarray, shape (4, 3, 5), words
        What zeros leave of them, [level, kind, direction].
    macs : float
        What zeros leave of the MACs.
    cost : callable
        Level ("rf", "noc", "glb", "dram", "alu") and kind ("ifmap", "filter", "psum")
        to the energy of one 16-bit access or MAC: ``Hardware.cost_MAC``, say.
    widths : tuple
        As ``width_factors`` gives them; words of 16 bits unless given.

    Returns
    -------
    by_level : float64 ndarray, shape (4, 3), unit of ``cost``
        [level, kind].
    alu : float
        Energy of the MACs.
    """
    of_access, of_mac = widths
    priced = (accesses * access_weights()).sum(axis=2) * of_access
    by_level = priced * np.array([[cost(level, kind) for kind in KINDS]
                                  for level in LEVELS])
    return by_level, macs * of_mac * cost("alu", "ifmap")


def edp_isca16(energy_MAC, macs, active_pes, pes, batch, padding_macs=0):
    """Product of energy and delay as the papers have it (ISCA 2016, Fig. 13).

    Energy a MAC, times what an image takes: MACs over the share of the PEs that are
    active, added up over the layers. Comparisons take the mappings of least energy.

    Parameters
    ----------
    energy_MAC : array_like, shape (layers,), MAC energies
    macs : array_like, shape (layers,)
        MACs of the whole batch, as the energies are the batch's.
    active_pes : array_like, shape (layers,)
    pes : int
        The PEs of the machine.
    batch : int
    padding_macs : array_like, shape (layers,)
        MACs on pixels that pad the map of a product; they take time, and are no work.

    Returns
    -------
    float
        Its unit means nothing beside another machine's or batch's of one network.

    Examples
    --------
    >>> edp_isca16([600.0, 300.0], [100, 200], [8, 4], 8, 1)
    1500.0
    """
    macs = np.asarray(macs, np.float64)
    work = float(((macs + padding_macs) * pes / np.asarray(active_pes)).sum())
    return float(np.sum(energy_MAC)) / float(macs.sum()) * work / batch


def search_coefficients(shape, hardware, savings):
    """Coefficients of ``kernels.chip_energy``, float64, shape (8,), MAC energies.

    Each is what one more load of a word of every channel, filter pass and so on costs,
    zeros included, however the layer's columns are cut.
    """
    (rf, noc, glb, dram), alu = hardware.prices_at_widths
    N, G, M, C, E = (int(shape[axis]) for axis in (
        kernels.N, kernels.G, kernels.M, kernels.C, kernels.E))
    F = int(kernels.ofmap_columns(shape))
    row_segments, col_segments = int(shape[kernels.R_SEGS]), int(shape[kernels.S_SEGS])
    R = (row_segments - 1) * int(shape[kernels.R_FULL]) + int(shape[kernels.R_LAST])
    S = (col_segments - 1) * int(shape[kernels.S_FULL]) + int(shape[kernels.S_LAST])
    channels, filters, ofmap = N * G * C, G * M * C * R * S, N * G * M * E * F
    macs = ofmap * C * R * S * savings.macs_left
    k = np.zeros(kernels.COEFFICIENTS)
    k[kernels.PER_LOAD] = channels * (dram[IFMAP] * savings.ifmap_ratio + glb[IFMAP])
    k[kernels.PER_FILTER_PASS] = channels * glb[IFMAP]
    k[kernels.PER_SET] = channels * R * E * (noc[IFMAP] + rf[IFMAP])
    k[kernels.PER_FILTER_LOAD] = filters * (
        dram[FILTER] * savings.filter_ratio + 2 * glb[FILTER])
    k[kernels.PER_COLUMN_STAY] = filters * E * (noc[FILTER] + rf[FILTER])
    k[kernels.PER_CHANNEL_PASS] = (
        ofmap * row_segments * col_segments * (2 * glb[PSUM] + 2 * noc[PSUM])
        - noc[PSUM] * ofmap * col_segments * row_segments)
    k[kernels.PER_CHANNEL_SET] = noc[PSUM] * ofmap * col_segments * R
    k[kernels.FIXED] = (
        ofmap * (glb[PSUM] + dram[PSUM] * savings.ofmap_ratio)
        + macs * (rf[IFMAP] + rf[FILTER] + 2 * rf[PSUM] + alu))
    return k
