"""Targets: costs that a pruned network may have, relative to the dense one."""

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar


@dataclass(frozen=True)
class Target:
    """A share of what the dense network costs, in 0..1.

    Parameters
    ----------
    share : float

    Raises
    ------
    ValueError
        No share: not a number above 0 and at most 1.
    """

    share: float
    quantity: ClassVar[str] = ""

    def __post_init__(self):
        if isinstance(self.share, bool) or not isinstance(self.share, Real) or (
                not 0 < self.share <= 1):
            raise ValueError(f"{self.quantity} target must be a share of the dense "
                             f"network's, above 0 and at most 1, got {self.share!r}")
        object.__setattr__(self, "share", float(self.share))

    def __str__(self):
        return f"{self.quantity}={self.share:g}"


class Energy(Target):
    """Energy of a run of the oracle's batch, its DRAM accesses included."""

    quantity = "energy"


class Density(Target):
    """Weights that are not zero, of those that may be pruned."""

    quantity = "density"


class Macs(Target):
    """Multiply-accumulates of weights that are not zero, of all layers."""

    quantity = "macs"


class Params(Target):
    """Parameters that are not zero, of all: biases and normalisation included."""

    quantity = "params"


TARGETS = {kind.quantity: kind for kind in (Energy, Density, Macs, Params)}


def parse_target(text: str) -> Target:
    """A target from ``quantity=share``.

    Examples
    --------
    >>> parse_target("energy=0.5")
    Energy(share=0.5)
    """
    quantity, _, share = text.partition("=")
    if quantity.strip().lower() not in TARGETS:
        raise ValueError(f"unknown target {text!r}; write one of "
                         + ", ".join(f"{known}=0.5" for known in TARGETS))
    try:
        value = float(share)
    except ValueError:
        raise ValueError(f"target {text!r}: {share!r} is no number; write "
                         f"{quantity}=0.5") from None
    return TARGETS[quantity.strip().lower()](value)
