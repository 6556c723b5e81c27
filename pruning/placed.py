"""What a smaller network has beside the model's own modules, and how it is traced.

Channels that are put elsewhere, shuffled, in parts or among channels of zeros; images
that are averaged before the first layer.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn


class PlacedChannels(nn.Module):
    """Puts channels where they are to be among channels of zeros.

    Parameters
    ----------
    places : sequence of int
        Channel that goes to each place of the result, or -1 for zeros.
    channels : int
        Channels that come in.

    Examples
    --------
    >>> PlacedChannels([-1, 1], 2)(torch.tensor([[[5.0], [7.0]]])).flatten().tolist()
    [0.0, 7.0]
    """

    places: torch.Tensor

    def __init__(self, places: Sequence[int], channels: int):
        super().__init__()
        given = torch.tensor(places, dtype=torch.int64)
        self.register_buffer("places", torch.where(given < 0, channels, given))
        self.channels, self.blanks = channels, bool((given < 0).any())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.blanks:
            return x.index_select(1, self.places)
        blank = x.new_zeros(x.shape[0], 1, *x.shape[2:])
        return torch.cat([x, blank], 1).index_select(1, self.places)


class AveragedImages(nn.Conv2d):
    """Averages squares of pixels, channel by channel, before a network's first layer.

    A depthwise convolution, so that it is counted as one; its weights are fixed, so
    that neither pruning nor training touches them, and are not stored.

    Parameters
    ----------
    channels : int
        Channels of the images.
    factor : int
        Side of a square, which divides the images' height and width.

    Examples
    --------
    >>> AveragedImages(1, 2)(torch.arange(4.0).reshape(1, 1, 2, 2)).item()
    1.5
    """

    def __init__(self, channels: int, factor: int):
        super().__init__(channels, channels, factor, factor, groups=channels,
                         bias=False)
        del self.weight
        self.register_buffer("weight", torch.full(
            (channels, 1, factor, factor), 1 / factor**2), persistent=False)

    def reset_parameters(self) -> None:
        """Leave the weights, of which none is drawn at random."""


# How torchvision and timm call the modules that drop a branch of some images.
DROPPING_IMAGES = ("StochasticDepth", "DropPath")


def drops_images(module: torch.nn.Module) -> bool:
    """True if a module drops all channels of an image, or none, while it trains."""
    return type(module).__name__ in DROPPING_IMAGES and not any(
        True for _ in (*module.children(), *module.parameters(), *module.buffers()))


class Tracer(fx.Tracer):
    """Takes a placing, or averaging, as one operator, so that a network shrinks again.

    What drops images stays a module, too: a trace in eval mode would lose it.
    """

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, PlacedChannels | AveragedImages) or (
            drops_images(module) or super().is_leaf_module(module, name))


def trace(model: torch.nn.Module) -> fx.GraphModule:
    """The graph of a model, with the model's own modules."""
    return fx.GraphModule(model, Tracer().trace(model))


def place_moved_channels(graph: fx.GraphModule) -> None:
    """Put a placing where a graph shuffles channels by views, or takes a part of them.

    So that the numbers of channels that its forward counts on are no matter.

    Parameters
    ----------
    graph : torch.fx.GraphModule
        Changed in place. Its nodes know their shapes, as ShapeProp notes them.
    """
    device = next((one.device for one in graph.parameters()), None)
    for node in list(graph.graph.nodes):
        found = _shuffle(node) or _part(node)
        if found is None:
            continue
        source, places, replaced = found
        name = f"{node.name}_places"
        graph.add_submodule(name, PlacedChannels(places, _shape(source)[1]).to(device))
        with graph.graph.inserting_after(node):
            placed = graph.graph.call_module(name, (source,))
        placed.meta = dict(node.meta)
        node.replace_all_uses_with(placed)
        for one in replaced:
            if not one.users:
                graph.graph.erase_node(one)
    graph.recompile()


def _shuffle(node):
    """Result of a view of groups, swapped with their places and viewed back."""
    swapped: Any = (
        _source(node) if _name(node) in ("view", "reshape", "flatten") else None)
    replaced = [node]
    while _name(swapped) in ("contiguous", "view", "reshape", "flatten"):
        replaced.append(swapped)
        swapped = _source(swapped)
    if _name(swapped) not in ("transpose", "swapaxes", "swapdims", "permute"):
        return None
    viewed = _source(swapped)
    source = _source(viewed) if _name(viewed) in ("view", "reshape") else None
    before, groups = _shape(source), _shape(viewed)
    if len(before) < 2 or _shape(node) != before or len(groups) < 3 or (
            groups[0] != before[0] or groups[1] * groups[2] != before[1]
            or math.prod(groups[3:]) != math.prod(before[2:])):
        return None
    order = swapped.args[1:] or (swapped.kwargs.get("dims"),)
    if len(order) == 1 and isinstance(order[0], (tuple, list)):
        order = order[0]
    if any(not isinstance(one, int) for one in order):
        return None
    order = [one % len(groups) for one in order]
    wanted = ([0, 2, 1, *range(3, len(groups))] if _name(swapped) == "permute"
              else [1, 2])
    if (order if _name(swapped) == "permute" else sorted(order)) != wanted:
        return None
    places = torch.arange(before[1]).reshape(groups[1:3]).T.flatten().tolist()
    return source, places, [*replaced, swapped, viewed]


def _part(node):
    """Result of one of a split's parts, or of a slice of the channels."""
    whole = _source(node)
    if node.target is not operator.getitem or whole is None:
        return None
    index = node.args[1]
    if isinstance(index, int) and _name(whole) in ("chunk", "split", "tensor_split"):
        source, parts = _source(whole), whole.meta.get("tensor_meta")
        dims = len(_shape(source))
        dim = whole.args[2] if len(whole.args) > 2 else whole.kwargs.get("dim", 0)
        if dims < 2 or dim not in (1, 1 - dims):
            return None
        sizes = [part.shape[1] for part in parts]
        index %= len(sizes)
        start = sum(sizes[:index])
        return source, list(range(start, start + sizes[index])), [node, whole]
    shape, everything = _shape(whole), slice(None)
    if len(shape) < 2 or not isinstance(index, tuple) or len(index) < 2 or any(
            one != everything for one in (index[0], *index[2:])) or (
            not isinstance(index[1], slice)) or index[1] == everything or any(
            one is not None and not isinstance(one, int)
            for one in (index[1].start, index[1].stop, index[1].step)):
        return None
    return whole, list(range(shape[1]))[index[1]], [node]


def _name(node):
    """Name of what a call is of; of any other node, and of none, an empty one."""
    if getattr(node, "op", None) not in ("call_function", "call_method"):
        return ""
    return getattr(node.target, "__name__", str(node.target))


def _source(node) -> Any:
    """The tensor that a call works on, its first argument."""
    inputs = [] if node is None else node.all_input_nodes
    return inputs[0] if inputs else None


def _shape(node):
    """Shape of a tensor; of anything else an empty one."""
    meta: Any = getattr(node, "meta", {}).get("tensor_meta")
    return tuple(meta.shape) if hasattr(meta, "shape") else ()
