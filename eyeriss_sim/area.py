"""Silicon area of storage and PEs in 65 nm, and the buffer that an area leaves."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware

# um2 a byte by the size of the memory, linear in between; the model behind the
# equal-area comparisons of Chen, Emer, Sze, ISCA 2016, as its first author published
# it. Small memories pay for their periphery.
MEMORY_B = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
UM2_PER_B = (103.47, 172.07, 177.07, 169.89, 96.06, 59.15, 39.94, 27.48, 20.87, 16.14,
             13.89, 12.70)
PE_UM2 = 20_000             # a PE without its RF; same source
UM2_PER_MM2 = 1e6


def memory_um2(size_B: Any) -> Any:
    """Area of one memory of that many bytes; arrays too.

    Examples
    --------
    >>> float(memory_um2(512))
    10685.44
    """
    return size_B * np.interp(size_B, MEMORY_B, UM2_PER_B)


def rf_um2(hardware: "Hardware") -> float:
    """Area of the spads of one PE, or of its one RF pool."""
    return float(sum(map(memory_um2, hardware.dataflow.rf_memories_B(hardware))))


def storage_mm2(hardware: "Hardware") -> float:
    """Area of all storage: PEs x area(RF) + area(GLB), ISCA 2016, Eq. 2.

    On ``chip`` hardware the GLB is its banks and the filter buffer.

    Examples
    --------
    >>> from eyeriss_sim.hardware import load_hardware
    >>> round(storage_mm2(load_hardware("isca16_256")), 2)
    4.4
    """
    glb = hardware.dataflow.glb_um2(hardware)
    return float(hardware.pes * rf_um2(hardware) + glb) / UM2_PER_MM2


def area_mm2(hardware: "Hardware") -> float:
    """Area of all storage and PEs; networks, control and the DRAM port are not in it.

    Examples
    --------
    >>> from eyeriss_sim.hardware import load_hardware
    >>> round(area_mm2(load_hardware("eyeriss_chip")), 1)
    7.6
    """
    return storage_mm2(hardware) + hardware.pes * PE_UM2 / UM2_PER_MM2


def glb_that_fits(hardware: "Hardware", storage: float) -> int:
    """Bytes of GLB that keep a machine with these PEs within a storage area.

    Parameters
    ----------
    hardware : Hardware
        Its own ``glb_ifmap_psum_B`` is not looked at.
    storage : float
        mm2 of all storage.

    Returns
    -------
    int
        Whole banks ("chip") or words ("isca16"); 0 if nothing is left.
    """
    # A machine's own area gives it its own GLB back: rounding must not cost a bank.
    left_um2 = storage * UM2_PER_MM2 - hardware.pes * rf_um2(hardware) + 1e-6
    return hardware.dataflow.glb_that_fits_B(hardware, left_um2)
