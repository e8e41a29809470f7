"""ONNX files as differentiable torch modules, one layer per node."""
