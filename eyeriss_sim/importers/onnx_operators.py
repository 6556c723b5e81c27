"""ONNX operators that multiply and add → layers.

Each function takes the node with its operands (:class:`Operands`) and the log of
layers, and returns the shapes of the results where onnx's own inference does not know
the operator. :mod:`eyeriss_sim.importers.onnx_contrib` has those of ``com.microsoft``.
"""

from collections.abc import Callable
from functools import partial
from math import prod

from onnx import helper

HIDDEN = ("its products can't be told from its shapes; export the model without fusing "
          "them, or simulate the torch module")


class Refused(ValueError):
    """A fault of a node, for the walk to name it."""


class Operands:
    """A node with what is known of its operands.

    Parameters
    ----------
    node : onnx.NodeProto
    values : list of Value or None
        In the order of the node's inputs; None for one that is left out.
    """

    def __init__(self, node, values):
        self.node, self.values = node, values
        self.op = node.op_type
        self.attributes = {attr.name: helper.get_attribute_value(attr)
                           for attr in node.attribute}

    def value(self, place):
        """The operand of that place, None where it is left out."""
        return self.values[place] if place < len(self.values) else None

    def shape(self, place, dims=None):
        """Its shape; refused if it is unknown, or has none of these numbers of dims."""
        value = self.values[place]
        if value is None:
            raise IndexError(f"operand {place} is left out")
        if value.shape is None:
            why = f" ({value.why})" if value.why else ""
            raise Refused(
                f"the shape of {self.node.input[place]!r} does not follow from the "
                f"inputs' sizes{why}; export the model with fixed ones, in the file "
                "itself and without branches")
        if dims and len(value.shape) not in dims:
            sizes = "x".join(map(str, value.shape))
            raise Refused(
                f"{self.node.input[place]!r} is {sizes}, where {self.op} takes "
                f"{' or '.join(map(str, dims))} dimensions; give those")
        return value.shape

    def constant(self, place):
        """True if an operand depends on no input of the network."""
        value = self.value(place)
        return value is not None and value.constant


class Weight:
    """The filter operand of a layer, for those who ask for its zeros.

    Parameters
    ----------
    value : Value
    zero : Value or None
        What stands for zero, of a quantised weight: one for all, or one an index of
        ``axis``.
    axis : int
    decode : callable, optional
        Gives the weights, zero subtracted, in place of ``value``.
    """

    def __init__(self, value, zero=None, axis=0, decode=None):
        self.value, self.zero, self.axis, self.decode = value, zero, axis, decode


# ---------------------------------------------------------------------- convolutions


def convolution(log, one, ifmap=0, filt=1, zero=None, pads=None, last=False):
    """A convolution; ``last``: its channels may stand last. Returns its ofmap's shape.

    ``ifmap``, ``filt``, ``zero`` and ``pads`` are places of operands.
    """
    attrs = one.attributes
    x, w = one.shape(ifmap), one.shape(filt)
    groups = attrs.get("group", 1)
    last = last and bool(attrs.get("channels_last", one.op.startswith("Nhwc")))
    if last:
        x = (x[0], x[-1], *x[1:-1])
        if w[1] * groups != x[1] and w[-1] * groups == x[1]:
            w = (w[0], w[-1], *w[1:-1])
    dims = len(x) - 2
    transposed = one.op.startswith("ConvTranspose")
    stride = list(attrs.get("strides") or [1] * dims)
    dilation = list(attrs.get("dilations") or [1] * dims)
    extra = attrs.get("output_padding") or [0] * dims
    given = attrs.get("pads")
    if pads is not None:
        if one.value(pads).array is None:
            raise Refused("its padding depends on the image")
        given = [int(side) for side in one.value(pads).array]
    sides = _pads(attrs, x, w, stride, dilation, extra, transposed, given)
    layer = log.convolution(
        log.name_of(one, one.value(filt)), x, w, stride=stride, pads=sides,
        dilation=dilation, groups=groups, transposed=transposed, output_padding=extra,
        dynamic_filters=not one.constant(filt))
    log.weigh(layer, Weight(one.value(filt), zero and one.value(zero)))
    span = [(taps - 1) * step + 1 for taps, step in zip(w[2:], dilation, strict=True)]
    if transposed:
        pixels = [(size - 1) * step + reach + more - sum(pad) for size, step, reach,
                  more, pad in zip(x[2:], stride, span, extra, sides, strict=True)]
        return [(x[0], w[1] * groups, *pixels)]
    pixels = [(size + sum(pad) - reach) // step + 1 for size, pad, reach, step
              in zip(x[2:], sides, span, stride, strict=True)]
    return [(x[0], *pixels, w[0]) if last else (x[0], w[0], *pixels)]


def _pads(attrs, ifmap, filt, stride, dilation, extra, transposed, given):
    """Padding before and after, of each dimension, by whichever rule says it."""
    dims = len(ifmap) - 2
    span = [(taps - 1) * step + 1
            for taps, step in zip(filt[2:], dilation, strict=True)]
    given = given or [0] * 2 * dims
    pads = list(zip(given[:dims], given[dims:], strict=True))
    rule = attrs.get("auto_pad", b"NOTSET").decode()
    sizes = attrs.get("output_shape")
    if transposed and (sizes or rule.startswith("SAME")):
        full = [(size - 1) * step + reach + more for size, step, reach, more
                in zip(ifmap[2:], stride, span, extra, strict=True)]
        sizes = sizes or [size * step
                          for size, step in zip(ifmap[2:], stride, strict=True)]
        sizes = sizes[-dims:]       # some exporters give N and M, too
        rule = rule if rule == "SAME_UPPER" else "SAME_LOWER"   # as ONNX defines
        return [_halves(most - size, rule)
                for most, size in zip(full, sizes, strict=True)]
    if rule.startswith("SAME"):
        return [_halves(max(0, (-(-size // step) - 1) * step + reach - size), rule)
                for size, step, reach in zip(ifmap[2:], stride, span, strict=True)]
    return [(0, 0)] * dims if rule == "VALID" else pads


def _halves(total, rule):
    """Padding before and after; SAME_UPPER puts an odd pixel after."""
    if rule == "SAME_LOWER":
        return total - total // 2, total // 2
    return total // 2, total - total // 2


def deformable(log, one):
    """A convolution whose windows are sampled anew for each pixel of the ofmap.

    Neighbouring windows share no pixel, so it is a product of the samples.
    """
    x, w, offset = (one.shape(place) for place in range(3))
    groups = one.attributes.get("group", 1)
    if w[1] * groups != x[1]:
        raise Refused(f"the ifmap has {x[1]} channels, but filters and "
                      f"groups={groups} make {w[1] * groups}")
    layer = log.product(
        log.name_of(one, one.value(1)), x[0] * prod(offset[2:]), prod(w[1:]),
        w[0] // groups, groups=groups, dynamic_filters=not one.constant(1))
    log.weigh(layer, Weight(one.value(1)))
    return [(x[0], w[0], *offset[2:])]


# -------------------------------------------------------------------------- products


def product(log, one, a=0, b=1, zeros=(None, None)):
    """A matrix product, of every two matrices that stand behind each other.

    ``a``, ``b`` and ``zeros`` (what stands for zero in each) are places of operands.
    Returns the shape of the result.
    """
    attrs = one.attributes
    left, right = one.shape(a), one.shape(b)
    left = _turned(left, attrs.get("transA"), attrs.get("transBatchA"))
    right = _turned(right, attrs.get("transB"), attrs.get("transBatchB"))
    turned = bool(attrs.get("transB"))
    return [matrix_product(log, one, a, left, b, right, zeros, turned)]


def _turned(shape, matrix, batch):
    """A shape with its matrices transposed, and before that its first axis moved."""
    if batch:
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if matrix and len(shape) > 1 else shape


def matrix_product(log, one, a, left, b, right, zeros=(None, None), turned=False,
                   decode=None):
    """The product of operands ``a`` and ``b``, of these shapes; the result's shape."""
    whole_left, whole_right = len(left) > 1, len(right) > 1
    left = left if whole_left else (1, *left)
    right = right if whole_right else (*right, 1)
    *left_groups, rows, inner = left
    *right_groups, depth, filters = right
    if inner != depth:
        raise ValueError(f"rows of {inner} values meet columns of {depth}")
    rank = max(len(left_groups), len(right_groups))
    pairs = list(zip([1] * (rank - len(left_groups)) + left_groups,
                     [1] * (rank - len(right_groups)) + right_groups, strict=True))
    if any(1 not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(f"{tuple(left_groups)} matrices meet {tuple(right_groups)}")
    behind = [max(pair) for pair in pairs]
    result = (*behind, *[rows] * whole_left, *[filters] * whole_right)
    axis = -2 if turned else -1
    if one.constant(a):         # weights @ activations: the same, transposed
        a, b, rows, filters = b, a, filters, rows
        right_groups, zeros, axis = left_groups, zeros[::-1], -2
    groups = prod(behind)
    dynamic = not one.constant(b)
    if not dynamic:
        # A filter that several of the products share passes all of their rows.
        own = prod(right_groups)
        own //= one.value(b).copies if own % one.value(b).copies == 0 else 1
        groups, rows = own, rows * groups // own
    value = one.value(b)
    layer = log.product(log.name_of(one, value), rows, inner, filters, groups=groups,
                        dynamic_filters=dynamic, fmap=one.value(a).fmap)
    zero = one.value(zeros[1]) if zeros[1] is not None else None
    log.weigh(layer, Weight(value, zero, axis, decode))
    return result


# ---------------------------------------------------------------------------- einsum


def einsum(log, one):
    """Einsum of any number of tensors, contracted in pairs from the left.

    Letters that only one of two has, and that nobody needs later, are summed first;
    where two share no letter that goes, they are multiplied, which is no product.
    """
    terms, result = _einsum_terms(one)
    sizes: dict[str, int] = {}
    for place, term in enumerate(terms):
        for letter, size in zip(term, one.shape(place), strict=True):
            if sizes.setdefault(letter, size) not in (size, 1) and size != 1:
                raise ValueError(f"{letter} is {sizes[letter]} and {size}")
            sizes[letter] = max(size, sizes[letter])
    # A dimension of one that is broadcast is as good as none.
    held = [{letter for letter, size in zip(term, one.shape(place), strict=True)
             if size == sizes[letter]} for place, term in enumerate(terms)]
    for place, term in enumerate(terms):
        others = set().union(*held[:place], *held[place + 1:])
        held[place] -= _copied(one.value(place), term, sizes) & others & set(result)
    left, value, constant = held[0], one.value(0), one.constant(0)
    elementwise = 0
    for place in range(1, len(terms)):
        later = set(result).union(*held[place + 1:])
        right, right_constant = held[place], one.constant(place)
        gone = (left & right) - later
        operands = [(left, value, constant),
                    (right, one.value(place), right_constant)]
        if gone and not (constant and right_constant):
            if constant:
                operands.reverse()
            _contract(log, one, operands, gone, later, sizes)
        elif not (constant and right_constant):
            elementwise += prod(sizes[letter] for letter in (left | right) & later)
        left, value = (left | right) & later, None
        constant = constant and right_constant
    if elementwise or len(terms) == 1:
        log.other("Einsum", elementwise or prod(sizes[x] for x in result))
    return [tuple(sizes[letter] for letter in result)]


def _copied(value, term, sizes):
    """Letters along which a constant is repeated as a whole, one for all images say."""
    letters, copies = set(), value.copies
    for letter, size in zip(term, value.shape, strict=True):
        if size != sizes[letter] or copies % size or term.count(letter) > 1:
            break
        letters.add(letter)
        copies //= size
    return letters


def _contract(log, one, operands, gone, later, sizes):
    (left, _, _), (right, weight, constant) = operands

    def span(letters):
        return prod(sizes[letter] for letter in letters)

    layer = log.product(
        log.name_of(one, weight if constant else None), span((left - right) & later),
        span(gone), span((right - left) & later), groups=span(left & right & later),
        dynamic_filters=not constant)
    if constant and weight is not None and right <= left | later:
        log.weigh(layer, Weight(weight))


def _einsum_terms(one):
    """Letters of each operand and of the result; an ellipsis gets letters, too."""
    equation = one.attributes["equation"].decode().replace(" ", "")
    terms, arrow, result = equation.partition("->")
    terms = terms.split(",")
    if len(terms) != len(one.values):
        raise ValueError(f"{equation} names {len(terms)} operands, but there are "
                         f"{len(one.values)}")
    if not arrow:
        letters = "".join(terms).replace(".", "")
        result = "..." * ("..." in equation) + "".join(sorted(
            letter for letter in set(letters) if letters.count(letter) == 1))
    ranks = [len(one.shape(place)) - len(term.replace("...", ""))
             for place, term in enumerate(terms)]
    most = max([rank for rank, term in zip(ranks, terms, strict=True)
                if "..." in term], default=0)
    if any(rank < 0 or (rank and "..." not in term)
           for rank, term in zip(ranks, terms, strict=True)):
        raise ValueError(f"{equation} does not fit the operands' dimensions")
    # Names that are no letters stand for the dimensions under the dots.
    dots = [str(place) for place in range(most)]

    def spelt(term, rank):
        before, found, after = term.partition("...")
        return [*before, *(dots[most - rank:] if found else []), *after]

    return ([spelt(term, rank) for term, rank in zip(terms, ranks, strict=True)],
            spelt(result, most))


# ------------------------------------------------------------ recurrence and attention


def recurrent(log, one, turned=False, zeros=(None, None)):
    """LSTM, GRU, RNN: for the inputs of all steps one product, one a step for the rest.

    ``turned``: W and R have the filters last, as ``DynamicQuantizeLSTM`` does.
    """
    x, w, r = (one.shape(place) for place in range(3))
    layout = one.attributes.get("layout")
    steps, batch = x[1::-1] if layout else x[:2]
    gates = (w[2], r[2]) if turned else (w[1], r[1])
    inner = (w[1], r[1]) if turned else (w[2], r[2])
    name = log.name_of(one, one.value(2))
    for _ in range(r[0]):
        made = [log.product(name, steps * batch, inner[0], gates[0]),
                log.product(name, batch, inner[1], gates[1], steps=steps)]
        for layer, place, zero in zip(made, (1, 2), zeros, strict=True):
            log.weigh(layer, Weight(one.value(place), zero and one.value(zero)))
    hidden = inner[1]
    last = (batch, r[0], hidden) if layout else (r[0], batch, hidden)
    every = ((batch, steps, r[0], hidden) if layout
             else (steps, r[0], batch, hidden))
    return [every, last, last]


def attention(log, one, batch, heads, key_heads, rows, keys, head_size, value_size):
    """Products of queries with keys, and of what softmax makes of them with values.

    Heads of queries that share a head of keys pass their rows over the same filters.

    Parameters
    ----------
    log, one
    batch, heads, key_heads : int
        Images; heads of queries; heads of keys and values.
    rows, keys : int
        Queries, and keys, of an image and head.
    head_size, value_size : int
        Values of a query or key, and of a value.
    """
    if heads % key_heads:
        raise Refused(f"{heads} heads of queries can't share {key_heads} of keys")
    rows *= heads // key_heads
    groups = batch * key_heads
    name = log.name_of(one, None)
    log.product(name, rows, head_size, keys, groups=groups, dynamic_filters=True)
    log.other("Softmax", groups * rows * keys)
    log.product(name, rows, keys, value_size, groups=groups, dynamic_filters=True)


def standard_attention(log, one):
    """``Attention`` of opset 23: Q, K, V with heads apart, or side by side."""
    q, k, v = (one.shape(place, (3, 4)) for place in range(3))
    past = one.value(4)
    before = one.shape(4)[2] if past is not None else 0
    if len(q) == 3:
        heads = one.attributes["q_num_heads"]
        key_heads = one.attributes["kv_num_heads"]
        rows, keys = q[1], k[1]
        head_size, value_size = q[2] // heads, v[2] // key_heads
        result: tuple[int, ...] = (q[0], rows, heads * value_size)
    else:
        heads, rows, head_size = q[1:]
        key_heads, keys, value_size = k[1], k[2], v[3]
        result = (q[0], heads, rows, value_size)
    attention(log, one, q[0], heads, key_heads, rows, before + keys, head_size,
              value_size)
    total = q[0], key_heads, before + keys
    return [result, (*total, head_size), (*total, value_size)]


STANDARD: dict[str, Callable] = {
    "Conv": convolution,
    "ConvInteger": partial(convolution, zero=3),
    "QLinearConv": partial(convolution, filt=3, zero=5),
    "ConvTranspose": convolution,
    "DeformConv": deformable,
    "MatMul": product,
    "MatMulInteger": partial(product, zeros=(2, 3)),
    "QLinearMatMul": partial(product, b=3, zeros=(2, 5)),
    "Gemm": product,
    "Einsum": einsum,
    "LSTM": recurrent, "GRU": recurrent, "RNN": recurrent,
    "Attention": standard_attention,
}
# Whole products in one node, which no other network's figures leave out.
STANDARD_HIDING = {"LinearAttention", "FlexAttention", "CausalConvWithState"}
# Products that a spectrum or a classifier of values is made of; no network's bulk.
STANDARD_HOLDING = {"DFT", "STFT", "AffineGrid", "Det", "LinearClassifier",
                    "LinearRegressor", "SVMClassifier", "SVMRegressor"}
