"""Which pictures an audit compares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leam.recognizers.recognizer import similarity
from leam.study.comparisons import genuine_pairs, impostor_pairs, scores_of

PERSON = np.array([2, 0, 2, 1, 0, 2])


def as_set(pairs):
    return set(map(tuple, pairs.tolist()))


def test_genuine_pairs_are_every_two_pictures_of_a_person():
    pairs = genuine_pairs(PERSON)
    assert as_set(pairs) == {(0, 2), (0, 5), (2, 5), (1, 4)}
    assert len(pairs) == 4


def test_impostor_pairs_are_every_two_pictures_of_different_people():
    pairs, drawn = impostor_pairs(PERSON, 100, 0)
    assert not drawn
    assert len(pairs) == len(as_set(pairs)) == 15 - 4
    assert (PERSON[pairs[:, 0]] != PERSON[pairs[:, 1]]).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()


@pytest.mark.parametrize(("people", "most"), [(40, 500), (3000, 2000)], ids=["half", "few"])
def test_a_sample_is_uniform_repeatable_and_without_repetition(people, most):
    person = np.repeat(np.arange(people), 2)
    pairs, drawn = impostor_pairs(person, most, 1)
    again, _ = impostor_pairs(person, most, 1)
    assert drawn
    assert (pairs == again).all()
    assert len(as_set(pairs)) == len(pairs) == most
    assert (person[pairs[:, 0]] != person[pairs[:, 1]]).all()
    # Each place is used equally often: the mean of all places is the middle.
    assert pairs.mean() == pytest.approx((2 * people - 1) / 2, rel=0.05)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_scores_are_similarities_in_the_order_of_the_pairs(monkeypatch, kind):
    monkeypatch.setattr("leam.study.comparisons._BLOCK", 3)
    embeddings = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    pairs = impostor_pairs(PERSON, 100, 0)[0]
    values = torch.from_numpy(embeddings)
    expected = [similarity(values[a], values[b], kind).item() for a, b in pairs.tolist()]
    assert scores_of(embeddings, pairs, kind) == pytest.approx(expected)
