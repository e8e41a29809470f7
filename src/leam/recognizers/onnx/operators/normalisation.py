"""Normalisations by stored or measured statistics, and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from leam.recognizers.onnx.operators.declaration import implements, together


@implements("BatchNormalization")
def _batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,  # noqa: ARG001  of the running statistics
    spatial: bool = True,
    outputs: tuple[bool, ...],
) -> Tensor:
    """Before opset 14, a node with more than one output is in training mode."""
    if len(outputs) > 1:
        mean, variance = _own_statistics(x)
    parts = (mean, variance, scale, bias)
    if not spatial and x.ndim > 2 and scale.shape == x.shape[1:]:  # noqa: PLR2004
        return _normalised(x, parts, epsilon)
    if not spatial and x.ndim > 2:  # noqa: PLR2004
        raise NotImplementedError(
            f"attribute spatial = 0 with {scale.numel()} values; remove it if they are one per channel"
        )
    after = [1] * (x.ndim - 2)
    return _normalised(x, [part.reshape(*part.shape[:-1], -1, *after) for part in parts], epsilon)


@implements("BatchNormalization", since=14)
def _batch_norm_14(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,  # noqa: ARG001
    training_mode: bool = False,
) -> Tensor:
    return _batch_norm(
        x, scale, bias, mean, variance, epsilon=epsilon, outputs=(True,) * (1 + training_mode)
    )


def _own_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance in training mode, of each face alone: the file's are those of a batch of one."""
    if x.ndim <= 2:  # noqa: PLR2004
        raise NotImplementedError("in training mode without spatial axes")
    rows = x.flatten(2)
    return rows.mean(2), rows.var(2, correction=0)


def _normalised(x: Tensor, parts: Sequence[Tensor], epsilon: float) -> Tensor:
    mean, variance, scale, bias = parts
    return (x - mean) / torch.sqrt(variance + epsilon) * scale + bias


@implements("LayerNormalization")
def _layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,  # noqa: ARG001  all floating-point numbers are float32
    outputs: tuple[bool, ...] = (True,),
) -> tuple[Tensor, ...]:
    axes = list(range(axis % x.ndim, x.ndim))
    mean = x.mean(axes, keepdim=True)
    inverse = ((x - mean).square().mean(axes, keepdim=True) + epsilon).rsqrt()
    normal = (x - mean) * inverse * scale
    return (normal if bias is None else normal + bias, mean, inverse)[: len(outputs)]


@implements("RMSNormalization")
def _rms_norm(
    x: Tensor,
    scale: Tensor,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,  # noqa: ARG001
) -> Tensor:
    axes = list(range(axis % x.ndim, x.ndim))
    return x * (x.square().mean(axes, keepdim=True) + epsilon).rsqrt() * scale


@implements("InstanceNormalization")
def _instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return _grouped(x, x.shape[1], epsilon, scale, bias)


@implements("GroupNormalization")
def _group_norm_18(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5
) -> Tensor:
    """In opset 18, a scale and a bias for each group."""
    each = x.shape[1] // num_groups
    scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return _grouped(x, num_groups, epsilon, scale, bias)


@implements("GroupNormalization", since=21)
def _group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,  # noqa: ARG001
) -> Tensor:
    return _grouped(x, num_groups, epsilon, scale, bias)


def _grouped(x: Tensor, groups: int, epsilon: float, scale: Tensor, bias: Tensor) -> Tensor:
    parts = x.reshape(len(x), groups, -1)
    mean = parts.mean(2, keepdim=True)
    variance = (parts - mean).square().mean(2, keepdim=True)
    normal = ((parts - mean) / torch.sqrt(variance + epsilon)).reshape(x.shape)
    shape = (-1, *[1] * (x.ndim - 2))
    return normal * scale.view(shape) + bias.view(shape)


@implements("MeanVarianceNormalization")
def _mean_variance(x: Tensor, *, axes: list[int] = [0, 2, 3]) -> Tensor:  # noqa: B006
    mean = x.mean(axes, keepdim=True)
    # The operator's definition adds this to the standard deviation.
    return (x - mean) / ((x - mean).square().mean(axes, keepdim=True).sqrt() + 1e-9)


@implements("LRN")
def _lrn(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    before, after = (size - 1) // 2, size // 2
    squares = functional.pad(x.square().flatten(2), (0, 0, before, after))
    sums = squares.unfold(1, size, 1).sum(-1).reshape(x.shape)
    return x / (bias + alpha / size * sums).pow(beta)


@implements("Attention")
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    q_num_heads: int | None = None,
    kv_num_heads: int | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    softcap: float = 0.0,
    softmax_precision: int = 1,  # noqa: ARG001
    qk_matmul_output_mode: Literal[0] = 0,  # noqa: ARG001  the scores are not supported as an output
    left_window_size: Literal[-1] = -1,  # noqa: ARG001
    right_window_size: Literal[-1] = -1,  # noqa: ARG001
) -> Tensor:
    flat = query.ndim == 3  # noqa: PLR2004  (B, N, heads * d); otherwise (B, heads, N, d)
    q, k, v = query, key, value
    if flat:
        q = _heads(query, q_num_heads)
        k, v = _heads(key, kv_num_heads), _heads(value, kv_num_heads)
    repeats = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores, mask = together(scores, mask)
        missing = scores.shape[-1] - mask.shape[-1]
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -math.inf)
        scores = scores + functional.pad(mask, (0, missing), value=-math.inf)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    # A row that sees nothing gives zeros.
    blind = (scores == -math.inf).all(-1, keepdim=True)
    attended = torch.softmax(scores.masked_fill(blind, 0), -1).masked_fill(blind, 0) @ v
    return attended.transpose(1, 2).flatten(2) if flat else attended


def _heads(x: Tensor, count: int | None) -> Tensor:
    """``(B, N, heads * d)`` to ``(B, heads, N, d)``."""
    return x.reshape(*x.shape[:2], count or 1, -1).transpose(1, 2)
