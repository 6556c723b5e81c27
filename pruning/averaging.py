"""Images averaged down before a network sees them: fewer pixels for every layer."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from pruning.placed import AveragedImages, trace

NAME = "averaging"      # of the module in the smaller network


@dataclass(frozen=True)
class Averaging:
    """A step from a network to the same one on smaller images.

    Parameters
    ----------
    factor : int
        Pixels whose mean is one pixel, along each side; 1 changes nothing.

    Raises
    ------
    ValueError
        No whole factor of at least 1.
    """

    factor: int

    def __post_init__(self):
        if isinstance(self.factor, bool) or not isinstance(self.factor, int) or (
                self.factor < 1):
            raise ValueError("factor must be a whole number of at least 1, got "
                             f"{self.factor!r}")


def averaged(model: nn.Module, image_shape: Sequence[int],
             step: Averaging) -> nn.Module:
    """The network with its images averaged down first.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it is.
    image_shape : (C, H, W)
        Shape of the images that it takes, before and after.
    step : Averaging

    Returns
    -------
    torch.nn.Module
        Its layers carry the model's names. The averaging is a layer of its own, a
        depthwise convolution with fixed weights, which the simulator counts: it reads
        the whole image and writes the smaller one.

    Raises
    ------
    ValueError
        Images that the factor does not divide, a model that can't be traced or that
        does not take the smaller images.
    """
    model, factor = copy.deepcopy(model), step.factor
    if factor == 1:
        return model
    if len(image_shape) != 3:
        raise ValueError(f"images of shape {tuple(image_shape)} have no channels, "
                         "height and width, so that none can be averaged")
    channels, height, width = image_shape
    if height % factor or width % factor:
        raise ValueError(f"images of {height} x {width} can't be averaged by {factor}; "
                         "a factor that divides both sizes is needed")
    try:
        graph = trace(model)
    except (fx.proxy.TraceError, TypeError, ValueError) as problem:
        raise ValueError(f"{type(model).__name__} can't be traced: "
                         f"{str(problem).splitlines()[0]}") from problem
    first = next(iter(graph.parameters()))
    name = NAME
    while hasattr(graph, name):     # of images that were averaged before
        name += "_again"
    graph.add_submodule(name, AveragedImages(channels, factor).to(
        first.device, first.dtype))
    images = next(node for node in graph.graph.nodes if node.op == "placeholder")
    with graph.graph.inserting_after(images):
        small = graph.graph.call_module(name, (images,))
    images.replace_all_uses_with(small, delete_user_cb=lambda user: user is not small)
    graph.recompile()
    graph.train(model.training)
    try:
        with torch.no_grad():
            copy.deepcopy(graph).eval()(torch.zeros(
                1, *image_shape, device=first.device, dtype=first.dtype))
    except (RuntimeError, ValueError) as problem:
        raise ValueError(
            f"{type(model).__name__} does not take images of {height // factor} x "
            f"{width // factor}: {str(problem).splitlines()[0]}") from problem
    return graph
