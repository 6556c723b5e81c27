"""Energy-aware pruning: layers by energy, remove, restore by output error, refit."""

import copy
import math

import torch

from pruning import scores
from pruning.calibration import check_refitted, columns_of, gather, weight_of
from pruning.masks import Masks
from pruning.meters import taken_by_layer
from pruning.methods import register
from pruning.problem import Problem
from pruning.refit import RIDGE, refit, restore
from pruning.selection import by_layer, knapsack

IMITATED = ("dense", "current")
ALLOCATIONS = ("energy", "magnitude", "uniform")


@register("energy_aware")
def energy_aware(problem: Problem, *, removed: float = 0.8, rows: int = 8192,
                 chunks: int = 8, ridge: float = RIDGE, imitate: str = "dense",
                 allocation: str = "energy") -> Masks:
    """Yang, Chen, Sze, CVPR 2017, steps 1 to 4; ``prune`` loops over them.

    Layers are taken by what they cost of the target's quantity, largest first. In each,
    every filter keeps its largest weights, fewer than it may (``removed`` of its
    quota); the rest of the quota goes to those that reduce the error of the layer's
    output most; then least squares fits what is left. Inputs are those of the network
    as pruned so far, so that a layer also repairs what the ones before it do wrong.

    The paper leaves open how many weights each layer keeps.

    Parameters
    ----------
    problem : Problem
        Its model's weights are changed.
    removed : float
        Share of its quota that a filter keeps by magnitude; the rest is restored.
    rows : int
        Output positions of calibration images that an error is summed over.
    chunks : int
        Parts, one after another, in which weights are restored.
    ridge : float
        Ridge term of the least squares, times the mean square of the inputs.
    imitate : {"dense", "current"}
        The outputs that are wanted: those of the network before this step, or of the
        layer for the inputs it gets now.
    allocation : {"energy", "magnitude", "uniform"}
        Quotas are the counts that a knapsack by w^2 per joule, one threshold, or
        one density leave each filter.

    Returns
    -------
    Masks
    """
    for key, value, known in (("imitate", imitate, IMITATED),
                              ("allocation", allocation, ALLOCATIONS)):
        if value not in known:
            raise ValueError(f"energy_aware: {key} must be one of {', '.join(known)}, "
                             f"got {value!r}")
    for key, number, fits, range_ in (
            ("removed", removed, 0 <= removed <= 1, "in 0..1"),
            ("rows", rows, rows >= 1, "at least 1"),
            ("chunks", chunks, chunks >= 1, "at least 1"),
            # Without any, least squares may have no solution.
            ("ridge", ridge, 0 < ridge < math.inf, "above 0 and finite")):
        if not fits:
            raise ValueError(f"energy_aware: {key} must be {range_}, got {number}")
    model, names = problem.model, problem.prunables
    size = scores.magnitude(model, names)
    worth = {
        "energy": lambda: knapsack(scores.energy_of_weights(model, names),
                                   problem.meter.prices),
        "magnitude": lambda: size, "uniform": lambda: by_layer(size)}[allocation]()
    quotas = problem.meet(worth)
    teacher = copy.deepcopy(model)
    check_refitted(model, [one.layer for name, one in names.items()
                           if not quotas[name].equal(problem.within[name])],
                   problem.images)
    masks = {}
    for place, name in enumerate(_dearest_first(problem), 1):
        problem.tell(f"energy_aware: {name}, layer {place} of {len(names)}")
        if quotas[name].equal(problem.within[name]):
            masks[name] = quotas[name]      # nothing goes from this layer
            continue
        layer = names[name].layer
        moments = gather(
            model, [layer], problem.images, rows=rows, seed=problem.seed,
            dense=teacher if imitate == "dense" else None)[layer]
        try:
            masks[name] = _prune_layer(
                model.get_parameter(name), names[name].groups, moments, quotas[name],
                problem.within[name], removed, chunks, ridge)
        except ValueError as problem_of_it:
            raise ValueError(f"{layer}: {problem_of_it}") from None
    return _exactly(problem, Masks(masks), teacher)


def _dearest_first(problem):
    """Parameter names, the layer that takes most of the target's quantity first."""
    taken = taken_by_layer(problem.target, problem.model,
                           problem.oracle(problem.model, problem.few_images))
    return sorted(problem.prunables, reverse=True, key=lambda name: taken.get(
        problem.prunables[name].layer, 0.0))


@torch.no_grad()
def _prune_layer(weight, groups, moments, quota, within, removed, chunks, ridge):
    """Remove, restore and refit one layer in place; returns its mask."""
    device = moments.gram.device
    original = columns_of(weight, groups).to(device)
    allowed, wanted = (columns_of(mask, groups).to(device) > 0
                       for mask in (within, quota))
    fitted, support = torch.zeros_like(original), torch.zeros_like(allowed)
    for group in range(groups):
        counts = wanted[group].sum(0)
        size = original[group].abs()
        # A weight whose input is always zero does nothing: it is taken last.
        idle = moments.gram[group].diagonal()[:, None] == 0
        largest = torch.where(idle, -1 / (1 + size), size)
        largest = largest.masked_fill(~allowed[group], -2.0)
        rank = largest.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
        start = rank < (removed * counts).long()
        support[group], _ = restore(
            moments.gram[group], moments.cross[group], original[group], start, counts,
            chunks, allowed[group])
        fitted[group], _ = refit(
            moments.gram[group], moments.cross[group], support[group], ridge)
    kept = weight_of(support.double(), weight) > 0
    new = weight_of(fitted, weight)
    # Least squares says nothing of such a weight; at zero it would not be kept.
    weight.copy_(torch.where(kept & (new == 0), weight, new))
    return kept.cpu()


def _exactly(problem, masks, teacher):
    """Meet the target with restored masks, whose taps cost other than their quotas.

    The last few weights by worth per joule go, or come back with their old values.
    """
    prices = problem.meter.prices
    kept = knapsack(scores.energy_of_weights(problem.model, masks), prices)
    lost = knapsack(scores.energy_of_weights(teacher, masks), prices)
    # A layer that never runs costs nothing, and so has no finite worth.
    top = max(float(one.masked_fill(one.isinf(), 0).max()) for one in lost.values())
    exact = problem.meet({name: torch.where(mask, kept[name] + top, lost[name])
                          for name, mask in masks.items()})
    with torch.no_grad():
        for name, mask in masks.items():
            weight = problem.model.get_parameter(name)
            back = (exact[name] & ~mask).to(weight.device)
            weight[back] = teacher.get_parameter(name)[back]
    exact.apply(problem.model)
    return exact
