"""Smallest weights first, over the whole network or the same share of each layer."""

from pruning import scores
from pruning.masks import Masks
from pruning.methods import register
from pruning.problem import Problem
from pruning.selection import by_layer


@register("magnitude_global")
def magnitude_global(problem: Problem) -> Masks:
    """One threshold for all layers."""
    return problem.meet(scores.magnitude(problem.model, problem.prunables))


@register("magnitude_uniform")
def magnitude_uniform(problem: Problem) -> Masks:
    """The same density in every layer."""
    return problem.meet(by_layer(scores.magnitude(problem.model, problem.prunables)))
