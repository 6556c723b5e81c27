"""The model beside the paper of the dataflow (ISCA 2016)."""

from dataclasses import replace

from eyeriss_sim.levels import DRAM
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.report import totals
from eyeriss_sim.simulate import simulate
from eyeriss_sim.validation.tables import published, row

FIG_10 = "ISCA 2016 Fig. 10"
FIG_11 = "ISCA 2016 Fig. 11"
FIG_13 = "ISCA 2016 Fig. 13"
FIG_10_BAND = 2             # bars measured off a figure
FIG_13_BAND = 3             # two digits; of mappings that tie another has other PEs


def compare_fig_10() -> list[dict]:
    """Energy of the 256-PE machine by level, in 10^9 MAC energies."""
    truth = published("isca16_fig10")
    model = simulate("alexnet", "isca16_256", 16).table.set_index("layer")
    model["total_MAC"] = model.energy_MAC
    return [row(FIG_10, layer, level, truth[level][layer],
                model[f"{level}_MAC"][layer] / 1e9,
                FIG_10_BAND if level == "total" else None)
            for level in truth.columns for layer in truth.index]


def compare_fig_11() -> list[dict]:
    """DRAM accesses a MAC over the CONV layers, by batch size."""
    rows = []
    for batch, truth in published("isca16_fig11").dram_per_mac.items():
        layers = [one for one in simulate("alexnet", "isca16_256", batch).by_layer
                  if one.layer.name.startswith("CONV")]
        words = sum(float(one.accesses[DRAM].sum()) for one in layers)
        rows.append(row(FIG_11, f"CONV1-5, N={batch}", "dram_per_mac", truth,
                        words / sum(one.layer.macs for one in layers), None))
    return rows


def compare_fig_13() -> list[dict]:
    """EDP of the CONV layers by PEs and batch, of 256 PEs with one image."""
    def edp(pes, batch):
        network = load_zoo("alexnet", batch)
        layers = [layer for layer in network.layers if layer.name.startswith("CONV")]
        return totals(simulate(replace(network, layers=layers), f"isca16_{pes}")
                      )["edp_isca16"]

    one = edp(256, 1)
    return [row(FIG_13, f"CONV1-5, N={bar.batch}, {bar.Index} PEs", "edp_isca16",
                bar.edp, edp(bar.Index, bar.batch) / one, FIG_13_BAND)
            for bar in published("isca16_fig13").itertuples()]
