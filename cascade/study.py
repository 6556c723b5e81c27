"""Chains of the levels of a study: what each router and chain makes of each image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from cascade.costs import NetworkCosts, Strata, difficulties, module_cost, network_costs
from cascade.curve import ImageCosts, ThresholdCurve, charge, threshold_curve
from cascade.levels import Level, check_same_task
from cascade.oracles import as_oracle, name_of
from cascade.outputs import Outputs, check_disjoint, content_hash, outputs_of
from cascade.routers import (
    Lesson,
    Router,
    TooFewToLearn,
    find_router,
    kind_and_tap,
    router_names,
)
from cascade.routers.files import read_router, save_router, source_hash
from cascade.stages import check_threshold
from cascade.taps import Tap, find_taps
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.read_only import read_only
from eyeriss_sim.version import VERSION

ROUTER_IMAGES = 64      # that measure the zeros of what a router's layers see
LESSON = 10_000         # images that the networks were fitted to, for routers


@dataclass(frozen=True)
class Choice:
    """A chain of a study's levels: stages in order, a router and threshold between.

    Parameters
    ----------
    levels : tuple of int
        Places among the study's levels, the first to run first: (aggressive, mild).
    routers : tuple of str
        One before each next stage, by its name in :data:`cascade.routers.ROUTERS`, with
        ``@TAP`` where it sees features: ``margin``, ``selector@relu_2``,
        ``selector@relu_2+logits``.
    thresholds : tuple of float
        One a router.

    Raises
    ------
    ValueError
        Other numbers of routers and thresholds than of next stages.
    """

    levels: tuple[int, ...]
    routers: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()

    def __post_init__(self):
        if not self.levels or not (
                len(self.routers) == len(self.thresholds) == len(self.levels) - 1):
            raise ValueError(f"a choice of {len(self.levels)} levels, "
                             f"{len(self.routers)} routers, {len(self.thresholds)} "
                             "thresholds; a router and a threshold go before each next "
                             "level")
        for threshold in self.thresholds:
            check_threshold(threshold)

    @property
    def steps(self) -> list[tuple[int, int, str]]:
        """Level, next level and router of each step of the chain."""
        return list(zip(self.levels[:-1], self.levels[1:], self.routers, strict=True))


class Study:
    """Levels, images and an oracle; all outputs, routers and costs.

    Parameters
    ----------
    levels : sequence of Level
        The dense network first, then levels of one ladder or several, whatever their
        architecture: they need only take the same images and tell the same classes.
        Kept in the order of what they cost by this oracle, dearest first; those that
        cost the same stay as given.
    parts : dict of str to (images, labels)
        ``selector`` and ``choosing``, normalised as the networks take them, and
        ``test`` where it may be looked at. ``fit``, where it is there, is compared
        with them, and routers that learn from it see ``LESSON`` of its images.
    oracle : EnergyOracle or str
        What prices networks, with the batch that runs together; a preset's name or a
        TOML file stands for one of batch 1.
    batch : int, optional
        Another batch than the oracle's.
    cache : str or Path, optional
        A folder that keeps outputs, selectors and costs.
    progress : callable, optional
        Called with one line of text before each long step.

    Raises
    ------
    ValueError
        Parts that share images, or have other labels than images; levels of other
        classes or images, or in training mode; an unknown hardware.
    """

    def __init__(self, levels: Sequence[Level],
                 parts: dict[str, tuple[torch.Tensor, torch.Tensor]],
                 oracle: EnergyOracle | str = "eap_tool", batch: int | None = None, *,
                 cache: str | Path | None = None,
                 progress: Callable[[str], None] | None = None):
        for name in ("selector", "choosing"):
            if name not in parts:
                raise ValueError(f"a cascade needs {name} images; there are "
                                 + ", ".join(parts))
        self.oracle = as_oracle(oracle, batch)      # what is wrong is told at once
        self.hardware, self.batch = name_of(self.oracle), self.oracle.batch
        self.tell = progress or (lambda text: None)
        self.tell("comparing the parts' images")
        check_disjoint({name: images for name, (images, _) in parts.items()})
        self.levels = list(levels)
        if len(self.levels) < 2:
            raise ValueError("a cascade needs the dense network and at least one level")
        for level in self.levels:
            if any(module.training for module in level.network.modules()):
                raise ValueError(f"{level.name} is in training mode: its answers "
                                 "depend on the batch; call .eval() first")
        self.parts = {name: part for name, part in parts.items() if name != "fit"}
        self._fit = parts.get("fit")
        self.cache = None if cache is None else Path(cache)
        shape = parts["choosing"][0].shape[1:]
        for name, (images, labels) in parts.items():
            if images.shape[1:] != shape or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{name}: images {tuple(images.shape)}, labels "
                    f"{tuple(labels.shape)}; one label an image, and images of shape "
                    f"{tuple(shape)}, are needed")
        check_same_task(self.levels, shape)
        for level in self.levels:
            dtype = next(level.network.parameters()).dtype
            for name, (images, _) in self.parts.items():
                if images.dtype != dtype:
                    raise ValueError(
                        f"{name}: images of {images.dtype}, but the weights of "
                        f"{level.name} are {dtype}; convert the images")
        self.taps = [find_taps(level.network, shape) for level in self.levels]
        self.outputs = []
        for level in self.levels:
            self.tell(f"outputs of {level.name}")
            self.outputs.append({
                name: outputs_of(level.network, images, labels, self.cache)
                for name, (images, labels) in self.parts.items()})
        classes = self.outputs[0]["choosing"].logits.shape[1]
        for name, (_, labels) in self.parts.items():
            if labels.min() < 0 or labels.max() >= classes:
                raise ValueError(f"{name}: labels {int(labels.min())} to "
                                 f"{int(labels.max())}; the networks know 0 to "
                                 f"{classes - 1}")
        self._fit_outputs: dict[int, Outputs] = {}      # by the level's id
        self._routers: dict[tuple, Router | None] = {}
        self._router_costs: dict[tuple, tuple[float, float]] = {}
        self._sort()

    def mean_energy(self, level: int) -> float:
        """Energy of an image in a level alone, uJ: the mean of all groups of images."""
        return float(self.costs[level][0].part(batch=self.batch).mean())

    def _sort(self):
        """Order the rungs, dearest first: what is cheap differs between machines."""
        energies = [self.mean_energy(place) for place in range(len(self.levels))]
        places = sorted(range(1, len(energies)), key=lambda place: -energies[place])
        for name in ("levels", "taps", "outputs", "costs"):
            held = getattr(self, name)
            setattr(self, name, [held[0], *(held[place] for place in places)])

    @cached_property
    def strata(self) -> Strata:
        """Groups of the choosing images, by how hard all levels find them."""
        return Strata.of(self.parts["choosing"][0], self.difficulty("choosing"))

    def difficulty(self, part: str) -> np.ndarray:
        """Difficulty of each image of a part; :func:`cascade.costs.difficulties`."""
        return difficulties([one[part].logits for one in self.outputs])

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """The group of each image, by part."""
        return {part: read_only(self.strata.group_of(self.difficulty(part)))
                for part in self.parts}

    @cached_property
    def costs(self) -> list[tuple[NetworkCosts, NetworkCosts]]:
        """Energy and latency of each level."""
        batches = [1]
        while batches[-1] < self.batch:
            batches.append(min(2 * batches[-1], self.batch))
        found = []
        for level in self.levels:
            self.tell(f"simulating {level.name} on {self.hardware}")
            found.append(network_costs(level.network, self.strata, self.oracle,
                                       batches, self.cache))
        return found

    @cached_property
    def reference(self) -> tuple[float, ...]:
        """Mean cost of a choosing image in the dense network, uJ and ms."""
        groups = self.groups["choosing"]    # not even, where images tie
        return tuple(float(costs.part(batch=self.batch)[groups].mean())
                     for costs in self.costs[0])

    def routers(self, first: int) -> list[str]:
        """Names of the routers that a level offers as a stage before another."""
        names = router_names([tap.name for tap in self.taps[first]])
        return [name for name in names if self._fit is not None
                or find_router(name).learns_from != "fit"]

    def router(self, first: int, following: int, name: str) -> Router | None:
        """A router between two levels, trained, or read, when first asked for.

        Returns
        -------
        cascade.routers.Router or None
            None where too few images need the following level to learn from.
        """
        kind = find_router(name)
        if not kind.learns():
            return kind()
        key = first, following, name
        if key not in self._routers:
            self._routers[key] = self._trained(kind, *key)
        return self._routers[key]

    def router_of(self, first: int, following: int, name: str) -> Router:
        """The same router, of levels that have it.

        Raises
        ------
        ValueError
            Too few images need the following level to learn from.
        """
        router = self.router(first, following, name)
        if router is None:
            raise ValueError(f"router {name}: too few images need "
                             f"{self.levels[following].name} after "
                             f"{self.levels[first].name} to learn from; take another "
                             "router")
        return router

    def _trained(self, kind, first, following, name):
        some, other = (self._lesson_of(kind, name, level)
                       for level in (first, following))
        lesson = Lesson(None if kind.at_taps == "none" else some.summaries[
            self.tap_of(first, name).name], some.logits, other.logits, some.labels)
        path, source = None, source_hash(kind)
        if self.cache is not None and source is not None:
            key = content_hash([one for one in (
                lesson.summary, lesson.logits, lesson.next_logits, lesson.labels)
                if one is not None])[:24]
            # Another version, or another text of its file, may train it otherwise.
            path = self.cache / (f"router_{VERSION}_{kind_and_tap(name)[0]}_"
                                 f"{source[:12]}_{key}.safetensors")
            if path.exists():
                return read_router(path, kind)
        try:
            router = kind.trained(lesson).eval()
        except TooFewToLearn:
            return None
        if path is not None:
            save_router(path, router)
        return router

    def _lesson_of(self, kind, name, level):
        """Outputs of a level for the images that a router learns from."""
        if kind.learns_from != "fit":
            return self.outputs[level][kind.learns_from]
        if self._fit is None:
            raise ValueError(f"router {name} learns from images that the networks were "
                             "fitted to; give the study a part fit")
        level = self.levels[level]
        if id(level) not in self._fit_outputs:
            images, labels = self._fit
            step = -(-len(images) // LESSON)
            self.tell(f"outputs of {level.name} for {len(images[::step])} images that "
                      "it was fitted to")
            self._fit_outputs[id(level)] = outputs_of(
                level.network, images[::step], labels[::step], self.cache)
        return self._fit_outputs[id(level)]

    def tap_of(self, first: int, name: str) -> Tap:
        """The tap at which a router looks; the last for those that see logits alone."""
        wanted = kind_and_tap(name)[1]
        for tap in self.taps[first]:
            if tap.name == wanted:
                return tap
        return self.taps[first][-1]

    def summary(self, first: int, name: str, part: str) -> torch.Tensor | None:
        """Pooled features that a router sees of a part; None: it sees logits alone."""
        if find_router(name).at_taps == "none":
            return None
        return self.outputs[first][part].summaries[self.tap_of(first, name).name]

    def scores(self, first: int, following: int, name: str, part: str) -> np.ndarray:
        """The router's score of each image, float64, shape (N,)."""
        router = self.router_of(first, following, name)
        with torch.no_grad():
            found = router.of_inputs(router.inputs(
                self.summary(first, name, part),
                self.outputs[first][part].logits)).double().numpy()
        if found.shape != (len(self.parts[part][0]),) or not (
                (found >= 0) & (found <= 1)).all():
            raise ValueError(f"router {name}: scores of shape {found.shape}, from "
                             f"{found.min():g} to {found.max():g}; one an image, in 0 "
                             "to 1, is needed")
        return found

    def router_cost(self, first: int, following: int, name: str,
                    batch: int | None = None) -> tuple[float, float]:
        """Energy and latency of an image in the router, uJ and ms, in a full batch."""
        key, batch = (first, following, name), batch or self.batch
        if (key, batch) not in self._router_costs:
            layers = self.router_of(*key).charged_layers()
            self._router_costs[key, batch] = (
                (0.0, 0.0) if layers is None else module_cost(
                    layers, self.router_inputs(*key), self.oracle.with_batch(batch)))
        return self._router_costs[key, batch]

    def router_inputs(self, first: int, following: int, name: str) -> torch.Tensor:
        """Inputs of a router's layers for some choosing images, for their zeros."""
        summary = self.summary(first, name, "choosing")
        return self.router_of(first, following, name).inputs(
            None if summary is None else summary[:ROUTER_IMAGES],
            self.outputs[first]["choosing"].logits[:ROUTER_IMAGES])

    def chain_costs(self, levels: Sequence[int], routers: Sequence[str], part: str,
                    unit: int = 0) -> list[ImageCosts]:
        """Cost of each image of a part in each stage of a chain.

        Parameters
        ----------
        levels : sequence of int
        routers : sequence of str
            One fewer. The first network and its router run in full batches, later
            ones for as many of a batch as come to them.
        part : str
        unit : {0, 1}
            Energy, latency.

        Returns
        -------
        list of ImageCosts
            Shares of the dense network's cost.
        """
        found, reference = [], self.reference[unit]
        groups = self.groups[part]
        for number, level in enumerate(levels):
            costs, front, router = self.costs[level][unit], None, 0.0
            batch = self.batch if number == 0 else 1
            if number < len(routers):
                name = routers[number]
                router = self.router_cost(level, levels[number + 1], name, batch)[unit]
                front = (costs.layer_names if find_router(name).needs_logits
                         else self.tap_of(level, name).layer_names)
            rest = [] if front is None else [
                layer for layer in costs.layer_names if layer not in front]
            asked = (costs.part(front, batch) + router) / reference
            back = costs.part(rest, batch) / reference
            share_of = self._share_of if number else self._share_of_full
            found.append(ImageCosts(
                asked[groups], back[groups],
                share_of(level, unit, front) if number else np.ones_like,
                share_of(level, unit, rest)))
        return found

    def _share_of(self, level, unit, names):
        """Shares of images that come to some layers, to what one costs over alone."""
        return lambda share: self.costs[level][unit].expected_share(
            share, self.batch, names)

    def _share_of_full(self, level, unit=0, names=None):
        """Shares of images that come to some layers, to what one costs over all."""
        costs = self.costs[level][unit]
        full = costs.expected_share(np.ones(1), self.batch, names)
        return lambda share: costs.expected_share(share, self.batch, names) / full

    def part_of_batch(self, level: int) -> Callable[[np.ndarray], np.ndarray]:
        """Shares of images that come to a level, to an image's energy over all's."""
        return self._share_of_full(level)

    def level(self, level: int, part: str,
              unit: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """A single level: whether each image is right, and what it costs."""
        cost = self.costs[level][unit].part(batch=self.batch) / self.reference[unit]
        return self.outputs[level][part].right.numpy(), cost[self.groups[part]]

    def threshold_curve(self, first: int, following: int, name: str,
                        part: str = "choosing") -> ThresholdCurve:
        """Two levels and a router at every threshold."""
        return threshold_curve(
            self.scores(first, following, name, part),
            self.outputs[first][part].right.numpy(),
            self.outputs[following][part].right.numpy(),
            self.chain_costs((first, following), (name,), part))

    def answering(self, choice: Choice, part: str) -> np.ndarray:
        """Stage of a chain that answers each image, int64, shape (N,)."""
        stages = np.zeros(len(self.parts[part][0]), np.int64)
        for number, (step, threshold) in enumerate(
                zip(choice.steps, choice.thresholds, strict=True)):
            goes = (stages == number) & (self.scores(*step, part) > threshold)
            stages += goes
        return stages

    def system(self, choice: Choice, part: str,
               unit: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Results of a chain for each image.

        Returns
        -------
        right : bool ndarray, shape (N,)
        costs : float64 ndarray, shape (N,)
            Shares of the dense network's cost.
        stages : int64 ndarray, shape (N,)
            Which stage answers.
        """
        stages = self.answering(choice, part)
        rights = np.stack([self.outputs[level][part].right.numpy()
                           for level in choice.levels])
        costs = self.chain_costs(choice.levels, choice.routers, part, unit)
        return (rights[stages, np.arange(len(stages))], charge(costs, stages), stages)

    def worst(self, choice: Choice, part: str) -> tuple[float, float]:
        """Cost of an image that goes through all stages, alone: mean of a part.

        Returns
        -------
        float
            Energy, as a share of what the dense network needs for an image alone.
        float
            Latency, ms.
        """
        found = []
        for unit in (0, 1):
            total, groups = 0.0, self.groups[part]
            for number, level in enumerate(choice.levels):
                layers = None
                if number < len(choice.routers):
                    name = choice.routers[number]
                    if not find_router(name).needs_logits:
                        layers = self.tap_of(level, name).layer_names
                    total += self.router_cost(*choice.steps[number], batch=1)[unit]
                total += self.costs[level][unit].part(layers)[groups].mean()
            found.append(float(total))
        alone = self.costs[0][0].part()[self.groups["choosing"]].mean()
        return found[0] / float(alone), found[1]

    def check_order(self, choice: Choice) -> None:
        """Refuse a chain in which a stage costs more than the next one.

        Raises
        ------
        ValueError
            What both cost an image by this study's oracle.
        """
        for first, following, _ in choice.steps:
            needs = [self.mean_energy(level) for level in (first, following)]
            if needs[0] > needs[1]:
                names = [self.levels[level].name for level in (first, following)]
                raise ValueError(
                    f"pair {names[1]}, {names[0]}: {names[0]} needs {needs[0]:.4g} uJ "
                    f"an image on {self.hardware}, {names[1]}, which is to answer what "
                    f"it can not, {needs[1]:.4g}; swap them")
