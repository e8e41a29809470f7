"""The scalar that is explained: what in the embedding the maps are asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from leam.errors import InputError
from leam.recognizers.card import Similarity
from leam.recognizers.similarity import similarity

Target = Callable[[Tensor], Tensor]
"""From embeddings ``(B, D)``, differentiable, to one score a face ``(B,)``."""

TargetName = Literal["self", "reference", "template", "contrast"]
TARGETS: tuple[TargetName, ...] = get_args(TargetName)


def self_target(embeddings: Tensor) -> Tensor:
    """The embedding's own norm direction: ``<e, stop(e)> / |e|``, ``(B,)``.

    The gradient of ``cos(e, stop(e))`` is zero at ``e``; this one is the unit vector of ``e``.
    """
    fixed = functional.normalize(embeddings.detach(), dim=1)
    return (embeddings * fixed).sum(dim=1)


def reference_target(references: Tensor, kind: Similarity) -> Target:
    """The similarity with another face (or with a template), one reference ``(B, D)`` a face."""

    def target(embeddings: Tensor) -> Tensor:
        _check(embeddings, references)
        return similarity(embeddings, references.detach(), kind)

    return target


def contrast_target(templates: Tensor, impostors: Tensor, kind: Similarity) -> Target:
    """Similarity with the own template minus the mean similarity with the nearest impostors.

    Args:
        templates: One for each face, ``(B, D)``.
        impostors: The nearest other people's templates of each face, ``(B, K, D)``.
        kind: The recognizer's similarity.
    """

    def target(embeddings: Tensor) -> Tensor:
        _check(embeddings, templates)
        _check(embeddings, impostors)
        own = similarity(embeddings, templates.detach(), kind)
        others = similarity(embeddings[:, None], impostors.detach(), kind)
        return own - others.mean(dim=1)

    return target


def template(embeddings: Tensor, kind: Similarity) -> Tensor:
    """One embedding for several ``(n, D)`` of one person: their mean ``(D,)``, of unit vectors where angles count."""
    if kind == "cosine":
        embeddings = functional.normalize(embeddings, dim=-1)
    return embeddings.mean(dim=-2)


def nearest(templates: Tensor, candidates: Tensor, count: int, kind: Similarity) -> Tensor:
    """The ``count`` candidates ``(n, D)`` most similar to each template ``(B, D)``, as ``(B, count, D)``."""
    scores = torch.stack([similarity(row, candidates, kind) for row in templates])
    return candidates[scores.topk(min(count, len(candidates)), dim=1).indices]


def _check(embeddings: Tensor, references: Tensor) -> None:
    if embeddings.shape[0] != references.shape[0]:
        raise InputError(
            f"{references.shape[0]} references for {embeddings.shape[0]} faces: one for each is wanted"
        )
