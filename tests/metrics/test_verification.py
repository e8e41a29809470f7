"""Deletion and insertion on a recognizer that looks at one corner only."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leam.errors import InputError
from leam.metrics.verification import Pairs, VerificationCurve, best_threshold, deletion, insertion


def errors(similarities, same, threshold):
    return int(((similarities >= threshold) != same).sum())


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_better_than_the_best(pairs):
    similarities = np.array([float(value) for value, _ in pairs])
    same = np.array([truth for _, truth in pairs])
    best = errors(similarities, same, best_threshold(similarities, same))
    candidates = np.arange(-1, 10) + 0.5
    assert best == min(errors(similarities, same, threshold) for threshold in candidates)


def test_the_threshold_lies_midway():
    assert best_threshold(np.array([0.1, 0.2, 0.6]), np.array([False, False, True])) == 0.4
    with pytest.raises(InputError, match="no pairs"):
        best_threshold(np.array([]), np.array([], dtype=bool))


def test_the_area_by_hand():
    right = np.array([[True, True], [True, False], [False, False]])
    curve = VerificationCurve(np.array([0.0, 0.5, 1.0]), right)
    np.testing.assert_array_equal(curve.accuracy, [1, 0.5, 0])
    assert curve.area == pytest.approx(0.5)


CORNER = np.zeros((10, 10), dtype=bool)
CORNER[:3, :3] = True


def embed(chips):
    """The pattern of the corner, which carries the identity; what is black says nothing."""
    values = torch.from_numpy(chips[:, :3, :3, 0].astype(np.float32)).flatten(1)
    pattern = torch.where(values > 0, values - 128, 0)
    return torch.nn.functional.pad(pattern, (0, 1), value=1.0)


def faces(count: int):
    random = np.random.default_rng(0)
    chips = random.integers(1, 256, (count, 10, 10, 3), dtype=np.uint8)
    same = np.arange(count) % 2 == 0
    # A pair of one person shares the corner, one of two people has it inverted.
    mates = torch.from_numpy(np.where(same, 1.0, -1.0)).float()[:, None] * embed(chips)
    return chips, Pairs(mates, same, 0.5, "cosine")


def test_a_true_map_falls_and_rises_faster_than_its_opposite():
    chips, pairs = faces(40)
    true = torch.from_numpy(CORNER).float().expand(40, 10, 10)
    false = 1 - true
    down, up = deletion(chips, true, pairs, embed), insertion(chips, true, pairs, embed)
    assert down.accuracy[0] == up.accuracy[-1] == 1
    assert down.accuracy[-1] == up.accuracy[0] == 0.5
    assert down.accuracy[1] == 0.5
    assert up.accuracy[1] == 1
    assert down.area < deletion(chips, false, pairs, embed).area
    assert up.area > insertion(chips, false, pairs, embed).area
    assert down.right.shape == (11, 40)


def test_an_unknown_fill_is_named():
    chips, pairs = faces(2)
    with pytest.raises(InputError, match="pink: no such fill"):
        deletion(chips, torch.ones(2, 10, 10), pairs, embed, "pink")
