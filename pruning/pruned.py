"""What prune() returns: a pruned network and what is known of it."""

from dataclasses import dataclass, field

import pandas as pd
import torch

from pruning.masks import Masks
from pruning.report import Baseline


@dataclass(eq=False)
class Pruned:
    """A pruned network and what is known of it.

    Parameters
    ----------
    network : torch.nn.Module
        With zeros under its masks; a smaller network where channels went.
    masks : Masks
        Of ``network``.
    shrinks : tuple of Masks
        Where channels went: ``shrink`` by each in turn builds the network from the
        dense one.
    report : dict
        met: share of the target's quantity that the final network takes, with its own
        activation zeros; under a control, that of the pruned network. floor: the least
        share that the method could have reached. accuracy. stopped: where a step was
        taken back, which and why. held_channels: where channels go, the layers of which
        some had to stay, and why. kept_alive: where layers would have been emptied and
        keep one weight, which. And what :func:`pruning.report.describe` says of the
        network.
    layers : pandas.DataFrame
        Energy by layer and level on each hardware.
    history : list of dict
        One row an epoch, with its step.
    baseline : Baseline
        The dense network.
    """

    network: torch.nn.Module
    masks: Masks
    shrinks: tuple
    report: dict
    layers: pd.DataFrame
    history: list = field(default_factory=list)
    baseline: Baseline = None
