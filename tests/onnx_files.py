"""ONNX files for tests, written in onnx's own text form."""

import numpy as np
import onnx
import onnx.parser

MICROSOFT = '"" : 18, "com.microsoft" : 1, "elsewhere" : 1'


def save(path, inputs, body, opsets='"" : 18', outputs="float[] y", **weights):
    """Write a graph; ``weights`` are arrays, or shapes of float32 ones.

    A call is ``save(path, "float[1,3,H,W] x", "y = Conv (x, w)", w=(8, 3, 3, 3))``.
    """
    model = onnx.parser.parse_model(
        f"<ir_version: 9, opset_import: [{opsets}]> "
        f"net ({inputs}) => ({outputs}) {{ {body} }}")
    for name, value in weights.items():
        if isinstance(value, tuple):
            value = np.ones(value, np.float32)
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(value), name))
    onnx.save(model, str(path))
    return path
