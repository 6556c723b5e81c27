"""A machine's choices, as the kernel that steps it reads them."""

import numpy as np

from eyeriss_sim.dataflows.rs_geometry import glb_use
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array
from eyeriss_sim.mapping import Mapping

# Cycles without any movement after which a pass is given up.
PATIENCE = 10_000


def check_machine(hardware: Hardware) -> None:
    """Refuse hardware that is only an analysis."""
    if not hardware.dataflow.can_be_stepped:
        raise ValueError(f"{hardware.name}: only hardware with accounting = \"chip\" "
                         f"can be stepped")


def micro_architecture(layer: ConvLayer, hardware: Hardware, mapping: Mapping,
                       shift: int = 0, saturate: bool = False) -> np.ndarray:
    """The machine's choices for one layer, an int64 vector with the axes of the array.

    A hop is a psum group that collects in the lower PE, that PE's pipeline, and what is
    left of ``hop_cycles`` until the upper PE may take the first of them up. Ifmaps have
    the banks that they fill, psums all others.
    """
    micro = np.zeros(array.MICRO_AXES, np.int64)
    values = hardware.values
    micro[array.IFMAP_FIFO] = values.ifmap_fifo
    micro[array.FILTER_FIFO] = values.filter_fifo
    micro[array.PSUM_IN_FIFO] = values.psum_in_fifo
    micro[array.PSUM_OUT_FIFO] = values.psum_out_fifo
    micro[array.NET_I] = values.ifmap_net
    micro[array.NET_F] = values.filter_net
    micro[array.NET_P_IN] = values.psum_in_net
    micro[array.NET_P_OUT] = values.psum_out_net
    micro[array.HOP] = max(1, hardware.hop_cycles - hardware.psum_out_net_words
                           - array.PIPELINE)
    micro[array.BUBBLES] = hardware.accumulate_bubbles
    micro[array.STRIDE_CYCLES] = hardware.stride_bubbles
    micro[array.IMAGE_GAP] = hardware.image_gap_cycles
    micro[array.FILTERS_FIRST] = hardware.filters_first
    micro[array.WINDOW_FIRST] = hardware.window_first
    micro[array.DOWNWARDS] = hardware.first_row_on_top
    micro[array.GATING] = bool(hardware.zero_handling.skips)
    micro[array.SHIFT] = shift
    micro[array.SATURATE] = saturate
    micro[array.PATIENCE] = PATIENCE
    micro[array.GLB_PORTS] = hardware.glb_ports
    micro[array.ROW_PSUMS] = values.row_psums
    micro[array.ROW_IFMAPS] = values.row_ifmaps
    ifmap_banks = glb_use(layer, hardware, mapping)["ifmap_banks"]
    micro[array.IFMAP_BANKS] = ifmap_banks
    micro[array.PSUM_BANKS] = max(1, hardware.glb_banks - ifmap_banks)
    return micro
