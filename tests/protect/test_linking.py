"""Linked pairs of a person's pictures, and thresholds from a population."""

from __future__ import annotations

import numpy as np
import pytest

from leam.errors import InputError
from leam.metrics.error_rates import Comparisons
from leam.metrics.statistics import Estimate
from leam.protect.linking import (
    Links,
    expected_part,
    links_among,
    links_between,
    population_scores,
    threshold_from,
)


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


def test_the_similarities_are_those_of_the_pairs():
    found = links_among(units([0, 60, 90]), "cosine", 0.9, 0)
    similarities = np.cos(np.radians([60, 90, 30]))
    assert found.mean == pytest.approx(similarities.mean())
    assert found.variance == pytest.approx(similarities.var(ddof=1))
    assert links_among(units([0, 60]), "cosine", 0.9, 0).variance is None


def expected(mean: float | None, variance: float, pictures: int, threshold: float) -> float | None:
    links = Links(0, 0, Estimate(None, None, None, pictures), mean, variance)
    return expected_part(links, variance, threshold)


def test_what_is_expected_of_other_pictures():
    assert expected(0.4, 0.01, 2, 0.4) == pytest.approx(0.5)
    # Student's t with one degree of freedom: P(T > 1) = 1/4.
    assert expected(0.4, 0.01, 2, 0.4 + 0.1 * np.sqrt(1.5)) == pytest.approx(0.25)
    # With many pictures it is the normal distribution: P(Z < 1).
    assert expected(0.5, 0.01, 10**6, 0.4) == pytest.approx(0.8413, abs=1e-4)
    # With few it stays away from the ends.
    assert 0.7 < expected(0.9, 0.01, 2, 0.4) < expected(0.9, 0.01, 8, 0.4) < 1


@pytest.mark.parametrize("case", [(None, 0.01, 0), (0.5, 0.01, 1), (0.5, 0.0, 3)])
def test_nothing_is_expected_of_too_little(case):
    assert expected(*case, 0.4) is None


@pytest.mark.parametrize("draw", range(3))
def test_the_expectation_is_calibrated_where_its_assumption_holds(draw):
    """People far apart, with similarities that depend on both pictures; half the pictures forecast the other half."""
    generator = np.random.default_rng(draw)
    forecasts, outcomes = [], []
    for mean in generator.normal(0.4, 1.0, 8000):
        scores = mean + 0.1 * (generator.normal(size=(6, 1)) + generator.normal(size=(1, 6)))
        apart = ~np.eye(3, dtype=bool)
        own, other = scores[:3, :3][apart], scores[3:, 3:][apart]
        forecasts.append(expected(own.mean(), own.var(ddof=1), 3, 0.4))
        outcomes.append((other >= 0.4).mean())
    which = np.digitize(forecasts, [0.2, 0.4, 0.6, 0.8])
    for k in range(5):
        gap = np.mean(np.array(forecasts)[which == k]) - np.mean(np.array(outcomes)[which == k])
        assert abs(gap) < 0.08


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
