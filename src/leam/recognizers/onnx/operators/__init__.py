"""ONNX operators as differentiable functions of tensors, one module for each kind.

The semantics are those of the ONNX operator reference (https://onnx.ai/onnx/operators), from opset 7 on.
"""

from leam.recognizers.onnx.operators import (
    elementwise,
    normalisation,
    quantisation,
    reductions,
    resize,
    shapes,
    windows,
)
from leam.recognizers.onnx.operators.declaration import OPERATORS

__all__ = [
    "OPERATORS",
    "elementwise",
    "normalisation",
    "quantisation",
    "reductions",
    "resize",
    "shapes",
    "windows",
]
