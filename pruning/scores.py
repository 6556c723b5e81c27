"""Scores of the weights: one function a score, one tensor a parameter."""

import copy
import re
from collections.abc import Iterable

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pruning.masks import Masks


def weights_of(model: torch.nn.Module, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """The parameters by name, on the CPU."""
    return {name: model.get_parameter(name).detach().cpu() for name in names}


def magnitude(model: torch.nn.Module, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Absolute values."""
    return {name: weight.abs() for name, weight in weights_of(model, names).items()}


def energy_of_weights(model: torch.nn.Module,
                      names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Squares: what a projection onto fewer weights loses of the L2 norm."""
    return {name: weight.double().square()
            for name, weight in weights_of(model, names).items()}


def random(model: torch.nn.Module, names: Iterable[str],
           seed: int) -> dict[str, torch.Tensor]:
    """Independent uniform draws."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(weight.shape, generator=draw, dtype=torch.float64)
            for name, weight in weights_of(model, names).items()}


def synflow(model: torch.nn.Module, names: Iterable[str], images: torch.Tensor,
            masks: Masks | None = None) -> dict[str, torch.Tensor]:
    """Synaptic flow, |dR/dw * w| (Tanaka et al., NeurIPS 2020).

    R is the sum of the outputs of the network with every parameter and buffer replaced
    by its absolute value (running means by zero, as they are in a fresh network), in
    eval mode, for a strictly positive input. Max-pooling is
    replaced by average pooling: a maximum over equal values would route all flow
    through one of them and give the others a score of zero. Runs in float64, on a
    copy.

    Parameters
    ----------
    model : torch.nn.Module
    names : iterable of str
    images : Tensor
        Only their shape counts.
    masks : Masks, optional
        Applied before the flow is measured.

    Returns
    -------
    dict of str to float64 Tensor
        Scores; on a chain without biases those of every layer add up to the same.

    Raises
    ------
    ValueError
        The flow is infinite.
    """
    twin = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        if masks is not None:
            masks.project(twin)
        for child in twin.modules():
            # Subtracted, a mean's absolute value would make the flow negative.
            mean = getattr(child, "running_mean", None)
            if mean is not None:
                mean.zero_()
        for value in (*twin.parameters(), *twin.buffers()):
            if value.is_floating_point():
                value.abs_()
    device = next(twin.parameters()).device
    ones = torch.ones(1, *images.shape[1:], dtype=torch.float64, device=device)
    wanted = {name: twin.get_parameter(name).requires_grad_(True) for name in names}
    with _Averaging():
        flow = twin(ones).sum()
    if not torch.isfinite(flow):
        raise ValueError(f"the synaptic flow of {type(model).__name__} is "
                         f"{float(flow)}; its weights are too large for float64")
    slopes = torch.autograd.grad(flow, tuple(wanted.values()), allow_unused=True)
    return {name: torch.zeros_like(weight).cpu() if slope is None
            else (slope * weight.detach()).cpu()
            for (name, weight), slope in zip(wanted.items(), slopes, strict=True)}


class _Averaging(TorchFunctionMode):
    """Takes a mean where a module or a function pools by the maximum.

    Indices that a model asked for stay the maximum's; so does a dilated window, which
    torch does not average.
    """

    _POOLING = re.compile(r"((?:adaptive_)?)max_pool([123]d)((?:_with_indices)?)")

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        pooled = self._POOLING.fullmatch(getattr(func, "__name__", ""))
        if pooled is None:
            return func(*args, **kwargs)
        adaptive, dimensions, indices = pooled.groups()
        places = ("input", "output_size") if adaptive else (
            "input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
        # Behind those that are given by place may come others by name.
        given = dict(zip(places, args, strict=False)) | kwargs
        dilation = given.get("dilation", 1)
        if any(step != 1 for step in ([dilation] if isinstance(dilation, int)
                                      else dilation)):
            return func(*args, **kwargs)
        average = getattr(functional, f"{adaptive}avg_pool{dimensions}")
        mean = average(**{place: given[place] for place in places
                          if place in given and place != "dilation"})
        return (mean, func(*args, **kwargs)[1]) if indices else mean
