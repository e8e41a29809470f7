"""Nodes that compute with quantised numbers, as dequantisation, the floating-point node, and quantisation."""

from __future__ import annotations

from typing import Any

from leam.recognizers.onnx.operators.declaration import MICROSOFT
from leam.recognizers.onnx.rewrites.chain import Chain, rewrites


def _float(chain: Chain, x: str, scale: str, zero: str, **axis: int) -> str:
    return chain("DequantizeLinear", x, scale, zero, **axis)


@rewrites("QLinearConv")
def _qlinear_conv(  # noqa: PLR0917  the operator's inputs
    chain: Chain,
    x: str, x_scale: str, x_zero: str,
    w: str, w_scale: str, w_zero: str,
    y_scale: str, y_zero: str,
    bias: str = "",
    **attributes: Any,  # noqa: ANN401
) -> str:  # fmt: skip
    if bias:
        # Stored as int32 in the scale of the products.
        bias = _float(chain, bias, chain("Mul", x_scale, w_scale), "", axis=0)
    weight = _float(chain, w, w_scale, w_zero, axis=0)
    y = chain("Conv", _float(chain, x, x_scale, x_zero), weight, bias, **attributes)
    return chain("QuantizeLinear", y, y_scale, y_zero)


@rewrites(MICROSOFT + "QLinearConv")
def _qlinear_conv_of_planes(
    chain: Chain,
    x: str,
    *rest: str,
    channels_last: bool = False,
    **attributes: Any,  # noqa: ANN401
) -> str:
    """A convolution of quantised numbers whose channels may come last."""
    x = chain("Transpose", x, perm=[0, 3, 1, 2]) if channels_last else x
    y = _qlinear_conv(chain, x, *rest, **attributes)
    return chain("Transpose", y, perm=[0, 2, 3, 1]) if channels_last else y


@rewrites(MICROSOFT + "NhwcMaxPool")
def _max_pool_of_channels_last(chain: Chain, x: str, **attributes: Any) -> str:  # noqa: ANN401
    y = chain("MaxPool", chain("Transpose", x, perm=[0, 3, 1, 2]), **attributes)
    return chain("Transpose", y, perm=[0, 2, 3, 1])


@rewrites("QLinearMatMul", MICROSOFT + "QLinearMatMul")
def _qlinear_matmul(  # noqa: PLR0917  the operator's inputs
    chain: Chain,
    a: str, a_scale: str, a_zero: str,
    b: str, b_scale: str, b_zero: str,
    y_scale: str, y_zero: str,
) -> str:  # fmt: skip
    left = _float(chain, a, a_scale, a_zero, axis=-2)
    right = _float(chain, b, b_scale, b_zero, axis=-1)
    return chain("QuantizeLinear", chain("MatMul", left, right), y_scale, y_zero)


@rewrites(MICROSOFT + "QGemm")
def _qgemm(  # noqa: PLR0917  the operator's inputs
    chain: Chain,
    a: str, a_scale: str, a_zero: str,
    b: str, b_scale: str, b_zero: str,
    c: str = "",
    y_scale: str = "", y_zero: str = "",
    *,
    transB: bool = False,  # noqa: N803  ONNX's name
    **attributes: Any,  # noqa: ANN401
) -> str:  # fmt: skip
    if c:
        c = _float(chain, c, chain("Mul", a_scale, b_scale), "", axis=-1)
    left = _float(chain, a, a_scale, a_zero)
    right = _float(chain, b, b_scale, b_zero, axis=0 if transB else 1)
    y = chain("Gemm", left, right, c, transB=transB, **attributes)
    return chain("QuantizeLinear", y, y_scale, y_zero) if y_scale else y


@rewrites("ConvInteger")
def _conv_integer(
    chain: Chain,
    x: str,
    w: str,
    x_zero: str = "",
    w_zero: str = "",
    **attributes: Any,  # noqa: ANN401
) -> str:
    return chain(
        "Conv", _shifted(chain, x, x_zero), _shifted(chain, w, w_zero, axis=0), **attributes
    )


@rewrites("MatMulInteger")
def _matmul_integer(chain: Chain, a: str, b: str, a_zero: str = "", b_zero: str = "") -> str:
    return chain("MatMul", _shifted(chain, a, a_zero, axis=-2), _shifted(chain, b, b_zero, axis=-1))


def _shifted(chain: Chain, x: str, zero: str, **axis: int) -> str:
    """Quantised numbers minus their zero point, as floating-point numbers."""
    return _float(chain, x, chain("Constant", value_float=1.0), zero, **axis)


@rewrites(MICROSOFT + "DynamicQuantizeMatMul")
def _dynamic_quantize_matmul(
    chain: Chain, a: str, b: str, b_scale: str, b_zero: str = "", bias: str = ""
) -> str:
    left = _float(chain, *chain.several("DynamicQuantizeLinear", 3, a))
    y = chain("MatMul", left, _float(chain, b, b_scale, b_zero, axis=-1))
    return chain("Add", y, bias) if bias else y


@rewrites(MICROSOFT + "MatMulIntegerToFloat")
def _matmul_integer_to_float(
    chain: Chain,
    a: str,
    b: str,
    a_scale: str,
    b_scale: str,
    a_zero: str = "",
    b_zero: str = "",
    bias: str = "",
) -> str:
    left = _float(chain, a, a_scale, a_zero, axis=-2)
    y = chain("MatMul", left, _float(chain, b, b_scale, b_zero, axis=-1))
    return chain("Add", y, bias) if bias else y


def _binary(operator: str) -> None:
    @rewrites(f"{MICROSOFT}QLinear{operator}")
    def rewritten(  # noqa: PLR0917  the operator's inputs
        chain: Chain,
        a: str, a_scale: str, a_zero: str,
        b: str, b_scale: str, b_zero: str,
        y_scale: str, y_zero: str = "",
    ) -> str:  # fmt: skip
        y = chain(operator, _float(chain, a, a_scale, a_zero), _float(chain, b, b_scale, b_zero))
        return chain("QuantizeLinear", y, y_scale, y_zero)


def _unary(operator: str) -> None:
    @rewrites(f"{MICROSOFT}QLinear{operator}")
    def rewritten(
        chain: Chain,
        x: str, x_scale: str, x_zero: str,
        y_scale: str, y_zero: str = "",
        **attributes: Any,  # noqa: ANN401
    ) -> str:  # fmt: skip
        y = chain(operator, _float(chain, x, x_scale, x_zero), **attributes)
        return chain("QuantizeLinear", y, y_scale, y_zero)


for _operator in ("Add", "Mul"):
    _binary(_operator)
for _operator in ("Sigmoid", "LeakyRelu"):
    _unary(_operator)


def _pool(operator: str) -> None:
    """Pooling of quantised numbers; some graphs keep the channels last."""

    @rewrites(f"{MICROSOFT}QLinear{operator}")
    def rewritten(
        chain: Chain,
        x: str, x_scale: str, x_zero: str,
        y_scale: str, y_zero: str = "",
        *,
        channels_last: bool = False,
        **attributes: Any,  # noqa: ANN401
    ) -> str:  # fmt: skip
        y = _float(chain, x, x_scale, x_zero)
        y = chain("Transpose", y, perm=[0, 3, 1, 2]) if channels_last else y
        y = chain(operator, y, **attributes)
        y = chain("Transpose", y, perm=[0, 2, 3, 1]) if channels_last else y
        return chain("QuantizeLinear", y, y_scale, y_zero)


for _operator in ("AveragePool", "GlobalAveragePool"):
    _pool(_operator)


@rewrites(MICROSOFT + "QLinearConcat")
def _qlinear_concat(chain: Chain, y_scale: str, y_zero: str, *parts: str, axis: int) -> str:
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    joined = chain("Concat", *(_float(chain, *each) for each in triples), axis=axis)
    return chain("QuantizeLinear", joined, y_scale, y_zero)


@rewrites(MICROSOFT + "QLinearSoftmax")
def _qlinear_softmax(
    chain: Chain,
    x: str, x_scale: str, x_zero: str,
    y_scale: str, y_zero: str = "",
    *,
    opset: int,
    axis: int = -1,
) -> str:  # fmt: skip
    if opset < 13 and axis != -1:  # noqa: PLR2004  the semantics of that opset's Softmax
        raise NotImplementedError(f"attribute axis = {axis} in opset {opset}")
    y = chain("Softmax", _float(chain, x, x_scale, x_zero), axis=axis)
    return chain("QuantizeLinear", y, y_scale, y_zero)
