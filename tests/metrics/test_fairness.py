"""Group differences, and differences that vanish when people are matched."""

import numpy as np
import pytest

from leam.metrics.fairness import Gap, gap, imbalance, match, matched_gap, matching
from leam.metrics.statistics import cohens_d, pooled_deviation

RANDOM = np.random.default_rng(0)


def matched_on(
    first: np.ndarray, second: np.ndarray, one: np.ndarray, other: np.ndarray, repeats: int = 50
) -> Gap:
    """The gap between two groups, matched on covariates."""
    return matched_gap(first, second, matching(one, other, 0, repeats), 0)


def test_a_gap_by_hand():
    found = gap(np.array([3.0, 4.0, 5.0, 4.5]), np.array([1.0, 2.0, 1.5, 2.5]), seed=0)
    assert found.difference.mean == pytest.approx(4.125 - 1.75)
    assert found.difference.n == 8
    assert found.delta == 1
    assert found.p == pytest.approx(2 / 70, abs=0.01)


def test_no_gap_is_no_gap():
    values = RANDOM.normal(size=200)
    found = gap(values[:100], values[100:], seed=0)
    assert found.difference.low < 0 < found.difference.high
    assert found.p > 0.05


def test_people_are_paired_as_alike_as_can_be():
    first = np.array([[0.0], [1.0], [10.0], [np.nan]])
    second = np.array([[1.2], [0.2], [30.0]])
    found = match(first, second, caliper=0.5)
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])


def test_nobody_alike_is_nobody_matched():
    far = np.full((3, 1), 9.0) + RANDOM.random((3, 1))
    found = matched_on(np.ones(3), np.zeros(3), np.zeros((3, 1)), far)
    assert found.difference.mean is None
    assert np.isnan(found.p)


def test_a_gap_that_a_covariate_makes_goes_when_it_is_matched():
    # Pose makes the drop, and the groups differ in pose alone.
    pose_first, pose_second = RANDOM.normal(0.8, 1, 300), RANDOM.normal(0, 1, 300)
    first = pose_first + 0.1 * RANDOM.normal(size=300)
    second = pose_second + 0.1 * RANDOM.normal(size=300)
    plain = gap(first, second, seed=0)
    matched = matched_on(first, second, pose_first[:, None], pose_second[:, None])
    assert plain.difference.low > 0.5
    assert plain.p < 0.001
    # What is left is what the caliper of 0.2 deviations lets through.
    assert abs(matched.difference.mean) < 0.22
    assert matched.difference.n > 150


def test_a_gap_that_stays_is_found_between_the_matched():
    random = np.random.default_rng(3)
    covariates = random.normal(size=(2, 150, 2))
    first, second = random.normal(1, 1, 150), random.normal(0, 1, 150)
    first[0] = np.nan
    found = matched_on(first, second, covariates[0], covariates[1])
    assert found.difference.low > 0.5
    assert found.p < 0.001


def test_imbalance_is_in_standard_deviations():
    first, second = np.array([[2.0, 1.0], [4.0, 1.0]]), np.array([[0.0, 1.0], [2.0, np.nan]])
    np.testing.assert_allclose(imbalance(first, second), [2 / np.std([2, 4, 0, 2]), 0])


def test_matched_and_unmatched_gaps_have_effects_on_one_scale():
    """Pairs of people differ by exactly 1, so that a paired effect size would be infinite."""
    second = RANDOM.normal(0, 2, 60)
    first, covariate = second + 1, np.arange(60.0)[:, None]
    matched = matched_on(first, second, covariate, covariate)
    assert matched.difference.n == 60
    assert matched.d == pytest.approx(1 / pooled_deviation(first, second))
    assert (
        matched.d
        == pytest.approx(gap(first, second, 0).d)
        == pytest.approx(cohens_d(first, second))
    )


def test_the_interval_of_a_matched_gap_covers_and_depends_on_the_matching():
    """Pairs of one matching hardly differ here, but who is matched does."""
    covered = []
    for seed in range(100):
        draw = np.random.default_rng(seed)
        poses = draw.normal(0.3, 1, (25, 1)), draw.normal(0, 1, (50, 1))
        first, second = (pose[:, 0] + draw.normal(size=len(pose)) for pose in poses)
        found = matched_on(first, second, *poses).difference
        covered.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(covered) <= 1
    same = np.zeros((30, 1)), np.zeros((90, 1))
    # All are alike: one matching pairs them by position, another one by chance.
    first, second = np.arange(30.0), np.concatenate([np.arange(30.0), np.full(60, 500.0)])
    found = matched_on(first, second, *same).difference
    assert found.high - found.low > 100


def test_people_without_partner_do_not_change_the_pairs():
    first, second = RANDOM.normal(size=(40, 2)), RANDOM.normal(size=(70, 2))
    pairs = match(first, second)
    # The deviations are those of everybody, so people far away are added on both sides.
    unit = np.concatenate([first, second]).std(axis=0)
    distance = np.abs(first[pairs[:, 0]] - second[pairs[:, 1]]) / unit
    assert distance.max() <= 0.2
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs)
