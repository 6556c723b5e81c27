"""Routers: the registry, and the class that every router extends.

A router sees what the first of two networks makes of an image and gives a score in
0..1; an image whose score is above the threshold goes on to the next network. A router
is one file::

    from cascade.routers import ROUTERS, Router

    class Doubt(Router):
        def of_inputs(self, logits):
            return 1 - logits.float().softmax(1).amax(1)

    ROUTERS.add("doubt", Doubt)
"""

from dataclasses import dataclass
from inspect import getattr_static
from typing import Any, ClassVar

import torch
from torch import nn

from eyeriss_sim.registry import Registry

ROUTERS = Registry("router", "cascade.routers")


class TooFewToLearn(ValueError):
    """Hardly an image needs the next network, or hardly one does not."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """Images that a router learns from, those of the part that it asks for.

    Parameters
    ----------
    summary : float32 tensor, shape (N, 2 C), or None
        Pooled features of the first network at the router's tap, see :func:`pooled`;
        None for a router that sees logits alone.
    logits, next_logits : float32 tensor, shape (N, classes)
        Answers of the first network, and of the one that an image may go on to.
    labels : int64 tensor, shape (N,)
        True classes.
    """

    summary: Any
    logits: torch.Tensor
    next_logits: torch.Tensor
    labels: torch.Tensor


class Router(nn.Module):
    """A judge of whether an image needs the next network.

    A subclass says what it sees, gives scores, and, if it learns, how. Its weights are
    kept as safetensors, and the values of ``settings`` beside them, with which its
    constructor makes it again.

    Attributes
    ----------
    at_taps : {"none", "each", "last"}
        Whether it sees features: not at all, or at each tap of a network, so that there
        is one router a tap, or at the last one.
    needs_logits : bool
        Whether the first network must have run to its end.
    learns_from : {"selector", "fit"}
        Part of the images that it learns from: those set apart for it, to which no
        network was fitted, or ``LESSON`` of those to which the networks were.
    system : str or None
        Routers of one system compete for a place in tables; its own name unless given.
    settings : tuple of str
        Names of the constructor's arguments, which are attributes as well: numbers,
        texts, or lists of them.
    """

    at_taps: ClassVar[str] = "none"
    needs_logits: bool = True
    learns_from: ClassVar[str] = "selector"
    system: ClassVar[str | None] = None
    settings: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def trained(cls, lesson: Lesson) -> "Router":
        """A router that has learned from images; those that learn override this.

        Raises
        ------
        TooFewToLearn
            A pair of networks that goes without this router.
        """
        return cls()

    @classmethod
    def learns(cls) -> bool:
        """True if it has something to learn, and so to keep."""
        return getattr_static(cls, "trained") is not getattr_static(Router, "trained")

    def inputs(self, summary: Any, logits: Any = None) -> torch.Tensor:
        """Inputs of :meth:`of_inputs`, from pooled features and logits.

        Either is None where the router does not see it.
        """
        return logits if summary is None else summary

    def of_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores of images, shape (N,), 0..1."""
        raise NotImplementedError(f"{type(self).__name__} has no of_inputs")

    def charged_layers(self) -> nn.Module | None:
        """Layers that run on :meth:`inputs` and cost energy; None: a free router."""
        return None

    def forward(self, features: torch.Tensor | None,
                logits: torch.Tensor | None = None) -> torch.Tensor:
        """(N, C, H, W) and perhaps (N, classes) to scores, (N,)."""
        summary = None if self.at_taps == "none" or features is None else pooled(
            features)
        return self.of_inputs(self.inputs(summary, logits))

    def check_tap(self, channels: int) -> None:
        """Refuse a tap of so many channels, with a ValueError, if it can't be seen."""


def pooled(features: torch.Tensor) -> torch.Tensor:
    """Mean and maximum of each channel: (N, C, H, W) to (N, 2 C)."""
    features = features.float()
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)


def name_at(kind: str, tap: str) -> str:
    """Name of a router at a tap.

    Examples
    --------
    >>> name_at("selector", "relu_2"), name_at("selector+logits", "relu_2")
    ('selector@relu_2', 'selector@relu_2+logits')
    """
    head, plus, suffix = kind.partition("+")
    return f"{head}@{tap}{plus}{suffix}"


def kind_and_tap(name: str) -> tuple[str, str | None]:
    """Name that a router is registered under, and its tap.

    Examples
    --------
    >>> kind_and_tap("selector@relu_2+logits"), kind_and_tap("margin")
    (('selector+logits', 'relu_2'), ('margin', None))
    """
    head, at, rest = name.partition("@")
    if not at:
        return name, None
    tap, plus, suffix = rest.partition("+")
    return head + plus + suffix, tap


def find_router(name: str) -> type[Router]:
    """The class of a router.

    Raises
    ------
    ValueError
        A router that nothing has registered.
    """
    kind, tap = kind_and_tap(name)
    if kind not in ROUTERS or (tap is None) != (ROUTERS[kind].at_taps == "none"):
        known = ", ".join(one if ROUTERS[one].at_taps == "none" else name_at(one, "TAP")
                          for one in ROUTERS)
        raise ValueError(f"router {name!r} is not registered; known: {known}; give "
                         "--plugin FILE.py, the file that registers it")
    return ROUTERS[kind]


def router_names(tap_names: list[str]) -> list[str]:
    """Every registered router for a network with these taps, in the order of tables."""
    names: list[str] = []
    for kind, router in ROUTERS.items():
        if router.at_taps == "none":
            names.append(kind)
        else:
            chosen = tap_names if router.at_taps == "each" else tap_names[-1:]
            names += [name_at(kind, tap) for tap in chosen]
    return names


def system_of(name: str) -> str:
    """The system that a router competes in."""
    return find_router(name).system or kind_and_tap(name)[0]


def systems() -> list[str]:
    """Every system of the registered routers, in the order of tables."""
    return list(dict.fromkeys(router.system or kind
                              for kind, router in ROUTERS.items()))


def settings_of(router: Router) -> dict[str, Any]:
    """Settings that make a router again, but for its weights."""
    return {key: getattr(router, key) for key in router.settings}
