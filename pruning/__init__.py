"""Make a network cheaper in joules: training, masks and methods round an oracle."""

from pruning.loaders import Loaders
from pruning.masks import Masks
from pruning.pipeline import prune
from pruning.pruned import Pruned
from pruning.recipe import Recipe
from pruning.targets import Density, Energy, Macs, Params

__all__ = ["Density", "Energy", "Loaders", "Macs", "Masks", "Params", "Pruned",
           "Recipe", "prune"]
