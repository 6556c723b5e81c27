"""Channels of a network that hang together, and so can only go together.

Traced with torch.fx: a residual sum ties the channels that it adds, a depthwise
convolution its inputs to its outputs, a concatenation puts channels behind each
other. Where an operator is not known to keep channels apart, they stay.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from pruning.calibration import evaluating
from pruning.channel_walk import ChannelWalk, argument
from pruning.masks import Masks
from pruning.placed import place_moved_channels, trace

DROPOUTS = {
    torch.dropout: nn.Dropout, functional.dropout: nn.Dropout,
    functional.dropout1d: nn.Dropout1d, functional.dropout2d: nn.Dropout2d,
    functional.dropout3d: nn.Dropout3d}


@dataclass(eq=False)
class Channels:
    """Channels of a network, tied into groups that go as a whole.

    Parameters
    ----------
    graph : torch.fx.GraphModule
        The trace.
    groups : int
        Numbered from 0; -1 stands for channels that must stay.
    outputs, inputs : dict of str to int64 Tensor
        Group of each filter, and of each input column, by layer name.
    norms : dict of str to int64 Tensor
        Group of each channel of a normalisation, or of a PReLU of one slope a channel.
    vectors : dict of str to int64 Tensor
        The same of a parameter or buffer that a function takes, as ``prelu``.
    depthwise : set of str
        Convolutions of one group a channel.
    values : dict of torch.fx.Node to int64 Tensor
        Group of each channel of a result.
    held : dict of str to str
        Why filters of a layer must stay, by the name of the layer.
    """

    graph: fx.GraphModule
    groups: int
    outputs: dict
    inputs: dict
    norms: dict
    vectors: dict
    depthwise: set
    values: dict
    held: dict

    def masks(self, gone: torch.Tensor, names: Iterable[str]) -> Masks:
        """Masks of weights whose filters or inputs are gone.

        Parameters
        ----------
        gone : bool Tensor, shape (groups,)
        names : iterable of str
            Weights, ``layer.weight``; layers that keep all, or did not run, get no
            mask.

        Returns
        -------
        Masks
        """
        masks = {}
        for name in names:
            layer = name.removesuffix(".weight")
            if layer not in self.outputs and layer not in self.inputs:
                continue
            weight = self.graph.get_parameter(name)
            stays = torch.ones(weight.shape, dtype=torch.bool)
            rest = [1] * (weight.dim() - 2)
            if layer in self.outputs:
                stays &= ~is_gone(gone, self.outputs[layer]).reshape(-1, 1, *rest)
            if layer in self.inputs:
                stays &= ~is_gone(gone, self.inputs[layer]).reshape(1, -1, *rest)
            masks[name] = stays
        return Masks(masks)

    def unread(self, masks: Masks) -> torch.Tensor:
        """Groups of which no layer reads a channel, as bool, shape (groups,).

        The first channel stays of a layer that would go whole, and of what an operator
        reads where all of that would go.
        """
        read = torch.zeros(self.groups, dtype=torch.bool)
        for layer, columns in self.inputs.items():
            mask = masks.get(f"{layer}.weight")
            weight = self.graph.get_parameter(f"{layer}.weight")
            used = (weight.detach() != 0).cpu() if mask is None else mask
            used = used.transpose(0, 1).flatten(1).any(1) & (columns >= 0)
            read[columns[used]] = True
        gone = ~read
        for rows in (*self.outputs.values(), *self.values.values()):
            if is_gone(gone, rows).all():
                gone[rows[0]] = False
        return gone

    def sums(self, values: dict, by: str = "outputs") -> torch.Tensor:
        """Sums over the filters, or inputs, of each group of what a layer gives each.

        Parameters
        ----------
        values : dict of str to Tensor
            One value a filter (or input), by layer.
        """
        total = torch.zeros(self.groups, dtype=torch.float64)
        for layer, numbers in getattr(self, by).items():
            if layer in values:
                tied = numbers >= 0
                total.index_add_(0, numbers[tied], values[layer].double()[tied])
        return total


def is_gone(gone: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """True if each channel's group is gone; those that must stay, -1, are not."""
    return torch.cat([gone, gone.new_zeros(1)])[numbers]


def find_channels(model: nn.Module, images: torch.Tensor) -> Channels:
    """Trace a model and tie its channels.

    Parameters
    ----------
    model : torch.nn.Module
    images : Tensor
        Images that the model takes; one is run for the shapes.

    Returns
    -------
    Channels
        The graph holds the model's own modules.

    Raises
    ------
    ValueError
        A model that torch.fx can't trace, or that does not take these images.
    """
    kind = type(model).__name__
    with evaluating(model):
        try:
            graph = _with_dropout_modules(trace(model))
        except Exception as problem:
            raise ValueError(f"{kind} cannot be traced for channel pruning: "
                             f"{str(problem).splitlines()[0]}") from problem
        try:
            device = next(model.parameters()).device
            with torch.no_grad():
                ShapeProp(graph.eval()).propagate(images[:1].to(device))
        except Exception as problem:
            raise ValueError(f"{kind} does not take images of shape "
                             f"{tuple(images.shape)}: {str(problem).splitlines()[0]}"
                             ) from problem
    place_moved_channels(graph)
    own = set(model.modules())
    for module in graph.modules():      # what the trace added follows the model's mode
        if module not in own:
            module.training = model.training
    walk = ChannelWalk(graph)
    for node in graph.graph.nodes:
        walk.visit(node)
    return Channels(**walk.result())


def _with_dropout_modules(graph):
    """Dropout that a trace in eval mode has switched off for good follows the mode."""
    for node in list(graph.graph.nodes):
        training = argument(node, 2, "training", node.kwargs.get("train", True))
        if node.target in DROPOUTS and training is False:
            name = f"{node.name}_module"
            graph.add_submodule(name, DROPOUTS[node.target](
                argument(node, 1, "p", 0.5)))
            with graph.graph.inserting_after(node):
                node.replace_all_uses_with(graph.graph.call_module(
                    name, (argument(node, 0, "input", None),)))
            graph.graph.erase_node(node)
    graph.recompile()
    return graph
