"""One pruning method, from the network that it is given to its target, step by step."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from eyeriss_sim.oracle import EnergyOracle
from pruning.calibration import recalibrated
from pruning.loaders import Loaders
from pruning.masks import Masks
from pruning.meters import meter_of
from pruning.methods import Method
from pruning.problem import Problem
from pruning.progress import silent, telling
from pruning.prunable import prunable
from pruning.pruned import Pruned
from pruning.report import Baseline, describe
from pruning.schedules import SCHEDULES
from pruning.selection import OutOfReach, refuse, rounded_up
from pruning.settling import SettlingMasks, check_reachable, settle
from pruning.smaller import smaller
from pruning.step_training import StepTraining
from pruning.targets import Energy, Target

ZERO_IMAGES = 64        # calibration images, the first ones, that measure zeros
MOST_TRIED = 8          # shares, for the least that can be asked for
PACE = 0.8      # of what is above the floor, a step, where only an accuracy is asked


@dataclass(frozen=True)
class Plan:
    """The target of a method, and the steps that lead to it.

    Parameters
    ----------
    target : Target or None
    steps : int
    schedule : str
        One of ``pruning.schedules.SCHEDULES``.
    accuracy_floor : float or None
        A step whose network has less accuracy is taken back.
    """

    target: Target | None = None
    steps: int = 1
    schedule: str = "geometric"
    accuracy_floor: float | None = None

    def check(self, method: Method, data: Loaders) -> None:
        """Refuse a plan that has no sense, or that a method can't follow.

        Raises
        ------
        ValueError
        """
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; known: "
                             + ", ".join(SCHEDULES))
        floor, target = self.accuracy_floor, self.target
        if floor is not None and not 0 <= floor <= 1:
            raise ValueError(f"accuracy_floor is a share of the images, 0 to 1, got "
                             f"{floor}")
        if floor is not None and data.choose is None:
            raise ValueError("an accuracy floor needs images to choose by: "
                             "data=Loaders(fit=..., choose=...)")
        if method.own_levels:
            if target is not None:
                raise ValueError(f"{method.name} has levels of its own and takes no "
                                 "target; set " + ", ".join(method.options))
        elif target is None and floor is None:
            raise ValueError(f"{method.name} needs a target, as Energy(0.5), or "
                             "an accuracy_floor")
        elif target is None and method.shrinks:
            raise ValueError(f"{method.name} needs a target: whole channels go in "
                             "one step")
        elif target is not None and not isinstance(target, Target):
            raise ValueError(f"a target is Energy, Density, Macs or Params, got "
                             f"{target!r}")

    def forbids(self, accuracy: float | None) -> bool:
        """True if a network of this accuracy is not to be kept."""
        return (self.accuracy_floor is not None and accuracy is not None
                and accuracy < self.accuracy_floor)

    def targets(self, start: float, floor: float) -> list[Target] | Iterator[Target]:
        """Targets of the steps.

        Parameters
        ----------
        start, floor : float
            Shares before the first step, and without any weight.
        """
        if self.target is None:
            return _falling(start, floor)
        shares = SCHEDULES[self.schedule](start, self.target.share, self.steps, floor)
        return [type(self.target)(share) for share in shares]


def _falling(start, floor):
    """Energies, each with a part less above the floor, without end."""
    share = start
    while share - floor > 1e-3:
        share = floor + (share - floor) * PACE
        yield Energy(share)


@dataclass(frozen=True)
class Shared:
    """Settings that the methods of a composition have in common.

    Parameters
    ----------
    data : Loaders
    oracle : EnergyOracle
    include, exclude : sequence of str
        Patterns of layer names.
    seed : int
    calibration : int
        Images that calibrate.
    empty_layers : bool
        Whether a layer may lose its last weight.
    progress : bool or callable or None
    reports : dict of str to EnergyOracle, optional
        What a report is made by; the usual ones unless given.
    """

    data: Loaders
    oracle: EnergyOracle
    include: Iterable[str] = ("*",)
    exclude: Iterable[str] = ()
    seed: int = 0
    calibration: int = 512
    empty_layers: bool = False
    progress: bool | Callable | None = None
    reports: dict | None = None

    @cached_property
    def images(self) -> torch.Tensor:
        """The calibration images, drawn once."""
        return self.data.images(self.calibration, self.seed)

    @property
    def few_images(self) -> torch.Tensor:
        """The images that measure zeros of activations."""
        return self.images[:ZERO_IMAGES]


@dataclass(frozen=True)
class Start:
    """The network a method begins with; a ``Pruned`` of another method is one, too.

    Parameters
    ----------
    network : torch.nn.Module
    shrinks : tuple of pruning.smaller.Step
        Steps by which the network has become smaller.
    baseline : Baseline, optional
        Costs of the dense network; those of ``network`` unless given.
    """

    network: torch.nn.Module
    shrinks: tuple = ()
    baseline: Baseline | None = None


class MethodRun:
    """One method, step by step.

    Parameters
    ----------
    method : Method
    options : dict
        Options of the method.
    plan : Plan
    start : Start or Pruned
    shared : Shared
    training : StepTraining
        How the network is trained after each step.
    thinned_next : bool
        Whether a method for weights goes on with the network.

    Raises
    ------
    ValueError
        A plan that the method can't follow, a network without prunable layers, images
        that it does not take.
    """

    def __init__(self, method: Method, options: dict, plan: Plan,
                 start: Start | Pruned, shared: Shared, training: StepTraining,
                 thinned_next: bool = False):
        plan.check(method, shared.data)
        self.method, self.options, self.plan = method, options, plan
        self.start, self.shared, self.training = start, shared, training
        self.thinned_next = thinned_next
        self.prunables = prunable(start.network, shared.include, shared.exclude,
                                  strict=not start.shrinks)
        check_images(start.network, shared.images)
        self.baseline = start.baseline or Baseline.of(
            start.network, self.prunables, shared.oracle, shared.few_images,
            shared.reports)
        self.spared: list[str] = []
        self.held: dict[str, str] = {}
        self.stopped: str | None = None
        self.epochs = 0     # that the network which is kept was trained

    def prune(self) -> Pruned:
        """All steps; the last one that the accuracy floor allows.

        A step that can't be taken is the end, too, if only that floor is asked for.
        """
        network = copy.deepcopy(self.start.network)
        masks = Masks.of(network, self.prunables)
        meter = self._meter(network)
        self.floor = meter and meter.floor
        shrinks = self.start.shrinks
        best: tuple = (network, masks, shrinks, meter and meter.share(masks), None)
        step = self._shrink if self.method.shrinks else self._mask
        plan = self.plan
        if plan.steps > 1 and plan.target is not None and self.method.takes_steps:
            self._check_last_step(network, masks, meter, plan.target)
        for number, target in enumerate(self._targets(meter, masks), 1):
            try:
                network, masks, shrinks, met = step(
                    network, masks, shrinks, target, f"step{number}")
            except OutOfReach as problem:
                if self.plan.target is not None:
                    raise
                self.stopped = f"step {number}: {problem}"
                break
            right = self.training.accuracy(network)
            if self.plan.forbids(right):
                self.stopped = (f"step {number}: accuracy {right:.4f} is below the "
                                f"floor {self.plan.accuracy_floor:g}")
                break
            best = (network, masks, shrinks, met, right)
            self.epochs = len(self.training.history)
        if best[-1] is None:        # no step was taken
            best = (*best[:-1], self.training.accuracy(best[0]))
        return self.result(*best)

    def _mask(self, before, masks, shrinks, target, name):
        """One step that zeroes weights: choose, train, settle."""
        try:
            problem, network, masks, met = self._tried(before, masks, target)
        except OutOfReach as refused:
            if self.plan.target is not None and isinstance(target, Energy):
                self._refuse(before, masks, target, refused)
            raise
        if self.method.own_levels:
            self.training.train(network, masks, name)
            return network, masks, shrinks, None
        if not problem.trains:
            self.spared = problem.spared
            return network, masks, shrinks, met
        midway = SettlingMasks(masks, problem, self.training.folder_of(name))
        self.training.train(network, midway, name, midway=midway if isinstance(
            target, Energy) else None)
        with telling(self.shared.progress) as problem.tell:
            masks, met = settle(problem, network, midway.masks)
        self.spared = problem.spared
        return network, masks, shrinks, met

    def _tried(self, before, within, target, epochs=None):
        """A step without its training: masks chosen, and their energy measured.

        Returns
        -------
        problem : Problem
        network : torch.nn.Module
            Under its masks.
        masks : Masks
        met : float or None
            What is measured at the end, if there is no training.

        Raises
        ------
        OutOfReach
        """
        network = copy.deepcopy(before)
        problem = self._problem(network, within, target, epochs)
        masks = self._choose(problem)
        by_energy = isinstance(target, Energy)
        if self.method.at_init and problem.trains and by_energy:
            # Once more, by the zeros that the pruned network will have.
            masks.apply(network)
            problem = self._problem(
                copy.deepcopy(before), problem.within, target,
                zeros_of=recalibrated(network, self.shared.images))
            masks = self._choose(problem)
            network = problem.model
        masks.apply(network)
        if self.method.own_levels:
            return problem, network, masks, None
        returned, met = dict(before.named_parameters()), None
        with telling(self.shared.progress) as problem.tell:
            if not problem.trains:
                masks, met = settle(problem, network, masks, returned)
            elif by_energy:
                check_reachable(problem, network, masks, returned)
        problem.tell = silent
        return problem, network, masks, met

    def _check_last_step(self, network, masks, meter, target):
        """Refuse a target that can't be reached before any step is trained for it."""
        if self.training.recipe is None and target.share >= meter.floor:
            return
        try:
            self._tried(network, masks, target)
        except OutOfReach as refused:
            if isinstance(target, Energy):
                self._refuse(network, masks, target, refused)
            raise

    def _refuse(self, before, within, target, refused):
        """Refuse an energy with the least that the same step, tried, would meet.

        The step is tried with and without normalisations that follow, where there is
        training: what it makes of the activations nobody knows.
        """
        meter = self._meter(before)
        tried, ask, met = refused.tried, rounded_up(refused.tried), None
        for _ in range(MOST_TRIED):
            if not target.share < ask < meter.share(within):
                break
            try:
                for epochs in (0,) if self.training.recipe is None else (None, 0):
                    found = self._tried(before, within, Energy(ask), epochs)
            except OutOfReach as again:
                if met is not None:
                    break
                tried = max(tried, again.tried)
                ask = max(ask + 1e-3, rounded_up(tried))
                continue
            met, tried = ask, found[-1]
            ask = min(rounded_up(tried), ask - 1e-3)
        floor = meter.floor if target.share < meter.floor else None
        refuse(str(target), meter.unit, tried, floor, ask=ask if met is None else met)

    def _shrink(self, network, masks, shrinks, target, name):
        """One step to a smaller network; again where training made zeros rarer.

        Again for one epoch, and if need be without one: then it is met.
        """
        for ending, epochs in (("", None), ("_again", 1), ("_last", 0)):
            problem = self._problem(copy.deepcopy(network), masks, target, epochs)
            chosen = self._choose(problem)
            self.held = problem.held
            network = smaller(problem.model, self.shared.images, chosen)
            shrinks = (*shrinks, chosen)
            masks = Masks.of(network, prunable(network))
            if epochs != 0:
                self.training.train(network, masks, name + ending, epochs)
            met = problem.cost(network)
            if met <= target.share:
                break
        return network, masks, shrinks, met

    def _targets(self, meter, masks):
        if self.method.own_levels:
            return [None]
        if self.method.shrinks:
            return [self.plan.target]
        return self.plan.targets(meter.share(masks), meter.floor)

    def _meter(self, network):
        if self.method.own_levels:
            return None
        return meter_of(
            self.plan.target or Energy(1), network, self.prunables,
            self.baseline.reference, self.shared.oracle, self.shared.few_images)

    def _problem(self, network, masks, target, epochs=None, zeros_of=None):
        # A layer that does not run is not in a network of fewer channels.
        has = dict(network.named_parameters())
        prunables = {name: one for name, one in self.prunables.items() if name in has}
        return Problem(
            network, prunables, self.baseline.reference, self.shared.oracle,
            self.shared.images, target, masks, self.shared.seed,
            len(self.shared.few_images), self.training.trains(epochs),
            self.thinned_next, zeros_of, empty_layers=self.shared.empty_layers)

    def _choose(self, problem):
        with telling(self.shared.progress) as problem.tell:
            problem.tell(f"{self.method.name}: choosing")
            chosen = self.method.choose(problem, **self.options)
        problem.tell = silent
        if problem.floor is not None:
            self.floor = problem.floor
        return chosen

    def result(self, network: torch.nn.Module, masks: Masks, shrinks: tuple,
               met: float | None, right: float | None) -> Pruned:
        """The network that was kept, its costs, and how it came about."""
        summary, layers = describe(network, self.baseline, self.method.filter_code)
        report = {
            "method": self.method.name, "target": None, "met": met, "floor": self.floor,
            "accuracy": right, "seed": self.shared.seed, **summary}
        if self.stopped:
            report["stopped"] = self.stopped
        if self.held:
            report["held_channels"] = "; ".join(
                f"{layer}: {reason}" for layer, reason in self.held.items())
        if self.spared:
            report["kept_alive"] = ", ".join(
                self.prunables[name].layer for name in self.spared)
        return Pruned(network, masks, shrinks, report, layers,
                      self.training.history, self.baseline,
                      tuple(self.shared.images.shape[1:]))


def check_images(model: torch.nn.Module, images: torch.Tensor) -> None:
    """Refuse data that the model does not take."""
    device = next(model.parameters()).device
    was = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(images[:1].to(device))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError) as problem:
        told = str(problem) or type(problem).__name__       # a bare assert says nothing
        raise ValueError(f"{type(model).__name__} does not take images of shape "
                         f"{tuple(images.shape)}: {told.splitlines()[0]}"
                         ) from problem
    finally:
        model.train(was)
