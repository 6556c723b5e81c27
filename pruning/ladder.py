"""A ladder of rungs, each pruned from the one before: one job that resumes."""

import copy
import time
from dataclasses import dataclass, field
from pathlib import Path

from eyeriss_sim.oracle import EnergyOracle
from pruning.loaders import Loaders
from pruning.methods import find_method
from pruning.pipeline import ZERO_IMAGES, prune
from pruning.prunable import prunable
from pruning.report import Baseline
from pruning.result import finished, load_result, save_result
from pruning.targets import Target


@dataclass(frozen=True)
class Rung:
    """One level of a ladder.

    Parameters
    ----------
    target : Target or tuple of Target or None
    options : dict
        Of the method: what tells the levels of one that has its own.
    """

    target: object = None
    options: dict = field(default_factory=dict)

    @property
    def name(self):
        """Name of the rung's folder: ``energy=0.5``, ``support=2``."""
        targets = self.target if isinstance(self.target, tuple) else (self.target,)
        parts = [str(one) for one in targets if isinstance(one, Target)]
        parts += [f"{key}={value}" for key, value in sorted(self.options.items())]
        return "_".join(parts) or "default"


def climb(model, method, rungs, folder, *, data, config, recipe, make_fresh,
          fresh_recipe=None, oracle=None, control=None, test=None, **options):
    """Prune rung by rung into folders; rungs that are there already are only read.

    A method for trained networks prunes each rung from the one before. One for fresh
    networks, or a composition or a control, starts each rung anew: from fresh
    weights with the fresh recipe, or from the dense network.

    Parameters
    ----------
    model : torch.nn.Module
        The trained dense network.
    method : str
    rungs : sequence of Rung
        In the order in which they are climbed, mildest first.
    folder : str or Path
        Gets one result folder a rung, named after it.
    data : Loaders
    config : dict
        What else makes the result what it is: network, data, seeds. A folder with
        another config is refused.
    recipe : Recipe
        After each step of a rung.
    make_fresh : callable
        Gives a network with fresh weights.
    fresh_recipe : Recipe, optional
        Of networks from fresh weights: the dense network's own with its extra epochs.
    oracle : EnergyOracle, optional
    control : str, optional
    test : callable, optional
        Accuracy of a network on the test images, asked once a rung.
    **options
        Of ``prune``.

    Returns
    -------
    list of dict
        The metrics of each rung.
    """
    oracle, data = oracle or EnergyOracle("eap_tool"), Loaders.of(data)
    at_init = find_method(method.split("+")[0]).at_init
    from_before = not (at_init or control or "+" in method)
    training = fresh_recipe if at_init and fresh_recipe is not None else recipe
    seed = options.get("seed", 0)
    baseline = None
    network, shrinks, found = model, (), []
    for rung in rungs:
        place = Path(folder) / rung.name
        asked = {**config, "method": method, "rung": rung.name, "control": control,
                 "oracle": oracle.hardware.name, "batch": oracle.batch,
                 "recipe": training and training.as_dict(),
                 "options": {key: str(value) for key, value in options.items()
                             if key not in ("device", "progress")},
                 "before": [one["rung"] for one in found] if from_before else []}
        metrics = finished(place, asked)
        if metrics is None:
            if baseline is None:
                # Of the dense network in any case, whatever this rung starts from.
                images = data.images(options.get("calibration", 512), seed)
                baseline = Baseline.of(
                    model, prunable(model, options.get("include", ("*",)),
                                    options.get("exclude", ())), oracle,
                    images[:ZERO_IMAGES])
            start = make_fresh() if at_init else copy.deepcopy(network)
            clock, cpu = time.monotonic(), time.process_time()
            pruned = prune(
                start, method, list(rung.target) if isinstance(rung.target, tuple)
                else rung.target, data=data, oracle=oracle, recipe=training,
                baseline=baseline, shrinks=shrinks, control=control,
                make_fresh=make_fresh, folder=place / "training",
                **options, **rung.options)
            metrics = {
                "rung": rung.name, "control": control,
                "test_accuracy": test(pruned.network) if test else None,
                "minutes": (time.monotonic() - clock) / 60,
                "cpu_minutes": (time.process_time() - cpu) / 60}
            save_result(place, pruned, asked, metrics)
            metrics = finished(place, asked)
            after = pruned.network, pruned.shrinks
        elif from_before:
            reached, _, gone = load_result(place, model)
            after = reached, gone
        if from_before:
            network, shrinks = after
        found.append(metrics)
    return found
