"""prune(): the one call from a network and a target to a pruned, trained network."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path

import torch

from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.plain import plain
from pruning.control_run import Control
from pruning.controls import check_control
from pruning.identity import images_hash, judge
from pruning.loaders import Loaders
from pruning.method_run import MethodRun, Plan, Shared, Start
from pruning.methods import check_steps, find_method, options_by_method
from pruning.prunable import uncompiled
from pruning.pruned import Pruned
from pruning.recipe import Recipe, Recipes, recipe_of, recipes_as_dict
from pruning.report import Baseline, check_oracles
from pruning.result import begun, weights_hash
from pruning.smaller import Step
from pruning.step_training import StepTraining
from pruning.targets import Target


def prune(model: torch.nn.Module, method: str = "energy_aware",
          target: Target | Sequence[Target] | None = None, *, data: Loaders | Iterable,
          oracle: EnergyOracle | None = None, recipe: Recipes = None,
          steps: int = 1, schedule: str = "geometric",
          accuracy_floor: float | None = None, control: str | None = None,
          dense_epochs: int | None = None, make_fresh: Callable | None = None,
          teacher: torch.nn.Module | None = None, baseline: Baseline | None = None,
          shrinks: Sequence[Step] = (), fresh_recipe: Recipe | None = None,
          include: Iterable[str] = ("*",), exclude: Iterable[str] = (), seed: int = 0,
          calibration: int = 512, empty_layers: bool = False,
          folder: str | Path | None = None, device: str | None = None,
          progress: bool | Callable | None = None, reports: dict | None = None,
          **options) -> Pruned:
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
        What an energy is of; ``eap_tool`` at batch 1 unless given.
    recipe : Recipe or dict of str to Recipe, optional
        How the network is trained after each step; without one it is not. In a
        composition each method may have one of its own, by its name.
    steps : int
        Steps from the present cost to the target.
    schedule : {"geometric", "cubic"}
    accuracy_floor : float, optional
        Share of ``data.choose``'s images. A step that ends below it is taken back, and
        the network of the step before is the result.
    control : str, optional
        One of ``pruning.controls.CONTROLS``: prune, then train that control instead.
    dense_epochs : int, optional
        Epochs of the given model's training; for controls from fresh weights.
    make_fresh : callable, optional
        Gives a network with fresh weights for such controls; by default the
        modules' ``reset_parameters`` do.
    fresh_recipe : Recipe, optional
        Training of such controls, but for its epochs: a rung's learning rate is too
        low for fresh weights. ``recipe`` unless given.
    teacher : torch.nn.Module, optional
        The dense network, for a recipe that distils; the given model unless it is one
        of fresh weights.
    baseline : Baseline, optional
        Costs of the dense network, where ``model`` is one that was pruned before.
    shrinks : tuple of pruning.smaller.Step
        Steps by which the model became smaller before.
    include, exclude : sequence of str
        Patterns of layer names.
    seed : int
    calibration : int
        Images that calibrate.
    empty_layers : bool
        Whether a layer may lose its last weight. Else the one that would go last stays,
        and the report says of which layers.
    folder : str or Path, optional
        Folder in which trainings keep their state, to be resumed by the same call
        alone.
    device : str, optional
        Device of ``fit``; only trainings move there.
    progress : bool or callable, optional
        Whether trainings, and what is done between them, are shown on stderr; unless
        given, where that is a terminal. A callable is told instead, a line at a time.
    reports : dict of str to EnergyOracle, optional
        What the report tells energies on, by the name that ends its columns:
        ``{"mine": EnergyOracle("mine.toml")}`` gives ``total_uJ_mine``. Unless given,
        ``eap_tool``, ``eyeriss_chip`` and ``preset_dense``, at batch 1 and 16.
    **options
        Options of the method; in a composition ``"channels.per_energy"``, or without
        the name for all methods that have it.

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
    >>> import torch
    >>> from pruning import Energy
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
    targets: list = [*target] if isinstance(target, (list, tuple)) else [target]
    shared = Shared(Loaders.of(data), oracle or EnergyOracle("eap_tool"), include,
                    exclude, seed, calibration, empty_layers, progress, reports)
    _check_call(method, targets, shared, control, steps)
    plans = [Plan(wanted, steps, schedule, accuracy_floor) for wanted in targets]
    asked = {
        "method": method, "target": [str(one) for one in targets], "steps": steps,
        "schedule": schedule, "control": control, "seed": seed,
        "include": list(include), "exclude": list(exclude),
        "calibration": calibration, "recipe": recipes_as_dict(recipe),
        "options": {key: str(value) for key, value in options.items()},
        "accuracy_floor": accuracy_floor, "dense_epochs": dense_epochs,
        "empty_layers": empty_layers,
        "fresh_recipe": fresh_recipe and fresh_recipe.as_dict(),
        "teacher": teacher if teacher is None else weights_hash(teacher),
        **judge(shared.oracle), "model": weights_hash(model)}
    if folder:
        # Images by content: loaders that draw them anew must heed torch's seed.
        asked["calibration_images"] = images_hash(shared.images)
    if teacher is None and not find_method(names[0]).at_init:
        teacher = model
    start = Start(model, tuple(shrinks), baseline)
    instead = control and Control(
        control, start, dense_epochs, make_fresh, fresh_recipe)
    with begun(folder, asked, "pruning.json") if folder else nullcontext():
        found = _run_in_turn(
            names, options_by_method(names, options), plans, start, shared, instead,
            lambda name: StepTraining(
                shared.data, recipe_of(recipe, name.rstrip("0123456789")), teacher,
                Path(folder) / name if folder else None, device, progress))
    found.report.update(method=method, target="+".join(
        str(one) for one in targets if one is not None) or None)
    return found


def _check_call(method, targets, shared, control, steps):
    """Refuse what prune() can't work with, before any work is done."""
    names = method.split("+")
    if len(targets) != len(names):
        raise ValueError(f"{method}: {len(names)} methods need as many targets, got "
                         f"{len(targets)}")
    find_method(names[0])
    if not isinstance(shared.oracle, EnergyOracle):
        raise ValueError(f"an oracle is needed, as EnergyOracle('eap_tool'); got "
                         f"{shared.oracle!r}")
    if not isinstance(shared.calibration, Integral) or shared.calibration < 1:
        raise ValueError("calibration must be a whole number of images, at least 1, "
                         f"got {shared.calibration!r}")
    if shared.reports is not None:
        check_oracles(shared.reports)
    check_control(control)
    check_steps(names, steps)


def _run_in_turn(names, options, plans, start, shared, control, training_of):
    """The methods of a composition, each on the network of the one before.

    Parameters
    ----------
    names : list of str
    options, plans
        One a method.
    start : Start
    shared : Shared
    control : Control or None
        In place of the last method's network.
    training_of : callable
        Gives the StepTraining of a method, by the name of its folder.

    Returns
    -------
    Pruned
    """
    found, trained, history = start, 0, []
    stopped: list[str] = []
    for number, (name, own, plan) in enumerate(
            zip(names, options, plans, strict=True), 1):
        again = number if name in names[:number - 1] else ""  # has its own trainings
        later = names[number:]
        run = MethodRun(
            find_method(name), own, plan, found, shared, training_of(f"{name}{again}"),
            any(not find_method(one).shrinks for one in later))
        found = run.prune() if later or not control else control.run(run, trained)
        trained += run.epochs
        stopped += [f"{name} {run.stopped}"] if run.stopped else []
        history += [{**row, "step": f"{name} {row['step']}"} for row in found.history]
    if len(names) > 1:
        found.history = history
        found.report.update({"stopped": "; ".join(stopped)} if stopped else {})
    return found
