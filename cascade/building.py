"""Cascades in a folder, from a ladder and a wish, with their test results."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cascade.choose import candidates, check_wish, choose
from cascade.curve import hull_energy
from cascade.folder import check_folder, load_cascade, route_costs, save_cascade
from cascade.stages import Chain, Routed, costs_by_stage, mean_cost
from cascade.study import Study


def build(study: Study, folder: str | Path, network: str, *,
          accuracy_loss: float | None = None, energy: float | None = None,
          table: pd.DataFrame | None = None, data: str = "",
          progress: Callable[[int, int], None] | None = None) -> dict:
    """Choose a cascade on the choosing images and write it.

    Parameters
    ----------
    study : Study
        With ``test`` images if they are to be looked at, once.
    folder : str or Path
    network : str
        What :func:`cascade.folder.save_cascade` calls it.
    accuracy_loss : float, optional
        Points of accuracy below the dense network, for the least energy.
    energy : float, optional
        Share of the dense network's, for the highest accuracy.
    table : pandas.DataFrame, optional
        What :func:`cascade.choose.candidates` found, where it is known.
    data : str
        What the images are called.
    progress : callable, optional
        Called with (pairs done, pairs in all).

    Returns
    -------
    dict
        What ``cascade.json`` says of the choice: accuracies, energies, shares.

    Raises
    ------
    ValueError
        A wish that no cascade of this ladder fulfils.
    """
    if (accuracy_loss is None) == (energy is None):
        raise ValueError("a cascade is built for an accuracy_loss or for an energy; "
                         "give one of them")
    check_wish(accuracy_loss, energy)
    check_folder(folder)
    if table is None:
        table = candidates(study, progress)
    dense = study.outputs[0]["choosing"].accuracy
    choice, row = choose(
        table, study, energy=energy,
        accuracy=None if accuracy_loss is None else dense - accuracy_loss / 100)
    alone = [float(one.part().mean()) for one in study.costs[0]]
    told = {"data": data, "asked": {"accuracy_loss": accuracy_loss, "energy": energy},
            # Of the dense network: what shares are of, at this study's batch, and what
            # goes with total_uJ_per_image, latency_ms and routed_uJ, which are those of
            # batch 1.
            "reference_uJ": study.reference[0], "reference_ms": study.reference[1],
            "reference_alone_uJ": alone[0], "reference_alone_ms": alone[1]}
    energies, latencies = route_costs(study, choice)
    asks_all = [study.router_of(*step).needs_logits for step in choice.steps]
    for part in study.parts:
        if part == "selector":
            continue
        right, costs, stages = study.system(choice, part)
        _, times, _ = study.system(choice, part, unit=1)
        told[part] = {
            "accuracy": float(right.mean()), "energy_rel": float(costs.mean()),
            "routed_uJ": mean_cost(energies, asks_all, stages),
            "latency_rel": float(times.mean()),
            "share_mild": float((stages > 0).mean()),
            "dense_accuracy": study.outputs[0][part].accuracy,
            "energy_rel_quantiles": _quantiles(costs),
            "latency_rel_quantiles": _quantiles(times)}
    # Of an image that goes through all stages.
    told["worst_uJ"], told["worst_ms"] = (
        costs_by_stage(costs, asks_all)[-1] for costs in (energies, latencies))
    told["rivals_choosing"] = rivals(study, table, float(row.accuracy))
    save_cascade(folder, study, choice, network, told, (energies, latencies))
    return {"choice": choice, **told}


def rivals(study: Study, table: pd.DataFrame, accuracy: float) -> dict[str, float]:
    """Least energy of each rival that is as accurate on the choosing images.

    Returns
    -------
    dict of str to float
        Each router's system, and where levels are as accurate: dense, single (the best
        level alone), hull (levels mixed at random).
    """
    found = {system: rows.energy[rows.accuracy >= accuracy].min()
             for system, rows in table.groupby("system")}
    rights, costs = zip(*(study.level(place, "choosing")
                          for place in range(len(study.levels))), strict=True)
    accuracies, energies = (np.array([one.mean() for one in many])
                            for many in (rights, costs))
    near = accuracies >= accuracy
    if near.any():
        found |= {"single": energies[near].min(), "hull": hull_energy(
            accuracies, energies, np.array(accuracy))}
    if near[0]:
        found["dense"] = energies[0]
    return {name: float(energy) for name, energy in found.items()
            if not np.isnan(energy)}


def _quantiles(values):
    """Most that shares of the images cost: the distribution beside the mean."""
    shares = (0.05, 0.5, 0.95, 1.0)
    found = torch.quantile(torch.from_numpy(values), torch.tensor(
        shares, dtype=torch.float64))
    return dict(zip(map(str, shares), found.tolist(), strict=True))


@torch.no_grad()
def offline(chain: Chain, images: torch.Tensor,
            progress: Callable[[int, int], None] | None = None
            ) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Answers that routed execution must give: all networks on all images, then a sum.

    Image by image, as the chain runs them, so that both agree to the last bit.

    Parameters
    ----------
    chain : Chain
    images : float tensor, shape (N, C, H, W)
    progress : callable, optional

    Returns
    -------
    predictions : int64 tensor, shape (N,)
    stages : int64 tensor, shape (N,)
        Which stage answers.
    mean_uJ : float
        What :func:`cascade.stages.mean_cost` says.
    """
    answers, scores = [], []
    for place, image in enumerate(images.split(1), 1):
        image = image.clone(memory_format=torch.contiguous_format)
        logits, given = [], []
        for number, stage in enumerate(chain.stages):
            features = stage.front(image)
            logits.append(stage.finish(features))
            if number < len(chain.routers):
                given.append(chain.routers[number](features, logits[-1]).double())
        answers.append(torch.stack(logits, 1))
        scores.append(torch.stack([*given, torch.full((1,), -torch.inf).double()], 1))
        if progress is not None:
            progress(place, len(images))
    goes = torch.cat(scores) > torch.tensor([*chain.thresholds, 0.0]).double()
    stages = goes.long().cumprod(1).sum(1)
    chosen = torch.cat(answers)[torch.arange(len(images)), stages]
    return chosen.argmax(1), stages, mean_cost(chain.energies, chain.asks_all, stages)


def check_routed(
        folder: str | Path, images: torch.Tensor, model: torch.nn.Module | None = None,
        progress: Callable[[int, int], None] | None = None) -> tuple[Routed, dict]:
    """Run a cascade's folder routed, image by image, and offline; both must agree.

    Returns
    -------
    Routed
        What the routed execution gave.
    dict
        predictions, routes: images in which they differ; energy: the relative
        difference of the mean. together_predictions, together_routes: images in which
        a run in batches differs from the one image by image; near: images whose score
        lies so near a threshold that it may.
    """
    chain = load_cascade(Path(folder), model)
    routed = chain(images, progress, mode="one")
    predictions, stages, mean = offline(chain, images, progress)
    together = chain(images)
    return routed, {
        "together_predictions": int(
            (routed.predictions != together.predictions).sum()),
        "together_routes": int((routed.stages != together.stages).sum()),
        "near": int((routed.near | together.near).sum()),
        "predictions": int((routed.predictions != predictions).sum()),
        "routes": int((routed.stages != stages).sum()),
        "energy": float(abs(routed.uJ.mean() / mean - 1))}
