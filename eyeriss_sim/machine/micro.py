"""A machine's choices, as the kernel that steps it reads them."""

import numpy as np

from eyeriss_sim.machine import array
from eyeriss_sim.mapping import GLB_ROW_WORDS, glb_use

# Cycles without any movement after which a pass is given up.
PATIENCE = 10_000


def check_machine(hardware):
    """Refuse hardware that is only an analysis."""
    if hardware.accounting != "chip":
        raise ValueError(f"{hardware.name}: only hardware with accounting = \"chip\" "
                         f"can be stepped")


def micro_architecture(layer, hardware, mapping, shift=0, saturate=False):
    """The machine's choices for one layer, an int64 vector with the axes of the array.

    A hop is a psum group that collects in the lower PE, that PE's pipeline, and what is
    left of ``hop_cycles`` until the upper PE may take the first of them up. Ifmaps have
    the banks that they fill, psums all others.
    """
    micro = np.zeros(array.MICRO_AXES, np.int64)
    micro[array.IFMAP_FIFO] = hardware.ifmap_fifo_words
    micro[array.FILTER_FIFO] = hardware.filter_fifo_words
    micro[array.PSUM_IN_FIFO] = hardware.psum_in_fifo_words
    micro[array.PSUM_OUT_FIFO] = hardware.psum_out_fifo_words
    micro[array.NET_I] = hardware.ifmap_net_words
    micro[array.NET_F] = hardware.filter_net_words
    micro[array.NET_P_IN] = hardware.psum_in_net_words
    micro[array.NET_P_OUT] = hardware.psum_out_net_words
    micro[array.HOP] = max(1, hardware.hop_cycles - hardware.psum_out_net_words
                           - array.PIPELINE)
    micro[array.BUBBLES] = hardware.accumulate_bubbles
    micro[array.STRIDE_CYCLES] = hardware.stride_bubbles
    micro[array.IMAGE_GAP] = hardware.image_gap_cycles
    micro[array.FILTERS_FIRST] = hardware.filters_first
    micro[array.WINDOW_FIRST] = hardware.window_first
    micro[array.GATING] = hardware.zeros != "dense"
    micro[array.SHIFT] = shift
    micro[array.SATURATE] = saturate
    micro[array.PATIENCE] = PATIENCE
    micro[array.GLB_PORTS] = hardware.glb_ports
    micro[array.ROW_WORDS] = min(GLB_ROW_WORDS, hardware.glb_bank_words)
    ifmap_banks = glb_use(layer, hardware, mapping)["ifmap_banks"]
    micro[array.IFMAP_BANKS] = ifmap_banks
    micro[array.PSUM_BANKS] = max(1, hardware.glb_banks - ifmap_banks)
    return micro
