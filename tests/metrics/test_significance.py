"""Permutation p-values against full enumeration, and the correction for many of them."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leam.metrics.statistics import benjamini_hochberg, label_permutation_p, sign_flip_p


def test_flipped_signs_agree_with_all_flips():
    differences = np.array([0.4, 1.2, -0.3, 0.9, 0.7, -0.1, 0.5, 0.8])
    sums = [abs(np.dot(signs, differences)) for signs in product([-1, 1], repeat=8)]
    exact = np.mean(np.array(sums) >= differences.sum() - 1e-9)
    assert sign_flip_p(differences, 0, 40_000) == pytest.approx(exact, abs=0.004)


def test_permuted_labels_agree_with_all_permutations():
    first, second = np.array([2.0, 3.5, 4.0, 3.0]), np.array([1.0, 2.5, 1.5, 0.5, 2.2])
    pooled = np.concatenate([first, second])
    observed = first.mean() - second.mean()
    splits = []
    for chosen in combinations(range(9), 4):
        inside = np.isin(np.arange(9), chosen)
        splits.append(pooled[inside].mean() - pooled[~inside].mean())
    exact = np.mean(np.abs(splits) >= observed - 1e-9)
    assert label_permutation_p(first, second, 0, 40_000) == pytest.approx(exact, abs=0.004)


def test_chance_gives_uniform_p_values():
    found = []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        found.append(label_permutation_p(draw.normal(size=12), draw.normal(size=9), seed, 199))
    assert 0.02 <= np.mean(np.array(found) <= 0.1) <= 0.18


def test_p_is_never_zero_and_is_fixed_by_the_seed():
    differences = np.linspace(1, 2, 50)
    assert sign_flip_p(differences, 0, 999) == pytest.approx(0.001)
    small = np.random.default_rng(0).normal(size=20)
    assert sign_flip_p(small, 5) == sign_flip_p(small, 5)


def test_nothing_to_test_is_no_p_value():
    assert np.isnan(sign_flip_p(np.array([np.nan]), 0))
    assert np.isnan(label_permutation_p(np.array([1.0]), np.array([np.nan]), 0))


def test_the_example_of_benjamini_and_hochberg():
    # The fifteen p-values of their section 3.2; four are rejected at 0.05.
    smallest = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    adjusted = benjamini_hochberg(
        np.array([*smallest, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0])
    )
    assert (adjusted <= 0.05).sum() == 4
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)


@given(arrays(float, st.integers(1, 20), elements=st.floats(0, 1)))
def test_corrected_values_are_no_smaller_and_keep_the_order(p_values):
    adjusted = benjamini_hochberg(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= 1).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_missing_p_values_are_not_counted():
    adjusted = benjamini_hochberg(np.array([0.01, np.nan, 0.04]))
    np.testing.assert_allclose(adjusted, [0.02, np.nan, 0.04])
