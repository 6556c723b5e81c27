"""SynFlow: prune a fresh network without data, conserving the flow through it."""

from pruning import scores
from pruning.masks import Masks
from pruning.methods import register
from pruning.problem import Problem
from pruning.schedules import geometric
from pruning.selection import Order


@register("synflow", at_init=True)
def synflow(problem: Problem, *, iterations: int = 100) -> Masks:
    """Remove the least flow, a little at a time, with the flow measured anew.

    Tanaka et al., NeurIPS 2020: after iteration k of n the share rho^(k/n) is left, of
    the weights for a density, of all that is above the floor for an energy.
    Scoring once would empty whole layers.
    """
    if iterations < 1:
        raise ValueError(f"synflow: iterations must be at least 1, got {iterations}")
    start, floor = problem.meter.share(problem.within), problem.meter.floor
    if problem.target.share < floor:
        Order(scores.magnitude(problem.model, problem.prunables), problem.shapes).meet(
            problem.meter, problem.target.share, str(problem.target))   # says the floor
    masks = problem.within
    shares = geometric(start, problem.target.share, iterations, floor)
    for place, share in enumerate(shares, 1):
        problem.tell(f"synflow: iteration {place} of {iterations}")
        flow = scores.synflow(problem.model, problem.prunables, problem.images, masks)
        masks = problem.meet(flow, share, within=masks)
    return masks
