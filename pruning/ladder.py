"""A ladder of rungs, each pruned from the one before: one job that resumes."""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, takewhile
from pathlib import Path

import torch

from eyeriss_sim.oracle import EnergyOracle
from pruning.controls import FROM_FRESH_WEIGHTS
from pruning.identity import judge
from pruning.loaders import Loaders
from pruning.meters import meter_of
from pruning.method_run import ZERO_IMAGES
from pruning.methods import Method, find_method, options_by_method
from pruning.pipeline import prune
from pruning.prunable import prunable, uncompiled
from pruning.pruned import Pruned
from pruning.recipe import Recipe, Recipes, recipes_as_dict
from pruning.records import read_metrics
from pruning.report import Baseline
from pruning.result import (
    begun,
    finished,
    load_result,
    save_metrics,
    save_result,
    weights_hash,
)
from pruning.targets import Target

# Options of prune() that a rung's config has elsewhere, or that change no network.
NOT_ASKED = ("data", "recipe", "control", "make_fresh", "fresh_recipe", "device",
             "progress", "reports")


@dataclass(frozen=True)
class Rung:
    """One level of a ladder.

    Parameters
    ----------
    target : Target or sequence of Target or None
        A sequence has one for each method of a composition.
    options : dict
        Options of the method, as ``prune`` takes them: what tells the levels of one
        that has its own.
    """

    target: object = None
    options: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the rung's folder: ``energy=0.5``, ``support=2``."""
        parts = [str(one) for one in self.targets if isinstance(one, Target)]
        parts += [f"{key}={value}" for key, value in sorted(self.options.items())]
        return "_".join(parts) or "default"

    @property
    def targets(self) -> tuple:
        """Targets, one a method."""
        return (tuple(self.target) if isinstance(self.target, (list, tuple))
                else (self.target,))

    def follows(self, before: "Rung | None") -> bool:
        """True if only the last method of a composition has more to do than before."""
        return before is not None and self.options == before.options and (
            self.targets[:-1] == before.targets[:-1])


def climb(model: torch.nn.Module, method: str, rungs: Sequence[Rung],
          folder: str | Path, *, data: Loaders, config: dict, recipe: Recipes,
          make_fresh: Callable | None, fresh_recipe: Recipe | None = None,
          oracle: EnergyOracle | None = None, control: str | None = None,
          test: Callable | None = None, **options) -> list[dict]:
    """Prune rung by rung into folders; rungs that are there already are only read.

    A method for trained networks prunes each rung from the one before. One for fresh
    networks starts each rung anew, with the fresh recipe, and a control from the dense
    network.

    A composition goes on from the rung before with its last method where the first
    ones have the same targets as there: ``energy=0.8+energy=0.7``, then
    ``energy=0.8+energy=0.6``. Channels so go once, and every epoch after that is spent
    on a network that has already been trained for its channels and for the rung before.
    A rung of other first targets starts from the dense network: channels of a
    network whose weights went before would have to be judged by what is left of them.

    Parameters
    ----------
    model : torch.nn.Module
        The trained dense network.
    method : str
    rungs : sequence of Rung
        Rungs in the order in which they are climbed, mildest first.
    folder : str or Path
        Gets one result folder a rung, named after it.
    data : Loaders
    config : dict
        What else makes the result what it is: network, data, seeds. A folder with
        another config is refused.
    recipe : Recipe or dict of str to Recipe
        Training after each step of a rung, of all methods or by the method's name;
        where it distils, the dense network teaches.
    make_fresh : callable
        Gives a network with fresh weights.
    fresh_recipe : Recipe, optional
        Training of networks from fresh weights: the dense network's own with its extra
        epochs.
    oracle : EnergyOracle, optional
    control : str, optional
    test : callable, optional
        Accuracy of a network on the test images, asked once a rung; of a rung that was
        finished without it, now.
    **options
        Options of ``prune``.

    Returns
    -------
    list of dict
        The metrics of each rung.
    """
    model, names = uncompiled(model), method.split("+")
    at_init = find_method(names[0]).at_init
    data, oracle = Loaders.of(data), oracle or EnergyOracle("eap_tool")
    training = fresh_recipe if at_init and fresh_recipe is not None else recipe
    if at_init and make_fresh is None:
        raise ValueError(f"{method} starts from fresh weights; give make_fresh, which "
                         "returns a network that has them")
    check_control_of(method, rungs, control)
    one_from_another = not (at_init or control)
    if one_from_another:
        check_falling(rungs, len(names) == 1)
    way = _Way(model, names, oracle, {
        "data": data, "recipe": training, "control": control, "make_fresh": make_fresh,
        "fresh_recipe": fresh_recipe, **options})
    network, shrinks, last = model, (), None
    chain: list[str] = []
    found: list[dict] = []
    for number, rung in enumerate(rungs):
        goes_on = one_from_another and last is not None and (
            len(names) == 1 or rung.follows(last))
        if not goes_on:
            network, shrinks, chain = model, (), []
        kept, asked = Path(folder) / rung.name, {**config, **way.asked(rung, chain)}
        metrics = finished(kept, asked)
        if metrics is not None and test and metrics.get("test_accuracy") is None:
            metrics["test_accuracy"] = test(load_result(kept, model)[0])
            save_metrics(kept, metrics)
        if metrics is None:
            start = (make_fresh() if at_init and make_fresh is not None
                     else copy.deepcopy(network))
            pruned, times = way.prune(rungs[number:], start, shrinks, goes_on,
                                      kept / "training", asked)
            metrics = {
                "rung": rung.name, "control": control, "method": method,
                "target": "+".join(map(str, filter(None, rung.targets))) or None,
                "test_accuracy": test(pruned.network) if test else None, **times()}
            save_result(kept, pruned, asked, metrics)
            metrics = read_metrics(kept / "metrics.json")
            network, shrinks = pruned.network, pruned.shrinks
        elif one_from_another:
            network, _, shrinks = load_result(kept, model)
        last = rung
        chain.append(rung.name)
        found.append(metrics)
    return found


@dataclass(eq=False)
class _Way:
    """The way each rung of a ladder is pruned.

    Parameters
    ----------
    model : torch.nn.Module
        The dense network.
    names : list of str
        Names of the methods.
    oracle : EnergyOracle
    options : dict
        Options of ``prune`` that all rungs have.
    """

    model: torch.nn.Module
    names: list
    oracle: EnergyOracle
    options: dict

    @cached_property
    def baseline(self):
        """Costs of the dense network, whatever a rung starts from."""
        images = self.options["data"].images(
            self.options.get("calibration", 512), self.options.get("seed", 0))
        return Baseline.of(
            self.model, prunable(self.model, **self._patterns()), self.oracle,
            images[:ZERO_IMAGES], self.options.get("reports"))

    @cached_property
    def dense_weights(self):
        """Digest of the dense network's weights."""
        return weights_hash(self.model)

    def _patterns(self):
        return {"include": self.options.get("include", ("*",)),
                "exclude": self.options.get("exclude", ())}

    def asked(self, rung, chain):
        """All that makes a rung's result what it is, after the rungs of a chain."""
        given, methods = self.options, "+".join(self.names)
        recipe, fresh = given["recipe"], given["fresh_recipe"]
        return {
            "method": methods, "rung": rung.name, "control": given["control"],
            **judge(self.oracle), "recipe": recipes_as_dict(recipe),
            "options": {key: str(value) for key, value in given.items()
                        if key not in NOT_ASKED},
            **({"fresh_recipe": fresh.as_dict()} if fresh is not None
               and given["control"] in FROM_FRESH_WEIGHTS else {}),
            "before": list(chain), "dense_weights": self.dense_weights,
            "settings": [{**find_method(name).options, **own} for name, own in zip(
                self.names, options_by_method(self.names, rung.options), strict=True)]}

    def prune(self, rungs, start, shrinks, goes_on, folder, asked):
        """Prune to the first of the rungs that are left.

        Parameters
        ----------
        rungs : sequence of Rung
        start : torch.nn.Module
        shrinks : tuple of pruning.smaller.Step
        goes_on : bool
            Whether only the last method has something left to do.
        folder : Path
            Trainings keep their state there.
        asked : dict
            Noted beside them.

        Returns
        -------
        Pruned
        callable
            Gives the minutes that it has taken until now.
        """
        rung = rungs[0]
        methods, targets, own = self.names, rung.targets, rung.options
        if goes_on:
            methods, targets = self.names[-1:], targets[-1:]
            own = options_by_method(self.names, rung.options)[-1]

        def pruned_to(target, **more):
            return prune(
                start, "+".join(methods), target, oracle=self.oracle,
                teacher=self.model, baseline=self.baseline, shrinks=shrinks,
                **self.options, **own, **more)

        if len(methods) == 1:
            # Which refuses it with what can be reached, before anything is trained.
            for target in out_of_reach(
                    start, find_method(*methods), [rung, *followers(
                        rungs, len(self.names) == 1)], self.baseline, self.oracle,
                    **self._patterns()):
                pruned_to(target)
        clock, cpu = time.monotonic(), time.process_time()
        with begun(folder, asked):
            pruned = pruned_to(targets, folder=folder)
        return pruned, lambda: {
            "minutes": minutes(time.monotonic() - clock, pruned, "wall_s"),
            "cpu_minutes": minutes(time.process_time() - cpu, pruned, "cpu_s")}


def followers(rungs: Sequence[Rung], one_method: bool) -> list[Rung]:
    """Those after the first that are pruned from it, by one way of rungs or another.

    Parameters
    ----------
    rungs : sequence of Rung
    one_method : bool
        Then all of them; of a composition, those with the same first targets.
    """
    return list(takewhile(lambda rung: one_method or rung.follows(rungs[0]), rungs[1:]))


def out_of_reach(network: torch.nn.Module, method: Method, rungs: Sequence[Rung],
                 baseline: Baseline, oracle: EnergyOracle, include: Iterable[str],
                 exclude: Iterable[str]) -> list[Target]:
    """Targets of rungs that are below what is left without any weight.

    The zeros of the network's activations are those of now, as ``prune`` judges the
    last of its steps; what else can't be reached shows where its rung is pruned.

    Parameters
    ----------
    network : torch.nn.Module
        What the first of the rungs is pruned from.
    method : Method
    rungs : sequence of Rung
    baseline : Baseline
    oracle : EnergyOracle
    include, exclude : sequence of str

    Returns
    -------
    list of Target
    """
    if method.shrinks or method.own_levels:
        return []
    found = []
    for rung in rungs:
        target = rung.targets[-1]
        if isinstance(target, Target):
            meter = meter_of(
                target, network, prunable(network, include, exclude, strict=True),
                baseline.reference, oracle, baseline.images)
            if target.share < meter.floor:
                found.append(target)
    return found


def check_control_of(method: str, rungs: Sequence[Rung], control: str | None) -> None:
    """Refuse a control of several rungs that are pruned one from another.

    A control starts from the dense network, prunes in one go and trains as many
    epochs as that takes: from the second rung on it would be compared with a network
    that has had more.

    Raises
    ------
    ValueError
        The message says what to ask for instead.
    """
    if control and len(rungs) > 1 and not find_method(method.split("+")[0]).at_init:
        raise ValueError(
            f"control {control!r} of {len(rungs)} targets: each is pruned from the one "
            "before, which a control is not; name one target at a time, and as many "
            "steps as its rung has had trainings")


def minutes(seconds: float, pruned: Pruned, column: str) -> float:
    """Minutes of a rung; at least its trainings, epochs before a resume included."""
    return max(seconds, sum(row[column] for row in pruned.history)) / 60


def check_falling(rungs: Sequence[Rung], one_method: bool) -> None:
    """Refuse a rung that asks for more than the one that it is pruned from has left.

    And one that is there twice.

    Parameters
    ----------
    rungs : sequence of Rung
    one_method : bool
        Each rung is pruned from the one before; of a composition, only those whose
        first targets are the same.

    Raises
    ------
    ValueError
        The message names the rungs.
    """
    names = [rung.name for rung in rungs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is named {names.count(name)} times; a ladder has "
                             "each rung once")
    for before, rung in pairwise(rungs):
        old, new = before.targets[-1], rung.targets[-1]
        if type(new) is type(old) and isinstance(new, Target) and (
                one_method or rung.follows(before)) and new.share > old.share:
            raise ValueError(f"{rung.name} comes after {before.name}, from which it "
                             "would be pruned; name the mildest rung first")
