"""A cycle- and energy-accurate model of the Eyeriss CNN accelerator."""

import eyeriss_sim.kernel_cache  # noqa: F401  first, for all kernels
from eyeriss_sim.hardware import Hardware, load_hardware
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.result import SimulationResult
from eyeriss_sim.simulate import simulate
from eyeriss_sim.widths import Bits
from eyeriss_sim.zeros import Densities

__all__ = ["Bits", "ConvLayer", "Densities", "EnergyOracle", "Hardware", "Mapping",
           "Network", "SimulationResult", "load_hardware", "simulate"]
