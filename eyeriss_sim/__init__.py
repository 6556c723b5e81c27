"""A cycle- and energy-accurate model of the Eyeriss CNN accelerator."""

import eyeriss_sim.kernel_cache  # noqa: F401  first, for all kernels
from eyeriss_sim.explain import explain
from eyeriss_sim.hardware import Hardware, load_hardware
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.machine.machine import Machine
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.result import SimulationResult
from eyeriss_sim.search import search
from eyeriss_sim.simulate import simulate
from eyeriss_sim.version import VERSION
from eyeriss_sim.widths import Bits
from eyeriss_sim.zeros import Densities

__version__ = VERSION
__all__ = ["Bits", "ConvLayer", "Densities", "EnergyOracle", "Hardware", "Machine",
           "Mapping", "Network", "SimulationResult", "__version__", "explain",
           "load_hardware", "load_zoo", "lookup_table", "search", "simulate"]
# The functions hide the modules of their names here, so that ``import
# eyeriss_sim.search`` still leads to what stands in that module.
for function in (search, simulate, explain):
    setattr(function, function.__name__, function)


def __dir__():
    return __all__


def __getattr__(name):
    if name == "lookup_table":      # it takes joblib and pyarrow, which are slow
        from eyeriss_sim.lookup.table import lookup_table
        return lookup_table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
