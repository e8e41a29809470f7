"""Small ONNX recognizers with one quirk each."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

SIDE = 16


class Network:
    """A convolution from ``x`` to ``c``, the given nodes from ``c`` to ``f``, and an embedding of ``f``."""

    def __init__(
        self, nodes, stored=None, *, opset=17, channels=8, domains=(), functions=(), inputs=()
    ):
        generator = np.random.default_rng(0)

        def weight(name, *shape):
            values = generator.normal(size=shape, scale=0.3).astype(np.float32)
            return numpy_helper.from_array(values, name)

        tensors = [weight("cw", 8, 3, 3, 3), weight("fw", 16, channels), weight("fb", 16)]
        for name, value in (stored or {}).items():
            shaped = isinstance(value, tuple)
            tensors.append(
                weight(name, *value) if shaped else numpy_helper.from_array(np.asarray(value), name)
            )
        around = [
            helper.make_node("Conv", ["x", "cw"], ["c"], "conv0", pads=[1, 1, 1, 1]),
            *nodes,
            helper.make_node("GlobalAveragePool", ["f"], ["gap"]),
            helper.make_node("Flatten", ["gap"], ["flat"]),
            helper.make_node("Gemm", ["flat", "fw", "fb"], ["z"], transB=1),
        ]
        image = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        z = helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 16])
        graph = helper.make_graph(around, "g", [image, *inputs], [z], tensors)
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        self.model = helper.make_model(graph, opset_imports=imports, functions=list(functions))
        self.model.ir_version = 10
