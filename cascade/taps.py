"""Taps: places where a network can be cut in two, and the two halves."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx

from eyeriss_sim.importers.torch_module import network_from_module
from pruning.placed import trace


@dataclass(frozen=True)
class Tap:
    """A place where everything that flows through a network is one feature map.

    Parameters
    ----------
    name : str
        The operator whose result it is, as the graph names it.
    shape : tuple of int
        (C, H, W) of the feature map.
    layer_names : tuple of str
        The layers before it, as the simulator counts and names them: ``conv#2`` is the
        second run of ``conv``.
    position : int
        Number of the operator in the graph.
    """

    name: str
    shape: tuple
    layer_names: tuple
    position: int


def find_taps(model: torch.nn.Module, image_shape: Sequence[int]) -> list[Tap]:
    """The taps of a network: the last one at each size of feature map.

    Parameters
    ----------
    model : torch.nn.Module
        One that torch.fx can trace.
    image_shape : tuple of int
        (C, H, W) of one image.

    Returns
    -------
    list of Tap
        Taps in the order of the network; the last has the last CONV layer's features.

    Raises
    ------
    ValueError
        A network that can't be traced, or without feature maps.

    Examples
    --------
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2),
    ...                     nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(),
    ...                     nn.Linear(8, 2))
    >>> [(tap.shape, tap.layer_names) for tap in find_taps(net, (3, 8, 8))]
    [((4, 6, 6), ('0',)), ((8, 1, 1), ('0', '3'))]
    """
    graph = _traced(model)
    shapes = _shapes(graph, image_shape, type(model).__name__)
    found: dict[tuple[int, ...], fx.Node] = {}
    for node, alone in _cuts(graph.graph):
        shape = shapes.get(node, ())
        if alone and len(shape) == 4:
            found.pop(shape[2:], None)      # a size may come back: order is by the last
            found[shape[2:]] = node
    whole = _layers(model, image_shape)
    positions = {node: at for at, node in enumerate(graph.graph.nodes)}
    kept: list[Tap] = []
    for node in found.values():
        try:
            layers = _layers(_halves(graph, positions[node])[0], image_shape)
        except ValueError:      # none yet
            continue
        # Its cost has to be that of the whole network's first layers. A pooling changes
        # the size and adds no layer: what it was made of says more.
        if layers == whole[:len(layers)] and (
                not kept or layers != kept[-1].layer_names):
            kept.append(Tap(node.name, shapes[node][1:], layers, positions[node]))
    if not kept:
        raise ValueError(
            f"{type(model).__name__} has no place between a CONV layer and its end "
            "where all goes through one feature map, so that no selector can share its "
            "layers")
    return kept


def cut(model: torch.nn.Module,
        tap: Tap) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A network as two: up to a tap, and the rest.

    Parameters
    ----------
    model : torch.nn.Module
        Its modules and weights are shared, not copied, and stay in their modes.
    tap : Tap
        One that this network has.

    Returns
    -------
    front : torch.nn.Module
        Images, shape (N, C, H, W), to features, (N, *tap.shape).
    back : torch.nn.Module
        Features to logits; the features stay as they are.

    Raises
    ------
    ValueError
        A network that can't be traced, or a tap that it has not.
    """
    graph = _traced(model)
    nodes = list(graph.graph.nodes)
    if tap.position >= len(nodes) or nodes[tap.position].name != tap.name:
        raise ValueError(f"tap {tap.name} after {tap.layer_names[-1]} is not of this "
                         f"{type(model).__name__}; find_taps() lists those that are")
    return _halves(graph, tap.position)


def _halves(graph, position):
    """A graph up to one operator, and the rest, with the modules of the whole."""
    front, back = fx.Graph(), fx.Graph()
    copies, here = {}, front

    def copied(node):
        if node.op == "get_attr" and node not in copies:    # both halves may use it
            copies[node] = here.node_copy(node)
        return copies[node]

    for at, node in enumerate(graph.graph.nodes):
        if node.op == "output":
            back.output(copied(node.args[0]))
        elif node.op != "get_attr":
            copies[node] = here.node_copy(node, copied)
        if at == position:
            front.output(copies[node])
            here = back
            copies = {node: back.placeholder("features")}
    return fx.GraphModule(graph, front), fx.GraphModule(graph, back)


def tapped(model: torch.nn.Module, taps: Sequence[Tap]) -> torch.nn.Module:
    """A network that shows its features on the way.

    Parameters
    ----------
    model : torch.nn.Module
        Its modules and weights are shared, not copied.
    taps : sequence of Tap
        Some that this network has.

    Returns
    -------
    torch.nn.Module
        Images to a tuple: the features of each tap, and the logits.
    """
    graph = _traced(model)
    by_name = {node.name: node for node in graph.graph.nodes}
    shown = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.graph.nodes:
        if node.op != "output":
            copies[node] = shown.node_copy(node, copies.__getitem__)
            continue
        shown.output((*(copies[by_name[tap.name]] for tap in taps),
                      copies[node.args[0]]))
    return fx.GraphModule(graph, shown)


def program(model: torch.nn.Module) -> str:
    """Text of what a model's forward does with its modules."""
    return _traced(model).code


def _traced(model):
    try:
        return trace(model)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as problem:
        raise ValueError(
            f"{type(model).__name__} can't be traced, so it can't be cut: "
            f"{str(problem).splitlines()[0]}") from None


def _layers(module, image_shape):
    """Names of the layers that one image runs through."""
    return tuple(layer.name for layer in network_from_module(
        module, (1, *image_shape)).layers)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every tensor with the number of writes to it till then."""

    def __init__(self, graph):
        super().__init__(graph)
        self.results = {}

    def run_node(self, node):
        result = super().run_node(node)
        if isinstance(result, torch.Tensor):
            self.results[node] = result, result._version
        return result


def _shapes(graph, image_shape, kind):
    """The shape of each operator's result for one image.

    Without those that a later operator writes over: they are gone when the rest of the
    network has run.
    """
    weight = next(graph.parameters(), torch.zeros(()))
    # A copy in evaluation mode: an image of zeros must not enter anyone's statistics.
    copied = copy.deepcopy(graph).eval()
    recorder = _Recorder(copied)
    try:
        with torch.inference_mode(False), torch.no_grad():
            recorder.run(weight.new_zeros(1, *image_shape))
    except (RuntimeError, TypeError, ValueError) as problem:
        raise ValueError(f"{kind} doesn't take an image of shape {tuple(image_shape)}: "
                         f"{str(problem).splitlines()[0]}") from None
    shapes = {}
    for node, twin in zip(graph.graph.nodes, copied.graph.nodes, strict=True):
        if twin in recorder.results:
            result, writes = recorder.results[twin]
            if result._version == writes:
                shapes[node] = tuple(result.shape)
    return shapes


def _cuts(graph):
    """Each operator, and whether nothing else is still needed after it."""
    nodes = [node for node in graph.nodes if node.op != "get_attr"]
    last_use = {}
    for place, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last_use[source] = place
    needed: set[fx.Node] = set()
    for place, node in enumerate(nodes):
        needed = {one for one in needed if last_use[one] > place}
        if node.op not in ("placeholder", "output"):
            yield node, not needed
        if last_use.get(node, place) > place:
            needed.add(node)
