"""Parameters of a model that may be pruned."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

# A module, or one that may be left out.
AnyModule = TypeVar("AnyModule", nn.Module, nn.Module | None)
LAYERS = (_ConvNd, nn.Linear)


@dataclass(frozen=True)
class Prunable:
    """One parameter that may be pruned.

    Parameters
    ----------
    name : str
        Dotted name of the parameter.
    layer : str
        Name of the module that holds it, and of the layer in the oracle.
    shape : tuple of int
    groups : int
        Groups of a convolution.
    sharers : tuple of str
        Further modules that hold the same parameter.
    """

    name: str
    layer: str
    shape: tuple
    groups: int = 1
    sharers: tuple = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """All modules that hold it."""
        return self.layer, *self.sharers


def prunable(model: torch.nn.Module, include: Iterable[str] = ("*",),
             exclude: Iterable[str] = (), strict: bool = True) -> dict[str, Prunable]:
    """The weights of convolutions and linear layers, in the order of the model.

    Parameters
    ----------
    model : torch.nn.Module
    include, exclude : sequence of str
        Patterns of parameter or layer names, as in a shell: ``"layer1.*"``.
    strict : bool
        Refuse patterns that match nothing: not for a network whose unused layers went
        with its channels.

    Returns
    -------
    dict of str to Prunable
        Prunables by parameter name; a parameter that two layers share stands once.

    Raises
    ------
    ValueError
        A pattern that matches nothing, or no layer left to prune.

    Examples
    --------
    >>> list(prunable(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)),
    ...               exclude=["0"]))
    ['2.weight']
    """
    for patterns in (include, exclude):
        if isinstance(patterns, str):
            raise ValueError(f"patterns come as a list, got the text {patterns!r}")
    kind = type(model).__name__
    found: dict[str, Prunable] = {}
    seen: dict[int, str] = {}
    for layer, module in model.named_modules():
        if hasattr(module, "weight_mask"):
            raise ValueError(f"{layer}: has a mask of torch.nn.utils.prune; make it "
                             "permanent with prune.remove(layer, 'weight'), its zeros "
                             "stay")
        weight = getattr(module, "weight", None)
        if not isinstance(module, LAYERS) or weight is None:
            continue
        name = seen.setdefault(id(weight), f"{layer}.weight" if layer else "weight")
        if name in found:
            found[name] = replace(found[name], sharers=(*found[name].sharers, layer))
        elif name in dict(module.named_parameters(prefix=layer, recurse=False)):
            found[name] = Prunable(name, layer, tuple(weight.shape),
                                   getattr(module, "groups", 1))
    if not found:
        raise ValueError(f"{kind} has no layer to prune: no convolution and no linear "
                         "layer with a weight of its own")

    def matches(one, pattern):
        return fnmatchcase(one.name, pattern) or fnmatchcase(one.layer, pattern)

    for pattern in (*include, *exclude):
        if strict and not any(matches(one, pattern) for one in found.values()):
            raise ValueError(f"pattern {pattern!r} matches no layer of {kind}; its "
                             f"layers are {', '.join(o.layer for o in found.values())}")
    chosen = {
        name: one for name, one in found.items()
        if any(matches(one, pattern) for pattern in include)
        and not any(matches(one, pattern) for pattern in exclude)}
    if not chosen:
        raise ValueError(f"{kind}: no layer is left to prune; every one that is "
                         "included is excluded, too")
    return chosen


def uncompiled(model: AnyModule) -> AnyModule:
    """The module that torch.compile wraps, whose names are those of its layers."""
    return getattr(model, "_orig_mod", model)


def is_transposed(model: torch.nn.Module, one: Prunable) -> bool:
    """True if a layer's weight is stored by input channel."""
    return isinstance(model.get_submodule(one.layer), _ConvTransposeNd)
