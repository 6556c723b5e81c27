"""A cascade as one folder: two networks, a router, a threshold, its costs."""

import json
import math
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from cascade.costs import module_cost
from cascade.levels import storage
from cascade.routed import CascadeNet, RouteCosts, check_threshold
from cascade.routers import find_router
from cascade.routers.files import read_router, save_router
from cascade.taps import cut, taps
from pruning.masks import Masks
from pruning.models import MODELS, make_model
from pruning.prunable import prunable
from pruning.records import read_json
from pruning.result import load_result, weights_hash

# Of each part of a cascade, at batch 1; earlier versions called it OLD_ENERGY.
ENERGY, OLD_ENERGY = "total_uJ_per_image", "energy_uJ"
ROUTE_IMAGES = 256      # of a route's own, that measure its zeros
NEEDED = ("network", "image_shape", "router", "tap", "threshold", ENERGY, "latency_ms")
OWN_FILES = {"cascade.json", "aggressive", "mild", "selector.safetensors"}


def route_costs(study, choice):
    """What each part costs an image at batch 1, with the zeros of its own route.

    The aggressive network is measured on all choosing images up to the tap, after it on
    those for which it runs on; the mild one on those that go. A route that nothing
    takes is measured on all.

    Returns
    -------
    energy, latency : RouteCosts
        uJ and ms.
    """
    key = choice.mild, choice.aggressive, choice.router
    images = study.parts["choosing"][0]
    routes = study.scores(*key, "choosing") > choice.threshold
    layers = study.tap_of(choice.aggressive, choice.router).layers
    few, many = (study.levels[place].network
                 for place in (choice.aggressive, choice.mild))
    oracle = study.oracle.with_batch(1)
    every = _parts(oracle(few, _some(images, np.ones_like(routes))), layers)
    router = study.router(*key)
    charged = router.charged_layers()
    on = np.ones_like(routes) if router.needs_logits else ~routes
    staying = _parts(oracle(few, _some(images, on)), layers)
    going = _parts(oracle(many, _some(images, routes)), ())
    asked = (0.0, 0.0) if charged is None else module_cost(
        charged, study.router_inputs(*key), oracle)
    return tuple(RouteCosts(float(every[0][unit]), float(asked[unit]),
                            float(staying[1][unit]), float(going[1][unit]))
                 for unit in (0, 1))


def _some(images, chosen):
    places = np.flatnonzero(chosen if chosen.any() else ~chosen)
    few = places[np.unique(np.linspace(0, len(places) - 1, ROUTE_IMAGES).astype(int))]
    return images[torch.from_numpy(few)]


def _parts(result, layers):
    """uJ and ms of the layers named, and of the others."""
    table, front = result.table, result.table.layer.isin(layers)
    return [(rows.total_uJ.sum(), rows.total_ms.sum())
            for rows in (table[front], table[~front])]


def save_cascade(folder, study, choice, network, notes, costs=None):
    """Write all that a cascade needs; the folder is never there in part.

    Parameters
    ----------
    folder : str or Path
        Must not hold anything but a cascade, which is replaced: for a moment between
        two renames there is none, never half of one.
    study : Study
    choice : Choice
    network : str
        One of ``pruning.models.MODELS``, or what a user's own is called.
    notes : dict
        What else to say of it, as JSON takes it.
    costs : pair of RouteCosts, optional
        Of :func:`route_costs`, where they are known.
    """
    folder = check_folder(folder)
    router = study.router(choice.mild, choice.aggressive, choice.router)
    energy, latency = costs or route_costs(study, choice)
    few, many = study.levels[choice.aggressive], study.levels[choice.mild]
    shape = tuple(study.parts["choosing"][0].shape[1:])
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    old = fresh.with_name(fresh.name + ".old")
    try:
        fresh.chmod(0o755)
        for name, level in (("aggressive", few), ("mild", many)):
            _save_level(fresh / name, level, shape)
        if router.learns():
            save_router(fresh / "selector.safetensors", router)
        (fresh / "cascade.json").write_text(json.dumps({
            "network": network, "image_shape": shape, "router": choice.router,
            "tap": study.tap_of(choice.aggressive, choice.router).name,
            "threshold": _as_text(choice.threshold), "mild": many.name,
            "aggressive": few.name, "weights": {
                "aggressive": weights_hash(few.network),
                "mild": weights_hash(many.network)},
            "hardware": study.hardware, "zeros": study.oracle.hardware.zeros,
            "objective": study.oracle.objective, "batch": study.batch,
            ENERGY: asdict(energy), "latency_ms": asdict(latency),
            "storage": storage(many.network, few.network, router), **notes},
            indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as problem:      # the caller knows nothing of the folder beside it
        raise OSError(problem.errno, problem.strerror or str(problem),
                      str(folder)) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_folder(folder):
    """Refuse a place for a cascade that holds anything else, before any work is done.

    Returns
    -------
    Path
    """
    # "." has no name that another folder could take, and a link stays one.
    folder = Path(folder).resolve()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is a file; name another folder")
    if not os.access(folder.parent if there == folder else there, os.W_OK):
        raise ValueError(f"{folder} can not be written; name another folder")
    names = {one.name for one in folder.iterdir()} if there == folder else set()
    others = sorted(names - OWN_FILES)
    if not others and names and "cascade.json" not in names:
        others = sorted(names)
    if others:
        raise ValueError(f"{folder} holds {others[0]}, which is no part of a cascade; "
                         "move it away, or name another folder")
    return folder


def load_cascade(folder, model=None):
    """The cascade of a folder.

    Parameters
    ----------
    folder : str or Path
    model : torch.nn.Module, optional
        A dense network of the kind that was pruned, with any weights; needed where it
        is none of ``pruning.models.MODELS``.

    Returns
    -------
    CascadeNet

    Raises
    ------
    ValueError
        Files that are missing, damaged or of another network.
    """
    folder = Path(folder)
    told = _read_notes(folder / "cascade.json")
    if model is None:
        if told["network"] not in MODELS:
            raise ValueError(f"{folder} is of {told['network']}, none of "
                             f"{', '.join(MODELS)}: give load_cascade(folder, model) a "
                             "dense network of its kind")
        model = make_model(told["network"])
    few, many = (load_result(folder / name, model)[0]
                 for name in ("aggressive", "mild"))
    for name, one in (("aggressive", few), ("mild", many)):
        if told["weights"].get(name, weights_hash(one)) != weights_hash(one):
            raise ValueError(f"{folder}/{name}: not the weights that the cascade was "
                             "built of; the files do not belong together")
    by_name = {tap.name: tap for tap in taps(few, told["image_shape"])}
    if told["tap"] not in by_name:
        raise ValueError(f"{folder}: its aggressive network has no tap "
                         f"{told['tap']!r}; the folder is of another network")
    front, back = cut(few, by_name[told["tap"]])
    kind = find_router(told["router"])
    router = kind() if not kind.learns() else read_router(
        folder / "selector.safetensors", kind)
    try:
        router.check_tap(by_name[told["tap"]].shape[0])
    except ValueError as problem:
        raise ValueError(f"{folder}/selector.safetensors: {problem}; the files do not "
                         "belong together") from None
    return CascadeNet(front, back, router, many, told["threshold"], told[ENERGY],
                      told["latency_ms"], told["image_shape"])


def _read_notes(path):
    """What ``cascade.json`` says, checked: somebody may have edited it."""
    told = read_json(path)
    if OLD_ENERGY in told:
        told.setdefault(ENERGY, told.pop(OLD_ENERGY))
    missing = [key for key in NEEDED if not isinstance(told, dict) or key not in told]
    if missing:
        raise ValueError(f"{path}: {missing[0]} is missing; eyeriss-cascade build "
                         "writes such a file")
    try:
        for key in ("network", "router", "tap"):
            if not isinstance(told[key], str):
                raise ValueError(f"{key} is {told[key]!r}, which is no name")
        find_router(told["router"])
        told["threshold"] = float(told["threshold"])
        check_threshold(told["threshold"])
        told["image_shape"] = tuple(map(int, told["image_shape"]))
        told["weights"] = dict(told.get("weights", {}))     # older folders have none
        for key in (ENERGY, "latency_ms"):
            costs = {part: float(cost) for part, cost in dict(told[key]).items()}
            for part, cost in costs.items():
                if not 0 <= cost < math.inf:
                    raise ValueError(f"{key} of {part} is {cost}; a finite number of "
                                     "at least 0 is needed")
            told[key] = RouteCosts(**costs)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{path}: {problem}") from None
    return told


def _save_level(place, level, shape):
    """A level as a result folder that ``pruning.result`` reads."""
    place.mkdir()
    # save_file() would make it its writer's alone.
    (place / "weights.safetensors").write_bytes(save({
        name: value.detach().cpu().contiguous().clone()
        for name, value in level.network.state_dict().items()}))
    Masks.of(level.network, prunable(level.network)).save(place / "masks.safetensors")
    for number, masks in enumerate(level.shrinks, 1):
        masks.save(place / f"channels{number}.safetensors")
    (place / "config.json").write_text(json.dumps({"image_shape": shape}) + "\n")


def _as_text(threshold):
    # JSON has no infinity; float() reads this one.
    return threshold if np.isfinite(threshold) else str(threshold)
