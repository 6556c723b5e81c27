"""Costs of each part of a cascade for an image, on the simulator."""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binom

from cascade.oracles import as_oracle, settings_text
from cascade.outputs import run_hash
from eyeriss_sim.atomic import replacing
from eyeriss_sim.oracle import EnergyOracle, ask_together
from eyeriss_sim.read_only import read_only
from eyeriss_sim.version import VERSION
from pruning.meters import Reference, meter_of
from pruning.prunable import prunable
from pruning.targets import Energy

STRATA = 8              # groups of images, from easy to hard
STRATUM_IMAGES = 24     # of each, that measure its zeros


@dataclass(frozen=True)
class Strata:
    """Images in groups from easy to hard: harder ones leave fewer zeros.

    Parameters
    ----------
    edges : float64 ndarray, shape (STRATA - 1,)
        Difficulties between the groups.
    images : float tensor, shape (STRATA, STRATUM_IMAGES, C, H, W)
        Images that measure zeros.
    """

    edges: np.ndarray
    images: torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor, difficulty: np.ndarray) -> "Strata":
        """Groups of equal size, each measured by images spread evenly over it."""
        difficulty = np.asarray(difficulty, dtype=np.float64)
        order = np.argsort(difficulty, kind="stable")
        groups = np.array_split(order, STRATA)
        count = min(STRATUM_IMAGES, min(map(len, groups)))
        if not count:
            raise ValueError(f"{len(images)} images do not make {STRATA} groups to "
                             "measure zeros with; give more")
        chosen = [group[np.linspace(0, len(group) - 1, count).round().astype(int)]
                  for group in groups]
        edges = read_only(np.array([difficulty[group[0]] for group in groups[1:]]))
        return cls(edges, torch.stack([images[torch.from_numpy(one)]
                                       for one in chosen]))

    def group_of(self, difficulty: np.ndarray) -> np.ndarray:
        """The group of each image, by its difficulty."""
        return np.searchsorted(self.edges, np.asarray(difficulty), side="right")


def difficulties(all_logits: Sequence[torch.Tensor]) -> np.ndarray:
    """Difficulty of images: what the networks leave to all but their first class.

    Parameters
    ----------
    all_logits : sequence of tensors, shape (N, classes)
        Logits of several networks; the mean of what they say counts.

    Returns
    -------
    float64 ndarray, shape (N,), 0..1
    """
    return np.asarray(np.mean(
        [1 - one.softmax(1).amax(1).numpy() for one in all_logits], axis=0,
        dtype=np.float64))


@dataclass(frozen=True, eq=False)
class NetworkCosts:
    """Energy or latency of a network's layers.

    Parameters
    ----------
    layer_names : tuple of str
    alone : float64 ndarray, shape (STRATA, layers)
        Cost of one image at batch 1, by group of images.
    batches : dict of int to float64 ndarray, shape (layers,)
        Cost of a batch of so many average images, for 1, the largest, and others.
    """

    layer_names: tuple
    alone: np.ndarray
    batches: dict

    def __post_init__(self):
        for array in (self.alone, *self.batches.values()):
            read_only(array)

    def part(self, names: Sequence[str] | None = None, batch: int = 1) -> np.ndarray:
        """Cost per image of the named layers in a full batch, by group of images.

        Parameters
        ----------
        names : sequence of str, optional
            All layers unless given.
        batch : int

        Returns
        -------
        float64 ndarray, shape (STRATA,)
        """
        chosen = [names is None or name in names for name in self.layer_names]
        if names is not None and sum(chosen) != len(set(names)):
            missing = sorted(set(names) - set(self.layer_names))
            raise ValueError(f"the simulator saw no layer {missing[0]!r}")
        return (self.alone * self._share(batch))[:, chosen].sum(1)

    def expected_share(self, q: np.ndarray, batch: int,
                       names: Sequence[str] | None = None) -> np.ndarray:
        """Cost of an image over its cost alone, where ``q`` of a batch come.

        How many of a batch come is binomial; what so many cost is read off a line
        between the batches that were simulated.

        Parameters
        ----------
        q : float64 ndarray
            Shares, 0..1.
        batch : int
        names : sequence of str, optional
            Layers that count; all unless given.

        Returns
        -------
        float64 ndarray of that shape
        """
        chosen = [names is None or name in names for name in self.layer_names]
        counts = np.arange(batch + 1)
        known = np.array([0, *sorted(self.batches)])
        totals = np.array([0.0, *(self.batches[k][chosen].sum() for k in known[1:])])
        if batch == 1 or not totals[1]:
            return np.ones_like(q, dtype=np.float64)
        costs = np.interp(counts, known, totals)
        expected = binom.pmf(counts, batch, np.asarray(q)[..., None]) @ costs
        with np.errstate(invalid="ignore"):
            share = expected / (batch * np.asarray(q) * totals[1])
        return np.where(np.asarray(q) > 0, share, 1.0)

    def _share(self, count):
        """Cost by layer of an image among ``count`` over one alone."""
        if count == 1:
            return np.ones(len(self.layer_names))
        if count not in self.batches:
            raise ValueError(f"no batch of {count} was simulated; there are "
                             + ", ".join(map(str, self.batches)))
        alone = self.batches[1]
        return np.divide(self.batches[count] / count, alone,
                         out=np.ones_like(alone), where=alone > 0)


def network_costs(network: torch.nn.Module, strata: Strata,
                  oracle: EnergyOracle | str, batches: Sequence[int] = (1,),
                  cache: str | Path | None = None
                  ) -> tuple[NetworkCosts, NetworkCosts]:
    """Simulate a network with its own zeros on each group of images.

    Parameters
    ----------
    network : torch.nn.Module
    strata : Strata
    oracle : EnergyOracle or str
        Its own batch does not matter; a preset's name or a TOML file will do.
    batches : sequence of int
        1 and others, the largest included that is asked for later.
    cache : str or Path, optional
        A folder, as for :func:`cascade.outputs.outputs_of`.

    Returns
    -------
    energy, latency : NetworkCosts
        uJ with DRAM, and ms.
    """
    path, oracle = None, as_oracle(oracle, 1)
    if cache is not None:
        key = run_hash(network, strata.images)
        # A hardware's name says nothing of its content.
        machine = hashlib.sha256(f"{VERSION} {settings_text(oracle)}".encode())
        counts = "-".join(map(str, sorted(set(batches))))
        path = Path(cache) / (f"costs_{key[:24]}_{machine.hexdigest()[:12]}_"
                              f"{counts}.json")
        if path.exists():
            return _read(path)
    alone = [_by_layer(oracle(network, images)) for images in strata.images]
    layers = tuple(alone[0])
    # Every group is as large as the others, so a few of each are the average image.
    some = strata.images[:, ::4].flatten(0, 1)
    together = {k: _by_layer(result) for k, result in ask_together(
        {k: oracle.with_batch(k) for k in batches}, network, some).items()}
    energy, latency = (
        NetworkCosts(layers,
                     np.array([[one[name][unit] for name in layers] for one in alone]),
                     {k: np.array([one[name][unit] for name in layers])
                      for k, one in together.items()})
        for unit in (0, 1))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as fresh:
            fresh.write_text(json.dumps([_as_json(one) for one in (energy, latency)]))
    return energy, latency


def floor_of(network: torch.nn.Module, strata: Strata, oracle: EnergyOracle | str,
             dense: torch.nn.Module | None = None) -> float:
    """Energy that is left when every weight is zero and activations still move.

    Parameters
    ----------
    network : torch.nn.Module
    strata : Strata
    oracle : EnergyOracle or str
        A preset's name or a TOML file stands for one of batch 1.
    dense : torch.nn.Module, optional
        The network that lost channels to make this one; itself unless given.

    Returns
    -------
    float
        Share of the dense network's energy.
    """
    model = copy.deepcopy(network)
    names = prunable(model)
    oracle = as_oracle(oracle)
    images = strata.images[:, ::4].flatten(0, 1)
    reference = Reference.of(network if dense is None else dense, names, oracle, images)
    return meter_of(Energy(1), model, names, reference, oracle, images).floor


def module_cost(module: torch.nn.Module, inputs: torch.Tensor,
                oracle: EnergyOracle | str) -> tuple[float, float]:
    """Energy and latency of an image in a small module, such as a router's layers.

    Returns
    -------
    float, float
        uJ with DRAM, and ms.
    """
    oracle = as_oracle(oracle)
    result = oracle(module, inputs)
    return result.total_uJ / oracle.batch, result.total_ms / oracle.batch


def _by_layer(result):
    table = result.table
    return {layer: (uJ, ms) for layer, uJ, ms in zip(
        table.layer, table.total_uJ, table.total_ms, strict=True)}


def _as_json(costs):
    return {"layers": costs.layer_names, "alone": costs.alone.tolist(),
            "batches": {str(k): one.tolist() for k, one in costs.batches.items()}}


def _read(path):
    try:
        energy, latency = (
            NetworkCosts(tuple(one["layers"]), np.array(one["alone"]),
                         {int(k): np.array(some) for k, some in one["batches"].items()})
            for one in json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{path}: damaged ({problem}); delete it") from None
    return energy, latency
