"""A cascade as one folder: networks, routers, thresholds, costs."""

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from cascade.costs import module_cost
from cascade.levels import Level, storage
from cascade.routers import Router, find_router
from cascade.routers.files import read_router, save_router
from cascade.stages import Chain, Stage, StageCost, check_threshold
from cascade.study import Choice, Study
from cascade.taps import find_taps
from eyeriss_sim.plain import is_whole
from pruning.checkpoint import checked_image_shape, fresh_model
from pruning.masks import Masks
from pruning.models import MODELS
from pruning.prunable import prunable
from pruning.records import read_json
from pruning.result import load_result, weights_hash
from pruning.smaller import save_steps

# Of each part of a stage, at batch 1; earlier versions called it OLD_ENERGY.
ENERGY, OLD_ENERGY, LATENCY = "total_uJ_per_image", "energy_uJ", "latency_ms"
ROUTE_IMAGES = 256      # of a route's own, that measure its zeros
NEEDED = ("network", "image_shape", "stages")
OLD_NEEDED = ("network", "image_shape", "router", "tap", "threshold", ENERGY, LATENCY)
ROUTER_FILE = "router.safetensors"      # in the folder of the stage that it looks at
# What earlier versions kept of a chain of two, the first stage first.
OLD_STAGES, OLD_ROUTER_FILE = ("aggressive", "mild"), "selector.safetensors"
OWN_FILES = {"cascade.json", *OLD_STAGES, OLD_ROUTER_FILE}
MOST_CLASSES = 2**20
STAGE_FOLDER = re.compile(r"stage\d+")


def route_costs(study: Study, choice: Choice
                ) -> tuple[tuple[StageCost, ...], tuple[StageCost, ...]]:
    """Costs of each stage for an image at batch 1, with the zeros of its own route.

    A stage is measured up to its tap on all choosing images that come to it, after the
    tap on those for which it runs on. Where no image comes it is measured on all.

    Returns
    -------
    energies, latencies : tuple of StageCost
        uJ and ms.
    """
    study.check_order(choice)
    images = study.parts["choosing"][0]
    answered = study.answering(choice, "choosing")
    oracle = study.oracle.with_batch(1)
    found: tuple[list, list] = ([], [])
    for number, level in enumerate(choice.levels):
        network, comes = study.levels[level].network, answered >= number
        if number == len(choice.routers):
            whole = _parts(oracle(network, _some(images, comes)), ())[1]
            for costs, cost in zip(found, whole, strict=True):
                costs.append(StageCost(float(cost)))
            continue
        step = choice.steps[number]
        router = study.router_of(*step)
        names = study.tap_of(level, choice.routers[number]).layer_names
        front = _parts(oracle(network, _some(images, comes)), names)[0]
        on = comes if router.needs_logits else answered == number
        back = _parts(oracle(network, _some(images, on)), names)[1]
        layers = router.charged_layers()
        asked = (0.0, 0.0) if layers is None else module_cost(
            layers, study.router_inputs(*step), oracle)
        for costs, *parts in zip(found, front, asked, back, strict=True):
            costs.append(StageCost(*map(float, parts)))
    return tuple(found[0]), tuple(found[1])


def _some(images, chosen):
    places = np.flatnonzero(chosen if chosen.any() else ~chosen)
    few = places[np.unique(np.linspace(0, len(places) - 1, ROUTE_IMAGES).astype(int))]
    return images[torch.from_numpy(few)]


def _parts(result, layers):
    """uJ and ms of the layers named, and of the others."""
    table, front = result.table, result.table.layer.isin(layers)
    return [(rows.total_uJ.sum(), rows.total_ms.sum())
            for rows in (table[front], table[~front])]


def save_cascade(folder: str | Path, study: Study, choice: Choice, network: str,
                 notes: dict, costs: tuple | None = None) -> None:
    """Write all that a cascade needs; the folder is never there in part.

    Parameters
    ----------
    folder : str or Path
        Must not hold anything but a cascade, which is replaced: for a moment between
        two renames there is none, never half of one.
    study : Study
    choice : Choice
    network : str
        One of ``pruning.models.MODELS``, or what a user's own is called; levels that
        note another architecture keep theirs.
    notes : dict
        What else to say of it, as JSON takes it.
    costs : pair of tuples of StageCost, optional
        Energies and latencies of :func:`route_costs`, where they are known.
    """
    folder = check_folder(folder)
    energies, latencies = costs or route_costs(study, choice)
    levels = [study.levels[level] for level in choice.levels]
    routers = [study.router_of(*step) for step in choice.steps]
    shape = tuple(study.parts["choosing"][0].shape[1:])
    classes = study.outputs[choice.levels[0]]["choosing"].logits.shape[1]
    stages = [_stage_notes(level, network, costs) for level, costs in zip(
        levels, zip(energies, latencies, strict=True), strict=True)]
    for stage, step, threshold in zip(
            stages[:-1], choice.steps, choice.thresholds, strict=True):
        stage |= {"tap": study.tap_of(step[0], step[2]).name, "router": step[2],
                  "threshold": _as_text(threshold)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    old = fresh.with_name(fresh.name + ".old")
    try:
        fresh.chmod(0o755)
        for number, level in enumerate(levels):
            _save_level(fresh / stage_folder(number), level, {
                "image_shape": shape, "num_classes": classes})
        for number, router in enumerate(routers):
            if router.learns():
                save_router(fresh / stage_folder(number) / ROUTER_FILE, router)
        (fresh / "cascade.json").write_text(json.dumps({
            "network": network, "image_shape": shape, "stages": stages,
            "hardware": study.hardware, "zeros": study.oracle.hardware.zeros,
            "objective": study.oracle.objective, "batch": study.batch,
            "storage": storage([level.network for level in levels], routers), **notes},
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


def stage_folder(number: int) -> str:
    """Name of a stage's folder, the first being ``stage1``."""
    return f"stage{number + 1}"


def _stage_notes(level, network, costs):
    return {"name": level.name, "network": level.architecture or network,
            "weights": weights_hash(level.network), ENERGY: asdict(costs[0]),
            LATENCY: asdict(costs[1])}


def check_folder(folder: str | Path) -> Path:
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
    others = sorted(name for name in names - OWN_FILES
                    if not STAGE_FOLDER.fullmatch(name))
    if not others and names and "cascade.json" not in names:
        others = sorted(names)
    if others:
        raise ValueError(f"{folder} holds {others[0]}, which is no part of a cascade; "
                         "move it away, or name another folder")
    return folder


def load_cascade(folder: str | Path,
                 model: torch.nn.Module | Mapping[str, torch.nn.Module] | None = None
                 ) -> Chain:
    """The cascade of a folder, also of one that an earlier version wrote.

    Parameters
    ----------
    folder : str or Path
    model : torch.nn.Module or dict of them by name, optional
        A dense network of the kind that was pruned, with any weights; needed where it
        is none of ``pruning.models.MODELS``. Stages of several such kinds need each by
        the name that it was saved under.

    Raises
    ------
    ValueError
        Files that are missing, damaged or of another network; a router that nothing has
        registered.
    """
    folder = Path(folder)
    told = _read_notes(folder / "cascade.json")
    networks = []
    for stage in told["stages"]:
        place = folder / stage["folder"]
        network = load_result(place, _model_for(folder, stage, model))[0]
        if (stage["weights"] or weights_hash(network)) != weights_hash(network):
            raise ValueError(f"{place}: not the weights that the cascade was built of; "
                             "the files do not belong together")
        networks.append(network)
    stages, routers, thresholds = [], [], []
    for stage, network in zip(told["stages"], networks, strict=True):
        tap = None
        if stage["router"] is not None:
            tap = _tap_named(folder, network, stage, told["image_shape"])
            routers.append(_router_of(folder / stage["router_file"], stage["router"],
                                      tap.shape[0]))
            thresholds.append(stage["threshold"])
        stages.append(Stage(network, tap, stage[ENERGY], stage[LATENCY],
                            stage["name"]))
    return Chain(stages, routers, thresholds, told["image_shape"])


def _model_for(folder, stage, model):
    """The module that a stage's weights go into, with as many classes as they have."""
    name = stage["network"]
    if isinstance(model, Mapping):
        model = model.get(name)
    if model is not None:
        return model
    if name not in MODELS:
        raise ValueError(f"{folder} is of {name}, none of {', '.join(MODELS)}: give "
                         "load_cascade(folder, model) a dense network of its kind")
    path = folder / stage["folder"] / "config.json"
    config = read_json(path)
    classes = config.get("num_classes", 2)
    if not is_whole(classes, 2) or classes > MOST_CLASSES:
        raise ValueError(f"{path}: num_classes must be a whole number in "
                         f"2..{MOST_CLASSES}, got {classes!r:.60}")
    try:
        checked_image_shape(config.get("image_shape"))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return fresh_model({**config, "network": name})


def _tap_named(folder, network, stage, image_shape):
    try:
        taps = find_taps(network, image_shape)
    except ValueError as problem:
        raise ValueError(f"{folder}/cascade.json: {problem}") from None
    for tap in taps:
        if tap.name == stage["tap"]:
            return tap
    raise ValueError(f"{folder}/{stage['folder']}: its network has no tap "
                     f"{stage['tap']!r}; the folder is of another network")


def _router_of(path, name, channels) -> Router:
    kind = find_router(name)
    if not kind.learns():
        return kind()
    router = read_router(path, kind)
    try:
        router.check_tap(channels)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}; the files do not belong together"
                         ) from None
    return router


def _read_notes(path):
    """Content of ``cascade.json``, checked: somebody may have edited it."""
    told = read_json(path)
    if isinstance(told, dict) and OLD_ENERGY in told:
        told.setdefault(ENERGY, told.pop(OLD_ENERGY))
    old = isinstance(told, dict) and "stages" not in told and "router" in told
    missing = [key for key in (OLD_NEEDED if old else NEEDED)
               if not isinstance(told, dict) or key not in told]
    if missing:
        raise ValueError(f"{path}: {missing[0]} is missing; eyeriss-cascade build "
                         "writes such a file")
    try:
        if not isinstance(told["network"], str):
            raise ValueError(f"network is {told['network']!r}, which is no name")
        told["image_shape"] = checked_image_shape(told["image_shape"])
        stages = _old_stages(told) if old else [
            {key: value for key, value in dict(one).items()
             if key not in ("folder", "router_file")} for one in told["stages"]]
        if not stages:
            raise ValueError("no stages; one at least is needed")
        told["stages"] = [_checked_stage(stage, number, number == len(stages) - 1)
                          for number, stage in enumerate(stages)]
    except (TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"{path}: {problem}") from None
    return told


def _old_stages(told):
    """The chain of two that earlier versions wrote as an aggressive and a mild one."""
    weights = dict(told.get("weights", {}))         # the oldest have none
    first, last = ({"name": str(told.get(name, name)), "network": told["network"],
                    "weights": weights.get(name), "folder": name}
                   for name in OLD_STAGES)
    first |= {"tap": told["tap"], "router": told["router"],
              "threshold": told["threshold"], "router_file": OLD_ROUTER_FILE}
    for key in (ENERGY, LATENCY):
        costs = dict(told[key])
        absent = [part for part in ("front", "router", "back", "mild")
                  if part not in costs]
        if absent:
            raise ValueError(f"{key}: {absent[0]} is missing")
        last[key] = {"front": costs.pop("mild")}
        first[key] = costs
    return [first, last]


def _checked_stage(stage, number, is_last):
    """The notes of one stage, all keys there and of their kinds."""
    where = f"stage {number + 1}"
    folder = stage.setdefault("folder", stage_folder(number))
    stage.setdefault("router_file", f"{folder}/{ROUTER_FILE}")
    for key in ("name", "network", ENERGY, LATENCY, *(
            [] if is_last else ["router", "tap", "threshold"])):
        if key not in stage:
            raise ValueError(f"{where}: {key} is missing")
    stage = {"router": None, "weights": None, **stage}
    if is_last and stage["router"] is not None:
        raise ValueError(f"{where}: router {stage['router']!r}, but no stage after it")
    names = ("name", "network") if is_last else ("name", "network", "router", "tap")
    for key in names:
        if not isinstance(stage[key], str):
            raise ValueError(f"{where}: {key} is {stage[key]!r}, which is no name")
    if not is_last:
        find_router(stage["router"])
        stage["threshold"] = float(stage["threshold"])
        check_threshold(stage["threshold"])
    for key in (ENERGY, LATENCY):
        costs = {part: float(cost) for part, cost in dict(stage[key]).items()}
        for part, cost in costs.items():
            if not 0 <= cost < math.inf:
                raise ValueError(f"{where}: {key} of {part} is {cost}; a finite number "
                                 "of at least 0 is needed")
        stage[key] = StageCost(**costs)
    return stage


def _save_level(place: Path, level: Level, config: dict) -> None:
    """A level as a result folder that ``pruning.result`` reads."""
    place.mkdir()
    # save_file() would make it its writer's alone.
    (place / "weights.safetensors").write_bytes(save({
        name: value.detach().cpu().contiguous().clone()
        for name, value in level.network.state_dict().items()}))
    Masks.of(level.network, prunable(level.network)).save(place / "masks.safetensors")
    save_steps(place, level.shrinks)
    (place / "config.json").write_text(json.dumps(config) + "\n")


def _as_text(threshold):
    # JSON has no infinity; float() reads this one.
    return threshold if np.isfinite(threshold) else str(threshold)
