"""Recognizers from ONNX files."""

from leam.recognizers.architectures import architecture
from leam.recognizers.onnx.graph import build

build = architecture("onnx", options=())(build)
