"""prune(): the one call from a network and a target to a pruned, trained network."""

import copy
import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from pathlib import Path

import pandas as pd
import torch

from eyeriss_sim.codes import WORD_BITS
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.plain import plain
from eyeriss_sim.widths import BITS_16
from pruning.calibration import recalibrated
from pruning.controls import (
    FROM_FRESH_WEIGHTS, OF_CHANNELS, check_control, control_epochs, control_masks,
    fresh)
from pruning.loaders import Loaders, accuracy
from pruning.masks import Masks
from pruning.meters import meter_of
from pruning.methods import check_steps, find_method, options_by_method
from pruning.problem import Problem
from pruning.progress import silent, telling
from pruning.prunable import prunable, uncompiled
from pruning.report import Baseline, describe
from pruning.result import begun, weights_hash
from pruning.schedules import SCHEDULES
from pruning.selection import OutOfReach, refuse, rounded_up
from pruning.settling import SettlingMasks, check_reachable, settle
from pruning.shrink import shrink
from pruning.targets import Energy, Target
from pruning.training import fit

ZERO_IMAGES = 64        # of the calibration images, that measure zeros
MOST_TRIED = 8          # shares, for the least that can be asked for
PACE = 0.8      # of what is above the floor, a step, where only an accuracy is asked


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


def prune(model, method="energy_aware", target=None, *, data, oracle=None, recipe=None,
          steps=1, schedule="geometric", accuracy_floor=None, control=None,
          dense_epochs=None, make_fresh=None, teacher=None, baseline=None, shrinks=(),
          fresh_recipe=None, include=("*",), exclude=(), seed=0, calibration=512,
          empty_layers=False, folder=None, device=None, progress=False, **options):
    """Prune a network to a share of what it costs.

    Parameters
    ----------
    model : torch.nn.Module
        Trained, or fresh for methods at initialisation. Left as it is. Weights that are
        zero stay so.
    method : str
        One of ``pruning.methods.METHODS``; or two as ``"channels+energy_budget"``, each
        with a target of its own: the second goes on with the first one's network. A
        control is then one of the second; from fresh weights, or dense, one of both.
    target : Target or sequence of them, optional
        Met to one weight or group of channels, or refused. None for methods with levels
        of their own, or with an ``accuracy_floor``: then energy falls, a fifth of what
        is above its floor a step, as long as the accuracy allows.
    data : Loaders or iterable
        Batches of (images, labels), given anew each time.
    oracle : EnergyOracle, optional
        That an energy is of; ``eap_tool`` at batch 1 unless given.
    recipe : Recipe, optional
        How the network is trained after each step; without one it is not.
    steps : int
        From the present cost to the target.
    schedule : {"geometric", "cubic"}
    accuracy_floor : float, optional
        Share of ``data.choose``'s images. A step that ends below it is taken back, and
        the network of the step before is the result.
    control : str, optional
        One of ``pruning.controls.CONTROLS``: prune, then train that control instead.
    dense_epochs : int, optional
        Of the given model's training; for controls from fresh weights.
    make_fresh : callable, optional
        Gives a network with fresh weights for such controls; by default the
        modules' ``reset_parameters`` do.
    fresh_recipe : Recipe, optional
        Of such controls' training, but for its epochs: a rung's learning rate is too
        low for fresh weights. ``recipe`` unless given.
    teacher : torch.nn.Module, optional
        For a recipe that distils: the dense network; the given model unless it is one
        of fresh weights.
    baseline : Baseline, optional
        Of the dense network, where ``model`` is one that was pruned before.
    shrinks : tuple of Masks
        By which channels went before.
    include, exclude : sequence of str
        Patterns of layer names.
    seed : int
    calibration : int
        Images that calibrate.
    empty_layers : bool
        Whether a layer may lose its last weight. Else the one that would go last stays,
        and the report says of which layers.
    folder : str or Path, optional
        Where trainings keep their state, to be resumed by the same call alone.
    device : str, optional
        As ``fit``; only trainings move there.
    progress : bool
        Show trainings, and what is done between them.
    **options
        Of the method; in a composition ``"channels.per_energy"``, or without the name
        for all methods that have it.

    Returns
    -------
    Pruned

    Raises
    ------
    ValueError
        A target that can't be met (with the least reachable), unknown names, a model
        without prunable layers, data of the wrong shape: one line each.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(),
    ...                           torch.nn.Flatten(), torch.nn.Linear(288, 10))
    >>> batch = torch.randn(16, 3, 8, 8), torch.randint(10, (16,))
    >>> half = prune(net, "energy_budget", Energy(0.7), data=[batch])
    >>> round(half.report["met"], 2)
    0.7
    """
    model, teacher = uncompiled(model), uncompiled(teacher)
    steps, seed, calibration, dense_epochs, accuracy_floor = map(
        plain, (steps, seed, calibration, dense_epochs, accuracy_floor))
    names = method.split("+")
    targets = target if isinstance(target, (list, tuple)) else [target]
    if len(targets) != len(names):
        raise ValueError(f"{method}: {len(names)} methods need as many targets, got "
                         f"{len(targets)}")
    common = dict(data=Loaders.of(data), oracle=oracle or EnergyOracle("eap_tool"),
                  recipe=recipe, steps=steps, schedule=schedule,
                  accuracy_floor=accuracy_floor, include=include, exclude=exclude,
                  seed=seed, calibration=calibration, device=device, progress=progress,
                  empty_layers=empty_layers,
                  make_fresh=make_fresh, fresh_recipe=fresh_recipe, teacher=teacher)
    if teacher is None and not find_method(names[0]).at_init:
        common["teacher"] = model
    if not isinstance(common["oracle"], EnergyOracle):
        raise ValueError(f"an oracle is needed, as EnergyOracle('eap_tool'); got "
                         f"{oracle!r}")
    if not isinstance(calibration, Integral) or calibration < 1:
        raise ValueError("calibration must be a whole number of images, at least 1, "
                         f"got {calibration!r}")
    check_control(control)
    check_steps(names, steps)
    asked = {
        "method": method, "target": [str(one) for one in targets], "steps": steps,
        "schedule": schedule, "control": control, "seed": seed,
        "include": list(include), "exclude": list(exclude),
        "calibration": calibration, "recipe": recipe and recipe.as_dict(),
        "options": {key: str(value) for key, value in options.items()},
        "accuracy_floor": accuracy_floor, "dense_epochs": dense_epochs,
        "empty_layers": empty_layers,
        "fresh_recipe": fresh_recipe and fresh_recipe.as_dict(),
        "teacher": teacher if teacher is None else weights_hash(teacher),
        **judge(common["oracle"]), "model": weights_hash(model)}
    if folder:
        # By content: loaders that draw images anew must heed torch's seed.
        asked["calibration_images"] = _digest(
            common["data"].images(calibration, seed))
    found, trained, history, stopped = None, 0, [], []
    with begun(folder, asked, "pruning.json") if folder else nullcontext():
        for place, (name, wanted, own) in enumerate(
                zip(names, targets, options_by_method(names, options)), 1):
            again = place if name in names[:place - 1] else ""  # has its own trainings
            run = _Run(model if found is None else found.network, name, wanted,
                       baseline=found.baseline if found else baseline, options=own,
                       shrinks=found.shrinks if found else shrinks,
                       thinned_next=any(not find_method(later).shrinks
                                        for later in names[place:]),
                       folder=folder and Path(folder) / f"{name}{again}", **common)
            found = run.control(control, dense_epochs, trained, model, shrinks) if (
                control and place == len(names)) else run.prune()
            trained += run.epochs
            stopped += [f"{name} {run.stopped}"] if run.stopped else []
            history += [{**row, "step": f"{name} {row['step']}"}
                        for row in found.history]
    if len(names) > 1:
        found.history = history
        found.report.update({"stopped": "; ".join(stopped)} if stopped else {})
    found.report.update(method=method, target="+".join(
        str(one) for one in targets if one is not None) or None)
    return found


def _digest(images):
    values = images.contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(values.data).hexdigest()[:16]


def judge(oracle):
    """What of an oracle decides which weights go, as JSON takes it."""
    return {"oracle": oracle.hardware.name, "zeros": oracle.hardware.zeros,
            "filter_code": oracle.hardware.filter_code, "batch": oracle.batch,
            "objective": oracle.objective, "oracle_hash": _oracle_hash(oracle)}


def _oracle_hash(oracle):
    """Short digest of a machine's figures, which a file of the same name may change."""
    # Fields at their defaults, and those that change no figure, are left out, so that a
    # new one changes no digest.
    hardware, bits = oracle.hardware, oracle.bits
    idle = set() if hardware.price_by_size else {"priced_sizes"}
    if bits == BITS_16 and hardware.psum_bits == WORD_BITS:
        idle.add("pack")
    machine = []
    for one in fields(hardware):
        value = getattr(hardware, one.name)
        if value != one.default and one.name not in idle:
            machine.append((one.name, float(value) if one.type is float else value))
    text = repr((machine, sorted(bits.items()) if isinstance(bits, dict) else bits,
                 oracle.search, sorted(oracle.mappings.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Run:
    """One method, step by step."""

    def __init__(self, model, method, target, *, data, oracle, recipe, steps, schedule,
                 accuracy_floor, baseline, shrinks, include, exclude, seed, calibration,
                 folder, device, progress, make_fresh, fresh_recipe, teacher, options,
                 thinned_next, empty_layers):
        self.given, self.method, self.target = model, find_method(method), target
        if schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {schedule!r}; known: "
                             + ", ".join(SCHEDULES))
        if accuracy_floor is not None and not 0 <= accuracy_floor <= 1:
            raise ValueError(f"accuracy_floor is a share of the images, 0 to 1, got "
                             f"{accuracy_floor}")
        if accuracy_floor is not None and data.choose is None:
            raise ValueError("an accuracy floor needs images to choose by: "
                             "data=Loaders(fit=..., choose=...)")
        self._check_target(target, accuracy_floor)
        self.data, self.oracle, self.recipe = data, oracle, recipe
        self.steps, self.schedule = steps, schedule
        self.accuracy_floor, self.options = accuracy_floor, options
        self.seed, self.folder, self.device = seed, folder, device
        self.progress = progress
        self.include, self.exclude = include, exclude
        self.prunables = prunable(model, include, exclude, strict=not shrinks)
        self.images = data.images(calibration, seed)
        _check_images(model, self.images)
        self.few = self.images[:ZERO_IMAGES]
        self.baseline = baseline or Baseline.of(
            model, self.prunables, oracle, self.few)
        self.shrinks, self.make_fresh = tuple(shrinks), make_fresh
        self.fresh_recipe, self.teacher = fresh_recipe, teacher
        self.thinned_next, self.empty_layers = thinned_next, empty_layers
        self.spared, self.held = [], {}
        self.history, self.stopped = [], None
        self.epochs = 0     # that the network which is kept was trained

    def _check_target(self, target, accuracy_floor):
        if self.method.own_levels:
            if target is not None:
                raise ValueError(f"{self.method.name} has levels of its own and takes "
                                 "no target; set " + ", ".join(self.method.options))
        elif target is None and accuracy_floor is None:
            raise ValueError(f"{self.method.name} needs a target, as Energy(0.5), or "
                             "an accuracy_floor")
        elif target is None and self.method.shrinks:
            raise ValueError(f"{self.method.name} needs a target: whole channels go in "
                             "one step")
        elif target is not None and not isinstance(target, Target):
            raise ValueError(f"a target is Energy, Density, Macs or Params, got "
                             f"{target!r}")

    def prune(self):
        """All steps; the last one that the accuracy floor allows.

        Where only that floor is asked for, a step that can't be taken is the end, too.
        """
        network = copy.deepcopy(self.given)
        masks = Masks.of(network, self.prunables)
        meter = self._meter(network)
        self.floor = meter and meter.floor
        best = (network, masks, self.shrinks, meter and meter.share(masks), None)
        step = self._shrink if self.method.shrinks else self._mask
        shrinks = self.shrinks
        if self.steps > 1 and self.target is not None and self.method.takes_steps:
            self._check_last_step(network, masks, meter)
        for place, target in enumerate(self._targets(meter, masks), 1):
            try:
                network, masks, shrinks, met = step(
                    network, masks, shrinks, target, f"step{place}")
            except OutOfReach as problem:
                if self.target is not None:
                    raise
                self.stopped = f"step {place}: {problem}"
                break
            right = self._accuracy(network)
            if self.accuracy_floor is not None and right < self.accuracy_floor:
                self.stopped = (f"step {place}: accuracy {right:.4f} is below the "
                                f"floor {self.accuracy_floor:g}")
                break
            best, self.epochs = (network, masks, shrinks, met, right), len(self.history)
        if best[-1] is None:        # no step was taken
            best = (*best[:-1], self._accuracy(best[0]))
        return self._result(*best)

    def _mask(self, before, masks, shrinks, target, name):
        """One step that zeroes weights: choose, train, settle."""
        try:
            problem, network, masks, met = self._tried(before, masks, target)
        except OutOfReach as refused:
            if self.target is not None and isinstance(target, Energy):
                self._refuse(before, masks, target, refused)
            raise
        if self.method.own_levels:
            self._train(network, masks, name)
            return network, masks, shrinks, None
        if not problem.trains:
            self.spared = problem.spared
            return network, masks, shrinks, met
        midway = SettlingMasks(masks, problem, self.folder and self.folder / name)
        self._train(network, midway, name, midway=midway if isinstance(
            target, Energy) else None)
        masks, met = self._settle(problem, network, midway.masks)
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
            Where there is no training: what is measured at the end.

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
                zeros_of=recalibrated(network, self.images))
            masks = self._choose(problem)
            network = problem.model
        masks.apply(network)
        if self.method.own_levels:
            return problem, network, masks, None
        returned, met = dict(before.named_parameters()), None
        with telling(self.progress) as problem.tell:
            if not problem.trains:
                masks, met = settle(problem, network, masks, returned)
            elif by_energy:
                check_reachable(problem, network, masks, returned)
        problem.tell = silent
        return problem, network, masks, met

    def _check_last_step(self, network, masks, meter):
        """Refuse a target that can't be reached before any step is trained for it."""
        if self.recipe is None and self.target.share >= meter.floor:
            return
        try:
            self._tried(network, masks, self.target)
        except OutOfReach as refused:
            if isinstance(self.target, Energy):
                self._refuse(network, masks, self.target, refused)
            raise

    def _refuse(self, before, within, target, refused):
        """Refuse an energy with the least that the same step, tried, would meet.

        With and without normalisations that follow, where there is training: what it
        makes of the activations nobody knows.
        """
        meter = self._meter(before)
        tried, ask, met = refused.tried, rounded_up(refused.tried), None
        for _ in range(MOST_TRIED):
            if not target.share < ask < meter.share(within):
                break
            try:
                for epochs in (0,) if self.recipe is None else (None, 0):
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
        """One step that takes channels away; again where training made zeros rarer.

        Again for one epoch, and if need be without one: then it is met.
        """
        for ending, epochs in (("", None), ("_again", 1), ("_last", 0)):
            problem = self._problem(copy.deepcopy(network), masks, target, epochs)
            chosen = self._choose(problem)
            self.held = problem.held
            chosen.apply(problem.model)
            network = shrink(problem.model, self.images, chosen)
            shrinks = (*shrinks, chosen)
            masks = Masks.of(network, prunable(network))
            if epochs != 0:
                self._train(network, masks, name + ending, epochs)
            met = problem.cost(network)
            if met <= target.share:
                break
        return network, masks, shrinks, met

    def control(self, control, dense_epochs, trained_before, model, shrinks):
        """The masks that pruning finds, and then the control's training under them.

        ``model`` and ``shrinks`` are what the first method of a composition was given.
        """
        if self.recipe is None:
            raise ValueError(f"control {control!r} is a training and needs a recipe")
        if control in FROM_FRESH_WEIGHTS and dense_epochs is None:
            raise ValueError(f"control {control!r} needs dense_epochs, the epochs of "
                             "the dense network's training")
        if self.method.shrinks and control not in OF_CHANNELS:
            raise ValueError(f"control {control!r} is for masks of weights; of a "
                             "network of fewer channels there are "
                             + ", ".join(OF_CHANNELS))
        pruned = self.prune()
        masks = control_masks(control, pruned.masks, self.seed + 1)
        if control == "dense":
            network, gone = copy.deepcopy(model), ()
            masks = Masks.dense(network, prunable(
                network, self.include, self.exclude, strict=not shrinks))
        elif control not in FROM_FRESH_WEIGHTS:
            network, gone = copy.deepcopy(self.given), ()
        elif self.make_fresh is not None:
            network, gone = self.make_fresh(), pruned.shrinks
        else:
            network = fresh(self.given, self.seed + 1)
            gone = pruned.shrinks[len(self.shrinks):]
        for channels in gone:
            network = shrink(network, self.images, channels)
        self.history = []
        # A method for fresh weights has had the whole schedule itself.
        epochs = self.epochs if self.method.at_init else control_epochs(
            control, self.epochs, dense_epochs, trained_before)
        if control in FROM_FRESH_WEIGHTS and self.fresh_recipe is not None:
            self.recipe = self.fresh_recipe
        self._train(network, masks, f"control_{control}", epochs)
        return self._result(
            network, masks, tuple(shrinks) if control == "dense" else pruned.shrinks,
            pruned.report["met"], self._accuracy(network))

    def _targets(self, meter, masks):
        if self.method.own_levels:
            return [None]
        if self.method.shrinks:
            return [self.target]
        start, floor = meter.share(masks), meter.floor
        if self.target is None:
            return _falling(start, floor)
        shares = SCHEDULES[self.schedule](
            start, self.target.share, self.steps, floor)
        return [type(self.target)(share) for share in shares]

    def _meter(self, network):
        if self.method.own_levels:
            return None
        return meter_of(
            self.target or Energy(1), network, self.prunables, self.baseline.reference,
            self.oracle, self.few)

    def _problem(self, network, masks, target, epochs=None, zeros_of=None):
        # A layer that does not run is not in a network of fewer channels.
        has = dict(network.named_parameters())
        prunables = {name: one for name, one in self.prunables.items() if name in has}
        return Problem(network, prunables, self.baseline.reference, self.oracle,
                       self.images, target, masks, self.seed, len(self.few),
                       self.recipe is not None and epochs != 0, self.thinned_next,
                       zeros_of, empty_layers=self.empty_layers)

    def _choose(self, problem):
        with telling(self.progress) as problem.tell:
            problem.tell(f"{self.method.name}: choosing")
            chosen = self.method.choose(problem, **self.options)
        problem.tell = silent
        if problem.floor is not None:
            self.floor = problem.floor
        return chosen

    def _settle(self, problem, *given):
        with telling(self.progress) as problem.tell:
            return settle(problem, *given)

    def _train(self, network, masks, step, epochs=None, midway=None):
        if self.recipe is None or epochs == 0:
            return
        recipe = self.recipe if epochs is None else replace(self.recipe, epochs=epochs)
        with torch.random.fork_rng():
            history = fit(
                network, self.data.fit, recipe, after_step=(masks.project,),
                evaluate=(None if self.data.choose is None
                          else lambda model: accuracy(model, self.data.choose)),
                folder=self.folder and self.folder / step, midway=midway,
                teacher=self.teacher, device=self.device, progress=self.progress)
        # As a network that is loaded again: its last bits decide on zeros.
        network.to("cpu", memory_format=torch.contiguous_format)
        masks.project(network)
        self.history += [{"step": step, **row} for row in history.rows]

    def _accuracy(self, network):
        if self.data.choose is None:
            return None
        return accuracy(network.eval(), self.data.choose)

    def _result(self, network, masks, shrinks, met, right):
        summary, layers = describe(network, self.baseline, self.method.filter_code)
        report = {"method": self.method.name, "target": None, "met": met,
                  "floor": self.floor, "accuracy": right, "seed": self.seed, **summary}
        if self.stopped:
            report["stopped"] = self.stopped
        if self.held:
            report["held_channels"] = "; ".join(
                f"{layer}: {reason}" for layer, reason in self.held.items())
        if self.spared:
            report["kept_alive"] = ", ".join(
                self.prunables[name].layer for name in self.spared)
        return Pruned(network, masks, shrinks, report, layers, self.history,
                      self.baseline)


def _falling(start, floor):
    """Energies, each with a part less above the floor, without end."""
    share = start
    while share - floor > 1e-3:
        share = floor + (share - floor) * PACE
        yield Energy(share)


def _check_images(model, images):
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
