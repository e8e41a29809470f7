"""Fused nodes that onnxruntime's graph optimiser writes, as the standard nodes that they stand for.

The semantics are those of onnxruntime's contributed operators (domain ``com.microsoft``,
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
"""

from __future__ import annotations

from typing import Any, Literal

from leam.recognizers.onnx.operators.declaration import MICROSOFT
from leam.recognizers.onnx.rewrites.chain import Chain, rewrites

# An activation's attributes, in the order of a convolution's ``activation_params``.
_PARAMETERS = {
    "": (),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}


@rewrites(MICROSOFT + "FusedConv")
def _fused_conv(
    chain: Chain,
    x: str,
    weight: str,
    bias: str = "",
    summand: str = "",
    *,
    activation: Literal["", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"] = "",
    activation_params: list[float] = [],  # noqa: B006
    **attributes: Any,  # noqa: ANN401
) -> str:
    """A convolution, perhaps the sum with another tensor, and perhaps an activation."""
    y = chain("Conv", x, weight, bias, **attributes)
    y = chain("Add", y, summand) if summand else y
    names = ("min", "max") if activation == "Clip" else _PARAMETERS[activation]
    if len(activation_params) != len(names):
        raise NotImplementedError(
            f"with {len(activation_params)} activation_params for {activation}"
        )
    if activation == "Clip":
        bounds = [chain("Constant", value_float=bound) for bound in activation_params]
        return chain("Clip", y, *bounds)
    values = dict(zip(names, activation_params, strict=True))
    return chain(activation, y, **values) if activation else y


@rewrites(MICROSOFT + "FusedGemm")
def _fused_gemm(
    chain: Chain,
    a: str,
    b: str,
    c: str = "",
    *,
    activation: Literal[
        "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"
    ],
    **attributes: Any,  # noqa: ANN401
) -> str:
    """A dense layer and its activation, whose attributes have a prefix."""
    prefix = "activation_"
    own = {k.removeprefix(prefix): v for k, v in attributes.items() if k.startswith(prefix)}
    dense = {k: v for k, v in attributes.items() if not k.startswith(prefix)}
    return chain(activation, chain("Gemm", a, b, c, **dense), **own)


@rewrites(MICROSOFT + "BiasGelu")
def _bias_gelu(chain: Chain, x: str, bias: str) -> str:
    return chain("Gelu", chain("Add", x, bias))


@rewrites(MICROSOFT + "FastGelu")
def _fast_gelu(chain: Chain, x: str, bias: str = "") -> str:
    return chain("Gelu", chain("Add", x, bias) if bias else x, approximate="tanh")


@rewrites(MICROSOFT + "SkipLayerNormalization")
def _skip_layer_normalization(
    chain: Chain,
    x: str,
    skip: str,
    scale: str,
    shift: str = "",
    bias: str = "",
    *,
    epsilon: float = 1e-5,
) -> tuple[str, ...]:
    total = chain("Add", x, skip)
    total = chain("Add", total, bias) if bias else total
    return (
        chain("LayerNormalization", total, scale, shift, axis=-1, epsilon=epsilon),
        "",
        "",
        total,
    )


@rewrites(MICROSOFT + "Attention")
def _attention(
    chain: Chain,
    x: str,
    weight: str,
    bias: str = "",
    *,
    num_heads: int,
    qkv_hidden_sizes: list[int] = [],  # noqa: B006
    **attributes: Any,  # noqa: ANN401
) -> str:
    """Attention of tokens to each other; one matrix holds the weights of queries, keys and values."""
    if len(set(qkv_hidden_sizes)) > 1:
        raise NotImplementedError(f"attribute qkv_hidden_sizes = {qkv_hidden_sizes}")
    joined = chain("MatMul", x, weight)
    joined = chain("Add", joined, bias) if bias else joined
    return _attended(chain, chain.several("Split", 3, joined, axis=-1), num_heads, **attributes)


@rewrites(MICROSOFT + "MultiHeadAttention")
def _multi_head_attention(
    chain: Chain,
    query: str,
    key: str,
    value: str,
    bias: str = "",
    *,
    num_heads: int,
    **attributes: Any,  # noqa: ANN401
) -> str:
    tokens: tuple[str, ...] = (query, key, value)
    if bias:
        each = chain.several("Split", 3, bias, axis=0)
        tokens = tuple(chain("Add", *pair) for pair in zip(tokens, each, strict=True))
    return _attended(chain, tokens, num_heads, **attributes)


def _attended(
    chain: Chain,
    tokens: tuple[str, ...],
    num_heads: int,
    *,
    scale: float = 0.0,
    unidirectional: int = 0,
    mask_filter_value: float = 0.0,  # noqa: ARG001  there is no mask
    **others: Any,  # noqa: ANN401
) -> str:
    for name, value in others.items():
        if value:
            raise NotImplementedError(f"attribute {name} = {value}")
    own = {"scale": scale} if scale else {}
    heads = {"q_num_heads": num_heads, "kv_num_heads": num_heads}
    return chain("Attention", *tokens, is_causal=unidirectional, **heads, **own)
