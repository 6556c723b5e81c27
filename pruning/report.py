"""Costs of a pruned network beside the dense one, on any machines."""

import copy
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from eyeriss_sim.levels import JOULE_PARTS, LEVELS
from eyeriss_sim.oracle import EnergyOracle, ask_together
from pruning.masks import Masks
from pruning.meters import Reference, macs_left
from pruning.prunable import prunable

# Zeros of all operands pay on the first, those of activations on the second, none on
# the third; it has another name here, since its preset is not the dense network.
MACHINES = {"eap_tool": "eap_tool", "eyeriss_chip": "eyeriss_chip",
            "preset_dense": "dense"}
BATCHES = (1, 16)
JOULES = ("chip_uJ", "dram_uJ", "total_uJ", "total_uJ_per_image")


def usual_oracles() -> dict[str, EnergyOracle]:
    """The oracles of a report unless others are given, by column name."""
    return {name + batch_ending(batch): EnergyOracle(preset, batch=batch)
            for batch in BATCHES for name, preset in MACHINES.items()}


def batch_ending(batch: int) -> str:
    """Ending of a column's name: nothing for batch 1."""
    return "" if batch == 1 else f"_b{batch}"


def with_code(oracles: dict[str, EnergyOracle], filter_code: str | None
              ) -> dict[str, EnergyOracle]:
    """The oracles, and further ones with weights stored in a code.

    Parameters
    ----------
    oracles : dict of str to EnergyOracle
    filter_code : str or None
        None: no further ones. Else one more for each machine on which zeros of
        weights save anything.

    Returns
    -------
    dict of str to EnergyOracle
        Oracles by batch; ``eap_tool_b16`` has ``eap_tool_periodic_b16`` beside it.
    """
    if filter_code is None:
        return oracles
    found = dict(oracles)
    for key, one in oracles.items():
        if one.hardware.zeros == "skip_either":
            name = key.removesuffix(batch_ending(one.batch))
            found[f"{name}_{filter_code}{batch_ending(one.batch)}"] = EnergyOracle(
                one.hardware, batch=one.batch, objective=one.objective,
                search=one.search, mapping=one.mappings or "search",
                filter_code=filter_code, bits=one.bits)
    return dict(sorted(found.items(), key=lambda pair: pair[1].batch))


def check_oracles(oracles: dict[str, EnergyOracle]) -> None:
    """Refuse what no report can be made by, before any network is trained.

    Raises
    ------
    ValueError
        No oracle, a name that is no part of a column's name, a thing that is no oracle.
    """
    if not oracles:
        raise ValueError("reports needs an oracle at least, as "
                         "{'chip': EnergyOracle('eyeriss_chip')}")
    for name, one in oracles.items():
        if not (isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name)):
            raise ValueError(f"reports: {name!r} is no name of a column; use letters, "
                             "digits and _")
        if not isinstance(one, EnergyOracle):
            raise ValueError(f"reports: {name} must be an EnergyOracle, got "
                             f"{one!r:.60}")


@dataclass(frozen=True, eq=False)
class Baseline:
    """Costs of the dense network, measured once for many rungs and reports.

    Parameters
    ----------
    reference : Reference
        What targets are relative to.
    energies : dict of str to float
        uJ of a batch by report column.
    images : Tensor
        They measure zeros, those of the pruned networks, too.
    weights : int
        All that could be pruned, those of layers that are excluded, too.
    oracles : dict of str to EnergyOracle
        What reports are made by, by column name.
    """

    reference: Reference
    energies: dict
    images: torch.Tensor
    weights: int
    oracles: dict

    @classmethod
    def of(cls, model: torch.nn.Module, prunables: dict, oracle: EnergyOracle,
           images: torch.Tensor, reports: dict | None = None) -> "Baseline":
        """Measure a dense network.

        Parameters
        ----------
        model : torch.nn.Module
        prunables : dict of str to Prunable
        oracle : EnergyOracle
            The oracle of targets.
        images : Tensor
            They measure the zeros of activations.
        reports : dict of str to EnergyOracle, optional
            :func:`usual_oracles` unless given.
        """
        model = copy.deepcopy(model)
        reports = usual_oracles() if reports is None else dict(reports)
        return cls(Reference.of(model, prunables, oracle, images),
                   {key: result.total_uJ for key, result in ask_together(
                       reports, model, images).items()},
                   images,
                   sum(int(np.prod(one.shape)) for one in prunable(model).values()),
                   reports)


def describe(network: torch.nn.Module, baseline: Baseline,
             filter_code: str | None = None) -> tuple[dict, pd.DataFrame]:
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
        dense network's total_uJ), objective_* (what the mappings were searched for)
        and floor_rel_*: what is left of it when every prunable weight of this network
        is zero and its activations are as they are. None where the oracle can't follow.
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
    tables, judges = [], with_code(baseline.oracles, filter_code)
    # A code of its own is compared with the dense network in the usual one.
    dense = {key: baseline.energies[
        key if key in baseline.energies else key.replace(f"_{filter_code}", "")]
        for key in judges}
    for key, result in ask_together(judges, network, baseline.images).items():
        for column in JOULES:
            summary[f"{column}_{key}"] = float(result.table[column].sum())
        summary[f"energy_rel_{key}"] = result.total_uJ / dense[key]
        summary[f"objective_{key}"] = judges[key].objective
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
    columns = ["layer", "hardware", "zeros", "batch", "mapping_source",
               "ifmap_density", "filter_density", "ofmap_density", *JOULES,
               *(f"{part}_uJ" for part in JOULE_PARTS if part != "dram"),
               "energy_MAC", "alu_MAC",
               *(f"{level}_MAC" for level in LEVELS)]
    return result.table[columns]
