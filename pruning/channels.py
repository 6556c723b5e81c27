"""Which channels of a network hang together, and so can only go together.

Traced with torch.fx: a residual sum ties the channels that it adds, a depthwise
convolution its inputs to its outputs, a concatenation puts channels behind each
other. Where an operator is not known to keep channels apart, they stay.
"""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from pruning.calibration import evaluating
from pruning.masks import Masks
from pruning.placed import PlacedChannels, trace

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
KEEPING = (      # modules that work on each channel alone
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish,
    nn.Hardtanh, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.MaxPool1d, nn.MaxPool2d,
    nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d, nn.Upsample)
KEEPING_CALLS = {
    "relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish",
    "hardtanh", "hardsigmoid", "sigmoid", "tanh", "dropout", "dropout2d", "max_pool2d",
    "boolean_dispatch", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_avg_pool1d",
    "interpolate", "contiguous", "clone", "clamp", "float"}
DROPOUTS = {
    torch.dropout: nn.Dropout, functional.dropout: nn.Dropout,
    functional.dropout1d: nn.Dropout1d, functional.dropout2d: nn.Dropout2d,
    functional.dropout3d: nn.Dropout3d}
TYING_CALLS = {"add", "iadd", "add_", "sub", "mul", "imul", "mul_"}
FIXED = 0               # the label of channels that must stay


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
        Group of each channel of a batch norm.
    depthwise : set of str
    values : dict of torch.fx.Node to int64 Tensor
        Group of each channel of a result.
    """

    graph: fx.GraphModule
    groups: int
    outputs: dict
    inputs: dict
    norms: dict
    depthwise: set
    values: dict

    def masks(self, gone, names):
        """Masks of weights whose filters or inputs are gone.

        Parameters
        ----------
        gone : bool Tensor, shape (groups,)
        names : iterable of str
            Of weights, ``layer.weight``; there are none of layers that keep all, or
            did not run.

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

    def unread(self, masks):
        """Groups of which no layer reads a channel, as bool, shape (groups,).

        Where a whole layer would go, its first channel stays.
        """
        read = torch.zeros(self.groups, dtype=torch.bool)
        for layer, columns in self.inputs.items():
            mask = masks.get(f"{layer}.weight")
            weight = self.graph.get_parameter(f"{layer}.weight")
            used = (weight.detach() != 0).cpu() if mask is None else mask
            used = used.transpose(0, 1).flatten(1).any(1) & (columns >= 0)
            read[columns[used]] = True
        gone = ~read
        for rows in self.outputs.values():
            if is_gone(gone, rows).all():
                gone[rows[0]] = False
        return gone

    def sums(self, values, by="outputs"):
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


def is_gone(gone, numbers):
    """Whether each channel's group is gone; those that must stay, -1, are not."""
    return torch.cat([gone, gone.new_zeros(1)])[numbers]


class _Ties:
    """Labels that are said to be one."""

    def __init__(self):
        self.parent = [FIXED]

    def fresh(self, count):
        start = len(self.parent)
        self.parent += range(start, start + count)
        return list(range(start, start + count))

    def root(self, label):
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def tie(self, some, others):
        for one, other in zip(some, others, strict=True):
            low, high = sorted((self.root(one), self.root(other)))
            self.parent[high] = low         # FIXED is the lowest

    def fix(self, labels):
        self.tie(labels, [FIXED] * len(labels))


def find_channels(model, images):
    """Trace a model and tie its channels.

    Parameters
    ----------
    model : torch.nn.Module
    images : Tensor
        That the model takes; one is run for the shapes.

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
    own = set(model.modules())
    for module in graph.modules():      # what the trace added follows the model's mode
        if module not in own:
            module.training = model.training
    walk = _Walk(graph)
    for node in graph.graph.nodes:
        walk.visit(node)
    return walk.result()


def _has_dimensions(node):
    shape = getattr(node.meta.get("tensor_meta"), "shape", ())
    return len(shape) > 0


def _with_dropout_modules(graph):
    """Dropout that a trace in eval mode has switched off for good follows the mode."""
    for node in list(graph.graph.nodes):
        training = _argument(node, 2, "training", node.kwargs.get("train", True))
        if node.target in DROPOUTS and training is False:
            name = f"{node.name}_module"
            graph.add_submodule(name, DROPOUTS[node.target](
                _argument(node, 1, "p", 0.5)))
            with graph.graph.inserting_after(node):
                node.replace_all_uses_with(graph.graph.call_module(
                    name, (_argument(node, 0, "input", None),)))
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


class _Walk:
    """Goes through a graph and ties labels."""

    def __init__(self, graph):
        self.graph, self.ties = graph, _Ties()
        held = Counter(id(module.weight) for module in graph.modules() if isinstance(
            getattr(module, "weight", None), nn.Parameter))
        self.shared = {one for one, times in held.items() if times > 1}
        self.labels = {}
        self.outputs, self.inputs, self.norms = {}, {}, {}
        self.depthwise = set()

    def visit(self, node):
        given = [one for one in node.all_input_nodes if one in self.labels]
        if node.op == "output":
            for one in given:
                self.ties.fix(self.labels[one])
            return
        meta = node.meta.get("tensor_meta")
        if not isinstance(getattr(meta, "shape", None), torch.Size) or (
                len(meta.shape) < 2):
            if meta is not None and given:
                self._give_up(node, given, None)
            return
        shape = meta.shape
        module = (self.graph.get_submodule(node.target)
                  if node.op == "call_module" else None)
        if module is not None and given:
            result = self._module(node.target, module, self.labels[given[0]], shape,
                                  given[0].meta["tensor_meta"].shape)
        elif node.op in ("call_function", "call_method") and given:
            result = self._call(node, given, shape)
        else:
            result = None
        if result is None or len(result) != shape[1]:
            self._give_up(node, given, shape)
        else:
            self.labels[node] = result

    def _give_up(self, node, given, shape):
        for one in given:
            self.ties.fix(self.labels[one])
        if shape is not None:
            self.labels[node] = [FIXED] * shape[1]

    def _module(self, name, module, labels, shape, given_shape):
        if id(getattr(module, "weight", None)) in self.shared:
            return None         # two layers would no longer be one
        if isinstance(module, CONVS):
            if module.groups == 1:
                return self._layer(name, labels, shape[1])
            if module.groups == module.in_channels == module.out_channels:
                self.depthwise.add(name)
                return self._known(self.outputs, name, labels)
            return None
        if isinstance(module, nn.Linear) and len(shape) == 2:
            return self._layer(name, labels, shape[1])
        if isinstance(module, _BatchNorm):
            return self._known(self.norms, name, labels)
        if isinstance(module, nn.Flatten) and module.start_dim == 1 and len(shape) == 2:
            return _flat(labels, given_shape)
        if isinstance(module, PlacedChannels):
            return [labels[place] if place < len(labels) else self.ties.fresh(1)[0]
                    for place in module.places.tolist()]
        return labels if isinstance(module, KEEPING) else None

    def _layer(self, name, labels, filters):
        self._known(self.inputs, name, labels)
        return self._known(self.outputs, name, self.ties.fresh(filters))

    def _known(self, table, name, labels):
        """Note a module's channels; one that runs twice ties both runs."""
        if name in table:
            self.ties.tie(table[name], labels)
        table.setdefault(name, labels)
        return labels

    def _call(self, node, given, shape):
        name = getattr(node.target, "__name__", str(node.target))
        labels = self.labels[given[0]]
        before = given[0].meta["tensor_meta"].shape
        if name in TYING_CALLS:
            if any(_has_dimensions(one) for one in node.all_input_nodes
                   if one not in self.labels):
                return None     # a vector along some dimension, perhaps this one
            for one in given[1:]:
                if len(self.labels[one]) != len(labels):
                    return None
                self.ties.tie(labels, self.labels[one])
            # A number that is added or multiplied by keeps channels apart, too.
            return labels
        if name in KEEPING_CALLS:
            return labels
        if name in ("cat", "concat") and _argument(node, 1, "dim", 0) in (
                1, 1 - len(shape)):
            parts = node.args[0] if node.args else node.kwargs["tensors"]
            return [label for one in parts for label in self.labels[one]]
        if name in ("flatten", "view", "reshape") and len(shape) == 2 and (
                shape[0] == before[0]):
            return _flat(labels, before)
        if name == "mean" and len(before) > 2:
            dims = _argument(node, 1, "dim", None)
            dims = [dims] if isinstance(dims, int) else list(dims or [0])
            if all(dim % len(before) >= 2 for dim in dims):
                return labels
        if name == "getitem" and _keeps_channels(node.args[1]):
            return labels
        if name == "pad":
            extra = channel_padding(node, len(shape))
            if extra is not None:
                return (self.ties.fresh(extra[0]) + labels + self.ties.fresh(extra[1]))
        return None

    def result(self):
        roots = [self.ties.root(label) for label in range(len(self.ties.parent))]
        numbers = {}
        for labels in (*self.outputs.values(), *self.inputs.values()):
            for label in labels:
                if roots[label] != FIXED:
                    numbers.setdefault(roots[label], len(numbers))
        numbers[FIXED] = -1

        def numbered(table):
            return {key: torch.tensor([numbers.get(roots[label], -1)
                                       for label in labels], dtype=torch.int64)
                    for key, labels in table.items()}

        return Channels(self.graph, len(numbers) - 1, numbered(self.outputs),
                        numbered(self.inputs), numbered(self.norms), self.depthwise,
                        numbered(self.labels))


def _flat(labels, before):
    """Each channel once for each of its pixels."""
    pixels = math.prod(before[2:])
    return [label for label in labels for _ in range(pixels)]


def _argument(node, place, name, default):
    if len(node.args) > place:
        return node.args[place]
    return node.kwargs.get(name, default)


def _keeps_channels(index):
    everything = slice(None, None, None)
    return isinstance(index, tuple) and len(index) > 2 and all(
        isinstance(one, slice) for one in index) and (
        index[0] == index[1] == everything)


def channel_padding(node, dims):
    """Channels of zeros before and after, or None where it pads with anything else."""
    pads = _argument(node, 1, "pad", None)
    if pads is None or any(not isinstance(size, int) for size in pads):
        return None
    pads = [*pads] + [0] * (2 * dims - len(pads))
    channels, batch = pads[2 * (dims - 2):2 * (dims - 1)], pads[2 * (dims - 1):]
    if any(batch) or min(channels) < 0:
        return None
    if any(channels) and (_argument(node, 2, "mode", "constant") != "constant"
                          or _argument(node, 3, "value", None)):
        return None
    return tuple(channels)
