"""Open dimensions of an ONNX file's inputs → numbers, by the user or as the batch."""

RECURRENT = {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}
# With weights as their other operands.
KEEP_STEPS = {"Add", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout", "Gather",
              "Identity", "LayerNormalization", "MatMul", "Mul", "QuantizeLinear",
              "Relu", "Sigmoid", "Sub", "Tanh"}


def bind_inputs(path, graph, batch, given=None):
    """Write a number into every open dimension of a graph's inputs.

    Dimensions that carry one name are one number, in intermediate values too.

    Parameters
    ----------
    path : Path
        Named in errors.
    graph : onnx.GraphProto, changed
    batch : int
        For an open dimension of the batch that ``given`` leaves open: the first, or
        the second where a recurrent layer takes the steps first.
    given : tuple of int, list of tuples or dict, optional
        Shape of the first input, of the first ones in order, or by name.

    Returns
    -------
    int
        Images: that dimension of the first input, 1 if it has but one.

    Raises
    ------
    ValueError
        An input that is not there, a shape that contradicts the file or another input,
        or a dimension that stays open.
    """
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value.type.tensor_type for value in graph.input
              if value.name not in weights
              and value.type.WhichOneof("value") in (None, "tensor_type")}
    symbols: dict[str, int] = {}
    axes = batch_axes(graph)
    for name, sizes in _by_name(path, list(inputs), given).items():
        _bind(path, name, inputs[name], sizes, symbols, axes.get(name, 0))
    images = batch
    for place, (name, kind) in enumerate(inputs.items()):
        dims, of_images = kind.shape.dim, axes.get(name, 0)
        for axis, dim in enumerate(dims):
            if not _is_open(dim):
                continue
            if dim.dim_param and dim.dim_param in symbols:
                size = symbols[dim.dim_param]
            elif axis != of_images:
                raise ValueError(
                    f"{path}: input {name!r} has an open dimension {axis} "
                    f"({dim.dim_param or 'no name'}); give its sizes, as in --input "
                    f"{name}={','.join(map(_shown, dims))}")
            else:
                size = images
            if dim.dim_param:
                symbols[dim.dim_param] = size
            dim.dim_value = size
        if not place and len(dims) > 1:
            images = dims[of_images].dim_value
    for value in [*graph.value_info, *graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_value = symbols[dim.dim_param]
    first = next(iter(inputs.values()), None)
    return images if first is not None and len(first.shape.dim) > 1 else 1


def batch_axes(graph):
    """Inputs whose batch is their second dimension: name → 1.

    They are what a recurrent layer without ``layout`` takes as its steps or as its
    first state, as it is or after operators that leave these two dimensions alone.
    """
    makers = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    axes = {}
    for node in graph.node:
        if node.op_type not in RECURRENT or any(
                attr.name == "layout" and attr.i for attr in node.attribute):
            continue
        for name in (*node.input[:1], *node.input[5:7]):
            while name in makers and makers[name].op_type in KEEP_STEPS:
                name = _steps_of(makers[name], weights)
            if name and name not in makers:
                axes[name] = 1
    return axes


def _steps_of(node, weights):
    """The operand of a node whose steps and images are those of its result, or ""."""
    operands = [one for one in node.input if one and one not in weights]
    first = operands[0] if operands else ""
    place = {"Gather": 1, "MatMul": 0}.get(node.op_type)    # a table, and rows
    return first if place is None or node.input[place] == first else ""


def _by_name(path, names, given):
    if given is None:
        return {}
    if isinstance(given, dict):
        for name in given:
            if name not in names:
                raise ValueError(f"{path}: has no input {name!r}; its inputs are "
                                 + ", ".join(names))
        return given
    given = list(given)
    if all(isinstance(size, int) for size in given):
        given = [tuple(given)]
    if len(given) > len(names):
        raise ValueError(f"{path}: {len(given)} input shapes, but it has "
                         f"{len(names)} inputs: {', '.join(names)}")
    # Inputs that no shape is given for keep the file's own.
    return dict(zip(names, given, strict=False))


def _bind(path, name, kind, sizes, symbols, of_images):
    sizes = tuple(sizes)
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0
               for size in sizes):
        raise ValueError(f"{path}: input {name!r} takes its type from the file; give "
                         f"a shape of whole numbers, got {sizes}")
    dims = kind.shape.dim
    if not kind.HasField("shape"):
        for size in sizes:
            dims.add().dim_value = size
        return
    if len(dims) != len(sizes):
        raise ValueError(f"{path}: input {name!r} has the {len(dims)} dimensions "
                         f"{','.join(map(_shown, dims))}, but {len(sizes)} are given")
    for axis, (dim, size) in enumerate(zip(dims, sizes, strict=True)):
        fixed = None if _is_open(dim) else dim.dim_value
        if fixed is None:
            fixed = symbols.get(dim.dim_param)
        if fixed is not None and fixed != size:
            cure = ("--batch rescales it" if axis == of_images else
                    "give that, or export the model with an open one")
            raise ValueError(f"{path}: input {name!r} has {fixed} as its dimension "
                             f"{axis}{_named(dim)}, but {size} is given; {cure}")
        if dim.dim_param:
            symbols[dim.dim_param] = size
        dim.dim_value = size


def _is_open(dim):
    return not (dim.HasField("dim_value") and dim.dim_value > 0)


def _shown(dim):
    return dim.dim_param or "?" if _is_open(dim) else str(dim.dim_value)


def _named(dim):
    return f" ({dim.dim_param})" if dim.dim_param else ""
