"""Effect sizes and rank correlation, by hand and against scipy."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from leam.metrics.statistics import auc, cliffs_delta, cohens_d, cohens_d_paired, spearman


def test_cohens_d_by_hand():
    assert cohens_d(np.array([2.0, 4.0]), np.array([1.0, 3.0])) == pytest.approx(1 / np.sqrt(2))
    assert cohens_d_paired(np.array([1.0, 3.0, np.nan])) == pytest.approx(2 / np.sqrt(2))


def test_effects_without_spread_or_values_are_undefined():
    assert np.isnan(cohens_d(np.array([1.0, 1.0]), np.array([0.0, 0.0])))
    assert np.isnan(cohens_d_paired(np.array([1.0])))
    assert np.isnan(auc(np.array([]), np.array([1.0])))


def test_the_area_under_the_curve_counts_pairs():
    random = np.random.default_rng(0)
    higher, lower = random.integers(0, 6, 30) * 1.0, random.integers(0, 5, 20) * 1.0
    wins = (higher[:, None] > lower).mean() + (higher[:, None] == lower).mean() / 2
    assert auc(higher, lower) == pytest.approx(wins)
    losses = (higher[:, None] < lower).mean()
    won = (higher[:, None] > lower).mean()
    assert cliffs_delta(higher, lower) == pytest.approx(won - losses)


def test_spearman_is_scipys_along_the_last_axis():
    random = np.random.default_rng(1)
    first, second = random.integers(0, 9, (3, 40)) * 1.0, random.normal(size=(3, 40))
    wanted = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(spearman(first, second), wanted)
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))
