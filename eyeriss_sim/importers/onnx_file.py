"""An ONNX file → Network. Needs the extra ``eyeriss-sim[onnx]``.

Only shapes are read: weights kept outside the file are not loaded, and nothing in the
file is run but the arithmetic on its own sizes.
"""

from math import prod
from pathlib import Path

from eyeriss_sim.importers.onnx_shapes import SHAPE_WORDS, inferred
from eyeriss_sim.importers.operators import OperatorLog, flattened_map
from eyeriss_sim.importers.tensors import first_line

FREE = {
    "Constant", "ConstantOfShape", "Dropout", "Expand", "Flatten", "Identity", "Range",
    "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
# Results whose values describe shapes, not images.
SHAPES = {"Shape", "Size"}
# Positions of the ifmap and the filter among the inputs.
CONVOLUTIONS = {"Conv": (0, 1), "ConvInteger": (0, 1), "QLinearConv": (0, 3),
                "ConvTranspose": (0, 1)}
PRODUCTS = {"MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3),
            "Gemm": (0, 1)}
RECURRENT = {"LSTM", "GRU", "RNN"}
# Whole products in one node, which no other network's figures leave out.
HIDING = {"Attention", "DeformConv", "FusedConv", "FusedGemm", "FusedMatMul",
          "GroupQueryAttention", "MultiHeadAttention", "QAttention"}


def network_from_onnx(path, batch=None):
    """Read the shapes of an ONNX graph.

    Layers carry the dotted name of the torch module where the weight or the node still
    shows it (``layer1.0.conv1.weight``, ``/layer1/layer1.0/conv1/Conv``), else the
    node's or its result's name. Operators inside If, Loop and Scan are not looked into;
    these are listed as not counted. A recurrent layer (LSTM, GRU, RNN) is a product for
    the inputs of all steps and one a step for what came of the last, each direction.

    Parameters
    ----------
    path : str or Path
    batch : int, optional
        A symbolic first dimension of the inputs becomes this, or 1; a network exported
        for a fixed batch is rescaled.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        onnx is not installed, the file is no model, a dimension is unknown, or an
        operator hides products that would be missed.
    """
    try:
        import onnx
        from onnx import inliner
    except ImportError:
        raise ValueError(f"{path}: reading it needs the package onnx; "
                         "pip install 'eyeriss-sim[onnx]'") from None
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
    if not model.graph.node:
        raise ValueError(f"{path}: is no ONNX model, or one without nodes")
    images = _bind_inputs(path, model.graph, 1 if batch is None else batch)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) > SHAPE_WORDS:     # inference would copy all weights
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        model, shapes = inferred(model)
    except Exception as problem:
        raise ValueError(f"{path}: its shapes contradict each other "
                         f"({first_line(problem)})") from problem
    log = OperatorLog(images)
    _Graph(path, onnx, model.graph, shapes, log).walk()
    network = log.network(path.stem, f"ONNX file {path.name}")
    return network if batch is None else network.with_batch(batch)


def _bind_inputs(path, graph, batch):
    """Give symbolic first dimensions a value, written into ``graph``; the batch."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    symbols = set()
    for value in inputs:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value > 0:
                continue
            if axis and (not dim.dim_param or dim.dim_param not in symbols):
                what = f"dimension {axis} ({dim.dim_param or 'no name'})"
                raise ValueError(
                    f"{path}: input {value.name!r} has an open {what}; only the batch, "
                    "its dimension 0, may be open; export it with a fixed one")
            symbols.add(dim.dim_param)
            dim.dim_value = batch
    # Intermediate shapes that name the same symbol follow; inference fills the others.
    for value in [*graph.value_info, *graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param in symbols:
                dim.dim_value = batch
            elif dim.dim_param:
                dim.ClearField("dim_param")
    shape = inputs[0].type.tensor_type.shape.dim if inputs else ()
    return shape[0].dim_value if len(shape) > 1 else 1


class _Graph:
    """Walks the nodes of a graph with inferred shapes."""

    def __init__(self, path, onnx, graph, shapes, log):
        self.path, self.graph, self.log = path, graph, log
        self._attribute = onnx.helper.get_attribute_value
        self._shapes = shapes
        # Values that depend on no input: the initializer that they came from, or "".
        self._weights = {tensor.name: tensor.name for tensor in graph.initializer}
        self._flat = {}             # flattened value: the (C, h, w) that it was

    def walk(self):
        for node in self.graph.node:
            inputs = [name for name in node.input if name]
            # What the branches of an If use are no inputs of it.
            constant = all(name in self._weights for name in inputs) and not any(
                attr.HasField("g") or attr.graphs for attr in node.attribute)
            if constant or node.op_type in SHAPES:
                source = next((self._weights[name] for name in inputs
                               if self._weights.get(name)), "")
                self._weights.update(dict.fromkeys(node.output, source))
                continue
            try:
                self._add(node, inputs)
            except (AttributeError, ArithmeticError, LookupError, TypeError,
                    ValueError) as problem:
                # onnx checks no node: operands and attributes may miss or be odd.
                said = str(problem)
                if said.startswith(f"{self.path}: "):
                    raise
                name = node.name or "".join(node.output[:1])
                raise ValueError(
                    f"{self.path}: {node.op_type} {name}: "
                    f"{said}; is the model valid? onnx.checker tells") from problem
            self._follow_map(node)

    def _add(self, node, inputs):
        if node.op_type in CONVOLUTIONS:
            self._convolution(node)
        elif node.op_type in PRODUCTS:
            self._product(node)
        elif node.op_type == "Einsum" and len(inputs) == 2:
            self._einsum(node)
        elif node.op_type in RECURRENT:
            self._recurrent(node)
        elif node.op_type in HIDING:
            raise ValueError("its products can't be told from its shapes; export the "
                             "model without fusing them, or simulate the torch module")
        elif node.op_type not in FREE:
            shape = self._shapes.get(node.output[0])
            self.log.other(node.op_type, None if shape is None else prod(shape))

    def _follow_map(self, node):
        """Note where a map was flattened, and that it still is after an activation."""
        if not node.input or not node.output:
            return
        before, after = (self._shapes.get(name)
                         for name in (node.input[0], node.output[0]))
        if before is None or after is None:
            return
        fmap = (flattened_map(before, after) if node.op_type in ("Flatten", "Reshape")
                else None)
        if not fmap and before == after:
            fmap = self._flat.get(node.input[0])
        if fmap:
            self._flat[node.output[0]] = fmap

    def _shape(self, node, value):
        if value not in self._shapes:
            raise ValueError(
                f"{self.path}: {node.op_type} {node.name or node.output[0]}: the shape "
                f"of {value!r} does not follow from the inputs' sizes; export the "
                "model with fixed ones, in the file itself and without branches")
        return self._shapes[value]

    def _attributes(self, node):
        return {attr.name: self._attribute(attr) for attr in node.attribute}

    def _convolution(self, node):
        x, w = (node.input[place] for place in CONVOLUTIONS[node.op_type])
        ifmap, filt = self._shape(node, x), self._shape(node, w)
        dims = len(ifmap) - 2
        attrs = self._attributes(node)
        stride = attrs.get("strides") or [1] * dims
        dilation = attrs.get("dilations") or [1] * dims
        extra = attrs.get("output_padding") or [0] * dims
        span = [(taps - 1) * step + 1 for taps, step in zip(filt[2:], dilation)]
        transposed = node.op_type == "ConvTranspose"
        pads = attrs.get("pads") or [0] * 2 * dims
        pads = list(zip(pads[:dims], pads[dims:]))
        rule = attrs.get("auto_pad", b"NOTSET").decode()
        sizes = attrs.get("output_shape")
        if transposed and (sizes or rule.startswith("SAME")):
            full = [(size - 1) * step + reach + more for size, step, reach, more
                    in zip(ifmap[2:], stride, span, extra)]
            sizes = sizes or [size * step for size, step in zip(ifmap[2:], stride)]
            rule = rule if rule == "SAME_UPPER" else "SAME_LOWER"   # as ONNX defines
            pads = [_halves(most - size, rule) for most, size in zip(full, sizes)]
        elif rule.startswith("SAME"):
            pads = [_halves(max(0, (-(-size // step) - 1) * step + reach - size), rule)
                    for size, step, reach in zip(ifmap[2:], stride, span)]
        elif rule == "VALID":
            pads = [(0, 0)] * dims
        self.log.convolution(
            self._name(node, w), ifmap, filt, stride=list(stride), pads=pads,
            dilation=list(dilation), groups=attrs.get("group", 1),
            transposed=transposed, output_padding=extra,
            dynamic_filters=w not in self._weights)

    def _product(self, node):
        a, b = (node.input[place] for place in PRODUCTS[node.op_type])
        left, right = self._shape(node, a), self._shape(node, b)
        attrs = self._attributes(node)
        if attrs.get("transA"):
            left = left[::-1]
        if attrs.get("transB"):
            right = right[::-1]
        left = left if len(left) > 1 else (1, *left)
        right = right if len(right) > 1 else (*right, 1)
        *left_groups, rows, inner = left
        *right_groups, depth, filters = right
        if inner != depth:
            raise ValueError(f"rows of {inner} values meet columns of {depth}")
        if a in self._weights:          # weights @ activations: the same, transposed
            a, b, rows, filters = b, a, filters, rows
            left_groups, right_groups = right_groups, left_groups
        rank = max(len(left_groups), len(right_groups))
        groups = prod(max(pair) for pair in zip(
            [1] * (rank - len(left_groups)) + left_groups,
            [1] * (rank - len(right_groups)) + right_groups))
        dynamic = b not in self._weights
        if not dynamic:
            # A filter that several of the products share passes all of their rows.
            groups, rows = prod(right_groups), rows * groups // prod(right_groups)
        self.log.product(self._name(node, b), rows, inner, filters, groups=groups,
                         dynamic_filters=dynamic, fmap=self._flat.get(a))

    def _recurrent(self, node):
        x, w, r = (self._shape(node, value) for value in node.input[:3])
        steps, batch = x[1::-1] if self._attributes(node).get("layout") else x[:2]
        name = self._name(node, node.input[2])
        for _ in range(r[0]):
            self.log.product(name, steps * batch, w[2], w[1])
            self.log.product(name, batch, r[2], r[1], steps=steps)

    def _einsum(self, node):
        """A product of two tensors: sizes by the letters that both, or one, have."""
        equation = self._attributes(node)["equation"].decode().replace(" ", "")
        terms, _, result = equation.partition("->")
        letters = terms.split(",")
        a, b = node.input
        shapes = [self._shape(node, a), self._shape(node, b)]
        if ("..." in equation or "->" not in equation
                or any(len(set(term)) != len(term) for term in letters)):
            self.log.other("Einsum", prod(self._shape(node, node.output[0])))
            return
        if a in self._weights:
            a, b, letters, shapes = b, a, letters[::-1], shapes[::-1]
        sizes = {}
        for term, shape in zip(letters, shapes):
            sizes.update(zip(term, shape))

        def span(*, left, right, out):
            return prod(size for letter, size in sizes.items()
                        if (letter in letters[0], letter in letters[1],
                            letter in result) == (left, right, out))
        self.log.product(
            self._name(node, b), span(left=True, right=False, out=True),
            span(left=True, right=True, out=False),
            span(left=False, right=True, out=True),
            groups=span(left=True, right=True, out=True),
            dynamic_filters=b not in self._weights)

    def _name(self, node, filt):
        weight = self._weights.get(filt, "")
        if weight.endswith(".weight"):
            return weight.removesuffix(".weight")
        path = module_path(node.name)
        if not path:
            return node.name or node.output[0]
        return path if filt in self._weights else f"{path}.{node.op_type.lower()}"


def _halves(total, rule):
    """Padding before and after; SAME_UPPER puts an odd pixel after."""
    if rule == "SAME_LOWER":
        return total - total // 2, total // 2
    return total // 2, total - total // 2


def module_path(node):
    """Dotted torch module in the name of a node, or "".

    Examples
    --------
    >>> module_path("/layer1/layer1.0/conv1/Conv")
    'layer1.0.conv1'
    >>> module_path("/blocks.0/attn/MatMul_1"), module_path("Conv_3")
    ('blocks.0.attn', '')
    """
    parts = node.split("/")
    if len(parts) < 3 or parts[0]:
        return ""
    path, last = [], ""
    for part in parts[1:-1]:
        # A module inside a Sequential repeats the name of its container.
        if last and part.startswith(last + "."):
            path.pop()
        path.append(part)
        last = part
    return ".".join(path)
