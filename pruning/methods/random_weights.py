"""Weights at random, each with the same chance: what any other method must beat."""

from pruning import scores
from pruning.methods import register


@register("random")
def random_weights(problem):
    """Nothing but the seed decides."""
    return problem.meet(scores.random(problem.model, problem.prunables, problem.seed))
