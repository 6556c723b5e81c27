"""Repeated values of a weight: expanded, stacked or tiled over the batch.

The shape of a tensor made of weights alone is kept as factors. A dimension is a list of
``(size, is_copy)``, the slowest first; along a copy all values are the same. A weight
that a product reads once for each image is then still one weight.
"""

from math import prod

import torch

SAME = {"clone", "_to_copy", "alias", "detach", "lift_fresh", "contiguous", "copy"}

INDEXED = {"index", "index_select", "embedding"}


def plain(shape):
    """Factors of a tensor of which nothing is known."""
    return [[(size, False)] if size > 1 else [] for size in shape]


def copies_in(dimension):
    """Times that the values along a dimension are repeated.

    Examples
    --------
    >>> copies_in([(3, True), (4, False), (2, True)])
    6
    """
    return prod(size for size, is_copy in dimension if is_copy)


def leading_copies(dimension):
    """Times that all that follows is repeated.

    Examples
    --------
    >>> leading_copies([(3, True), (4, False), (2, True)])
    3
    """
    copies = 1
    for size, is_copy in dimension:
        if not is_copy:
            break
        copies *= size
    return copies


def factors_of(op, func, args, tensors, result, known, values_of):
    """Factors of an operator's result, or None where none of its values is a copy.

    Parameters
    ----------
    op : str
    func : OpOverload
    args : tuple
    tensors : list of Tensor
        All that it reads; the first is its source.
    result : Tensor
    known : mapping
        Factors of the tensors that have some.
    values_of : callable
        Gives a tensor with its values, or None where a trace has none.
    """
    source = tensors[0]
    before = known.get(source)
    shape = tuple(result.shape)
    if op == "expand":
        factors = _expanded(before or plain(source.shape), source.shape, shape)
    elif op == "repeat":
        factors = _repeated(before or plain(source.shape), source.shape, args[1])
    elif op in ("cat", "stack") and len(tensors) > 1 and all(
            _same_view(source, other) for other in tensors[1:]):
        dim = (args[1] if len(args) > 1 else 0) % len(shape)
        factors = [*(before or plain(source.shape))]
        copy = (len(tensors), True)
        if op == "stack":
            factors.insert(dim, [copy])
        else:
            factors[dim] = [copy, *factors[dim]]
    elif op in INDEXED:
        factors = _indexed(op, args, before or plain(source.shape), values_of)
    elif torch.Tag.pointwise in func.tags and len(tensors) > 1:
        factors = _combined(tensors, shape, known)
    elif before is None:
        return None
    elif op in SAME or torch.Tag.pointwise in func.tags:
        factors = before if shape == tuple(source.shape) else None
    else:
        factors = _viewed(op, args, before, source, shape)
    if factors is None or tuple(
            prod(size for size, _ in one) for one in factors) != shape:
        return None
    return factors if any(is_copy for one in factors for _, is_copy in one) else None


def _same_view(one, other):
    return one is other or (
        one.shape == other.shape and one.stride() == other.stride()
        and one.storage_offset() == other.storage_offset()
        and one.untyped_storage()._cdata == other.untyped_storage()._cdata)


def _expanded(factors, before, after):
    new = len(after) - len(before)
    return [[(size, True)] if place < new or before[place - new] != size
            else factors[place - new] for place, size in enumerate(after)]


def _repeated(factors, before, times):
    new = len(times) - len(before)
    return [([(count, True)] if count > 1 else [])
            + ([] if place < new else factors[place - new])
            for place, count in enumerate(times)]


def _indexed(op, args, factors, values_of):
    """Factors where one dimension is taken by a tensor of whole numbers."""
    if op == "index_select":
        dim, index = args[1] % len(factors), args[2]
    elif op == "embedding":
        dim, index = 0, args[1]
    else:
        given = [dim for dim, index in enumerate(args[1]) if index is not None]
        dim, index = given[0], args[1][given[0]]
        if len(given) > 1 or index.dtype in (torch.bool, torch.uint8):
            return None
    taken: list | None
    if all(is_copy for _, is_copy in factors[dim]):     # there is but one value
        taken = [[(size, True)] if size > 1 else [] for size in index.shape]
    else:
        values = values_of(index)
        taken = None if values is None or not values.numel() else _regrouped(
            _repeats_in(values.flatten().tolist()), index.shape)
    return None if taken is None else factors[:dim] + taken + factors[dim + 1:]


def _repeats_in(values):
    """Factors of a list in which runs of one value, or the whole, are repeated.

    Examples
    --------
    >>> _repeats_in([1, 1, 0, 0, 1, 1, 0, 0])
    [(2, True), (2, False), (2, True)]
    """
    size = len(values)
    sizes = [one for one in range(size, 0, -1) if size % one == 0]
    run = next(one for one in sizes if all(
        values[place] == values[place - place % one] for place in range(size)))
    values = values[::run]
    period = next(one for one in reversed(sizes) if len(values) % one == 0 and (
        values[one % len(values)] == values[0]
        and values == values[:one] * (len(values) // one)))
    factors = (len(values) // period, True), (period, False), (run, True)
    return [factor for factor in factors if factor[0] > 1]


def _combined(tensors, shape, known):
    """Along a dimension the values repeat if those of each operand do."""
    result = []
    for place in range(-len(shape), 0):
        parts = []
        for one in tensors:
            if -place <= one.dim() and one.shape[place] > 1:
                dimension = (known.get(one) or plain(one.shape))[place]
                if any(not is_copy for _, is_copy in dimension):
                    parts.append(dimension)
        size = shape[place]
        if not parts:
            result.append([(size, True)] if size > 1 else [])
        elif all(part == parts[0] for part in parts[1:]):
            result.append(parts[0])
        else:
            result.append([(size, False)])
    return result


def _viewed(op, args, factors, source, shape):
    """Factors after an operator that reorders or regroups dimensions."""
    dims = source.dim()
    if op in ("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze"):
        return _regrouped([one for dimension in factors for one in dimension], shape)
    if op == "permute":
        return [factors[dim] for dim in args[1]]
    if op in ("transpose", "t"):
        order = [*range(dims)]
        if dims > 1:
            first, second = (
                (args[1] % dims, args[2] % dims) if op == "transpose" else (0, 1))
            order[first], order[second] = order[second], order[first]
        return [factors[dim] for dim in order]
    if op == "select":
        dim = args[1] % dims
        return factors[:dim] + factors[dim + 1:]
    if op in ("slice", "split", "narrow", "split_with_sizes", "unsafe_split"):
        # Along the dimension that is cut all or none of the values repeat.
        return [dimension if prod(size for size, _ in dimension) == length else
                [(length, all(is_copy for _, is_copy in dimension))]
                for dimension, length in zip(factors, shape, strict=True)]
    return None


def _regrouped(flat, shape):
    """Factors in the order of the values, for other dimensions; None: they don't fit.

    Examples
    --------
    >>> _regrouped([(3, True), (4, False)], (6, 2))
    [[(3, True), (2, False)], [(2, False)]]
    """
    rest = [*reversed(flat)]
    result = []
    for size in shape:
        dimension = []
        while size > 1:
            if not rest:
                return None
            factor, is_copy = rest.pop()
            if size % factor == 0:
                dimension.append((factor, is_copy))
                size //= factor
            elif factor % size == 0:
                dimension.append((size, is_copy))
                rest.append((factor // size, is_copy))
                size = 1
            else:
                return None
        result.append(dimension)
    return result


class Unrepeated:
    """The order of a product's groups that puts copies of a weight before its groups.

    Parameters
    ----------
    dimension : list of (int, bool)
        Factors of the groups.
    """

    def __init__(self, dimension):
        self.copies = copies_in(dimension)
        self._sizes = [size for size, _ in dimension]
        self._order = sorted(range(len(dimension)),
                             key=lambda place: not dimension[place][1])

    def sorted(self, tensor):
        """A tensor with the groups first, in that order."""
        if self._order == sorted(self._order):
            return tensor
        split = tensor.reshape(*self._sizes, *tensor.shape[1:])
        rest = range(len(self._sizes), split.dim())
        return split.permute(*self._order, *rest).reshape(tensor.shape)
