"""Targets: the score of each face that is explained, as a function of its embedding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leam.errors import InputError
from leam.recognizers.card import Similarity
from leam.recognizers.recognizer import similarity

Target = Callable[[Tensor], Tensor]
"""From embeddings ``(B, D)``, differentiable, to one score for each face ``(B,)``."""

Rows = slice | Tensor
"""A part of a batch: a slice, or row numbers ``(n,)`` int64."""

TargetName = Literal["self", "reference", "template", "contrast"]
IMPOSTORS = 5
"""Number of nearest impostors of the target ``contrast``."""
TARGETS: tuple[TargetName, ...] = get_args(TargetName)


@runtime_checkable
class RowTarget(Protocol):
    """A target that can be restricted to part of a batch, since each face's score depends on that face alone."""

    def __call__(self, embeddings: Tensor) -> Tensor:
        """From embeddings ``(B, D)`` to scores ``(B,)``."""

    def rows(self, rows: Rows, count: int) -> Target:
        """The target of these rows of a batch of ``count`` faces: a slice, or row numbers ``(n,)``, also repeated.

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

    def rows(self, rows: Rows, count: int) -> Target:  # noqa: ARG002
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
        return similarity(embeddings, _beside(embeddings, self.references), self.kind)

    def rows(self, rows: Rows, count: int) -> Target:
        _check(count, self.references)
        return _ReferenceTarget(_chosen(self.references, rows), self.kind)


@dataclass(frozen=True)
class _ContrastTarget:
    """See :func:`contrast_target`."""

    templates: Tensor
    impostors: Tensor
    kind: Similarity

    def __call__(self, embeddings: Tensor) -> Tensor:
        _check(len(embeddings), self.templates)
        _check(len(embeddings), self.impostors)
        own = similarity(embeddings, _beside(embeddings, self.templates), self.kind)
        impostors = _beside(embeddings, self.impostors)
        others = similarity(embeddings[:, None], impostors, self.kind)
        return own - others.mean(dim=1)

    def rows(self, rows: Rows, count: int) -> Target:
        _check(count, self.templates)
        _check(count, self.impostors)
        templates, impostors = _chosen(self.templates, rows), _chosen(self.impostors, rows)
        return _ContrastTarget(templates, impostors, self.kind)


@dataclass(frozen=True)
class _AlongTarget:
    """The embedding along fixed directions ``(B, D)``."""

    directions: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        _check(len(embeddings), self.directions)
        return (embeddings * _beside(embeddings, self.directions)).sum(dim=1)

    def rows(self, rows: Rows, count: int) -> Target:
        _check(count, self.directions)
        return _AlongTarget(_chosen(self.directions, rows))


@dataclass(frozen=True)
class PictureTarget:
    """The score that a black box without embeddings gives a face and another one.

    Attributes:
        pictures: The aligned faces that each face is compared with, RGB ``(B, h, w, 3)`` uint8.
    """

    pictures: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:  # noqa: ARG002
        """Embeddings are not known.

        Raises:
            InputError: Always; methods that need only scores read ``pictures``.
        """
        raise InputError("a target of pictures needs a black box that gives scores")

    def rows(self, rows: Rows, count: int) -> Target:
        """See :class:`RowTarget`."""
        _check(count, self.pictures)
        return PictureTarget(_chosen(self.pictures, rows))


@dataclass(frozen=True)
class Negated:
    """Minus the score of a target, see :func:`negated`."""

    target: RowTarget

    def __call__(self, embeddings: Tensor) -> Tensor:
        """From embeddings ``(B, D)`` to scores ``(B,)``."""
        return -self.target(embeddings)

    def rows(self, rows: Rows, count: int) -> Target:
        """See :class:`RowTarget`."""
        return negated(self.target.rows(rows, count))


def negated(target: Target) -> Target:
    """Minus a target's score. A map of it shows what lowers the score: for a pair, what makes the faces different."""
    if isinstance(target, Negated):
        return target.target
    return Negated(target) if isinstance(target, RowTarget) else lambda found: -target(found)


def anchored(target: RowTarget, embeddings: Tensor) -> RowTarget:
    """The target for changed copies of faces: ``self`` keeps the direction of the unchanged faces' embeddings.

    Args:
        target: Of the faces.
        embeddings: Of the unchanged faces, ``(B, D)``.
    """
    if isinstance(target, Negated):
        return Negated(anchored(target.target, embeddings))
    if isinstance(target, _SelfTarget):
        return _AlongTarget(functional.normalize(embeddings.detach(), dim=1))
    return target


def directions(target: Target, embeddings: Tensor) -> Tensor:
    """The vectors ``(B, D)`` whose products with the unit embeddings are a target's cosine score.

    Args:
        target: ``self``, ``reference``, ``template`` or ``contrast``; negated, the vectors change their sign.
        embeddings: Of the explained faces, ``(B, D)``.

    Raises:
        InputError: The target is another one.
    """
    if isinstance(target, Negated):
        return -directions(target.target, embeddings)
    if isinstance(target, _SelfTarget):
        return functional.normalize(embeddings.detach(), dim=1)
    if isinstance(target, _ReferenceTarget):
        return functional.normalize(_beside(embeddings, target.references), dim=1)
    if isinstance(target, _ContrastTarget):
        impostors = functional.normalize(_beside(embeddings, target.impostors), dim=2)
        templates = functional.normalize(_beside(embeddings, target.templates), dim=1)
        return templates - impostors.mean(dim=1)
    raise InputError("the method splits a cosine into its dimensions, which this target is not")


def is_pair(target: Target) -> bool:
    """Whether a target is the similarity with one face or template, possibly negated."""
    inner = target.target if isinstance(target, Negated) else target
    return isinstance(inner, _ReferenceTarget | PictureTarget)


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


def templates_of_others(
    embeddings: Tensor,
    people: NDArray[np.str_],
    kind: Similarity,
    rows: Sequence[int] | None = None,
) -> Tensor:
    """For each face, or for some rows, the template of the same person's other faces, ``(n, D)``.

    Args:
        embeddings: Of the faces, ``(n, D)``.
        people: The person of each face, ``(n,)``; at least two faces each.
        kind: The recognizer's similarity.
        rows: The faces to do this for; all by default.
    """
    found = []
    for row in range(len(people)) if rows is None else rows:
        same = torch.from_numpy(people == people[row])
        same[row] = False
        found.append(template(embeddings[same.to(embeddings.device)], kind))
    return torch.stack(found)


def person_templates(embeddings: Tensor, people: NDArray[np.str_], kind: Similarity) -> Tensor:
    """The template of each person, ``(people, D)``, in the order of their first faces."""
    names = dict.fromkeys(people.tolist())
    masks = (torch.from_numpy(people == name).to(embeddings.device) for name in names)
    return torch.stack([template(embeddings[mask], kind) for mask in masks])


def nearest_of_others(
    own: Tensor, embeddings: Tensor, people: NDArray[np.str_], person: str, kind: Similarity
) -> tuple[list[str], Tensor]:
    """The names and templates ``(K, D)`` of the :data:`IMPOSTORS` people nearest to a person's template ``(D,)``."""
    other = people != person
    names = list(dict.fromkeys(people[other].tolist()))
    chosen = torch.from_numpy(other).to(embeddings.device)
    candidates = person_templates(embeddings[chosen], people[other], kind)
    order = similarity(own, candidates, kind).topk(min(IMPOSTORS, len(names))).indices
    return [names[place] for place in order.tolist()], candidates[order]


def _beside(embeddings: Tensor, references: Tensor) -> Tensor:
    """References, which may have been read from files, where the embeddings are, without a graph."""
    return references.detach().to(embeddings.device)


def _chosen(references: Tensor, rows: Rows) -> Tensor:
    return references[rows.to(references.device) if isinstance(rows, Tensor) else rows]


def _check(count: int, references: Tensor) -> None:
    if count != len(references):
        raise InputError(f"{len(references)} references for {count} faces; give one for each face")
