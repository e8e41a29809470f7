"""Error rates by group of people."""

from __future__ import annotations

import numpy as np
import pytest

from leam.metrics.error_rates import Comparisons, fmr_estimate, mean_estimate
from leam.metrics.group_rates import (
    PERMUTATIONS,
    difference,
    fairness_discrepancy_rate,
    garbe,
    group_gap,
    group_rates,
    largest_gaps,
    permutation_p,
    permuted_gaps,
    rate_gaps,
    ratio,
    worst_to_best,
)
from leam.metrics.statistics import NOTHING, Estimate

PEOPLE = 60


def compared(shift: float, seed: int = 0) -> tuple[Comparisons, list[str]]:
    """Comparisons of two groups; the second group's genuine scores are lower by ``shift``."""
    generator = np.random.default_rng(seed)
    person = np.repeat(np.arange(PEOPLE), 3)
    first, second = np.triu_indices(len(person), 1)
    first, second = person[first], person[second]
    scores = generator.normal(size=len(first)) + np.where(first == second, 3.0, 0.0)
    scores -= shift * ((first == second) & (first % 2 == 1))
    return Comparisons(scores, first, second, PEOPLE), [
        "f" if n % 2 else "m" for n in range(PEOPLE)
    ]


def test_rates_are_those_within_each_group():
    comparisons, group = compared(0)
    found = group_rates(comparisons, group, 1.0, 0)
    assert list(found) == ["f", "m"]
    ours = (comparisons.first % 2 == 1) & (comparisons.second % 2 == 1)
    within = comparisons.where(ours)
    assert found["f"].people == 30
    assert found["f"].genuine == 90
    assert found["f"].impostors == len(within.impostors.scores) == 90 * 89 // 2 - 90
    assert found["f"].fmr.mean == pytest.approx((within.impostors.scores >= 1).mean())
    assert found["f"].fnmr.mean == pytest.approx((within.genuine.scores < 1).mean())
    assert found["f"].fmr == fmr_estimate(within.impostors, 1.0, 0)


def test_a_person_without_a_group_is_left_out():
    comparisons, group = compared(0)
    found = group_rates(comparisons, ["", *group[1:]], 1.0, 0)
    assert found["m"].people == 29
    assert list(found) == ["f", "m"]


def test_a_planted_gap_is_found_and_the_other_rate_has_none():
    gaps = {one.rate: one for one in rate_gaps(*compared(1.5), 1.5, 0)}
    assert (gaps["fnmr"].first, gaps["fnmr"].second) == ("f", "m")
    assert gaps["fnmr"].difference.low > 0.1
    assert gaps["fnmr"].ratio.low > 1.3
    assert gaps["fnmr"].corrected < 0.01
    assert gaps["fmr"].p > 0.05
    assert gaps["fmr"].difference.low < 0 < gaps["fmr"].difference.high
    assert gaps["fmr"].corrected >= gaps["fmr"].p


def test_without_a_gap_p_values_are_uniform():
    found = [gap.p for seed in range(30) for gap in rate_gaps(*compared(0, seed), 1.5, seed)]
    assert 0.3 < np.mean(found) < 0.7
    assert np.mean(np.array(found) < 0.05) < 0.15


def test_few_people_have_no_p_value():
    comparisons, group = compared(1.0)
    some = ["x" if n < 9 else one for n, one in enumerate(group)]
    of_few = [one for one in rate_gaps(comparisons, some, 1.5, 0) if "x" in (one.first, one.second)]
    assert all(np.isnan([one.p, one.corrected]).all() for one in of_few)


def test_intervals_of_differences_are_newcombes():
    """Table II of Newcombe 1998, method 10, comparison (a): 56/70 against 48/80 with Wilson's intervals."""
    first, second = wilson(56, 70), wilson(48, 80)
    found = difference(first, second)
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def wilson(hits: int, total: int) -> Estimate:
    rate, z = hits / total, 1.959964
    centre = (rate + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * np.sqrt(rate * (1 - rate) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    return Estimate(rate, centre - half, centre + half, total)


def test_ratios_have_intervals_on_the_logarithmic_scale():
    found = ratio(Estimate(0.2, 0.1, 0.4, 30), Estimate(0.1, 0.1, 0.1, 30))
    assert (found.mean, found.low, found.high) == pytest.approx((2, 1, 4))
    assert found.n == 60
    assert ratio(Estimate(0.2, 0.1, 0.4, 30), Estimate(0.0, 0.0, 0.1, 30)) == NOTHING
    assert ratio(Estimate(0.2, 0.1, 0.4, 30), Estimate(0.1, 0.0, 0.2, 30)).high is None
    assert ratio(Estimate(0.0, 0.0, 0.4, 30), Estimate(0.1, 0.1, 0.2, 30)).low is None
    assert difference(NOTHING, Estimate(0.1, 0.0, 0.2, 30)) == NOTHING


def test_summary_measures():
    fmr, fnmr = {"a": 0.01, "b": 0.03}, {"a": 0.1, "b": 0.1}
    assert worst_to_best(fmr) == pytest.approx(3)
    assert worst_to_best({"a": 0.0, "b": 0.1}) == np.inf
    assert np.isnan(worst_to_best({"a": 0.0, "b": 0.0}))
    # Two groups: n/(n-1) = 2, mean 0.02, sum of distances 0.04.
    assert garbe(fmr, fnmr) == pytest.approx(0.5 * 2 * 0.04 / (2 * 4 * 0.02))
    assert garbe(fmr, fnmr, alpha=0) == 0
    assert garbe({"a": 1.0, "b": 0.0}, fnmr, alpha=1) == pytest.approx(1)
    assert fairness_discrepancy_rate(fmr, fnmr) == pytest.approx(1 - 0.5 * 0.02)
    assert fairness_discrepancy_rate(fnmr, fnmr) == 1


def test_the_gap_of_a_mean_is_that_within_groups():
    comparisons, group = compared(0.7)
    first = np.array(group) == "f"
    genuine, impostors = comparisons.genuine, comparisons.impostors
    gap = group_gap(genuine, genuine.scores, first, 0)
    odd = genuine.first % 2 == 1
    means = [
        mean_estimate(genuine.where(chosen), genuine.scores[chosen], 0) for chosen in (odd, ~odd)
    ]
    assert gap == difference(*means)
    assert gap.mean == pytest.approx(genuine.scores[odd].mean() - genuine.scores[~odd].mean())
    assert gap.mean == pytest.approx(-0.7, abs=0.3)
    assert gap.n == PEOPLE
    assert permutation_p(genuine, genuine.scores, first, 0) < 0.01
    # Comparisons of a woman with a man are in neither mean.
    across = impostors.first % 2 != impostors.second % 2
    values = np.where(across, 100.0, impostors.scores)
    assert group_gap(impostors, values, first, 0) == group_gap(
        impostors, impostors.scores, first, 0
    )


def test_exchanged_labels_give_the_same_p_value():
    comparisons, group = compared(0.3)
    first = np.array(group) == "f"
    for some in (comparisons.genuine, comparisons.impostors):
        p = permutation_p(some, some.scores, first, 0)
        assert p == permutation_p(some, -some.scores, first, 0)
        assert p == pytest.approx(permutation_p(some, some.scores, ~first, 0), abs=0.05)


def test_p_values_of_means_are_uniform_without_a_gap():
    found = []
    for seed in range(40):
        comparisons, group = compared(0, seed)
        first = np.array(group) == "f"
        found += [
            permutation_p(some, some.scores, first, seed)
            for some in (comparisons.genuine, comparisons.impostors)
        ]
    assert 0.35 < np.mean(found) < 0.65
    assert np.mean(np.array(found) < 0.05) < 0.15


def test_the_observed_labels_count_as_one_permutation():
    comparisons, group = compared(20.0)
    genuine = comparisons.genuine
    p = permutation_p(genuine, genuine.scores, np.array(group) == "f", 0)
    assert p == pytest.approx(1 / (PERMUTATIONS + 1))


def test_equal_values_have_no_gap():
    comparisons, group = compared(0)
    genuine, first = comparisons.genuine, np.array(group) == "f"
    values = np.full(len(genuine.scores), 0.1)
    assert group_gap(genuine, values, first, 0).mean == pytest.approx(0)
    assert permutation_p(genuine, values, first, 0) == 1


def test_a_mean_of_few_people_has_neither_interval_nor_p_value():
    comparisons, _ = compared(0)
    genuine = comparisons.genuine
    few = np.arange(PEOPLE) < 9
    gap = group_gap(genuine, genuine.scores, few, 0)
    assert gap.mean is not None
    assert (gap.low, gap.high) == (None, None)
    assert np.isnan(permutation_p(genuine, genuine.scores, few, 0))
    nothing = genuine.where(np.zeros(len(genuine.scores), dtype=bool))
    first = np.arange(PEOPLE) < 30
    assert np.isnan(permutation_p(nothing, nothing.scores, first, 0))
    assert np.isnan(permuted_gaps(nothing, nothing.scores, first, 0)).all()


def test_permuted_gaps_begin_with_the_observed_one():
    comparisons, group = compared(0.7)
    first = np.array(group) == "f"
    for some in (comparisons.genuine, comparisons.impostors):
        gaps = permuted_gaps(some, some.scores, first, 3)
        assert gaps.shape == (PERMUTATIONS + 1,)
        assert gaps[0] == pytest.approx(group_gap(some, some.scores, first, 0).mean)
        # The same labels are exchanged for every value.
        np.testing.assert_allclose(permuted_gaps(some, -2 * some.scores, first, 3), -2 * gaps)


def test_corrected_p_values_are_those_of_the_largest_gap():
    gaps = np.array(
        [[3.0, -2, 0.5, np.nan], *[[a, b, 0.1, np.nan] for a in (-1, 1) for b in (-2, 2)]]
    )
    standardised, p = largest_gaps(gaps)
    spread = gaps[:, :3].std(axis=0)
    np.testing.assert_allclose(standardised, [*(gaps[0, :3] / spread), np.nan])
    largest = np.abs(gaps[1:, :3] / spread).max(axis=1)
    expected = [(1 + (largest >= abs(one)).sum()) / 5 for one in standardised[:3]]
    np.testing.assert_allclose(p, [*expected, np.nan])
    assert expected[0] == 1 / 5
    assert expected[1] == 1


def test_a_value_without_spread_is_not_the_largest():
    standardised, p = largest_gaps(np.zeros((5, 2)))
    assert (standardised == 0).all()
    assert (p == 1).all()
    assert np.isnan(largest_gaps(np.full((5, 2), np.nan))).all()


def test_false_conclusions_about_many_values_are_as_rare_as_the_level():
    smallest = []
    for seed in range(60):
        comparisons, group = compared(0, seed)
        genuine, first = comparisons.genuine, np.array(group) == "f"
        generator = np.random.default_rng(seed)
        values = generator.normal(size=(8, len(genuine.scores)))
        gaps = [permuted_gaps(genuine, one, first, seed) for one in values]
        smallest.append(largest_gaps(np.stack(gaps, axis=1))[1].min())
    assert np.mean(np.array(smallest) < 0.2) == pytest.approx(0.2, abs=0.13)
