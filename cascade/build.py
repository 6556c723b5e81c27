"""From a ladder and a wish to a cascade in a folder, and what the test images say."""

from pathlib import Path

import numpy as np
import torch

from cascade.choose import candidates, check_wish, choose
from cascade.curve import hull_energy
from cascade.folder import check_folder, load_cascade, route_costs, save_cascade


def build(study, folder, network, *, accuracy_loss=None, energy=None, table=None,
          data="", progress=None):
    """Choose a cascade on the choosing images and write it.

    Parameters
    ----------
    study : Study
        With ``test`` images if they are to be looked at, once.
    folder : str or Path
    network : str
        As :func:`cascade.folder.save_cascade` takes it.
    accuracy_loss : float, optional
        Points of accuracy below the dense network, for the least energy.
    energy : float, optional
        Share of the dense network's, for the highest accuracy.
    table : pandas.DataFrame, optional
        Of :func:`cascade.choose.candidates`, where it is known.
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
    energy, latency = route_costs(study, choice)
    router = study.router(choice.mild, choice.aggressive, choice.router)
    for part in study.parts:
        if part == "selector":
            continue
        right, costs, routes = study.system(choice, part)
        _, times, _ = study.system(choice, part, unit=1)
        told[part] = {
            "accuracy": float(right.mean()), "energy_rel": float(costs.mean()),
            "routed_uJ": routed_energy(energy, router.needs_logits, routes),
            "latency_rel": float(times.mean()), "share_mild": float(routes.mean()),
            "dense_accuracy": study.outputs[0][part].accuracy,
            "energy_rel_quantiles": _quantiles(costs),
            "latency_rel_quantiles": _quantiles(times)}
    told["rivals_choosing"] = rivals(study, table, float(row.accuracy))
    save_cascade(folder, study, choice, network, told, (energy, latency))
    return {"choice": choice, **told}


def rivals(study, table, accuracy):
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
                          for place in range(len(study.levels))))
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


def routed_energy(costs, needs_logits, routes):
    """Mean energy of images that are routed so, uJ, at batch 1.

    E_front + E_router + (1 - q) E_back + q E_mild; all of E_back where the router needs
    logits.

    Parameters
    ----------
    costs : RouteCosts
    needs_logits : bool
    routes : bool ndarray or tensor, shape (N,)
        True: the mild network answers.
    """
    q = float(np.asarray(routes).mean())
    back = costs.back if needs_logits else (1 - q) * costs.back
    return costs.front + costs.router + back + q * costs.mild


def _quantiles(values):
    """Of the images, in the words of a table: the distribution beside the mean."""
    shares = (0.05, 0.5, 0.95, 1.0)
    found = torch.quantile(torch.from_numpy(values), torch.tensor(
        shares, dtype=torch.float64))
    return dict(zip(map(str, shares), found.tolist()))


@torch.no_grad()
def offline(net, images, progress=None):
    """What routed execution must give: both networks on every image, then the formula.

    Image by image, as the routed network runs them, so that both agree to the last bit.

    Parameters
    ----------
    net : CascadeNet
    images : float tensor, shape (N, C, H, W)
    progress : callable, optional

    Returns
    -------
    predictions : int64 tensor, shape (N,)
    routes : bool tensor, shape (N,)
    mean_uJ : float
        Of :func:`routed_energy`.
    """
    few, many, scores = [], [], []
    for place, image in enumerate(images.split(1), 1):
        image = image.clone(memory_format=torch.contiguous_format)
        features = net.front(image)
        logits = net.back(features)
        few.append(logits)
        many.append(net.mild(image))
        scores.append(net.router(features, logits))
        if progress is not None:
            progress(place, len(images))
    routes = torch.cat(scores).double() > net.threshold
    logits = torch.where(routes[:, None], torch.cat(many), torch.cat(few))
    return (logits.argmax(1), routes,
            routed_energy(net.energy, net.router.needs_logits, routes))


def check_routed(folder, images, model=None, progress=None):
    """Run a cascade's folder routed and offline; both must say the same.

    Returns
    -------
    Routed
        Of the routed execution.
    dict
        predictions, routes: images in which they differ; energy: the relative
        difference of the mean.
    """
    net = load_cascade(Path(folder), model)
    routed = net(images, progress)
    predictions, routes, mean = offline(net, images, progress)
    return routed, {
        "predictions": int((routed.predictions != predictions).sum()),
        "routes": int((routed.routes != routes).sum()),
        "energy": float(abs(routed.uJ.mean() / mean - 1))}
