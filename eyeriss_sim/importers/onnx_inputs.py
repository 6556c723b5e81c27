"""Open dimensions of an ONNX file's inputs → numbers, by the user or as the batch."""


def bind_inputs(path, graph, batch, given=None):
    """Write a number into every open dimension of a graph's inputs.

    Dimensions that carry one name are one number, in intermediate values too.

    Parameters
    ----------
    path : Path
        Named in errors.
    graph : onnx.GraphProto, changed
    batch : int
        For an open first dimension that ``given`` leaves open.
    given : tuple of int, list of tuples or dict, optional
        Shape of the first input, of the first ones in order, or by name.

    Returns
    -------
    int
        Images: the first dimension of the first input, 1 if it has no second.

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
    symbols = {}
    for name, sizes in _by_name(path, list(inputs), given).items():
        _bind(path, name, inputs[name], sizes, symbols)
    images = batch
    for place, (name, kind) in enumerate(inputs.items()):
        dims = kind.shape.dim
        for axis, dim in enumerate(dims):
            if not _is_open(dim):
                continue
            if dim.dim_param and dim.dim_param in symbols:
                size = symbols[dim.dim_param]
            elif axis:
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
            images = dims[0].dim_value
    for value in [*graph.value_info, *graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_value = symbols[dim.dim_param]
    first = next(iter(inputs.values()), None)
    return images if first is not None and len(first.shape.dim) > 1 else 1


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
    return dict(zip(names, given))


def _bind(path, name, kind, sizes, symbols):
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
    for axis, (dim, size) in enumerate(zip(dims, sizes)):
        fixed = None if _is_open(dim) else dim.dim_value
        if fixed is None:
            fixed = symbols.get(dim.dim_param)
        if fixed is not None and fixed != size:
            cure = ("--batch rescales it" if not axis else "give that, or export the "
                    "model with an open one")
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
