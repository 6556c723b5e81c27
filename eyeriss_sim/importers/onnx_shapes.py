"""The shape of what one ONNX node gives, and its values where they are sizes.

Exporters write ``x.chunk(2, 1)`` or ``F.pad`` as arithmetic on the result of a Shape
node, so small values that depend on no image are evaluated on the way.
"""

from math import prod

import numpy as np
from onnx import AttributeProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

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

# The reference lacks the older of these, which do the same to what they allow.
QUANTISING = {"DequantizeLinear", "QuantizeLinear"}
QUANTISING_OPSET = 21


class Value:
    """Known facts of a value in a graph.

    Parameters
    ----------
    type : onnx.TypeProto or None
    array : ndarray, optional
        Content, of small values that depend on no image.
    constant : bool
        Whether it depends on no input of the network.
    source : str
        Initializer that a constant came from, or "".
    maker : callable, optional
        Gives the content of a constant, whatever its size.
    fmap : tuple of int, optional
        (C, h, w) of the map that it is, flattened.
    why : str
        Why its shape is unknown.
    copies : int
        How often a constant is repeated as a whole, over the batch say.
    """

    __slots__ = (
        "array",
        "constant",
        "copies",
        "fmap",
        "maker",
        "shape",
        "source",
        "type",
        "why",
    )

    def __init__(self, type=None, array=None, constant=False, source="", maker=None,
                 fmap=None, why="", copies=1):
        self.type, self.array, self.constant = type, array, constant
        self.source, self.maker, self.fmap, self.why = source, maker, fmap, why
        self.copies = copies
        self.shape = shape_of(type)


def shape_of(kind):
    """Shape that a TypeProto states in full, or None."""
    if kind is None or not kind.HasField("tensor_type"):
        return None
    if not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)


def tensor_type(shape, like=None):
    """TypeProto of a shape, with the element type of ``like`` or floating point."""
    element = like.tensor_type.elem_type if like is not None else 0
    return helper.make_tensor_type_proto(element or 1, shape)


def node_types(node, values, opsets):
    """Types of a node's results, by name, and what is wrong with its operands.

    Parameters
    ----------
    node : onnx.NodeProto
        A node of one of the standard's operators.
    values : dict of str to Value
        Its operands.
    opsets : sequence of onnx.OperatorSetIdProto

    Returns
    -------
    types : dict of str to onnx.TypeProto
    problem : str
        Why inference gave up, or "".
    """
    infos, tensors = [], []
    for name, value in values.items():
        if value.array is not None:
            tensors.append(numpy_helper.from_array(value.array, name))
        if value.type is not None:
            infos.append(helper.make_value_info(name, value.type))
    graph = helper.make_graph(
        [node], "one", infos,
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        tensors)
    model = helper.make_model(graph, opset_imports=opsets)
    complete = all(value.shape is not None for value in values.values())
    try:
        found = shape_inference.infer_shapes(model, strict_mode=complete)
    except Exception as problem:
        lines = str(problem).strip().splitlines()
        return {}, lines[-1].rpartition("] ")[2] if lines else ""
    return {value.name: value.type for value in found.graph.output
            if value.type.WhichOneof("value")}, ""


def small_results(node, values, types, opsets):
    """Results of a node, as arrays, or None: it takes more than sizes, or fails."""
    if node.op_type == "Shape" and node.input and node.input[0] in values:
        # Only its shape is needed, so it need not be known.
        shape = values[node.input[0]].shape
        if shape is not None:
            start = next((one.i for one in node.attribute if one.name == "start"), 0)
            end = next((one.i for one in node.attribute if one.name == "end"), None)
            return [np.array(shape, np.int64)[start:end]]
    sized = all(_words(shape_of(types.get(name))) <= SHAPE_WORDS
                for name in node.output if name)
    if (node.op_type.startswith(("Random", "Bernoulli", "Multinomial"))
            or any(value.array is None for value in values.values())
            or (node.op_type not in BOUNDED and not sized)
            or any(one.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS)
                   for one in node.attribute)):
        return None
    try:
        results = run_node(node, {name: one.array for name, one in values.items()},
                           opsets)
    except Exception:
        # An odd node, or one that the reference lacks: unknown is what it was.
        return None
    if not all(isinstance(one, (np.ndarray, np.generic)) for one in results):
        return None
    results = [np.asarray(value) for value in results]
    return results if all(one.size <= SHAPE_WORDS for one in results) else None


def run_node(node, arrays, opsets):
    """One node, run by onnx's reference; a list of arrays."""
    if node.op_type in QUANTISING:
        opsets = [helper.make_opsetid("", QUANTISING_OPSET)]
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape))
            for name, array in arrays.items()],
        [helper.make_empty_tensor_value_info(name) for name in node.output])
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(
        None, arrays)


def _words(shape):
    return SHAPE_WORDS + 1 if shape is None else prod(shape)
