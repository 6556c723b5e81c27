"""Measurements on calibration images: input correlations and target outputs."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

CHUNK = 64              # images that run at once
STATISTICS_CHUNK = 128  # as many as a usual batch of training has
REFITTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(eq=False)
class Moments:
    """Sums over sampled rows of one layer; groups do not mix.

    With X the inputs that a filter sees (one row an output position, C * R * S
    columns) and Y the outputs that are wanted, without bias:

    Parameters
    ----------
    gram : float64 Tensor, shape (groups, fan_in, fan_in)
        X^T X.
    cross : float64 Tensor, shape (groups, fan_in, M / groups)
        X^T Y.
    output_power : float64 Tensor, shape (groups, M / groups)
        Sum of Y^2.
    rows : int
    """

    gram: torch.Tensor
    cross: torch.Tensor
    output_power: torch.Tensor
    rows: int = 0

    @property
    def groups(self) -> int:
        """Groups of the convolution."""
        return self.gram.shape[0]

    @property
    def fan_in(self) -> int:
        """Weights of one filter."""
        return self.gram.shape[1]

    def add(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Add rows: (groups, rows, fan_in) and (groups, rows, M / groups)."""
        self.gram.baddbmm_(inputs.mT, inputs)
        self.cross.baddbmm_(inputs.mT, targets)
        self.output_power += targets.square().sum(1)
        self.rows += inputs.shape[1]

    def error(self, columns: torch.Tensor) -> torch.Tensor:
        """Squared output error of each filter, shape (groups, M / groups).

        Parameters
        ----------
        columns : float64 Tensor, shape (groups, fan_in, M / groups)
            The filters.
        """
        return (self.output_power - 2 * (columns * self.cross).sum(1)
                + (columns * (self.gram @ columns)).sum(1))


def columns_of(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Filters as columns, (groups, fan_in, M / groups), from (M, C, R, S)."""
    return weight.detach().double().reshape(
        groups, weight.shape[0] // groups, -1).mT.contiguous()


def weight_of(columns: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A weight's shape and type again."""
    return columns.mT.reshape(weight.shape).to(weight.dtype)


def gather(model: torch.nn.Module, layers: Iterable[str], images: torch.Tensor, *,
           dense: torch.nn.Module | None = None, rows: int = 8192,
           seed: int = 0) -> dict[str, Moments]:
    """Moments of some layers, streamed over calibration images.

    Parameters
    ----------
    model : torch.nn.Module
        Its layers' inputs are X. Runs in eval mode and is left as it was.
    layers : iterable of str
        Names of Conv1d, Conv2d or Linear modules.
    images : Tensor, shape (images, ...)
    dense : torch.nn.Module, optional
        The network whose outputs are wanted: Y = X_dense A_dense at the same positions.
        Unless given, the model itself with the weights that it has.
    rows : int
        Output positions that are sampled over all images, the same number in each.
    seed : int
        It decides the positions.

    Returns
    -------
    dict of str to Moments

    Raises
    ------
    ValueError
        Another kind of layer, or one that the images do not reach.
    """
    layers = list(layers)
    check_refitted(model, layers, images)
    found = {}
    draw = torch.Generator().manual_seed(seed)
    each = -(-rows // len(images))
    for start in range(0, len(images), CHUNK):
        chunk = images[start:start + CHUNK]
        inputs = _inputs(model, layers, chunk)
        wanted = inputs if dense is None else _inputs(dense, layers, chunk)
        for name in layers:
            module = model.get_submodule(name)
            teacher: Any = module if dense is None else dense.get_submodule(name)
            places = None
            sampled = []
            for one, given in ((module, inputs[name]), (teacher, wanted[name])):
                padded = _padded(one, given)
                if places is None:
                    places = _places(one, padded, each, draw)
                sampled.append(_rows(one, padded, places))
            groups = getattr(module, "groups", 1)
            targets = sampled[1] @ columns_of(teacher.weight, groups)
            if name not in found:
                _, _, fan_in = sampled[0].shape
                empty = sampled[0].new_zeros
                found[name] = Moments(
                    empty(groups, fan_in, fan_in),
                    empty(groups, fan_in, targets.shape[2]),
                    empty(groups, targets.shape[2]))
            found[name].add(sampled[0], targets)
    return found


def check_refitted(model: torch.nn.Module, layers: Iterable[str],
                   images: torch.Tensor) -> None:
    """Refuse layers of which no moments can be gathered, before any is.

    Raises
    ------
    ValueError
        Another kind of layer, or one that the images do not reach.
    """
    for name in layers:
        module = model.get_submodule(name)
        if not isinstance(module, REFITTED):
            raise ValueError(f"{name}: {type(module).__name__} has no refit; leave it "
                             f"out with exclude=[{name!r}]")
    seen = _inputs(model, layers, images[:1])
    for name in layers:
        if name not in seen:
            raise ValueError(f"{name}: is not called as a module for the calibration "
                             f"images; leave it out with exclude=[{name!r}]")


class _Enough(Exception):
    """All layers that were asked for have been seen."""


def _inputs(model, layers, images):
    """Input of each layer; the run ends with the last of them."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name):
        def hook(module, given, named):
            seen.setdefault(name, (given or tuple(named.values()))[0].detach())
            if len(seen) == len(layers):
                raise _Enough
        return hook

    handles = [model.get_submodule(name).register_forward_pre_hook(
        keep(name), with_kwargs=True) for name in layers]
    try:
        with evaluating(model), torch.no_grad():
            model(images.to(next(model.parameters()).device))
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return seen


@torch.no_grad()
def recalibrated(model: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """A copy whose batch norms hold the statistics of these images.

    Pruning shifts what a normalisation gets; the first steps of any training make up
    for it. Before them, its old statistics would tell of zeros that no trained
    network has.

    Parameters
    ----------
    model : torch.nn.Module
    images : Tensor, shape (images, ...)

    Returns
    -------
    torch.nn.Module
        In evaluation mode.
    """
    twin = copy.deepcopy(model)
    norms = _norms(twin)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None        # the mean over all chunks
    device = next(twin.parameters()).device
    twin.eval()
    for norm in norms:
        norm.train()
    # Chunks have one size, since each counts the same; one image has no statistics.
    chunks = images.tensor_split(-(-len(images) // STATISTICS_CHUNK))
    for some in chunks if norms else ():
        twin(some.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return twin.eval()


@torch.no_grad()
def follow(model: torch.nn.Module, was: torch.nn.Module, images: torch.Tensor) -> None:
    """Let batch norms follow what has happened to the weights before them.

    A few images are too rough a measure to replace the statistics of a training. So
    their change alone is taken: variances by their factor, and means so that they stay
    as many deviations off those of the images as they were. A channel that no longer
    varies has its mean exactly, and keeps its variance: it may vary on other images,
    and what it says there must not be blown up.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    was : torch.nn.Module
        What :func:`recalibrated` made of it and these images before.
    images : Tensor, shape (images, ...)
    """
    now = recalibrated(model, images)
    for norm, before, after in zip(*map(_norms, (model, was, now)), strict=True):
        new = (before.running_var == 0) & (after.running_var > 0)
        factor = torch.where(before.running_var > 0,
                             after.running_var / before.running_var, 1.0)
        scale = torch.where(new, 0.0, factor.sqrt())
        norm.running_mean.copy_(norm.running_mean * scale + (
            after.running_mean - before.running_mean * scale))
        kept = torch.where(after.running_var > 0, factor, 1.0)
        norm.running_var.copy_(
            torch.where(new, after.running_var, norm.running_var * kept))


def _norms(model):
    """Batch norms with statistics of their own."""
    return [one for one in model.modules() if isinstance(one, _BatchNorm)
            and one.track_running_stats]


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Eval mode, and every module's own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


def _padded(module, given):
    """A convolution's input with its padding, as four dimensions; or a matrix."""
    if isinstance(module, nn.Linear):
        return given.reshape(len(given), -1, given.shape[-1])
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(given, module._reversed_padding_repeated_twice, mode=mode)
    return padded if padded.dim() == 4 else padded[:, :, None]


def _two(values):
    return tuple(values) if len(values) == 2 else (1, *values)


def _places(module, padded, each, draw):
    """Positions (images, rows of each) that are sampled, vertical and horizontal."""
    if isinstance(module, nn.Linear):
        sizes = [1, padded.shape[1]]
    else:
        spans = [(taps - 1) * step + 1 for taps, step in zip(
            _two(module.kernel_size), _two(module.dilation), strict=True)]
        sizes = [(size - span) // stride + 1 for size, span, stride in zip(
            padded.shape[2:], spans, _two(module.stride), strict=True)]
    positions = sizes[0] * sizes[1]
    if positions <= each:
        place = torch.arange(positions).expand(len(padded), -1)
    else:
        place = torch.rand(len(padded), positions, generator=draw).argsort(1)[:, :each]
    place = place.to(padded.device)
    return place // sizes[1], place % sizes[1]


def _rows(module, padded, places):
    """Sampled rows, float64, (groups, rows, fan_in)."""
    images = torch.arange(len(padded), device=padded.device)[:, None]
    if isinstance(module, nn.Linear):
        return padded[images, places[1]].flatten(0, 1)[None].double()
    lines, columns = (
        (place * stride)[..., None] + torch.arange(taps, device=padded.device) * step
        for place, stride, taps, step in zip(
            places, _two(module.stride), _two(module.kernel_size),
            _two(module.dilation), strict=True))
    # (images, rows, R, S, channels)
    windows = padded.permute(0, 2, 3, 1)[
        images[..., None, None], lines[..., :, None], columns[..., None, :]]
    windows = windows.flatten(0, 1).permute(0, 3, 1, 2)
    windows = windows.reshape(len(windows), module.groups, -1)
    return windows.transpose(0, 1).double()
