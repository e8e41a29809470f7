"""Recognizers from ONNX files."""

from leam.recognizers.architectures import architecture
from leam.recognizers.onnx.graph import build
from leam.recognizers.onnx.reference import compare

build = architecture("onnx", options=(), check=compare)(build)
