"""From a ladder and a wish to a cascade in a folder, and what the test images say."""

from pathlib import Path

import torch

from cascade.choose import candidates, choose
from cascade.folder import load_cascade, save_cascade


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
    if table is None:
        table = candidates(study, progress)
    dense = study.outputs[0]["choosing"].accuracy
    choice, row = choose(
        table, study, energy=energy,
        accuracy=None if accuracy_loss is None else dense - accuracy_loss / 100)
    told = {"data": data, "reference_uJ": study.reference[0],
            "reference_ms": study.reference[1], "asked": {
                "accuracy_loss": accuracy_loss, "energy": energy}}
    for part in study.parts:
        if part == "selector":
            continue
        right, costs, routes = study.system(choice, part)
        _, latency, _ = study.system(choice, part, unit=1)
        told[part] = {
            "accuracy": float(right.mean()), "energy_rel": float(costs.mean()),
            "latency_rel": float(latency.mean()), "share_mild": float(routes.mean()),
            "dense_accuracy": study.outputs[0][part].accuracy,
            "energy_rel_quantiles": _quantiles(costs),
            "latency_rel_quantiles": _quantiles(latency)}
    told["rivals_choosing"] = {
        system: float(rows.energy[rows.accuracy >= row.accuracy].min())
        for system, rows in table.groupby("system")
        if (rows.accuracy >= row.accuracy).any()}
    save_cascade(folder, study, choice, network, told)
    return {"choice": choice, **told}


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
        E_front + E_router + (1 - q) E_back + q E_mild; with all of E_back for a router
        that needs logits.
    """
    few, many, scores = [], [], []
    for place, image in enumerate(images.split(1), 1):
        features = net.front(image)
        logits = net.back(features)
        few.append(logits)
        many.append(net.mild(image))
        scores.append(net.router(features, logits))
        if progress is not None:
            progress(place, len(images))
    routes = torch.cat(scores) > net.threshold
    logits = torch.where(routes[:, None], torch.cat(many), torch.cat(few))
    q, costs = float(routes.double().mean()), net.energy
    back = costs.back if net.router.needs_logits else (1 - q) * costs.back
    return (logits.argmax(1), routes,
            costs.front + costs.router + back + q * costs.mild)


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
