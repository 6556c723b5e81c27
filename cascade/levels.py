"""The levels of a ladder, and the pairs that they make."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch

from eyeriss_sim.codes import WORD_BITS, significance_map_ratio
from pruning.checkpoint import fresh_model, load_model
from pruning.masks import Masks
from pruning.prunable import prunable
from pruning.records import difference, read_json, read_metrics
from pruning.result import load_result, weights_hash


@dataclass(frozen=True, eq=False)
class Level:
    """One network, pruned to some level or not at all.

    Parameters
    ----------
    name : str
        ``dense``, or the rung: ``energy=0.45``.
    network : torch.nn.Module
        In evaluation mode.
    folder : Path or None
        Its result folder.
    shrinks : tuple of Masks
        By which channels went from the dense network.
    """

    name: str
    network: torch.nn.Module
    folder: Path = None
    shrinks: tuple = ()


def dense_level(folder):
    """The dense network of a training's folder, or of a finished ``density=1`` rung.

    Returns
    -------
    Level
    str
        Name of the network.

    Raises
    ------
    ValueError
        A pruned network: energies and losses would be told beside that one's.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    name = config.get("network")
    if name is None:
        raise ValueError(f"{folder}/config.json names no network; the folder of a "
                         "training by eyeriss-prune train is needed")
    if (folder / "masks.safetensors").exists():
        network, masks, shrinks = load_result(folder, fresh_model(config))
        if shrinks or masks.density < 1:
            raise ValueError(f"{folder} holds a pruned network, "
                             f"{100 * masks.density:.4g} % of the weights"
                             f"{' of fewer channels' * bool(shrinks)}; the dense one "
                             "is needed: a training, or a density=1 rung")
        return Level("dense", network, folder), name
    model, _ = load_model(folder / "weights.safetensors", name)
    return Level("dense", model, folder), name


def ladder_levels(folder, network):
    """The finished rungs of a ladder, mildest first by their reports on ``eap_tool``.

    :class:`cascade.study.Study` orders them by the hardware that it is of.

    Parameters
    ----------
    folder : str or Path
        As ``eyeriss-prune run`` fills it.
    network : torch.nn.Module
        A dense network of that kind.

    Returns
    -------
    list of Level

    Raises
    ------
    ValueError
        No finished rung, or rungs of other networks.
    """
    folder = Path(folder)
    found = []
    for file in folder.glob("*/metrics.json"):
        metrics = read_metrics(file)
        for key in ("rung", "energy_rel_eap_tool"):
            if not isinstance(metrics, dict) or key not in metrics:
                raise ValueError(f"{file}: {key} is missing; eyeriss-prune run writes "
                                 "it with a rung")
        pruned, _, shrinks = load_result(file.parent, network)
        level = Level(metrics["rung"], pruned, file.parent, shrinks)
        found.append((-metrics["energy_rel_eap_tool"], level.name, level))
    if not found:
        raise ValueError(f"{folder}: no finished rung in it; eyeriss-prune run makes "
                         "them, several --target in one call are a ladder")
    return [level for *_, level in sorted(found, key=lambda one: one[:2])]


def check_same_dense(dense, rungs):
    """Refuse rungs that were not pruned from this training of the dense network.

    Parameters
    ----------
    dense : Level
    rungs : sequence of Level

    Raises
    ------
    ValueError
        Other weights; of rungs that do not note them, the first number of the two
        recipes that differs.
    """
    noted = read_json(dense.folder / "config.json")
    weights = noted.get("dense_weights") or weights_hash(dense.network)
    own = noted.get("dense") or noted.get("recipe")
    for rung in rungs:
        config = read_json(rung.folder / "config.json")
        if config.get("dense_weights", weights) != weights:
            raise ValueError(f"{rung.folder} was pruned from other weights than those "
                             f"of {dense.folder}; name the dense network that it comes "
                             "from")
        theirs = config.get("dense")
        if "dense_weights" not in config and theirs != own:
            raise ValueError(f"{rung.folder} was pruned from another training than "
                             f"{dense.folder}; {difference(theirs, own)}; name the "
                             "dense network that it comes from")


def pairs(levels):
    """Every (mild, aggressive) pair of levels, mildest first.

    Examples
    --------
    >>> pairs(["dense", "0.7", "0.5"])
    [('dense', '0.7'), ('dense', '0.5'), ('0.7', '0.5')]
    """
    return list(combinations(levels, 2))


def check_pair(mild, aggressive, image_shape):
    """Refuse two networks that are no two levels of one.

    Masks need not be nested, nor need the mild network keep more weights: a method
    may bring weights back on the way, and dear ones weigh more than many cheap ones.
    Nor need it have more channels in each layer: those of a ladder go with each first
    target anew.

    Raises
    ------
    ValueError
        Other classes; other weights, unless channels went; a mild network that is a
        part of the aggressive one.
    """
    with torch.no_grad():
        classes = [level.network(torch.zeros(1, *image_shape)).shape[-1]
                   for level in (mild, aggressive)]
    pair = f"pair {mild.name}, {aggressive.name}"
    if classes[0] != classes[1]:
        raise ValueError(f"{pair}: {classes[0]} and {classes[1]} classes; both levels "
                         "must be of one network")
    kept = [Masks.of(level.network, prunable(level.network))
            for level in (mild, aggressive)]
    if kept[0].keys() != kept[1].keys():
        other = sorted(kept[0].keys() ^ kept[1].keys())[0]
        raise ValueError(f"{pair}: their masks disagree: only one has {other}; both "
                         "levels must be of one network")
    for name in kept[0]:
        shapes = [tuple(one[name].shape) for one in kept]
        both_shrunk = mild.shrinks and aggressive.shrinks
        if not both_shrunk and any(few > many for many, few in zip(*shapes)):
            raise ValueError(
                f"{pair}: their masks disagree: {name} has shape {shapes[0]} in the "
                f"mild network and {shapes[1]} in the aggressive one; swap them, or "
                "take levels of one network")
    if kept[1].kept > kept[0].kept and all(
            kept[0][name].shape == kept[1][name].shape for name in kept[0]
    ) and kept[0].nested_in(kept[1]):
        raise ValueError(f"{pair}: the aggressive network keeps {kept[1].kept} "
                         f"weights, the mild one {kept[0].kept}; swap them")


def storage(mild, aggressive, router=None):
    """What DRAM has to hold of a pair, with weights as significance maps.

    Parameters
    ----------
    mild, aggressive : torch.nn.Module
    router : torch.nn.Module, optional

    Returns
    -------
    dict
        stores (1 where each weight that both keep has one value and the masks are
        nested: then the aggressive network is a part of the mild one, but for biases
        and normalisations of its own), mild_kB, aggressive_kB, router_kB, total_kB.
    """
    sizes = {"mild_kB": stored_kB(mild), "aggressive_kB": stored_kB(aggressive),
             "router_kB": stored_kB(router) if router is not None else 0.0}
    shared = _share_values(mild, aggressive)
    total = sizes["mild_kB"] + sizes["router_kB"]
    if shared:
        # The second map says which of the stored weights are the aggressive one's.
        total += sum(weight.numel() for weight in _weights(aggressive)) / 8e3
        total += _own_kB(mild, aggressive)
    else:
        total += sizes["aggressive_kB"]
    return {"stores": 1 if shared else 2, **sizes, "total_kB": total}


def _weights(network):
    return [weight for weight in network.parameters() if weight.ndim > 1]


def _own_kB(mild, aggressive):
    """Biases, normalisations and their statistics that differ from the mild one's."""
    some = mild.state_dict()
    return sum(value.numel() * WORD_BITS for name, value in
               aggressive.state_dict().items() if value.ndim == 1
               and not value.equal(some[name])) / 8e3


def stored_kB(network):
    """Weights in 16 bits as the energy tool stores them; biases and the like dense."""
    bits = 0.0
    for weight in network.parameters():
        ratio = significance_map_ratio(
            int((weight != 0).sum()), weight.numel()) if weight.ndim > 1 else 1.0
        bits += ratio * weight.numel() * WORD_BITS
    return bits / 8e3


def _share_values(mild, aggressive):
    some, others = dict(mild.named_parameters()), dict(aggressive.named_parameters())
    if some.keys() != others.keys():
        return False
    for name, weight in others.items():
        if weight.shape != some[name].shape:
            return False
        same = (weight == some[name]) | (weight == 0)
        if weight.ndim > 1 and not bool(same.all()):
            return False
    return True
