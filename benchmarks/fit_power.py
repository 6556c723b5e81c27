"""Fit the two power constants of the preset ``eyeriss_chip`` to JSSC 2017, Table V.

Model: chip power of a layer = mac_pJ x (accesses and MACs, weighted by the published
ratios, gated by the published zeros) / total latency + a constant. The constant is what
the chip burns every cycle, spread over its PEs. Least squares of the relative error
over the five CONV layers: two parameters, five figures.

    python -m benchmarks.fit_power
"""

import numpy as np

from eyeriss_sim.levels import DRAM
from eyeriss_sim.validation.silicon import simulate_chip
from eyeriss_sim.validation.tables import published


def fit():
    """The constants, and the error in percent that each layer is left with.

    Returns
    -------
    mac_pJ, clock_pJ_per_PE_cycle : float
    errors : float64 ndarray, shape (5,), percent
    """
    power_mW = published("jssc_table5").power_mW
    result = simulate_chip()
    layers = [one for one in result.by_layer if one.layer.name in power_mW.index]
    clock_MHz, pes = result.hardware.clock_MHz, result.hardware.pes
    # 1 pJ a MAC unit, over the total latency, in mW.
    dynamic = np.array([
        (one.energy_MAC[:DRAM].sum() + one.alu_MAC) * clock_MHz / one.cycles.total / 1e3
        for one in layers])
    constant = np.full(len(layers), pes * clock_MHz / 1e3)
    terms = np.stack([dynamic, constant], axis=1)
    truth = power_mW.to_numpy(float)
    constants, *_ = np.linalg.lstsq(terms / truth[:, None], np.ones(len(layers)),
                                    rcond=None)
    return *constants, 100 * (terms @ constants / truth - 1)


def main():
    """Print the fit."""
    mac_pJ, clock_pJ, errors = fit()
    print(f"mac_pJ = {mac_pJ:.3f}, clock_pJ_per_PE_cycle = {clock_pJ:.3f}")
    print("errors: " + ", ".join(f"{error:+.1f} %" for error in errors))


if __name__ == "__main__":
    main()
