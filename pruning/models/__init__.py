"""Networks by name: each file here registers its own; nothing else knows them.

A model is a function of the number of classes and an image's shape that returns a
module with fresh weights. A user's own stands in one file, which a command knows by
``--plugin FILE.py``, or, in an installed package, by an entry point
``pruning.models``::

    from pruning.models import register

    @register("small")
    def small(num_classes, image_shape): ...
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from eyeriss_sim.registry import Registry
from pruning.recipe import Recipe

MODELS = Registry("model", "pruning.models")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network as commands see it.

    Parameters
    ----------
    name : str
    make : callable
        ``make(num_classes, image_shape)`` gives a module that takes float images,
        shape (N, C, H, W), and gives logits, shape (N, num_classes).
    recipe : Recipe
        How ``eyeriss-prune train`` trains it unless told otherwise.
    rung_lr : float
        Learning rate, at its top, of the training after each pruning step.
    """

    name: str
    make: Callable[[int, tuple[int, int, int]], nn.Module]
    recipe: Recipe = field(default_factory=Recipe)
    rung_lr: float = 0.05


def register(name: str, **traits) -> Callable:
    """Make a function the model of a name.

    Parameters
    ----------
    name : str
        A name in lower case.
    **traits
        Fields of :class:`Model`.
    """
    def add(make):
        if name != name.lower():
            raise ValueError(f"model {name!r}: a name is written in lower case")
        MODELS.add(name, Model(name=name, make=make, **traits))
        return make
    return add


def make_model(name: str, num_classes: int = 10,
               image_shape: tuple[int, int, int] = (3, 32, 32)) -> nn.Module:
    """A network with fresh weights, drawn from torch's global generator.

    The layers have the shapes of the zoo's entry of that name with ``_cifar``.

    Parameters
    ----------
    name : str
        One of ``MODELS``, upper or lower case.
    num_classes : int
    image_shape : tuple of int
        Channels, height and width of an image.

    Returns
    -------
    torch.nn.Module
        Takes float images, shape (N, C, H, W); gives logits, (N, num_classes).

    Raises
    ------
    ValueError
        An unknown name, fewer than two classes, images too small for the network.

    Examples
    --------
    >>> make_model("resnet20").fc
    Linear(in_features=64, out_features=10, bias=True)
    """
    model = MODELS.find(name.lower())
    if num_classes < 2:
        raise ValueError(f"{name}: a classifier needs at least 2 classes, got "
                         f"{num_classes}")
    return model.make(num_classes, tuple(image_shape))


for _module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
