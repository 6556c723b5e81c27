"""The networks that are trained and pruned here, in their forms for 32x32 images."""

import difflib

from pruning.models.resnet import resnet18, resnet20
from pruning.models.vgg import vgg16

MODELS = {"resnet18": resnet18, "resnet20": resnet20, "vgg16": vgg16}


def make_model(name, num_classes=10):
    """A network with fresh weights, drawn from torch's global generator.

    Its layers have the shapes of the zoo's entry of that name with ``_cifar``.

    Parameters
    ----------
    name : str
        One of ``MODELS``, upper or lower case.
    num_classes : int

    Returns
    -------
    torch.nn.Module
        Takes float images, shape (N, 3, 32, 32); gives logits, (N, num_classes).

    Raises
    ------
    ValueError
        An unknown name, or fewer than two classes.

    Examples
    --------
    >>> make_model("resnet20").fc
    Linear(in_features=64, out_features=10, bias=True)
    """
    if name.lower() not in MODELS:
        near = difflib.get_close_matches(name.lower(), MODELS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"no model is called {name!r}; {hint}there are "
                         + ", ".join(MODELS))
    if num_classes < 2:
        raise ValueError(f"{name}: a classifier needs at least 2 classes, got "
                         f"{num_classes}")
    return MODELS[name.lower()](num_classes)
