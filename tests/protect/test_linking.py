"""Linked pairs of a person's pictures, and thresholds from a population."""

from __future__ import annotations

import numpy as np
import pytest

from leam.errors import InputError
from leam.metrics.error_rates import Comparisons
from leam.protect.linking import links_among, links_between, population_scores, threshold_from


def units(angles: list[float]) -> np.ndarray:
    """Embeddings at these angles in degrees."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_pairs_are_counted_at_the_threshold():
    found = links_among(units([0, 10, 90]), "cosine", float(np.cos(np.radians(10.01))), 0)
    assert (found.linked, found.pairs) == (1, 3)
    assert found.part.mean == pytest.approx(1 / 3)
    assert (found.part.low, found.part.high, found.part.n) == (None, None, 3)


def test_a_changed_picture_is_not_compared_with_its_original():
    unchanged, changed = units([0, 60]), units([0, 60])
    between, among = links_between(unchanged, changed, np.array([0, 1]), "cosine", 0.9, 0)
    assert (between.linked, between.pairs) == (0, 2)
    assert (among.linked, among.pairs) == (0, 1)


def test_some_pictures_are_changed():
    unchanged, changed = units([0, 60, 2]), units([1])
    between, among = links_between(unchanged, changed, np.array([2]), "cosine", 0.9, 0)
    assert (between.linked, between.pairs) == (1, 2)
    assert (among.linked, among.pairs, among.part.mean) == (0, 0, None)


def test_a_distance_counts_as_a_similarity():
    found = links_among(units([0, 10, 180]), "euclidean", -0.5, 0)
    assert (found.linked, found.pairs) == (1, 3)


@pytest.mark.parametrize("apart", [0, 10, 90])
def test_the_interval_needs_ten_pictures(apart):
    """Eleven pictures close together, and one apart."""
    angles = [*np.linspace(0, 2, 11), apart]
    found = links_among(units(angles), "cosine", 0.9, 0).part
    assert found.n == 12
    assert 0 <= found.low <= found.mean <= found.high <= 1
    if apart < 90:
        # Where all pairs are linked, the interval is that of no linked pair, mirrored.
        none = links_among(units(angles), "cosine", 2.0, 0).part
        assert (none.low, none.high) == pytest.approx((1 - found.high, 1 - found.low))
        assert found.low > 0.9


def test_the_threshold_of_a_population():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(100, 16)).astype(np.float32)
    people = [f"{place // 2}" for place in range(100)]
    scores = population_scores(vectors, people, "cosine", 0)
    assert len(scores.genuine.scores) == 50
    assert len(scores.impostors.scores) == 100 * 99 / 2 - 50
    found = threshold_from(scores, 0.01, 0)
    assert (scores.impostors.scores >= found.value).mean() == pytest.approx(0.01, abs=3e-4)
    assert found.fmr.mean <= 0.01
    assert found.fmr.n == 50
    assert found.source == "population"
    with pytest.raises(InputError, match=r"--fmr 0.001: .* support at least 0.01"):
        threshold_from(scores, 0.001, 0)


def test_a_population_that_supports_no_rate():
    few = Comparisons(np.array([0.1, 0.9]), np.array([0, 1]), np.array([1, 1]), 2)
    with pytest.raises(InputError, match="support none"):
        threshold_from(few, 0.1, 0)
