"""Result of prune(): a pruned network and what is known of it."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from pruning.checkpoint import fresh_model
from pruning.masks import Masks
from pruning.models import MODELS
from pruning.records import read_json, read_metrics, read_rows
from pruning.report import Baseline
from pruning.result import load_result, save_result


@dataclass(eq=False)
class Pruned:
    """A pruned network and what is known of it.

    Parameters
    ----------
    network : torch.nn.Module
        The network with zeros under its masks; a smaller one where channels went.
    masks : Masks
        The zeros of ``network``.
    shrinks : tuple of pruning.smaller.Step
        Steps by which the network became smaller, masks of channels or an averaging of
        the images: ``smaller`` by each in turn builds it from the dense one.
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
    baseline : Baseline, optional
        The dense network; not known of one that was loaded.
    image_shape : tuple of int
        Channels, height and width, say: without the batch.

    Examples
    --------
    >>> import pruning
    >>> from tempfile import TemporaryDirectory
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(),
    ...                           torch.nn.Flatten(), torch.nn.Linear(288, 10))
    >>> batch = torch.randn(16, 3, 8, 8), torch.randint(10, (16,))
    >>> half = pruning.prune(net, "energy_budget", pruning.Energy(0.7), data=[batch])
    >>> with TemporaryDirectory() as folder:
    ...     half.save(folder)
    ...     again = pruning.load(folder, net)
    >>> again.masks == half.masks, again.report["met"] == half.report["met"]
    (True, True)
    """

    network: torch.nn.Module
    masks: Masks
    shrinks: tuple
    report: dict
    layers: pd.DataFrame
    history: list = field(default_factory=list)
    baseline: Baseline | None = None
    image_shape: tuple = ()

    def save(self, folder: str | Path, config: dict | None = None) -> None:
        """Write a result folder, from which ``load`` reads it again.

        Parameters
        ----------
        folder : str or Path
            Gets weights and masks (safetensors), report (JSON, CSV), layers, epochs.
        config : dict, optional
            What was asked, as JSON takes it: ``{"network": "resnet20"}`` lets
            ``load`` make the network by itself.

        Raises
        ------
        ValueError
            The folder holds another result.
        """
        folder = Path(folder)
        if (folder / "metrics.json").exists():
            raise ValueError(f"{folder} holds a result already; name another folder")
        save_result(folder, self, config or {}, {})

    @classmethod
    def load(cls, folder: str | Path, model: torch.nn.Module | None = None) -> "Pruned":
        """A pruned network from its result folder.

        Parameters
        ----------
        folder : str or Path
            Written by ``save``, ``climb`` or ``eyeriss-prune run``.
        model : torch.nn.Module, optional
            A network of the kind that was pruned, with any weights; needed where the
            folder names none of ``pruning.models.MODELS``.

        Raises
        ------
        ValueError
            Files that are missing, damaged or of another network.
        """
        folder = Path(folder)
        config, report = (read_json(folder / "config.json"),
                          read_metrics(folder / "metrics.json"))
        if model is None:
            if config.get("network") not in MODELS:
                raise ValueError(
                    f"{folder} is of {config.get('network') or 'a network'} that is "
                    f"none of {', '.join(MODELS)}; give load(folder, model) one of its "
                    "kind")
            model = fresh_model(config)
        network, masks, shrinks = load_result(folder, model)
        layers = pd.DataFrame(read_rows(folder / "layers.csv"))
        return cls(network, masks, shrinks, report, layers,
                   read_rows(folder / "epochs.csv"),
                   image_shape=tuple(config["image_shape"]))
