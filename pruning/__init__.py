"""Make a network cheaper in joules: training, masks and methods round an oracle."""

from pruning.datasets import DATASETS
from pruning.ladder import Rung, climb
from pruning.loaders import Loaders
from pruning.masks import Masks
from pruning.methods import METHODS
from pruning.models import MODELS, make_model
from pruning.pipeline import prune
from pruning.pruned import Pruned
from pruning.recipe import Recipe
from pruning.targets import Density, Energy, Macs, Params

load = Pruned.load

__all__ = [
           "DATASETS",
           "METHODS",
           "MODELS",
           "Density",
           "Energy",
           "Loaders",
           "Macs",
           "Masks",
           "Params",
           "Pruned",
           "Recipe",
           "Rung",
           "climb",
           "load",
           "make_model",
           "prune",
]
