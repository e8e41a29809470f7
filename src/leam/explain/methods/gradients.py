"""Methods that use gradients with respect to the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from leam.errors import InputError
from leam.explain.backends import Chips
from leam.explain.methods import Attribution, attribution
from leam.explain.targets import (
    Negated,
    RowTarget,
    Target,
    anchored,
    directions,
    is_pair,
    negated,
    self_target,
)
from leam.recognizers.recognizer import Recognizer, evaluating

Scores = Callable[[Tensor], Tensor]
"""From embeddings ``(B, D)`` to one score for each face, ``(B,)``."""

# Points on the path of integrated gradients.
_STEPS = 32


@attribution("input-gradients")
def input_gradients(recognizer: Recognizer) -> Attribution:
    """Absolute gradient of the score, its maximum over colours (Simonyan et al. 2014).

    Its map is the same for a score and for minus that score.
    """

    def attribute(chips: Chips, target: Target) -> Tensor:
        _, gradients = _backward(recognizer, recognizer.preprocess(chips), target)
        return gradients.abs().amax(dim=1)

    return attribute


@attribution("gradient-input")
def gradient_input(recognizer: Recognizer) -> Attribution:
    """Gradient times the preprocessed pixel, summed over colours, where positive.

    Shrikumar et al., "Not just a black box", 2016. The reference colour is the one that preprocessing maps to zero.
    """

    def attribute(chips: Chips, target: Target) -> Tensor:
        inputs, gradients = _backward(recognizer, recognizer.preprocess(chips), target)
        return (inputs * gradients).sum(dim=1).relu()

    return attribute


@attribution("integrated-gradients")
def integrated_gradients(recognizer: Recognizer) -> Attribution:
    """Integrated gradients from a black picture, summed over colours, where positive; see :func:`integrate`."""
    return lambda chips, target: integrate(recognizer, chips, target).relu()


def integrate(recognizer: Recognizer, chips: Chips, target: Target, steps: int = _STEPS) -> Tensor:
    """Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017).

    The difference between the face and the baseline, a black picture, times the mean gradient on the straight line
    between them, at the middles of ``steps`` equal parts. Their sum over the picture is the score of the face minus
    that of the baseline (completeness), up to the error of the sum over steps. Black pixels get 0.

    Args:
        recognizer: The recognizer.
        chips: Aligned faces, ``(B, h, w, 3)``.
        target: ``self`` keeps the direction of the face's embedding on the whole line.
        steps: Number of parts; the cost is one forward and one backward pass each.

    Returns:
        Signed contributions of the pixels, summed over colours, ``(B, h, w)`` float32.
    """
    faces = torch.as_tensor(chips)
    with torch.inference_mode(mode=False):
        if isinstance(target, RowTarget):
            target = anchored(target, recognizer.embed(faces).clone())
        black, face = (
            recognizer.preprocess(one).clone() for one in (torch.zeros_like(faces), faces)
        )
    total = torch.zeros_like(face)
    for step in range(steps):
        point = black + (face - black) * ((step + 0.5) / steps)
        total += _backward(recognizer, point, target)[1]
    return ((face - black) * total / steps).sum(dim=1)


@attribution("xssab", compares=True)
def xssab(recognizer: Recognizer) -> Attribution:
    """Gradient of the part of the cosine similarity that supports a match, or that speaks against it.

    Huber et al., "Efficient explainable face verification based on similarity score argument
    backpropagation", WACV 2024. Of the unit embeddings ``a`` and ``b``, the dimensions with
    ``a_k b_k >= threshold / D`` are kept; the map is the mean size over colours of the gradient of
    their sum. Under the negated target, the other dimensions are kept. The threshold is the card's for a
    cosine, else 0.
    """

    def attribute(chips: Chips, target: Target) -> Tensor:
        if target in {self_target, negated(self_target)}:
            raise InputError(
                "xssab: explains a similarity, not the embedding alone; name another target than self"
            )

        def supporting(embeddings: Tensor) -> Tensor:
            terms = functional.normalize(embeddings, dim=1) * directions(target, embeddings)
            return (terms * (terms.detach() >= _bound(recognizer, target, embeddings))).sum(dim=1)

        _, gradients = _backward(recognizer, recognizer.preprocess(chips), supporting)
        return gradients.abs().mean(dim=1)

    return attribute


@attribution("fggb")
def fggb(recognizer: Recognizer) -> Attribution:
    """Each dimension's gradient, of unit length, weighted by its part of the cosine.

    Lu, Xu and Ebrahimi, "Explainable face verification via feature-guided gradient
    backpropagation", 2024: ``sum_k G_k (a_k b_k - threshold / D)``, where positive, for unit
    embeddings ``a`` and ``b``; under the negated target, where negative. ``G_k`` is the gradient of ``a_k``,
    its size averaged over colours, scaled to length 1 over the picture. One backward pass a dimension; the map
    is not smoothed. The threshold is the card's for a cosine of a pair, else 0.
    """

    def attribute(chips: Chips, target: Target) -> Tensor:
        with _forward(recognizer, recognizer.preprocess(chips)) as (inputs, embeddings):
            own = functional.normalize(embeddings, dim=1)
            terms = own.detach() * directions(target, embeddings)
            weights = terms - _bound(recognizer, target, embeddings)
            total = torch.zeros_like(inputs[:, 0]).detach()
            for dimension in range(own.shape[1]):
                gradient = torch.autograd.grad(own[:, dimension].sum(), inputs, retain_graph=True)[
                    0
                ]
                size = gradient.abs().mean(dim=1)
                length = size.flatten(1).norm(dim=1).clamp(min=torch.finfo(size.dtype).tiny)
                total += (weights[:, dimension] / length)[:, None, None] * size
        return total.relu()

    return attribute


def _bound(recognizer: Recognizer, target: Target, embeddings: Tensor) -> float:
    """The share of a pair's threshold for each dimension, with the sign of the target."""
    card = recognizer.card
    if not is_pair(target) or card.similarity != "cosine" or not card.threshold:
        return 0.0
    share = card.threshold / embeddings.shape[1]
    return -share if isinstance(target, Negated) else share


def _backward(recognizer: Recognizer, inputs: Tensor, scores: Scores) -> tuple[Tensor, Tensor]:
    """Preprocessed inputs and the scores' gradients with respect to them, ``(B, 3, h, w)`` each."""
    with _forward(recognizer, inputs) as (leaves, embeddings):
        gradients = torch.autograd.grad(scores(embeddings).sum(), leaves)[0]
    return leaves.detach(), gradients


@contextmanager
def _forward(recognizer: Recognizer, inputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Preprocessed inputs and their embeddings, joined by a graph inside the block."""
    with torch.inference_mode(mode=False), torch.enable_grad(), evaluating(recognizer.module):
        leaves = inputs.clone().requires_grad_()
        # The network gets a copy, since a network may write into what it is given.
        yield leaves, recognizer.forward(leaves * 1)
