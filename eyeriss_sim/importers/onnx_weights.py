"""The weights of an ONNX file, for their zeros."""

import numpy as np
from onnx import TensorProto, external_data_helper, numpy_helper

from eyeriss_sim.importers.onnx_shapes import run_node

# Weights of a layer, or what they are made from, that are looked at.
MOST_WORDS = 2**28


def nonzero_share(weight, where):
    """Share of a layer's weights that are not zero.

    Parameters
    ----------
    weight : Weight
    where : str
        File and layer, for errors.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Weights that are not there, can't be worked out, or hold NaN.
    """
    try:
        array = (content(weight.value) if weight.decode is None
                 else weight.decode(content))
        zero = 0 if weight.zero is None else content(weight.zero)
    except Exception as problem:
        lines = str(problem).strip().splitlines() or [type(problem).__name__]
        raise ValueError(f"{where}: its weights can't be read ({lines[0]}); give the "
                         "layer's filter density in --densities, or --zeros dense"
                         ) from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{where}: its weights hold NaN or infinite values")
    zero = np.asarray(zero)
    if zero.size > 1 and array.ndim > 1:
        shape = [1] * array.ndim
        shape[weight.axis] = -1
        zero = zero.reshape(shape)
    return np.count_nonzero(array != zero.astype(array.dtype)) / max(1, array.size)


def content(value):
    """Content of a constant.

    Raises
    ------
    ValueError
        Nothing says it.
    """
    if value.array is not None:
        return value.array
    if value.maker is None:
        raise ValueError("nothing in the file says them")
    if value.shape is not None and np.prod(value.shape, dtype=float) > MOST_WORDS:
        raise ValueError(f"more than {MOST_WORDS} of them")
    return value.maker()


def read_tensor(tensor, folder):
    """Array of a TensorProto, from another file of ``folder`` if it stands there."""
    if tensor.data_location == TensorProto.EXTERNAL:
        whole = TensorProto()
        whole.CopyFrom(tensor)
        external_data_helper.load_external_data_for_tensor(whole, str(folder))
        tensor = whole
    return numpy_helper.to_array(tensor)


def evaluated(node, values, opsets):
    """Results of a node whose operands are constants."""
    return run_node(node, {name: content(value) for name, value in values.items()},
                    opsets)
