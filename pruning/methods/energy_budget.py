"""Projection onto an energy budget: a knapsack, filled by worth per joule."""

from pruning import scores
from pruning.masks import Masks
from pruning.methods import register
from pruning.problem import Problem
from pruning.selection import knapsack


@register("energy_budget")
def energy_budget(problem: Problem) -> Masks:
    """Keep the weights with the largest w^2 / energy until the budget is full.

    The nearest network in the L2 norm that costs no more than the target, up to the
    last weight: greedy filling solves the knapsack that well, because every price is
    small against the budget. A weight's price is the oracle's for its tap, so one that
    meets few non-zero activations is cheap.
    """
    return problem.meet(knapsack(
        scores.energy_of_weights(problem.model, problem.prunables),
        problem.meter.prices))
