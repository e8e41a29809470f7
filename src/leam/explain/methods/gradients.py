"""Methods that use gradients with respect to the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from leam.explain.aggregates import distribution
from leam.explain.backends import Chips
from leam.explain.methods import METHODS, Method
from leam.explain.targets import reference_target
from leam.recognizers.recognizer import Recognizer, evaluating

Scores = Callable[[Tensor], Tensor]
"""From embeddings ``(B, D)`` to one score for each face, ``(B,)``."""


@METHODS("input_gradient")
def input_gradient(recognizer: Recognizer) -> Method:
    """Absolute gradient of the similarity, its maximum over colours (Simonyan et al. 2014)."""

    def method(chips: Chips, mates: Tensor) -> Tensor:
        _, gradients = _backward(recognizer, chips, _similarity(recognizer, mates))
        return distribution(gradients.abs().amax(dim=1))

    return method


@METHODS("gradient_input")
def gradient_input(recognizer: Recognizer) -> Method:
    """Gradient times the preprocessed pixel, summed over colours, where positive.

    Shrikumar et al., "Not just a black box", 2016. The reference colour is the one that preprocessing maps to zero.
    """

    def method(chips: Chips, mates: Tensor) -> Tensor:
        inputs, gradients = _backward(recognizer, chips, _similarity(recognizer, mates))
        return distribution((inputs * gradients).sum(dim=1).relu())

    return method


@METHODS("xssab")
def xssab(recognizer: Recognizer) -> Method:
    """Gradient of the part of the cosine similarity that supports a match.

    Huber et al., "Efficient explainable face verification based on similarity score argument
    backpropagation", WACV 2024. Of the unit embeddings ``a`` and ``b``, the dimensions with
    ``a_k b_k >= threshold / D`` are kept; the map is the mean size over colours of the gradient of
    their sum. The threshold is the card's for a cosine, else 0.
    """

    def method(chips: Chips, mates: Tensor) -> Tensor:
        def supporting(embeddings: Tensor) -> Tensor:
            terms = functional.normalize(embeddings, dim=1) * functional.normalize(mates, dim=1)
            return (terms * (terms.detach() >= _bound(recognizer, mates))).sum(dim=1)

        _, gradients = _backward(recognizer, chips, supporting)
        return distribution(gradients.abs().mean(dim=1))

    return method


@METHODS("fggb")
def fggb(recognizer: Recognizer) -> Method:
    """Each dimension's gradient, of unit length, weighted by its part of the cosine.

    Lu, Xu and Ebrahimi, "Explainable face verification via feature-guided gradient
    backpropagation", 2024: ``sum_k G_k (a_k b_k - threshold / D)``, where positive, for unit
    embeddings ``a`` and ``b``. ``G_k`` is the gradient of ``a_k``, its size averaged over colours,
    scaled to length 1 over the picture. One backward pass a dimension; the map is not smoothed. The
    threshold is the card's for a cosine, else 0.
    """

    def method(chips: Chips, mates: Tensor) -> Tensor:
        with _forward(recognizer, chips) as (inputs, embeddings):
            own = functional.normalize(embeddings, dim=1)
            terms = own.detach() * functional.normalize(mates, dim=1)
            weights = terms - _bound(recognizer, mates)
            total = torch.zeros_like(inputs[:, 0]).detach()
            for dimension in range(own.shape[1]):
                gradient = torch.autograd.grad(own[:, dimension].sum(), inputs, retain_graph=True)[
                    0
                ]
                size = gradient.abs().mean(dim=1)
                length = size.flatten(1).norm(dim=1).clamp(min=torch.finfo(size.dtype).tiny)
                total += (weights[:, dimension] / length)[:, None, None] * size
        return distribution(total.relu())

    return method


def _similarity(recognizer: Recognizer, mates: Tensor) -> Scores:
    return reference_target(mates, recognizer.card.similarity)


def _bound(recognizer: Recognizer, mates: Tensor) -> float:
    """The share of the threshold for each dimension."""
    card = recognizer.card
    threshold = card.threshold if card.similarity == "cosine" and card.threshold else 0.0
    return threshold / mates.shape[1]


def _backward(recognizer: Recognizer, chips: Chips, scores: Scores) -> tuple[Tensor, Tensor]:
    """Preprocessed inputs and the scores' gradients with respect to them, ``(B, 3, h, w)`` each."""
    with _forward(recognizer, chips) as (inputs, embeddings):
        gradients = torch.autograd.grad(scores(embeddings).sum(), inputs)[0]
    return inputs.detach(), gradients


@contextmanager
def _forward(recognizer: Recognizer, chips: Chips) -> Iterator[tuple[Tensor, Tensor]]:
    """Preprocessed inputs and their embeddings, joined by a graph inside the block."""
    with torch.inference_mode(mode=False), torch.enable_grad(), evaluating(recognizer.module):
        inputs = recognizer.preprocess(chips).requires_grad_()
        # The network gets a copy, since a network may write into what it is given.
        yield inputs, recognizer.forward(inputs * 1)
