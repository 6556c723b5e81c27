"""What a pruned network costs, on every kind of zeros, beside the dense one."""

import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from eyeriss_sim.levels import JOULE_PARTS, LEVELS
from eyeriss_sim.oracle import EnergyOracle
from pruning.masks import Masks
from pruning.meters import Reference, macs_left
from pruning.prunable import prunable

# Which zeros pay differs: all of them, those of activations, none. By what a report
# calls them: a preset called dense is not the dense network.
MACHINES = {"eap_tool": "eap_tool", "eyeriss_chip": "eyeriss_chip",
            "preset_dense": "dense"}
BATCHES = (1, 16)
JOULES = ("chip_uJ", "dram_uJ", "total_uJ", "total_uJ_per_image")


def oracles(filter_code=None):
    """The oracles of a report, by column name.

    Parameters
    ----------
    filter_code : str, optional
        Of a further oracle, ``eap_tool`` with weights stored in that code.
    """
    found = {}
    for batch in BATCHES:
        ending = "" if batch == 1 else f"_b{batch}"
        for name, preset in MACHINES.items():
            found[name + ending] = EnergyOracle(preset, batch=batch)
        if filter_code is not None:
            found[f"eap_tool_{filter_code}{ending}"] = EnergyOracle(
                "eap_tool", batch=batch, filter_code=filter_code)
    return found


@dataclass(frozen=True, eq=False)
class Baseline:
    """What the dense network costs, measured once for many rungs and reports.

    Parameters
    ----------
    reference : Reference
        That targets are relative to.
    energies : dict of str to float
        uJ of a batch by report column.
    images : Tensor
        That measure zeros, of the pruned networks, too.
    weights : int
        All that could be pruned, those of layers that are excluded, too.
    """

    reference: Reference
    energies: dict
    images: torch.Tensor
    weights: int

    @classmethod
    def of(cls, model, prunables, oracle, images):
        """Measure a dense network."""
        model = copy.deepcopy(model)
        return cls(Reference.of(model, prunables, oracle, images),
                   {key: one(model, images).total_uJ for key, one in oracles().items()},
                   images,
                   sum(int(np.prod(one.shape)) for one in prunable(model).values()))


def describe(network, baseline, filter_code=None):
    """Costs of a pruned network with its own measured zeros.

    Parameters
    ----------
    network : torch.nn.Module
    baseline : Baseline
    filter_code : str, optional

    Returns
    -------
    dict
        weights, weights_rel (of the prunable ones), params, params_rel, macs_rel (of
        weights that are not zero), and by hardware and batch chip_uJ_*, dram_uJ_* and
        total_uJ_*, all of the batch, total_uJ_per_image_*, energy_rel_* (share of the
        dense network's total_uJ) and floor_rel_*: what is left of it when every
        prunable weight of this network is zero and its activations are as they are.
        None where the oracle can't follow.
    pandas.DataFrame
        One row a layer, hardware and batch: densities, and energy by part in uJ and
        in MAC energies.
    """
    network, reference = copy.deepcopy(network), baseline.reference
    weights = prunable(network)
    masks = Masks.of(network, weights)
    left = macs_left(network, baseline.images)
    masked = sum(mask.numel() for mask in masks.values()) - masks.kept
    params = sum(weight.numel() for weight in network.parameters()) - masked
    summary = {
        "weights": masks.kept, "weights_rel": masks.kept / baseline.weights,
        "params": params, "params_rel": params / reference.params,
        "macs": round(left), "macs_rel": left / reference.macs}
    tables, judges = [], oracles(filter_code)
    # A code of its own is compared with the dense network in the usual one.
    dense = {key: baseline.energies[
        key if key in baseline.energies else key.replace(f"_{filter_code}", "")]
        for key in judges}
    for key, oracle in judges.items():
        result = oracle(network, baseline.images)
        for column in JOULES:
            summary[f"{column}_{key}"] = float(result.table[column].sum())
        summary[f"energy_rel_{key}"] = result.total_uJ / dense[key]
        tables.append(_layer_rows(result))
    Masks({name: torch.zeros_like(mask) for name, mask in masks.items()}).apply(network)
    for key, oracle in judges.items():
        summary[f"floor_rel_{key}"] = _energy_now(oracle, network, dense[key])
    return summary, pd.concat(tables, ignore_index=True)


def _energy_now(oracle, network, dense):
    """Share of the dense energy with the activations measured before, or None."""
    try:
        return oracle(network).total_uJ / dense
    except ValueError:      # filters that the forward makes anew need a run to be seen
        return None


def _layer_rows(result):
    columns = ["layer", "hardware", "zeros", "batch", "ifmap_density", "filter_density",
               "ofmap_density", *JOULES, *(f"{part}_uJ" for part in JOULE_PARTS
                                           if part != "dram"),
               "energy_MAC", "alu_MAC",
               *(f"{level}_MAC" for level in LEVELS)]
    return result.table[columns]
