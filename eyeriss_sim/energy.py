"""Energy of a layer: accesses times the cost table, less what zeros save, plus time."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from eyeriss_sim.levels import ACCESSES_SHAPE, DRAIN, FILL, KINDS, LEVELS, NOC

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware


def access_weights() -> np.ndarray:
    """Counts that cost an access of their level: 1 or 0, [level, kind, direction].

    A word that enters a network (NOC FILL) or leaves it (NOC DRAIN) is the same
    transfer as the NOC READ or WRITE at a PE, which is what the cost table prices.
    """
    weights = np.ones(ACCESSES_SHAPE)
    weights[NOC, :, [FILL, DRAIN]] = 0
    return weights


def width_factors(hardware: "Hardware") -> tuple[np.ndarray, float]:
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


def level_energy(accesses: np.ndarray, macs: float, cost: Callable[[str, str], float],
                 widths: tuple = (1.0, 1.0)) -> tuple[np.ndarray, float]:
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
        Factors of ``width_factors``; words of 16 bits unless given.

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


def edp_isca16(energy_MAC: ArrayLike, macs: ArrayLike, active_pes: ArrayLike, pes: int,
               batch: int, padding_macs: ArrayLike = 0) -> float:
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
