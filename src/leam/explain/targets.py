"""Targets: the score of each face that is explained, as a function of its embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from leam.errors import InputError
from leam.recognizers.card import Similarity
from leam.recognizers.recognizer import similarity

Target = Callable[[Tensor], Tensor]
"""From embeddings ``(B, D)``, differentiable, to one score for each face ``(B,)``."""

TargetName = Literal["self", "reference", "template", "contrast"]
TARGETS: tuple[TargetName, ...] = get_args(TargetName)


@runtime_checkable
class RowTarget(Protocol):
    """A target that can be restricted to part of a batch, since each face's score depends on that face alone."""

    def __call__(self, embeddings: Tensor) -> Tensor:
        """From embeddings ``(B, D)`` to scores ``(B,)``."""

    def rows(self, rows: slice, count: int) -> Target:
        """The target of these rows of a batch of ``count`` faces.

        Raises:
            InputError: The number of the target's references is not ``count``.
        """


@dataclass(frozen=True)
class _SelfTarget:
    """The embedding along its own direction: ``<e, stop(e)> / |e|``, ``(B,)``.

    Its gradient is the unit vector of ``e``; that of ``cos(e, stop(e))`` would be zero.
    """

    def __call__(self, embeddings: Tensor) -> Tensor:
        fixed = functional.normalize(embeddings.detach(), dim=1)
        return (embeddings * fixed).sum(dim=1)

    def rows(self, rows: slice, count: int) -> Target:  # noqa: ARG002
        return self


self_target = _SelfTarget()
"""The embedding along its own direction, ``<e, stop(e)> / |e|``; from embeddings ``(B, D)`` to scores ``(B,)``."""


@dataclass(frozen=True)
class _ReferenceTarget:
    """See :func:`reference_target`."""

    references: Tensor
    kind: Similarity

    def __call__(self, embeddings: Tensor) -> Tensor:
        _check(len(embeddings), self.references)
        return similarity(embeddings, self.references.detach(), self.kind)

    def rows(self, rows: slice, count: int) -> Target:
        _check(count, self.references)
        return _ReferenceTarget(self.references[rows], self.kind)


@dataclass(frozen=True)
class _ContrastTarget:
    """See :func:`contrast_target`."""

    templates: Tensor
    impostors: Tensor
    kind: Similarity

    def __call__(self, embeddings: Tensor) -> Tensor:
        _check(len(embeddings), self.templates)
        _check(len(embeddings), self.impostors)
        own = similarity(embeddings, self.templates.detach(), self.kind)
        others = similarity(embeddings[:, None], self.impostors.detach(), self.kind)
        return own - others.mean(dim=1)

    def rows(self, rows: slice, count: int) -> Target:
        _check(count, self.templates)
        _check(count, self.impostors)
        return _ContrastTarget(self.templates[rows], self.impostors[rows], self.kind)


def reference_target(references: Tensor, kind: Similarity) -> Target:
    """The similarity with another face or a template; ``references`` are ``(B, D)``, one for each face."""
    return _ReferenceTarget(references, kind)


def contrast_target(templates: Tensor, impostors: Tensor, kind: Similarity) -> Target:
    """The similarity with the person's own template minus the mean similarity with the nearest impostors.

    Args:
        templates: The template of each face's person, ``(B, D)``.
        impostors: The most similar templates of other people for each face, ``(B, K, D)``.
        kind: The recognizer's similarity.
    """
    return _ContrastTarget(templates, impostors, kind)


def template(embeddings: Tensor, kind: Similarity) -> Tensor:
    """The template of a person's embeddings ``(n, D)``: their mean ``(D,)``, of unit vectors for cosine similarity."""
    if kind == "cosine":
        embeddings = functional.normalize(embeddings, dim=-1)
    return embeddings.mean(dim=-2)


def nearest(templates: Tensor, candidates: Tensor, count: int, kind: Similarity) -> Tensor:
    """The ``count`` candidates ``(n, D)`` most similar to each template ``(B, D)``, as ``(B, count, D)``."""
    scores = torch.stack([similarity(row, candidates, kind) for row in templates])
    return candidates[scores.topk(min(count, len(candidates)), dim=1).indices]


def _check(count: int, references: Tensor) -> None:
    if count != len(references):
        raise InputError(f"{len(references)} references for {count} faces; give one for each face")
