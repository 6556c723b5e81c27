"""Operators of torch that multiply, beyond plain convolutions and matrix products.

Three kinds: those written out as plain ones with the work between them, so that a trace
sees those; those whose layer follows from the shapes of operand and result (weights are
packed, so that no other shape is known); and those that hold products which no layer
stands for, named so in the list of what isn't counted.
"""

import re
from itertools import pairwise
from math import prod

import torch

# Elementwise work on gates, copies, or reductions whose names look like products.
NO_PRODUCTS = re.compile(
    r"linalg_(vector_norm|cross|_powsum)|_foreach_(?!mm).*|"
    r"\w*(prepack|reorder|compress|check_errors|flatten_weight)\w*")
# Decompositions, solvers, distances, transforms, fused and sparse kernels.
HOLDS = re.compile(
    r"_?linalg_\w+|\w*cholesky\w*|geqrf|ormqr|triangular_solve|_spsolve|"
    r"_?cdist_forward|_euclidean_dist|_pdist_forward|_fft_\w+|_foreach_mm|"
    r"_compute_linear_combination|_trilinear|\w*rnn\w*|\w*lstm\w*|\w*gru\w*|"
    r"qconv\w*|\w*attention\w*|_transformer_\w+|\w*sdp\w*|"
    r"\w*sparse\w*mm\w*|\w*sparse\w*matmul\w*|_sparse_semi_structured_\w+|hspmm|"
    r"sspaddmm|_sparse_mm\w*|_cslt_\w+|"
    r"\w*(?<![a-z])(mm|matmul|bmm|conv(olution)?[1-3]?d?|linear)(?![a-z])\w*")
NO_PRODUCT_BUT_NAME = {
    "deform_conv2d",        # what is left of it, the sampling
    "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "upsample_linear1d",
    "upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_trilinear3d",
    "_transform_bias_rescale_qkv", "_fused_sdp_choice"}
# Operators (rows x inner) @ packed weights.
LINEAR = re.compile(
    r"linear|mkldnn_linear|_mkl_linear|_linear_pointwise|_weight_int[48]pack_mm\w*|"
    r"_dyn_quant_matmul_4bit|_mixed_dtypes_linear|_sparse_semi_structured_linear|"
    r"linear_(relu|leaky_relu|tanh|dynamic\w*|relu_dynamic\w*|"
    r"with_input_q_dq_qweight_dq_\w+)|"
    r"qlinear(_relu|_dynamic|_relu_dynamic|_pointwise)?|"
    r"wrapped_quantized_linear|wrapped_fbgemm_linear_fp16_weight|"
    r"_wrapped_quantized_linear_prepacked|int4mm_packed_weight_cpu")
PACKED_CONV = re.compile(r"conv(_transpose)?[123]d(_relu|_dynamic|_add|_add_relu)?")
BUILT_IN = {"aten", "prims", "prim", "torchvision", "quantized", "_quantized", "mkldnn",
            "mkl", "onednn", "sparse", "rngprims", "_c10d_functional", "inductor",
            "quantized_decomposed", "quantization", "_native"}


def is_linear(func):
    """True if an operator multiplies its first operand by packed weights."""
    return bool(LINEAR.fullmatch(func.overloadpacket.__name__))


def is_packed_conv(func):
    return func.namespace in ("quantized", "_quantized") and bool(
        PACKED_CONV.fullmatch(func.overloadpacket.__name__))


def told(func, name):
    """An operator's name in the list of what isn't counted.

    Examples
    --------
    >>> told(torch.ops.aten._fft_r2c.default, "fft_r2c")
    'fft_r2c (holds products)'
    >>> told(torch.ops.aten.upsample_bilinear2d.default, "upsample_bilinear2d")
    'upsample_bilinear2d'
    """
    op = func.overloadpacket.__name__
    if func.namespace not in BUILT_IN:
        return f"{func.namespace}::{name} (may hold products)"
    if HOLDS.fullmatch(op.removesuffix("_")) and not (
            NO_PRODUCTS.fullmatch(op) or op in NO_PRODUCT_BUT_NAME):
        return f"{name} (holds products)"
    return name


def arguments_by_name(func, args):
    """The arguments of an operator that are given by place, by their names."""
    # Those behind them come by name or have their defaults.
    names = (arg.name for arg in func._schema.arguments)
    return dict(zip(names, args, strict=False))


def written_out(func, args, kwargs, values_of):
    """A function that runs an operator as plain products; None: it has no such form.

    ``values_of`` gives a tensor with its values, or None where a trace has none.
    """
    op = func.overloadpacket.__name__
    given = arguments_by_name(func, args) | kwargs
    if op == "conv_tbc":
        return lambda: _conv_tbc(given)
    if op == "_trilinear" and _is_bilinear(given):
        return lambda: _bilinear(given)
    if op in ("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2"):
        return lambda: _grouped_mm(given, values_of)
    if op == "deform_conv2d" and func.namespace == "torchvision":
        channels, of_filter = given["input"].shape[1], given["weight"].shape[1]
        # Its own sampling has one channel a group and one filter for each tap.
        if of_filter > 1 or given["weight"].shape[0] != channels * prod(
                given["weight"].shape[2:]):
            return lambda: _deform_conv2d(func, given)
    return None


def _conv_tbc(given):
    """(time, batch, channels) convolved over time."""
    out = torch.nn.functional.conv1d(
        given["self"].permute(1, 2, 0), given["weight"].permute(2, 1, 0),
        given["bias"], padding=given.get("pad", 0))
    return out.permute(2, 0, 1)


def _is_bilinear(given):
    """The form in which ``torch.nn.Bilinear`` arrives."""
    sums = [list(given[key]) for key in ("expand1", "expand2", "expand3", "sumdim")]
    return sums == [[1, 3], [0], [1, 2], [2, 3]]


def _bilinear(given):
    """x1 W x2 of each row: all filters' x1 W first, then each row's own product."""
    left, weight, right = given["i1"], given["i2"], given["i3"]
    filters, inner, outer = weight.shape
    half = left @ weight.permute(1, 0, 2).reshape(inner, filters * outer)
    return torch.bmm(half.reshape(-1, filters, outer), right.unsqueeze(2)).squeeze(2)


def _grouped_mm(given, values_of):
    """Each group's rows by its own matrix.

    Where the ends of the groups are decided by values that a trace has not, the rows
    are spread evenly; how many products there are doesn't depend on it.
    """
    left, right, ends = given["self"], given["mat2"], given.get("offs")
    out_dtype = given.get("out_dtype") or left.dtype
    groups = (left if left.dim() == 3 else right).shape[0]
    known = None if ends is None else values_of(ends)
    if left.dim() == right.dim() == 3:
        out = torch.bmm(left, right)
    elif left.dim() == 2 and right.dim() == 3:
        out = torch.cat([
            torch.bmm(left[start:stop].reshape(count, -1, left.shape[1]),
                      right[first:first + count]).flatten(0, 1)
            for first, count, start, stop in _pieces(known, groups, left.shape[0])])
    elif left.dim() == 3:
        out = torch.cat([
            torch.bmm(left[first:first + count], right[:, start:stop].reshape(
                right.shape[0], count, -1).transpose(0, 1)).transpose(0, 1).flatten(1)
            for first, count, start, stop in _pieces(known, groups, right.shape[1])], 1)
    else:
        out = torch.cat([
            torch.bmm(left[:, start:stop].reshape(left.shape[0], count, -1).transpose(
                0, 1), right[start:stop].reshape(count, -1, right.shape[1]))
            for first, count, start, stop in _pieces(
                known, ends.shape[0], left.shape[1])])
    if given.get("bias") is not None:
        out = out + given["bias"]
    return out.to(out_dtype)


def _pieces(ends, groups, rows):
    """(first group, number of groups, first row, end) of groups with equal rows."""
    if ends is not None:
        return [(place, 1, start, stop) for place, (start, stop) in enumerate(
            pairwise([0, *ends.tolist()])) if stop > start]
    few, more = divmod(rows, groups)
    border = more * (few + 1)
    pieces = [(0, more, 0, border), (more, groups - more, border, rows)]
    return [piece for piece in pieces if piece[1] and piece[3] > piece[2]]


def _deform_conv2d(func, given):
    """Sample the pixels under each tap, then multiply by the filters.

    Neighbouring windows share no pixel, so it is a product of the samples.
    """
    x, weight, bias = given["input"], given["weight"], given["bias"]
    filters, of_filter, R, S = weight.shape
    groups = x.shape[1] // of_filter
    # One filter a tap and channel, which is 1 there, takes the samples out.
    taps = torch.eye(R * S, dtype=x.dtype, device=x.device).reshape(R * S, 1, R, S)
    taps = taps.repeat(x.shape[1], 1, 1, 1)
    samples = func(**{**given, "weight": taps, "bias": bias.new_zeros(len(taps)),
                      "groups": x.shape[1]})
    N, _, E, F = samples.shape
    rows = samples.reshape(N, groups, of_filter * R * S, E * F).permute(
        1, 0, 3, 2).flatten(1, 2)
    out = torch.bmm(rows, weight.reshape(
        groups, filters // groups, of_filter * R * S).transpose(1, 2))
    out = out.reshape(groups, N, E, F, filters // groups).permute(1, 0, 4, 2, 3)
    return out.reshape(N, filters, E, F) + bias.view(1, -1, 1, 1)
