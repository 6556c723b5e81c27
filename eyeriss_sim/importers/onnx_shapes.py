"""The shapes of an ONNX graph's values, also where the graph computes them itself.

Exporters write ``x.chunk(2, 1)`` or ``F.pad`` as arithmetic on the result of a Shape
node. onnx's own inference carries only some of it through; the rest is evaluated here,
node by node, and inference runs again with what came out.
"""

from math import prod

# No list of sizes or axes is longer than this.
SHAPE_WORDS = 4096
# Arithmetic on sizes, whose results are not much larger than what goes in. All else is
# evaluated only where inference knows that its result is small.
BOUNDED = {
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Constant", "Div", "Equal", "Floor",
    "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max",
    "Min", "Mod", "Mul", "Neg", "Not", "Or", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Round", "ScatterND", "Shape", "Sign", "Size", "Slice",
    "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"}


def inferred(model):
    """A model with inferred shapes, and those of all values that are known.

    Parameters
    ----------
    model : onnx.ModelProto
        Without functions; weights need no values.

    Returns
    -------
    onnx.ModelProto
        The nodes of ``model``.
    dict of str to tuple of int
        By the name of a value.
    """
    from onnx import shape_inference
    whole = shape_inference.infer_shapes(model, data_prop=True)
    shapes = shapes_of(whole.graph)
    folded = type(model)()
    folded.CopyFrom(whole)
    while _unknown(whole.graph, shapes) and _fold(folded, shapes):
        folded = shape_inference.infer_shapes(folded, data_prop=True)
        shapes.update(shapes_of(folded.graph))
    return whole, shapes


def shapes_of(graph):
    """Shapes that stand in a graph, of values all of whose dimensions are known."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(
                dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes.setdefault(
                value.name, tuple(dim.dim_value for dim in kind.shape.dim))
    return shapes


def _unknown(graph, shapes):
    return any(name and name not in shapes for node in graph.node
               for name in node.output)


def _fold(model, shapes):
    """Replace nodes whose result depends on sizes alone by it; whether any was."""
    from onnx import TensorProto, numpy_helper
    graph = model.graph
    # What stands in other files is not looked for: a path of theirs could name any.
    known = {tensor.name: tensor for tensor in graph.initializer
             if prod(tensor.dims) <= SHAPE_WORDS
             and tensor.data_location != TensorProto.EXTERNAL}
    left = []
    for node in graph.node:
        results = _results(node, known, shapes, model.opset_import)
        if results is None:
            left.append(node)
            continue
        for name, value in zip(node.output, results):
            tensor = numpy_helper.from_array(value, name)
            graph.initializer.append(tensor)
            known[name] = tensor
            shapes[name] = tuple(tensor.dims)
    if len(left) == len(graph.node):
        return False
    del graph.node[:]
    graph.node.extend(left)
    return True


def _results(node, known, shapes, opsets):
    """What a node gives, as arrays, or None: it takes more than sizes, or fails."""
    import numpy as np
    from onnx import AttributeProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator
    inputs = [name for name in node.input if name]
    if node.op_type == "Shape" and inputs and inputs[0] in shapes:
        # Only its shape is needed, so it need not be known.
        start = next((one.i for one in node.attribute if one.name == "start"), 0)
        end = next((one.i for one in node.attribute if one.name == "end"), None)
        return [np.array(shapes[inputs[0]], np.int64)[start:end]]
    sized = all(prod(shapes.get(name, (SHAPE_WORDS + 1,))) <= SHAPE_WORDS
                for name in node.output if name)
    if (node.domain not in ("", "ai.onnx") or node.op_type.startswith("Random")
            or not all(name in known for name in inputs)
            or node.op_type not in BOUNDED and not sized
            or any(one.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS)
                   for one in node.attribute)):
        return None
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info(
            name, known[name].data_type, list(known[name].dims)) for name in inputs],
        [helper.make_empty_tensor_value_info(name) for name in node.output])
    try:
        results = ReferenceEvaluator(
            helper.make_model(graph, opset_imports=opsets)).run(
                None, {name: numpy_helper.to_array(known[name]) for name in inputs})
    except Exception:
        # An odd node, or one that the reference lacks: unknown is what it was.
        return None
    results = [np.asarray(value) for value in results]
    return results if all(one.size <= SHAPE_WORDS for one in results) else None
