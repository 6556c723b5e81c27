"""A narrower network: an even share of every layer's channels goes."""

import torch

from pruning import scores
from pruning.channel_removal import meet_by_channels, removable_channels
from pruning.channels import Channels
from pruning.masks import Masks
from pruning.methods import register
from pruning.problem import Problem


# So much is taken away at once that a network learns anew.
@register("slim", shrinks=True, recipe={"epochs": 30, "lr": 0.1})
def slim(problem: Problem) -> Masks:
    """Remove the same share of the channels of every layer, until the target is met.

    Channels that are tied, through a sum or a concatenation, go together. Those that
    the same layers make are one family, and of each family the same share goes, least
    squared weight first; so layers that are tied keep as even a share as those that
    are not. The target is met to one group of channels, of which the larger families
    lose the first.
    """
    found = removable_channels(problem)
    squared = {name.removesuffix(".weight"): weight.flatten(1).sum(1)
               for name, weight in scores.energy_of_weights(
                   problem.model, problem.prunables).items()}
    worth = found.sums({name: one / one.sum().clamp_min(1e-300)
                        for name, one in squared.items()})
    return meet_by_channels(problem, found, _even_order(found, worth), worth)


def _even_order(found: Channels, worth: torch.Tensor) -> torch.Tensor:
    """Groups in the order in which every family has lost as even a share as can be."""
    turn = torch.empty(found.groups, dtype=torch.float64)
    for family in families(found):
        ranked = family[worth[family].argsort(stable=True)]
        turn[ranked] = torch.arange(1, len(family) + 1).double() / len(family)
    return turn.argsort(stable=True)


def families(found: Channels) -> list[torch.Tensor]:
    """Groups of channels that the same layers make, as int64 tensors of their numbers.

    A residual stage is one family; where a shortcut brings a narrower stage's channels
    into a wider one, those are a family, and the wider one's others another.
    """
    makers: list[set[str]] = [set() for _ in range(found.groups)]
    for layer, groups in found.outputs.items():
        for group in groups[groups >= 0].tolist():
            makers[group].add(layer)
    by_makers: dict[frozenset[str], list[int]] = {}
    for group, layers in enumerate(makers):
        by_makers.setdefault(frozenset(layers), []).append(group)
    return [torch.tensor(groups) for groups in by_makers.values()]
