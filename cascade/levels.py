"""The levels of a ladder, and the pairs that they make."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import torch

from eyeriss_sim.codes import WORD_BITS, significance_map_ratio
from pruning.checkpoint import fresh_model, load_model
from pruning.models import MODELS
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
    shrinks : tuple of pruning.smaller.Step
        Steps by which it became smaller than the dense network.
    architecture : str
        One of ``pruning.models.MODELS``, or what a user's own is called; what a whole
        study is of where it is left out.
    ladder : str
        The ladder that it is a rung of, where a study has several.
    """

    name: str
    network: torch.nn.Module
    folder: Path | None = None
    shrinks: tuple = ()
    architecture: str = ""
    ladder: str = ""


def dense_level(folder: str | Path) -> tuple[Level, str]:
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
        return Level("dense", network, folder, architecture=name), name
    model, _ = load_model(folder / "weights.safetensors", name)
    return Level("dense", model, folder, architecture=name), name


def ladder_levels(folder: str | Path, network: torch.nn.Module,
                  architecture: str = "") -> list[Level]:
    """The finished rungs of a ladder, mildest first by their reports on ``eap_tool``.

    :class:`cascade.study.Study` orders them by its own oracle.

    Parameters
    ----------
    folder : str or Path
        A folder as ``eyeriss-prune run`` fills it.
    network : torch.nn.Module
        A dense network of that kind.
    architecture : str, optional
        What ``network`` is, as :class:`Level` notes it; rungs whose folders name
        another one of ``pruning.models.MODELS`` are of that.

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
        config = read_json(file.parent / "config.json")
        named = str(config.get("network"))
        other = architecture and named in MODELS and named != architecture
        pruned, _, shrinks = load_result(
            file.parent, fresh_model(config) if other else network)
        level = Level(metrics["rung"], pruned, file.parent, shrinks,
                      named if other else architecture,
                      str(metrics.get("method") or folder.name))
        found.append((-metrics["energy_rel_eap_tool"], level.name, level))
    if not found:
        raise ValueError(f"{folder}: no finished rung in it; eyeriss-prune run makes "
                         "them, several --target in one call are a ladder")
    return [level for *_, level in sorted(found, key=lambda one: one[:2])]


def pooled_levels(ladders: Sequence[Sequence[Level]]) -> list[Level]:
    """The rungs of several ladders, named so that each is told from the others.

    Parameters
    ----------
    ladders : sequence of sequences of Level
        What :func:`ladder_levels` found, a ladder each.

    Returns
    -------
    list of Level
        Of one ladder its levels as they are; of several, each with its ladder's name,
        and the architecture's where there are two, before its own.

    Raises
    ------
    ValueError
        Two levels that would go by one name.
    """
    if len(ladders) == 1:
        return list(ladders[0])
    kinds = {level.architecture for levels in ladders for level in levels}
    found: dict[str, Level] = {}
    for levels in ladders:
        for level in levels:
            ladder = " ".join([level.architecture] * (len(kinds) > 1) + [level.ladder])
            name = f"{ladder} {level.name}"
            if name in found:
                raise ValueError(f"{found[name].folder} and {level.folder} are both "
                                 f"{name}; give one of them")
            found[name] = replace(level, name=name, ladder=ladder)
    return list(found.values())


def _noted(level):
    """Notes of how a level was made, from its folder."""
    if level.folder is None:
        raise ValueError(f"{level.name} was read from no folder, which would say how "
                         "it was trained")
    return read_json(level.folder / "config.json")


def check_same_dense(dense: Level, rungs: Sequence[Level]) -> None:
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
    noted = _noted(dense)
    weights = noted.get("dense_weights") or weights_hash(dense.network)
    own = noted.get("dense") or noted.get("recipe")
    for rung in rungs:
        config = _noted(rung)
        if config.get("dense_weights", weights) != weights:
            raise ValueError(f"{rung.folder} was pruned from other weights than those "
                             f"of {dense.folder}; name the dense network that it comes "
                             "from")
        theirs = config.get("dense")
        if "dense_weights" not in config and theirs != own:
            raise ValueError(f"{rung.folder} was pruned from another training than "
                             f"{dense.folder}; {difference(theirs, own)}; name the "
                             "dense network that it comes from")


def pairs(levels: Sequence) -> list[tuple]:
    """Every (mild, aggressive) pair of levels, mildest first.

    Examples
    --------
    >>> pairs(["dense", "0.7", "0.5"])
    [('dense', '0.7'), ('dense', '0.5'), ('0.7', '0.5')]
    """
    return list(combinations(levels, 2))


def check_same_task(levels: Sequence[Level], image_shape: Sequence[int]) -> None:
    """Refuse levels that can't be stages of one chain.

    Levels may come from several ladders and architectures. Masks need not be nested,
    nor need a dearer network keep more weights or channels.

    Parameters
    ----------
    levels : sequence of Level
    image_shape : (C, H, W)

    Raises
    ------
    ValueError
        Networks that take other images, or tell other classes.
    """
    classes = []
    for level in levels:
        weight = next(level.network.parameters(), torch.zeros(()))
        try:
            with torch.no_grad():
                logits = level.network(weight.new_zeros(1, *image_shape))
        except (RuntimeError, ValueError) as problem:
            raise ValueError(
                f"{level.name} does not take images of shape {tuple(image_shape)}: "
                f"{str(problem).splitlines()[0]}; all levels must take the same images"
            ) from None
        classes.append(logits.shape[-1])
        if classes[-1] != classes[0]:
            raise ValueError(f"pair {levels[0].name}, {level.name}: {classes[0]} and "
                             f"{classes[-1]} classes; all levels must tell the same "
                             "classes")


def storage(networks: Sequence[torch.nn.Module],
            routers: Sequence[torch.nn.Module] = ()) -> dict:
    """Storage of a chain in DRAM, with weights as significance maps.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        In the order of the stages.
    routers : sequence of torch.nn.Module

    Returns
    -------
    dict
        stores: how many networks' weights are stored; stage_kB, one a stage, as if it
        were alone; router_kB of all routers; total_kB. A network needs no store of its
        own where each weight that it keeps has the same value in a later stage's: then
        it is a part of that one, but for biases and normalisations of its own.
    """
    sizes = [stored_kB(network) for network in networks]
    router_kB = sum((stored_kB(router) for router in routers), 0.0)
    stores, total = 0, router_kB
    for number in reversed(range(len(networks))):
        whole = next((other for other in networks[number + 1:]
                      if _share_values(other, networks[number])), None)
        if whole is None:
            stores, total = stores + 1, total + sizes[number]
        else:
            # A second map says which of the stored weights are this network's.
            total += sum(weight.numel() for weight in _weights(networks[number])) / 8e3
            total += _own_kB(whole, networks[number])
    return {"stores": stores, "stage_kB": sizes, "router_kB": router_kB,
            "total_kB": total}


def _weights(network):
    return [weight for weight in network.parameters() if weight.ndim > 1]


def _own_kB(mild, aggressive):
    """Biases, normalisations and their statistics that differ from the mild one's."""
    some = mild.state_dict()
    return sum(value.numel() * WORD_BITS for name, value in
               aggressive.state_dict().items() if value.ndim == 1
               and not value.equal(some[name])) / 8e3


def stored_kB(network: torch.nn.Module) -> float:
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
