"""Weights at random, each with the same chance: what any other method must beat."""

from pruning import scores
from pruning.masks import Masks
from pruning.methods import register
from pruning.problem import Problem


@register("random")
def random_weights(problem: Problem) -> Masks:
    """Nothing but the seed decides."""
    return problem.meet(scores.random(problem.model, problem.prunables, problem.seed))
