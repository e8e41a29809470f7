"""Operators that stand for simpler ones: each function writes the nodes that its node stands for."""

from leam.recognizers.onnx.rewrites import fused, quantised
from leam.recognizers.onnx.rewrites.chain import REWRITES, standard_nodes

__all__ = ["REWRITES", "fused", "quantised", "standard_nodes"]
