"""Every pair of a ladder with every router: what each makes of each image."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from cascade.costs import Strata, difficulties, module_cost, network_costs
from cascade.curve import Costs, sweep
from cascade.levels import check_pair, pairs
from cascade.oracles import as_oracle, name_of
from cascade.outputs import check_disjoint, content_hash, outputs_of
from cascade.routers import (
    Lesson, TooFewToLearn, find_router, kind_and_tap, router_names)
from cascade.routers.files import read_router, save_router, source_hash
from cascade.taps import taps
from eyeriss_sim.read_only import read_only
from eyeriss_sim.version import VERSION

ROUTER_IMAGES = 64      # that measure the zeros of what a router's layers see


@dataclass(frozen=True)
class Choice:
    """A cascade: a pair of levels, a router, a threshold.

    Parameters
    ----------
    mild, aggressive : int
        Places among the study's levels.
    router : str
        Its name in :data:`cascade.routers.ROUTERS`, with ``@TAP`` where it sees
        features: ``margin``, ``selector@relu_2``, ``selector@relu_2+logits``.
    threshold : float
    """

    mild: int
    aggressive: int
    router: str
    threshold: float


class Study:
    """A ladder, its images, a hardware; all outputs, routers and costs.

    Parameters
    ----------
    levels : sequence of Level
        The dense network first, then the rungs, mildest first. Kept so by what they
        cost on this hardware at this batch; those that cost the same stay as given.
    parts : dict of str to (images, labels)
        ``selector`` and ``choosing``, normalised as the networks take them, and
        ``test`` where it may be looked at. ``fit``, where it is there, is only
        compared with them.
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
        Parts that share images, or have other labels than images; levels that are not
        of one network, or in training mode; an unknown hardware.
    """

    def __init__(self, levels, parts, oracle="eap_tool", batch=None, *, cache=None,
                 progress=None):
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
        self.cache = None if cache is None else Path(cache)
        shape = parts["choosing"][0].shape[1:]
        for name, (images, labels) in parts.items():
            if images.shape[1:] != shape or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{name}: images {tuple(images.shape)}, labels "
                    f"{tuple(labels.shape)}; one label an image, and images of shape "
                    f"{tuple(shape)}, are needed")
        for mild, aggressive in pairs(self.levels):
            check_pair(mild, aggressive, shape)
        for level in self.levels:
            dtype = next(level.network.parameters()).dtype
            for name, (images, _) in self.parts.items():
                if images.dtype != dtype:
                    raise ValueError(
                        f"{name}: images of {images.dtype}, but the weights of "
                        f"{level.name} are {dtype}; convert the images")
        self.taps = [taps(level.network, shape) for level in self.levels]
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
        self._routers, self._router_costs = {}, {}
        self._sort()

    def _sort(self):
        """Order the rungs, dearest first: what is cheap differs between machines."""
        energies = [float(energy.part(batch=self.batch).mean())
                    for energy, _ in self.costs]
        places = sorted(range(1, len(energies)), key=lambda place: -energies[place])
        for name in ("levels", "taps", "outputs", "costs"):
            held = getattr(self, name)
            setattr(self, name, [held[0], *(held[place] for place in places)])

    @cached_property
    def strata(self):
        """Groups of the choosing images, by how hard all levels find them."""
        return Strata.of(self.parts["choosing"][0], self.difficulty("choosing"))

    def difficulty(self, part):
        """Of each image of a part."""
        return difficulties([one[part].logits for one in self.outputs])

    @cached_property
    def groups(self):
        """The group of each image, by part."""
        return {part: read_only(self.strata.place(self.difficulty(part)))
                for part in self.parts}

    @cached_property
    def costs(self):
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
    def reference(self):
        """uJ, and ms, of an image in the dense network: the mean of all choosing."""
        places = self.groups["choosing"]    # not even, where images tie
        return tuple(float(one.part(batch=self.batch)[places].mean())
                     for one in self.costs[0])

    def routers(self, aggressive):
        """Names of the routers that a level offers as the aggressive one."""
        return router_names([tap.name for tap in self.taps[aggressive]])

    def router(self, mild, aggressive, name):
        """The router itself; one that learns is trained, or read, when first asked for.

        Returns
        -------
        cascade.routers.Router or None
            None where too few images need the mild network to learn from.
        """
        kind = find_router(name)
        if not kind.learns():
            return kind()
        key = mild, aggressive, name
        if key not in self._routers:
            self._routers[key] = self._trained(kind, *key)
        return self._routers[key]

    def _trained(self, kind, mild, aggressive, name):
        some = self.outputs[aggressive]["selector"]
        other = self.outputs[mild]["selector"]
        lesson = Lesson(self.summary(aggressive, name, "selector"), some.logits,
                        other.logits, some.labels)
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

    def tap_of(self, aggressive, name):
        """The tap at which a router looks; the last for those that see logits alone."""
        wanted = kind_and_tap(name)[1]
        for tap in self.taps[aggressive]:
            if tap.name == wanted:
                return tap
        return self.taps[aggressive][-1]

    def summary(self, aggressive, name, part):
        """Pooled features that a router sees of a part; None: it sees logits alone."""
        if find_router(name).at_taps == "none":
            return None
        return self.outputs[aggressive][part].summaries[
            self.tap_of(aggressive, name).name]

    def scores(self, mild, aggressive, name, part):
        """The router's score of each image, float64 ndarray, shape (N,)."""
        router = self.router(mild, aggressive, name)
        with torch.no_grad():
            found = router.of_inputs(router.inputs(
                self.summary(aggressive, name, part),
                self.outputs[aggressive][part].logits)).double().numpy()
        if found.shape != (len(self.parts[part][0]),) or not (
                (found >= 0) & (found <= 1)).all():
            raise ValueError(f"router {name}: scores of shape {found.shape}, from "
                             f"{found.min():g} to {found.max():g}; one an image, in 0 "
                             "to 1, is needed")
        return found

    def router_cost(self, mild, aggressive, name):
        """uJ, and ms, of an image in the router."""
        key = mild, aggressive, name
        if key not in self._router_costs:
            layers = self.router(*key).charged_layers()
            self._router_costs[key] = (0.0, 0.0) if layers is None else module_cost(
                layers, self.router_inputs(*key), self.oracle)
        return self._router_costs[key]

    def router_inputs(self, mild, aggressive, name):
        """What a router's layers see of some choosing images, for their zeros."""
        summary = self.summary(aggressive, name, "choosing")
        return self.router(mild, aggressive, name).inputs(
            None if summary is None else summary[:ROUTER_IMAGES],
            self.outputs[aggressive]["choosing"].logits[:ROUTER_IMAGES])

    def pair_costs(self, mild, aggressive, name, part, unit=0):
        """What each image of a part costs, of the dense network's.

        Parameters
        ----------
        mild, aggressive : int
        name : str
            Of the router.
        part : str
        unit : {0, 1}
            Energy, latency.

        Returns
        -------
        Costs
        """
        of, reference = self.costs[aggressive][unit], self.reference[unit]
        groups = self.groups[part]
        front = (of.layers if find_router(name).needs_logits
                 else self.tap_of(aggressive, name).layers)
        rest = [layer for layer in of.layers if layer not in front]
        router = self.router_cost(mild, aggressive, name)[unit]
        other = self.costs[mild][unit]
        return Costs(
            ((of.part(front, self.batch) + router) / reference)[groups],
            (of.part(rest, self.batch) / reference)[groups],
            (other.part() / reference)[groups],
            self.part_of_batch(aggressive, unit, rest),
            lambda q: other.expected_share(q, self.batch))

    def part_of_batch(self, place, unit=0, layers=None):
        """Shares of images that come to a level's layers, to what one costs there.

        Returns
        -------
        callable
            Of what it costs where all come: in a full batch.
        """
        costs = self.costs[place][unit]
        full = costs.expected_share(np.ones(1), self.batch, layers)
        return lambda share: costs.expected_share(share, self.batch, layers) / full

    def level(self, place, part, unit=0):
        """A single level: whether each image is right, and what it costs."""
        energy = self.costs[place][unit].part(batch=self.batch) / self.reference[unit]
        return (self.outputs[place][part].right.numpy(), energy[self.groups[part]])

    def sweep(self, mild, aggressive, name, part="choosing"):
        """A pair and router at every threshold."""
        return sweep(self.scores(mild, aggressive, name, part),
                     self.outputs[aggressive][part].right.numpy(),
                     self.outputs[mild][part].right.numpy(),
                     self.pair_costs(mild, aggressive, name, part))

    def system(self, choice, part, unit=0):
        """What a cascade makes of each image.

        Returns
        -------
        right : bool ndarray, shape (N,)
        costs : float64 ndarray, shape (N,)
            Of the dense network's.
        routes : bool ndarray, shape (N,)
            True: the mild network answers.
        """
        key = choice.mild, choice.aggressive, choice.router
        routes = self.scores(*key, part) > choice.threshold
        right = np.where(routes, self.outputs[choice.mild][part].right.numpy(),
                         self.outputs[choice.aggressive][part].right.numpy())
        return right, self.pair_costs(*key, part, unit).of(routes), routes
