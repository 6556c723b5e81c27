"""Where a network can be cut in two, and the two halves."""

from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from pruning.placed import trace

WEIGHTED = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Tap:
    """A place where everything that flows through a network is one feature map.

    Parameters
    ----------
    name : str
        Of the operator whose result it is, as the graph names it.
    shape : tuple of int
        (C, H, W) of the feature map.
    layers : tuple of str
        CONV and FC layers before it.
    """

    name: str
    shape: tuple
    layers: tuple


def taps(model, image_shape):
    """The taps of a network: the last one at each size of feature map.

    Parameters
    ----------
    model : torch.nn.Module
        That torch.fx can trace.
    image_shape : tuple of int
        (C, H, W) of one image.

    Returns
    -------
    list of Tap
        In the order of the network; the last has the last CONV layer's features.

    Raises
    ------
    ValueError
        A network that can't be traced, or without feature maps.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2),
    ...                     nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(),
    ...                     nn.Linear(8, 2))
    >>> [(tap.shape, tap.layers) for tap in taps(net, (3, 8, 8))]
    [((4, 6, 6), ('0',)), ((8, 1, 1), ('0', '3'))]
    """
    graph = _traced(model)
    device = next(model.parameters()).device
    with torch.no_grad():
        ShapeProp(graph).propagate(torch.zeros(1, *image_shape, device=device))
    modules = dict(graph.named_modules())
    found, layers = {}, []
    for node, alone in _cuts(graph.graph):
        if node.op == "call_module" and isinstance(modules[node.target], WEIGHTED):
            layers.append(node.target)
        shape = getattr(node.meta.get("tensor_meta"), "shape", ())
        if alone and layers and len(shape) == 4:
            found[tuple(shape[2:])] = Tap(node.name, tuple(shape[1:]), tuple(layers))
    # A pooling changes the size and adds no layer: what it was made of says more.
    kept = []
    for tap in found.values():
        if not kept or tap.layers != kept[-1].layers:
            kept.append(tap)
    if not kept:
        raise ValueError(
            f"{type(model).__name__} has no place between a CONV layer and its end "
            "where all goes through one feature map, so that no selector can share its "
            "layers")
    return kept


def cut(model, tap):
    """A network as two: up to a tap, and the rest.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode; its modules and weights are shared, not copied.
    tap : Tap
        Of this network.

    Returns
    -------
    front : torch.nn.Module
        Images, shape (N, C, H, W), to features, (N, *tap.shape).
    back : torch.nn.Module
        Features to logits.
    """
    graph = _traced(model)
    by_name = {node.name: node for node in graph.graph.nodes}
    if tap.name not in by_name:
        raise ValueError(f"tap {tap.name!r} is not of this {type(model).__name__}")
    place = by_name[tap.name]
    front, back = fx.Graph(), fx.Graph()
    copies, here = {}, front
    for node in graph.graph.nodes:
        if node.op == "output":
            back.output(copies[node.args[0]])
            continue
        copies[node] = here.node_copy(node, lambda one: copies[one])
        if node is place:
            front.output(copies[node])
            here = back
            copies = {place: back.placeholder("features")}
    halves = []
    for half in (front, back):
        module = fx.GraphModule(graph, half)
        halves.append(module.train(model.training))
    return tuple(halves)


def _traced(model):
    try:
        return trace(model)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as problem:
        raise ValueError(
            f"{type(model).__name__} can't be traced, so it can't be cut: "
            f"{str(problem).splitlines()[0]}") from None


def _cuts(graph):
    """Each operator, and whether nothing else is still needed after it."""
    nodes = [node for node in graph.nodes if node.op != "get_attr"]
    last_use = {}
    for place, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last_use[source] = place
    needed = set()
    for place, node in enumerate(nodes):
        needed = {one for one in needed if last_use[one] > place}
        if node.op not in ("placeholder", "output"):
            yield node, not needed
        if last_use.get(node, place) > place:
            needed.add(node)
