"""A cascade as one folder: two networks, a router, a threshold, its costs."""

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from cascade.levels import storage
from cascade.routed import CascadeNet, RouteCosts
from cascade.routers import Margin, MaxSoftmax
from cascade.study import FREE, read_selector, save_selector
from cascade.taps import cut, taps
from eyeriss_sim.oracle import EnergyOracle
from pruning.masks import Masks
from pruning.models import make_model
from pruning.prunable import prunable
from pruning.result import load_result, read_json

ROUTE_IMAGES = 256      # of a route's own, that measure its zeros
ROUTERS = {"max_softmax": MaxSoftmax, "margin": Margin}


def route_costs(study, choice):
    """What each part costs an image at batch 1, with the zeros of its own route.

    The aggressive network is measured on all choosing images up to the tap, on those
    that stay after it; the mild one on those that go. A route that nothing takes is
    measured on all.

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
    oracle = EnergyOracle(study.hardware)
    every = _parts(oracle(few, _some(images, np.ones_like(routes))), layers)
    staying = _parts(oracle(few, _some(images, ~routes)), layers)
    going = _parts(oracle(many, _some(images, routes)), ())
    router = (0.0, 0.0) if choice.router in FREE else study.router_cost(*key)
    return tuple(RouteCosts(float(every[0][unit]), float(router[unit]),
                            float(staying[1][unit]), float(going[1][unit]))
                 for unit in (0, 1))


def _some(images, chosen):
    places = np.flatnonzero(chosen if chosen.any() else ~chosen)
    few = places[np.unique(np.linspace(0, len(places) - 1, ROUTE_IMAGES).astype(int))]
    return images[torch.from_numpy(few)]


def _parts(result, layers):
    """uJ and ms of the layers named, and of the others."""
    table, front = result.table, result.table.layer.isin(layers)
    return [((rows.energy_uJ + rows.dram_uJ).sum(), rows.total_ms.sum())
            for rows in (table[front], table[~front])]


def save_cascade(folder, study, choice, network, notes):
    """Write all that a cascade needs; the folder appears whole or not at all.

    Parameters
    ----------
    folder : str or Path
        Must not hold anything but a cascade, which is replaced.
    study : Study
    choice : Choice
    network : str
        One of ``pruning.models.MODELS``, or what a user's own is called.
    notes : dict
        What else to say of it, as JSON takes it.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "cascade.json").exists() and any(
            folder.iterdir()):
        raise ValueError(f"{folder} holds something that is no cascade; name another "
                         "folder")
    router = study.router(choice.mild, choice.aggressive, choice.router)
    energy, latency = route_costs(study, choice)
    few, many = study.levels[choice.aggressive], study.levels[choice.mild]
    shape = tuple(study.parts["choosing"][0].shape[1:])
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh.chmod(0o755)
        for name, level in (("aggressive", few), ("mild", many)):
            _save_level(fresh / name, level, shape)
        if choice.router not in FREE:
            save_selector(fresh / "selector.safetensors", router)
        (fresh / "cascade.json").write_text(json.dumps({
            "network": network, "image_shape": shape, "router": choice.router,
            "tap": study.tap_of(choice.aggressive, choice.router).name,
            "threshold": _as_text(choice.threshold), "mild": many.name,
            "aggressive": few.name, "hardware": study.hardware, "batch": study.batch,
            "energy_uJ": asdict(energy), "latency_ms": asdict(latency),
            "storage": storage(many.network, few.network, router), **notes},
            indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


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
    told = read_json(folder / "cascade.json")
    if model is None:
        model = make_model(told["network"])
    few, many = (load_result(folder / name, model)[0]
                 for name in ("aggressive", "mild"))
    by_name = {tap.name: tap for tap in taps(few, tuple(told["image_shape"]))}
    if told["tap"] not in by_name:
        raise ValueError(f"{folder}: its aggressive network has no tap "
                         f"{told['tap']!r}; the folder is of another network")
    front, back = cut(few, by_name[told["tap"]])
    router = (ROUTERS[told["router"]]() if told["router"] in ROUTERS
              else read_selector(folder / "selector.safetensors"))
    return CascadeNet(front, back, router, many, float(told["threshold"]),
                      RouteCosts(**told["energy_uJ"]),
                      RouteCosts(**told["latency_ms"]))


def _save_level(place, level, shape):
    """A level as a result folder that ``pruning.result`` reads."""
    place.mkdir()
    save_file({name: value.detach().cpu().contiguous().clone()
               for name, value in level.network.state_dict().items()},
              place / "weights.safetensors")
    Masks.of(level.network, prunable(level.network)).save(place / "masks.safetensors")
    for number, masks in enumerate(level.shrinks, 1):
        masks.save(place / f"channels{number}.safetensors")
    (place / "config.json").write_text(json.dumps({"image_shape": shape}) + "\n")


def _as_text(threshold):
    # JSON has no infinity; float() reads this one.
    return threshold if np.isfinite(threshold) else str(threshold)
