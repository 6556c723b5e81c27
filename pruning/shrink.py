"""The smaller network that is left when whole channels have gone, really built."""

import copy

import torch
from torch import fx, nn

from pruning.calibration import evaluating
from pruning.channel_walk import channel_padding
from pruning.channels import find_channels, is_gone
from pruning.masks import Masks
from pruning.placed import PlacedChannels


def shrink(model: torch.nn.Module, images: torch.Tensor,
           masks: Masks) -> fx.GraphModule:
    """Build the network without the channels that no weight reads.

    A channel goes where all weights that would read it, in every layer and
    through every sum, are masked. Outputs are those of the masked network.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it is.
    images : Tensor
        Images that it takes.
    masks : Masks

    Returns
    -------
    torch.fx.GraphModule
        Its layers carry the model's names; masked weights in it are zero.

    Raises
    ------
    ValueError
        A model that can't be traced, or whose forward counts on sizes that changed.
    """
    twin = copy.deepcopy(model)
    masks.apply(twin)
    channels = find_channels(twin, images)
    return _built(channels, channels.unread(masks), images, type(model).__name__)


@torch.no_grad()
def _built(channels, gone, images, kind):
    graph = channels.graph

    def left(numbers):
        return torch.nonzero(~is_gone(gone, numbers)).flatten()

    for name in channels.outputs.keys() | channels.inputs.keys():
        layer = graph.get_submodule(name)
        weight = layer.weight
        if name in channels.outputs:
            rows = left(channels.outputs[name]).to(weight.device)
            weight = weight[rows]
            if layer.bias is not None:
                layer.bias = _parameter(layer.bias[rows], layer.bias)
        if name in channels.inputs:
            weight = weight[:, left(channels.inputs[name]).to(weight.device)]
        layer.weight = _parameter(weight, layer.weight)
        if isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = weight.shape
        else:
            if name in channels.depthwise:
                layer.groups = weight.shape[0] // (layer.out_channels // layer.groups)
            layer.out_channels = weight.shape[0]
            layer.in_channels = weight.shape[1] * layer.groups
    for name, numbers in channels.norms.items():
        norm = graph.get_submodule(name)
        count = len(left(numbers))
        if isinstance(norm, nn.GroupNorm):
            norm.num_groups = count // (norm.num_channels // norm.num_groups)
            norm.num_channels = count
        elif isinstance(norm, nn.PReLU):
            norm.num_parameters = count
        else:
            norm.num_features = count
        for key in ("weight", "bias", "running_mean", "running_var"):
            held = getattr(norm, key, None)
            if held is None:
                continue
            kept = held[left(numbers).to(held.device)]
            learns = isinstance(held, nn.Parameter)
            setattr(norm, key, _parameter(kept, held) if learns else kept.clone())
    for name, numbers in channels.vectors.items():
        owner, _, key = name.rpartition(".")
        owner = graph.get_submodule(owner)
        held = getattr(owner, key)
        kept = held[left(numbers).to(held.device)]
        learns = isinstance(held, nn.Parameter)
        setattr(owner, key, _parameter(kept, held) if learns else kept)
    _regroup(channels, left)
    _place_padding(channels, left)
    graph.recompile()
    try:
        with evaluating(graph):
            graph(images[:1].to(next(graph.parameters()).device))
    except Exception as problem:
        raise ValueError(f"{kind}: its forward counts on numbers of channels that "
                         f"pruning changed: {str(problem).splitlines()[0]}"
                         ) from problem
    return graph


def _parameter(kept, whole):
    """The part that is left of a parameter; frozen where the whole was."""
    return nn.Parameter(kept.clone(), requires_grad=whole.requires_grad)


def _regroup(channels, left):
    """Calls of ``group_norm`` keep the size of their groups, not the number."""
    for node in channels.graph.graph.nodes:
        if node.op == "call_function" and node in channels.values and getattr(
                node.target, "__name__", "") == "group_norm":
            numbers = channels.values[node]
            groups = node.args[1] if len(node.args) > 1 else node.kwargs["num_groups"]
            if isinstance(groups, int):
                size = len(numbers) // groups
                given = {"num_groups": len(left(numbers)) // size}
                node.args, node.kwargs = node.args[:1], {
                    # Behind those that are given by place may come others by name.
                    **dict(zip(("weight", "bias", "eps", "cudnn_enabled"),
                               node.args[2:], strict=False)),
                    **node.kwargs, **given}


def _place_padding(channels, left):
    """Channels of zeros, of which some went, become an explicit placing."""
    graph = channels.graph
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and isinstance(
                graph.get_submodule(node.target), PlacedChannels):
            placed = graph.get_submodule(node.target)
            came = left(channels.values[node.all_input_nodes[0]]).tolist()
            order = {old: new for new, old in enumerate(came)}
            kept = left(channels.values[node]).to(placed.places.device)
            places = [order.get(old, -1) for old in placed.places[kept].tolist()]
            graph.set_submodule(node.target, PlacedChannels(places, len(came)).to(
                placed.places.device))
            continue
        if node.op != "call_function" or getattr(
                node.target, "__name__", "") != "pad" or node not in channels.values:
            continue
        source = node.all_input_nodes[0]
        dims = len(node.meta["tensor_meta"].shape)
        extra = channel_padding(node, dims)
        if not extra or not any(extra):
            continue
        came = left(channels.values[source]).tolist()
        order = {old + extra[0]: new for new, old in enumerate(came)}
        places = [order.get(old, -1) for old in left(channels.values[node]).tolist()]
        name = f"{node.name}_places"
        device = next(graph.parameters()).device
        graph.add_submodule(name, PlacedChannels(places, len(came)).to(device))
        pads = list(node.args[1] if len(node.args) > 1 else node.kwargs["pad"])
        pads[2 * (dims - 2):2 * (dims - 1)] = [0, 0]
        with graph.graph.inserting_after(node):
            placed = graph.graph.call_module(name, (node,))
        node.replace_all_uses_with(
            placed, delete_user_cb=lambda user, placed=placed: user != placed)
        node.args = (source, tuple(pads))
        node.kwargs = {}
