"""ONNX files as differentiable torch modules, their nodes the layers."""
