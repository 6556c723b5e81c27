"""Rules by which each operator of a traced network ties, keeps or bars channels."""

import math
import operator
from collections import Counter
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.padding import _ConstantPadNd, _ReflectionPadNd, _ReplicationPadNd

from pruning.placed import PlacedChannels, drops_images
from pruning.ties import FIXED, Ties

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
KEEPING = (      # modules that work on each channel alone
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU,
    nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh, nn.Hardsigmoid, nn.Hardshrink,
    nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Tanhshrink, nn.Softplus, nn.Softsign,
    nn.Softshrink, nn.Threshold, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d,
    nn.AvgPool2d, nn.AvgPool3d, nn.LPPool1d, nn.LPPool2d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.Upsample,
    _ConstantPadNd, _ReflectionPadNd, _ReplicationPadNd, nn.CircularPad1d,
    nn.CircularPad2d, nn.CircularPad3d)
KEEPING_CALLS = {
    "relu", "relu_", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu",
    "mish", "hardswish", "hardtanh", "hardsigmoid", "hardshrink", "sigmoid",
    "logsigmoid", "tanh", "tanhshrink", "softplus", "softsign", "softshrink",
    "threshold", "dropout", "dropout2d", "max_pool1d", "max_pool2d", "max_pool3d",
    "boolean_dispatch", "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d",
    "lp_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "interpolate", "contiguous", "clone", "clamp", "float", "stochastic_depth"}
SPATIAL_CALLS = {"mean", "sum", "amax", "amin", "std", "var"}   # over axes they name
TYING_CALLS = {"add", "iadd", "add_", "sub", "mul", "imul", "mul_"}
# Functions whose weights, biases, statistics may have one number a channel.
VECTOR_CALLS = {"prelu", "batch_norm", "instance_norm", "group_norm"}


class ChannelWalk:
    """Goes through a graph, node by node, and ties labels of channels.

    Parameters
    ----------
    graph : torch.fx.GraphModule
        Its nodes know their shapes, as ShapeProp notes them.
    """

    def __init__(self, graph: fx.GraphModule):
        self.graph, self.ties = graph, Ties()
        held = Counter(id(module.weight) for module in graph.modules() if isinstance(
            getattr(module, "weight", None), nn.Parameter))
        self.shared = {one for one, times in held.items() if times > 1}
        self.labels: dict[fx.Node, list[int]] = {}
        # Labels by the name of a module, or of a parameter.
        self.outputs: dict[str, list[int]] = {}
        self.inputs: dict[str, list[int]] = {}
        self.norms: dict[str, list[int]] = {}
        self.vectors: dict[str, list[int]] = {}
        self.depthwise: set[str] = set()

    def visit(self, node: fx.Node) -> None:
        """Label the channels that a node makes, and tie them to those that it takes."""
        given = [one for one in node.all_input_nodes if one in self.labels]
        if node.op == "output":
            for one in given:
                self.ties.fix(self.labels[one], "they are the network's output")
            return
        meta: Any = node.meta.get("tensor_meta")
        if not isinstance(getattr(meta, "shape", None), torch.Size) or (
                len(meta.shape) < 2):
            if meta is not None and given:
                self._give_up(node, given, None)
            return
        shape = meta.shape
        module = (self.graph.get_submodule(str(node.target))
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
        reason = "they are the network's input"
        if node.op != "placeholder":
            what = node.target if node.op == "call_method" else getattr(
                node.target, "__name__", node.target)
            if node.op == "call_module":
                what = f"{node.target}, {type(self.graph.get_submodule(what)).__name__}"
            reason = f"{what} is not known to keep channels apart"
        for one in given:
            self.ties.fix(self.labels[one], reason)
        if shape is not None:
            self.labels[node] = self.ties.fresh(shape[1])
            self.ties.fix(self.labels[node], reason)

    def _module(self, name, module, labels, shape, given_shape):
        if id(getattr(module, "weight", None)) in self.shared:
            return None         # two layers would no longer be one
        if isinstance(module, CONVS):
            if module.groups == 1:
                return self._layer(name, labels, shape[1])
            if module.groups == module.in_channels:
                self.depthwise.add(name)
                each = module.out_channels // module.groups
                return self._known(self.outputs, name, _repeated(labels, each))
            return self._grouped(name, labels, module.groups, shape[1])
        if isinstance(module, nn.Linear) and len(shape) == 2:
            return self._layer(name, labels, shape[1])
        if isinstance(module, (_BatchNorm, _InstanceNorm)) or (
                isinstance(module, nn.PReLU) and module.num_parameters > 1):
            return self._known(self.norms, name, labels)
        if isinstance(module, nn.GroupNorm):
            size = module.num_channels // module.num_groups
            self._joined(labels, size)      # each as a whole, or not at all
            return self._known(self.norms, name, labels)
        if isinstance(module, nn.LayerNorm):
            return labels if len(module.normalized_shape) <= len(shape) - 2 else None
        if isinstance(module, nn.ChannelShuffle):
            return self._shuffled(labels, module.groups)
        if isinstance(module, nn.PixelShuffle):
            return self._joined(labels, module.upscale_factor ** 2)
        if isinstance(module, nn.PixelUnshuffle):
            return _repeated(labels, module.downscale_factor ** 2)
        if isinstance(module, nn.Flatten) and module.start_dim == 1 and len(shape) == 2:
            return _flat(labels, given_shape)
        if isinstance(module, PlacedChannels):
            return [labels[place] if place < len(labels) else self.ties.fresh(1)[0]
                    for place in module.places.tolist()]
        keeps = isinstance(module, (*KEEPING, nn.PReLU)) or drops_images(module)
        return labels if keeps else None

    def _grouped(self, name, labels, groups, filters):
        """A convolution in groups: each loses the same of its inputs and filters."""
        made = self._shared_by_groups(self.ties.fresh(filters), groups)
        self._known(self.inputs, name, self._shared_by_groups(labels, groups)[
            :len(labels) // groups])
        return self._known(self.outputs, name, made)

    def _shared_by_groups(self, labels, groups):
        """The labels, of which those in one place of every group are tied."""
        size = len(labels) // groups
        for place in range(size):
            self._all_one(labels[place::size])
        return labels

    def _all_one(self, labels):
        self.ties.tie(labels[1:], labels[:-1])

    def _shuffled(self, labels, groups):
        size = len(self._shared_by_groups(labels, groups)) // groups
        return [labels[group * size + place]
                for place in range(size) for group in range(groups)]

    def _joined(self, labels, each):
        """One channel of every so many, which go together."""
        for start in range(0, len(labels), each):
            self._all_one(labels[start:start + each])
        return labels[::each]

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
        if name in ("cat", "concat") and argument(node, 1, "dim", 0) in (
                1, 1 - len(shape)):
            parts = node.args[0] if node.args else node.kwargs["tensors"]
            return [label for one in parts for label in self.labels[one]]
        if name in ("flatten", "view", "reshape") and len(shape) == 2 and (
                shape[0] == before[0]):
            return _flat(labels, before)
        if name == "layer_norm":
            return labels if _normalised_axes(node) <= len(shape) - 2 else None
        if name in VECTOR_CALLS:
            return self._with_vectors(name, node, labels)
        if name == "channel_shuffle":
            return self._shuffled(labels, argument(node, 1, "groups", 1))
        if name == "pixel_shuffle":
            return self._joined(labels, argument(node, 1, "upscale_factor", 1) ** 2)
        if name == "pixel_unshuffle":
            return _repeated(labels, argument(node, 1, "downscale_factor", 1) ** 2)
        if name in SPATIAL_CALLS and len(before) > 2:
            dims = argument(node, 1, "dim", None)
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

    def _with_vectors(self, name, node, labels):
        """A function that takes one number a channel, or one for all."""
        if name == "group_norm":
            groups = argument(node, 1, "num_groups", None)
            if not isinstance(groups, int):
                return None
            self._joined(labels, len(labels) // groups)
        vectors = node.all_input_nodes[1:]
        if not all(map(self._is_own_vector, vectors)):
            return None
        for one in vectors:
            if one.meta["tensor_meta"].shape[0] == len(labels):
                self._known(self.vectors, one.target, labels)
            elif name != "prelu":
                return None
        return labels

    def _is_own_vector(self, node):
        """True if it is a parameter or buffer that nothing but these functions take."""
        if node.op != "get_attr" or len(node.meta["tensor_meta"].shape) != 1:
            return False
        owner = node.target.rpartition(".")[0]
        vector = getattr(self.graph.get_submodule(owner), node.target.split(".")[-1])
        for one in self.graph.graph.nodes:
            if one.op == "call_module" and any(vector is other for other in (
                    self.graph.get_submodule(one.target).parameters())):
                return False
            if one.op == "get_attr" and one.target == node.target and any(
                    getattr(user.target, "__name__", user.target) not in VECTOR_CALLS
                    for user in one.users):
                return False
        return True

    def _held(self):
        """Reasons why filters stay, by layer."""
        held = {}
        for name, labels in self.outputs.items():
            reasons = dict.fromkeys(filter(None, map(self.ties.reason, labels)))
            if reasons:
                held[name] = "; ".join(reasons)
        return held

    def result(self) -> dict:
        """The fields of Channels, known once all nodes were visited."""
        roots = [FIXED if self.ties.reason(label) else self.ties.root(label)
                 for label in range(len(self.ties.parent))]
        numbers: dict[int, int] = {}
        for labels in (*self.outputs.values(), *self.inputs.values()):
            for label in labels:
                if roots[label] != FIXED:
                    numbers.setdefault(roots[label], len(numbers))
        numbers[FIXED] = -1

        def numbered(table):
            return {key: torch.tensor([numbers.get(roots[label], -1)
                                       for label in labels], dtype=torch.int64)
                    for key, labels in table.items()}

        return {
            "graph": self.graph, "groups": len(numbers) - 1,
            "outputs": numbered(self.outputs), "inputs": numbered(self.inputs),
            "norms": numbered(self.norms), "vectors": numbered(self.vectors),
            "depthwise": self.depthwise, "values": numbered(self.labels),
            "held": self._held()}


def _has_dimensions(node):
    shape = getattr(node.meta.get("tensor_meta"), "shape", ())
    return len(shape) > 0


def _flat(labels, before):
    """Each channel once for each of its pixels."""
    return _repeated(labels, math.prod(before[2:]))


def _repeated(labels, times):
    return [label for label in labels for _ in range(times)]


def _normalised_axes(node):
    """Number of last axes that a ``layer_norm`` is over; all, if it can't be told."""
    shape = argument(node, 1, "normalized_shape", ())
    if isinstance(shape, (tuple, list)):
        return len(shape)
    every = range(len(node.meta["tensor_meta"].shape))
    if getattr(shape, "target", None) is operator.getitem and isinstance(
            shape.args[1], slice):      # of x.shape or x.size(), which are of no tensor
        start, stop = shape.args[1].start, shape.args[1].stop
        if "tensor_meta" not in shape.args[0].meta and isinstance(start, int) and (
                stop is None):
            return len(every[start:])
    return len(every)


def argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    """Argument of a call by position or by name, or else the default."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def _keeps_channels(index):
    everything = slice(None, None, None)
    return isinstance(index, tuple) and len(index) > 2 and all(
        isinstance(one, slice) for one in index) and (
        index[0] == index[1] == everything)


def channel_padding(node: fx.Node, dims: int) -> tuple[int, int] | None:
    """Channels of zeros before and after, or None where it pads with anything else."""
    pads = argument(node, 1, "pad", None)
    if pads is None or any(not isinstance(size, int) for size in pads):
        return None
    pads = [*pads] + [0] * (2 * dims - len(pads))
    channels, batch = pads[2 * (dims - 2):2 * (dims - 1)], pads[2 * (dims - 1):]
    if any(batch) or min(channels) < 0:
        return None
    if any(channels) and (argument(node, 2, "mode", "constant") != "constant"
                          or argument(node, 3, "value", None)):
        return None
    return tuple(channels)
