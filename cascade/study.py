"""Every pair of a ladder with every router: what each makes of each image."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from cascade.costs import Strata, difficulties, module_cost, network_costs
from cascade.curve import Costs, sweep
from cascade.levels import check_pair, pairs
from cascade.outputs import check_disjoint, content_hash, outputs_of
from cascade.routers import Margin, MaxSoftmax, Selector
from cascade.selector import (
    TooFewToLearn, likely_needs_mild, needs_mild, train_selector)
from cascade.taps import taps
from eyeriss_sim.atomic import replacing
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.plain import plain
from eyeriss_sim.read_only import read_only
from eyeriss_sim.version import VERSION

# Routers that ask for logits alone and cost nothing; all others are learned.
FREE = {"max_softmax": MaxSoftmax, "margin": Margin}
WITH_LOGITS = "+logits"
ROUTER_IMAGES = 64      # that measure the zeros of a selector's inputs


@dataclass(frozen=True)
class Choice:
    """A cascade: a pair of levels, a router, a threshold.

    Parameters
    ----------
    mild, aggressive : int
        Places among the study's levels.
    router : str
        ``max_softmax``, ``margin``, or ``selector@TAP``, with ``+logits`` where it sees
        them.
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
    hardware : str
    batch : int
        Of the energy.
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

    def __init__(self, levels, parts, hardware="eap_tool", batch=1, *, cache=None,
                 progress=None):
        for name in ("selector", "choosing"):
            if name not in parts:
                raise ValueError(f"a cascade needs {name} images; there are "
                                 + ", ".join(parts))
        batch = plain(batch)
        EnergyOracle(hardware, batch=batch)     # what is wrong is told before any work
        self.tell = progress or (lambda text: None)
        self.tell("comparing the parts' images")
        check_disjoint({name: images for name, (images, _) in parts.items()})
        self.levels, self.hardware, self.batch = list(levels), hardware, batch
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
            found.append(network_costs(level.network, self.strata, self.hardware,
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
        names = [f"selector@{tap.name}" for tap in self.taps[aggressive]]
        return [*names, names[-1] + WITH_LOGITS, *FREE]

    def router(self, mild, aggressive, name):
        """The router itself; a selector is trained, or read, when first asked for.

        Returns
        -------
        torch.nn.Module or None
            None where too few images need the mild network to learn from.
        """
        if name in FREE:
            return FREE[name]()
        key = mild, aggressive, name
        if key not in self._routers:
            self._routers[key] = self._selector(*key)
        return self._routers[key]

    def _selector(self, mild, aggressive, name):
        tap = self.tap_of(aggressive, name)
        some = self.outputs[aggressive]["selector"]
        other = self.outputs[mild]["selector"]
        labels = needs_mild(some.right, other.right)
        sees_logits = name.endswith(WITH_LOGITS)
        # From features alone chances teach more; with logits they repeat what is seen.
        targets = labels.float() if sees_logits else likely_needs_mild(
            some.logits, other.logits, some.labels)
        summary = some.summaries[tap.name]
        path = None
        if self.cache is not None:
            key = content_hash([summary, some.logits, labels, targets])[:24]
            kind = "logits_" if sees_logits else ""
            # Another version may train them otherwise.
            path = self.cache / (
                f"selector_{VERSION}_{kind}{key}.safetensors")
            if path.exists():
                return read_selector(path)
        try:
            selector = train_selector(summary, some.logits, labels, targets=targets,
                                      sees_logits=sees_logits)
        except TooFewToLearn:
            return None
        if path is not None:
            save_selector(path, selector)
        return selector

    def tap_of(self, aggressive, name):
        """The tap at which a router looks; the last for those that see logits alone."""
        wanted = name.removeprefix("selector@").removesuffix(WITH_LOGITS)
        for tap in self.taps[aggressive]:
            if tap.name == wanted:
                return tap
        return self.taps[aggressive][-1]

    def scores(self, mild, aggressive, name, part):
        """The router's score of each image, float64 ndarray, shape (N,)."""
        some = self.outputs[aggressive][part]
        if name in FREE:
            return FREE[name]()(None, some.logits).double().numpy()
        router = self.router(mild, aggressive, name)
        summary = some.summaries[self.tap_of(aggressive, name).name]
        with torch.no_grad():
            found = router.of_inputs(router.inputs(summary, some.logits))
        return found.double().numpy()

    def router_cost(self, mild, aggressive, name):
        """uJ, and ms, of an image in the router."""
        key = mild, aggressive, name
        if key not in self._router_costs:
            router = self.router(*key)
            found = (0.0, 0.0) if name in FREE else module_cost(
                router.layers, self.router_inputs(*key), self.hardware, self.batch)
            self._router_costs[key] = found
        return self._router_costs[key]

    def router_inputs(self, mild, aggressive, name):
        """What a selector's layers see of some choosing images, for their zeros."""
        some = self.outputs[aggressive]["choosing"]
        summary = some.summaries[self.tap_of(aggressive, name).name]
        return self.router(mild, aggressive, name).inputs(
            summary[:ROUTER_IMAGES], some.logits[:ROUTER_IMAGES])

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
        asks_all = name in FREE or name.endswith(WITH_LOGITS)
        front = of.layers if asks_all else self.tap_of(aggressive, name).layers
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


def save_selector(path, selector):
    """A selector's weights, with its size in the file's header."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in
               selector.state_dict().items()}
    with replacing(path) as fresh:
        fresh.write_bytes(save(tensors, {
            "channels": str(selector.channels), "hidden": str(selector.hidden),
            "classes": str(selector.classes)}))


def read_selector(path):
    """A selector that :func:`save_selector` wrote."""
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, "pt") as file:
            size = {key: int(value) for key, value in file.metadata().items()}
        selector = Selector(**size)
        selector.load_state_dict(load_file(path))
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError,
            AttributeError) as problem:
        raise ValueError(f"{path}: no selector, or damaged: "
                         f"{str(problem).splitlines()[0]}; delete a cached one, "
                         "build a cascade's anew") from None
    return selector.requires_grad_(False).eval()
