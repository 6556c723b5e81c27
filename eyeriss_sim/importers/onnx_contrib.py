"""Operators of ONNX Runtime, domain ``com.microsoft`` → layers and shapes.

onnx knows none of them, so the shapes of their results are told here: by the operator
of the standard that does the same to shapes, or by a rule of their own.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from onnx import helper

from eyeriss_sim.importers.onnx_operators import (
    Refused,
    attention,
    convolution,
    matrix_product,
    product,
    recurrent,
)

DOMAIN = "com.microsoft"
# Operator: one of the standard with results of the same shape, and the operands that
# shapes depend on.
TWINS = {
    **dict.fromkeys((
        "BiasAdd", "BiasDropout", "BiasSoftmax", "BitmaskBiasDropout", "BitmaskDropout",
        "ComplexMul", "ComplexMulConj", "DequantizeLinear", "FastGelu", "GatedRMSNorm",
        "Gelu", "GemmaRotaryEmbedding", "GroupNorm", "Inverse", "MRotaryEmbedding",
        "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "QOrderedGelu",
        "QOrderedLayerNormalization", "QuantizeLinear", "QuantizeWithOrder",
        "DequantizeWithOrder", "QuickGelu", "RotaryEmbedding",
        "SimplifiedLayerNormalization", "SkipGroupNorm", "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization", "Trilu", "LayerNormalization"),
        ("Identity", (0,))),
    "BiasGelu": ("Add", (0, 1)),
    "QLinearAdd": ("Add", (0, 3)), "QLinearMul": ("Mul", (0, 3)),
    "GatedAdd": ("Add", (0, 1)), "MulInteger": ("Mul", (0, 2)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "NhwcMaxPool": ("MaxPool", (0,)), "MaxpoolWithMask": ("MaxPool", (0,)),
    "QLinearReduceMean": ("ReduceMean", (0,)), "Pad": ("Pad", (0, 1, 2)),
    "QLinearWhere": ("Where", (0, 1, 4)), "GatherND": ("GatherND", (0, 1)),
    "ReduceSumInteger": ("ReduceSum", (0,)),
}
# Attributes that the twins take, of those that their operators have.
TWIN_ATTRIBUTES = {
    "AveragePool": ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape",
                    "pads", "strides"),
    "MaxPool": ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads",
                "strides"),
    "ReduceMean": ("axes", "keepdims"), "ReduceSum": ("axes", "keepdims"),
    "Pad": ("mode",), "Concat": ("axis",), "GatherND": ("batch_dims",),
}
# Codes of MatMulBnb4 that stand for zero: FP4's two, with either sign, and NF4's one.
BNB4_ZEROS = {0: (0, 8), 1: (7,)}
TWIN_OPSET = [helper.make_opsetid("", 12)]
# Neither multiply and add nor have results whose shape anyone needs to know.
OTHERS = {
    "BifurcationDetector", "BiasSplitGelu", "CropAndResize", "DequantizeBFP",
    "DynamicTimeWarping", "EmbedLayerNormalization", "ExpandDims",
    "GatherBlockQuantized", "GridSample", "IsAllFinite", "MurmurHash3",
    "NGramHashMapping", "NGramRepeatBlock", "QEmbedLayerNormalization", "QuantizeBFP",
    "Range", "RelativePositionBias", "RemovePadding", "RestorePadding", "SampleOp",
    "Tokenizer", "TorchEmbedding", "UnfoldTensor", "Unique", "VarlenNGramHashMapping",
    "QLinearConcat"}
HOLDING = {"CDist", "Irfft", "Rfft", "GatedRelativePositionBias", "EngramGate",
           "LinearAttentionGate"}
# The standard's domain holds these too, in files that ONNX Runtime has optimised.
OPTIMISED = {"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization",
             "SkipLayerNormalization", "LayerNormalization"}


def standard_twin(node, shapes):
    """A node of the standard whose results have the same shape, or None.

    ``shapes`` are the operands'. Channels that stand last are taken for first ones.
    """
    if node.op_type == "QLinearConcat":
        twin, places = "Concat", tuple(range(2, len(node.input), 3))
    elif node.op_type in TWINS:
        twin, places = TWINS[node.op_type]
    else:
        return None
    inputs = [node.input[place] for place in places if place < len(node.input)]
    attributes = {
        attr.name: helper.get_attribute_value(attr) for attr in node.attribute
        if attr.name in TWIN_ATTRIBUTES.get(twin, ())}
    return helper.make_node(twin, inputs, node.output[:1], **attributes)


def channels_last(node):
    """True if a pooling operator's channels stand last."""
    return node.op_type.startswith("Nhwc") or any(
        attr.name == "channels_last" and attr.i for attr in node.attribute)


def _blocks(log, one, decode=None):
    """A product with weights packed to a few bits; K and N stand as attributes."""
    left = one.shape(0)
    inner, filters = (one.attributes[key] for key in "KN")
    turn = None if decode is None else partial(decode, one)
    return [matrix_product(log, one, 0, left, 1, (inner, filters), decode=turn)]


def _packed_by_shape(log, one):
    """MatMulFpQ4: the shape of the weights is an operand."""
    shape = one.value(2).array
    if shape is None:
        raise Refused("the shape of its weights depends on the image")
    return [matrix_product(log, one, 0, one.shape(0), 1,
                           tuple(int(size) for size in shape), decode=_undocumented)]


def _undocumented(arrays):
    raise ValueError("MatMulFpQ4 packs them in a form that no document tells")


def nonzero_nibbles(one, arrays):
    """Weights of MatMulNBits with their zeros at 0, shape (N, K).

    Parameters
    ----------
    one : Operands
    arrays : callable
        Gives the content of an operand's Value.

    Raises
    ------
    ValueError
        Codes that don't fill bytes, or zero points of groups in another order.
    """
    attrs = one.attributes
    bits, inner, filters = attrs.get("bits", 4), attrs["K"], attrs["N"]
    block = attrs["block_size"]
    if bits not in (2, 4, 8):
        raise ValueError(f"how codes of {bits} bits are packed can't be told")
    if one.value(3) is not None and one.value(4) is not None:
        raise ValueError("g_idx brings their zero points into another order")
    codes = _unpacked(arrays(one.value(1)).reshape(filters, -1), bits)
    codes = codes.reshape(filters, -1, block)
    zero = one.value(3)
    if zero is None:
        points = np.full((filters, codes.shape[1]), 1 << (bits - 1))
    else:
        points = arrays(zero)
        if points.dtype.itemsize == 1:
            points = _unpacked(points.reshape(filters, -1), bits)
        points = points.reshape(filters, -1)[:, :codes.shape[1]]
    scaled = arrays(one.value(2)).reshape(filters, -1, 1) != 0
    return (scaled & (codes != points[:, :, None])).reshape(filters, -1)[:, :inner]


def nonzero_floats(one, arrays):
    """Weights of MatMulBnb4 that are not zero, shape (N * K).

    A byte holds two codes, the first in its upper half; a block of them, whichever
    filters they belong to, shares its largest magnitude.

    Parameters
    ----------
    one : Operands
    arrays : callable
        Gives the content of an operand's Value.

    Raises
    ------
    ValueError
        A type of codes that isn't known.
    """
    attrs = one.attributes
    kind = attrs.get("quant_type", -1)
    if kind not in BNB4_ZEROS:
        raise ValueError(f"codes of quant_type {kind} can't be told")
    if attrs["block_size"] < 1:
        raise ValueError(f"a block of {attrs['block_size']} is none")
    weights = attrs["N"] * attrs["K"]
    packed = arrays(one.value(1)).reshape(-1).astype(np.uint8)
    codes = np.stack([packed >> 4, packed & 15], 1).reshape(-1)[:weights]
    largest = arrays(one.value(2)).reshape(-1)
    blocks = np.arange(weights) // attrs["block_size"]
    return ~np.isin(codes, BNB4_ZEROS[kind]) & (largest != 0)[blocks]


def _unpacked(packed, bits):
    """Codes of a few bits, the first in the lowest bits of a byte."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed.astype(np.uint8)[..., None] >> shifts) & ((1 << bits) - 1)
    return codes.reshape(*packed.shape[:-1], -1)


def _attention(log, one, past=4):
    """Attention of one projection for queries, keys and values, and its product."""
    batch, rows, inner = one.shape(0, (3,))
    columns = one.shape(1)[-1]
    heads = one.attributes["num_heads"]
    sizes = one.attributes.get("qkv_hidden_sizes") or [columns // 3] * 3
    matrix_product(log, one, 0, (batch, rows, inner), 1, (inner, columns),
                   zeros=(None, 7 if one.op == "QAttention" else None))
    before = one.shape(past)[3] if one.value(past) is not None else 0
    keys, head = before + rows, sizes[0] // heads
    attention(log, one, batch, heads, heads, rows, keys, head, sizes[2] // heads)
    return [(batch, rows, sizes[2]), (2, batch, heads, keys, head)]


def _multi_head(log, one):
    """MultiHeadAttention: queries, keys, values apart or packed behind each other."""
    q = one.shape(0, (3, 5))
    heads = one.attributes["num_heads"]
    if len(q) == 5:             # batch, rows, heads, 3, head
        batch, rows, head = q[0], q[1], q[4]
        keys, value = rows, head
    else:
        batch, rows, head = q[0], q[1], q[2] // heads
        k = one.shape(1)
        if len(k) == 5:         # batch, keys, heads, 2, head
            keys, value = k[1], k[4]
        elif len(k) == 4:       # batch, heads, keys, head
            keys, value = k[2], one.shape(2)[3]
        else:
            keys, value = k[1], one.shape(2)[2] // heads
    if one.value(6) is not None:
        keys += one.shape(6)[2]
    attention(log, one, batch, heads, heads, rows, keys, head, value)
    total = batch, heads, keys
    return [(batch, rows, heads * value), (*total, head), (*total, value)]


def _grouped_query(log, one):
    """GroupQueryAttention: heads of queries share heads of keys and values."""
    heads, key_heads = (one.attributes[key] for key in ("num_heads", "kv_num_heads"))
    batch, rows, width = one.shape(0, (3,))
    packed = one.value(1) is None
    head = width // (heads + 2 * key_heads if packed else heads)
    keys = rows
    if one.value(3) is not None:
        total = one.value(6)
        keys = (int(total.array) if total is not None and total.array is not None
                else one.shape(3)[2] + rows)
    attention(log, one, batch, heads, key_heads, rows, keys, head, head)
    present = batch, key_heads, keys, head
    return [(batch, rows, heads * head), present, present]


CONTRIB: dict[str, Callable] = {
    "FusedConv": convolution,
    "NhwcConv": partial(convolution, last=True),
    "NhwcFusedConv": partial(convolution, last=True),
    "QLinearConv": partial(convolution, filt=3, zero=5, last=True),
    "ConvTransposeWithDynamicPads": partial(convolution, pads=2),
    **dict.fromkeys(("FusedMatMul", "FusedMatMulActivation", "TransposeMatMul",
                     "FusedGemm", "GemmFastGelu", "GemmFloat8", "MatMulInteger16"),
                    product),
    "QGemm": partial(product, b=3, zeros=(2, 5)),
    "QOrderedMatMul": partial(product, b=2),
    "DynamicQuantizeMatMul": partial(product, zeros=(None, 3)),
    "MatMulIntegerToFloat": partial(product, zeros=(4, 5)),
    "MatMulNBits": partial(_blocks, decode=nonzero_nibbles),
    "MatMulBnb4": partial(_blocks, decode=nonzero_floats),
    "MatMulFpQ4": _packed_by_shape,
    "DynamicQuantizeLSTM": partial(recurrent, turned=True, zeros=(9, 11)),
    "Attention": _attention,
    "QAttention": partial(_attention, past=8),
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _grouped_query,
}
HIDING = {
    "AttnLSTM", "BeamSearch", "CausalConvWithState", "DecoderAttention",
    "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "EPContext",
    "GatedDeltaNet", "GreedySearch", "LinearAttention", "LongformerAttention",
    "MatMulBlockQuantizedFp4Weight", "MatMulBlockQuantizedFp8Weight",
    "MatMulNBitsMlp", "MatMulNBitsQkv", "MoE", "PackedAttention",
    "PackedMultiHeadAttention", "PagedAttention", "QMoE", "QOrderedAttention",
    "QOrderedLongformerAttention", "Sampling", "Snpe", "SparseAttention",
    "SparseToDenseMatMul", "VarlenCausalConvWithState", "WhisperBeamSearch",
    "WordConvEmbedding"}
