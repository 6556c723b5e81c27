"""An ONNX file → Workload. Needs the extra ``eyeriss-sim[onnx]``.

Nothing in the file is run but the arithmetic on its own sizes and weights.
"""

from pathlib import Path

from eyeriss_sim.importers.tensors import first_line
from eyeriss_sim.workload import Workload
from eyeriss_sim.zeros import Densities

MOST_SHOWN = 5          # kinds of operators in a message


def network_from_onnx(path, batch=None, input_shape=None):
    """The Network of an ONNX file; its weights are not looked at."""
    return workload_from_onnx(path, batch, input_shape, weights=False).network


def workload_from_onnx(path, batch=None, input_shape=None, weights=True, told=()):
    """Read the shapes of an ONNX graph, and how many of its weights are not zero.

    Weights in other files are read, too; of a quantised one, what equals its zero
    point is zero.

    Layers carry the dotted name of the torch module where the weight or the node still
    shows it (``layer1.0.conv1.weight``, ``/layer1/layer1.0/conv1/Conv``, the metadata
    of torch's dynamo exporter), else the node's or its result's name. A recurrent layer
    (LSTM, GRU, RNN) is a product for the inputs of all steps and one a step for what
    came of the last, each direction. A loop whose trip count is known repeats what is
    in it; of a branch that the file decides, that branch counts.

    Parameters
    ----------
    path : str or Path
    batch : int, optional
        A symbolic first dimension of the inputs becomes this, or 1; a network exported
        for a fixed batch is rescaled. It is the second dimension where a recurrent
        layer takes the input's first as its steps.
    input_shape : tuple of int, list of tuples or dict, optional
        Sizes of open dimensions, as whole shapes: of the first input, of the first
        ones in order, or by name.
    weights : bool
        Whether weights are looked at.
    told : collection of str
        Layers whose weights are left alone.

    Returns
    -------
    Workload
        Densities by the name of every layer with weights that were looked at; of ifmap
        and ofmap nothing is known, so they count as dense.

    Raises
    ------
    ValueError
        onnx is not installed, the file is no model, a dimension is unknown, or an
        operator hides products that would be missed; weights that are not there, can't
        be told or hold NaN.
    """
    network, log = _read(path, batch, input_shape)
    if not weights:
        return Workload(network)
    from eyeriss_sim.importers.onnx_weights import nonzero_share
    return Workload(network, {
        name: Densities(filter=nonzero_share(weight, f"{path}: {name}"))
        for name, weight in log.weights.items() if name not in told})


def _read(path, batch, input_shape):
    """The Network, and the log that it comes from."""
    try:
        import onnx
        from onnx import inliner
    except ImportError:
        raise ValueError(f"{path}: reading it needs the package onnx; "
                         "pip install 'eyeriss-sim[onnx]'") from None
    from eyeriss_sim.importers.onnx_inputs import bind_inputs
    from eyeriss_sim.importers.onnx_walk import Walk
    path = Path(path)
    if batch is not None and batch < 1:
        raise ValueError(f"{path}: batch must be at least 1, got {batch}")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as problem:
        raise ValueError(f"{path}: is no ONNX model, or only the start of one "
                         f"({first_line(problem)})") from problem
    if _holds_bytes(model.graph):
        raise ValueError(f"{path}: is no ONNX model: it holds a name that is no text")
    if not model.graph.node:
        raise ValueError(f"{path}: is no ONNX model, or one without nodes")
    images = bind_inputs(path, model.graph, 1 if batch is None else batch, input_shape)
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except Exception as problem:
            raise ValueError(f"{path}: its functions can't be put in their place "
                             f"({first_line(problem)})") from problem
    log = Walk(path, model, images).run()
    if not log.layers:
        raise ValueError(f"{path}: {_without_layers(log)}")
    network = log.network(path.stem, f"ONNX file {path.name}")
    return network if batch is None else network.with_batch(batch), log


def _without_layers(log):
    """Content of a file without layers, and what would help."""
    kinds = [one.op for one in log.others()]
    foreign = [kind for kind in kinds if "." in kind or "may hold" in kind]
    shown = ", ".join((foreign or kinds)[:MOST_SHOWN])
    more = len(foreign or kinds) - MOST_SHOWN
    shown += f" and {more} more kinds" if more > 0 else ""
    if foreign:
        return ("no convolution or matrix product that is known, but "
                f"{shown}, whose products can't be told; export the model with the "
                "operators of ONNX itself")
    return ("no convolution or matrix product in it, so nothing to simulate"
            + f"; it holds {shown}" * bool(shown))


def _holds_bytes(graph):
    """True if a name in a graph, or in those in it, is no text, as in damaged files."""
    values = [*graph.input, *graph.output, *graph.value_info]
    names = [one.name for one in [*values, *graph.initializer]]
    names += [dim.dim_param for one in values for dim in one.type.tensor_type.shape.dim]
    for node in graph.node:
        names += [node.op_type, node.domain, node.name, *node.input, *node.output]
        names += [attr.name for attr in node.attribute]
    return any(isinstance(name, bytes) for name in names) or any(
        _holds_bytes(inner) for node in graph.node for attr in node.attribute
        for inner in [attr.g, *attr.graphs] if inner.node)
