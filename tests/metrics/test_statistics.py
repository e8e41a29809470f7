"""Intervals by resampling people, effect sizes, permutation p-values, and the correction for many of them."""

from dataclasses import astuple
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from leam.metrics.statistics import (
    FEWEST,
    NOTHING,
    Estimate,
    auc,
    benjamini_hochberg,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_means,
    cliffs_delta,
    cohens_d,
    cohens_d_paired,
    estimate,
    holm,
    label_permutation_p,
    person_means,
    resamples,
    sign_flip_p,
    spearman,
    tally,
    verdict,
)

RANDOM = np.random.default_rng(0)


def test_every_resample_draws_as_many_people_as_there_are_and_blocks_stay_small():
    blocks = list(resamples(7, seed=1, repeats=25))
    assert [len(block) for block in blocks] == [10, 10, 5]
    assert (np.concatenate(blocks).sum(axis=1) == 7).all()


def test_columns_have_the_figures_that_each_has_alone():
    values, people = RANDOM.normal(size=(40, 4)), np.repeat(np.arange(10), 4)
    values[3, 1] = np.nan  # one of a person's values
    values[people == 2, 2] = np.nan  # a whole person
    values[:, 3] = np.nan
    together = bootstrap_means(values, people, seed=5)
    for column, found in zip(values.T, together, strict=True):
        alone = bootstrap_mean(column, people, seed=5)
        assert found.n == alone.n
        if alone.mean is None:
            assert found == alone
        else:
            assert astuple(found) == pytest.approx(astuple(alone), rel=1e-12)
    assert [one.n for one in together] == [10, 10, 9, 0]


def test_people_without_values_do_not_change_those_of_others():
    values, people = RANDOM.normal(size=40), np.repeat(np.arange(10), 4)
    more = bootstrap_mean(np.append(values, np.nan), np.append(people, 10), 3)
    assert more == bootstrap_mean(values, people, 3)


@pytest.mark.parametrize("draw", [np.random.Generator.normal, np.random.Generator.exponential])
def test_intervals_of_few_people_cover_what_is_true(draw):
    # Percentile intervals cover the mean of 20 normal values in 92 %, of 20 exponential ones in 90 % of samples.
    values = draw(np.random.default_rng(1), size=(20, 2000))
    found = bootstrap_means(values, np.arange(20), 0, repeats=1000)
    true = 0.0 if draw is np.random.Generator.normal else 1.0
    covered = np.mean([one.low <= true <= one.high for one in found])
    assert 0.93 <= covered <= 0.97


def test_resamples_without_variance_do_not_make_an_interval_infinite():
    values = np.zeros(20)
    values[3] = 1
    found = bootstrap_mean(values, np.arange(20), 0)
    assert found.low < 0.05 < found.high < 0.3
    assert bootstrap_mean(np.ones(9), np.arange(9), 0) == Estimate(1, 1, 1, 9)


def test_few_people_have_the_interval_of_student():
    found = bootstrap_mean(np.array([1.0, 2.0, 4.0, 5.0]), np.arange(4), 0)
    half = 3.1824463 * np.sqrt(10 / 3) / 2
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
    alone = bootstrap_mean(np.array([1.0, 2.0]), np.array([0, 0]), 0)
    assert alone == Estimate(1.5, None, None, 1)


def test_a_linear_function_of_an_estimate_turns_its_interval_with_the_sign():
    found = Estimate(0.25, 0.0, 0.75, 12)
    assert found.linear(2, 1) == Estimate(1.5, 1.0, 2.5, 12)
    assert found.linear(-1, 1) == Estimate(0.75, 0.25, 1.0, 12)
    assert Estimate(0.5, None, None, 3).linear(-2) == Estimate(-1.0, None, None, 3)
    assert NOTHING.linear(5, 1) == NOTHING


def test_people_with_different_numbers_of_values_have_the_interval_of_a_ratio():
    """Twenty people with one to five values around a mean of their own."""
    covered = 0
    for seed in range(300):
        draw = np.random.default_rng(seed)
        people = np.repeat(np.arange(20), draw.integers(1, 6, 20))
        values = draw.normal(size=20)[people] + draw.normal(size=len(people))
        found = bootstrap_mean(values, people, 0, repeats=500)
        covered += found.low <= 0 <= found.high
    assert 0.92 <= covered / 300 <= 0.98


def test_a_seed_gives_one_interval():
    values, people = RANDOM.normal(size=40), np.repeat(np.arange(10), 4)
    assert bootstrap_mean(values, people, 3) == bootstrap_mean(values, people, 3)
    assert bootstrap_mean(values, people, 3) != bootstrap_mean(values, people, 4)


def test_the_interval_of_a_mean_is_that_of_resampled_people_not_images():
    person_value = RANDOM.normal(size=50)
    values, people = np.repeat(person_value, 20), np.repeat(np.arange(50), 20)
    found = bootstrap_mean(values, people, 0)
    half = 1.96 * person_value.std() / np.sqrt(50)
    assert found.n == 50
    assert found.mean == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_values_that_are_absent_are_left_out():
    found = bootstrap_mean(np.array([1.0, np.nan, 3.0]), np.array([0, 1, 2]), 0)
    assert (found.mean, found.n) == (2.0, 2)
    assert bootstrap_mean(np.array([np.nan]), np.array([0]), 0) == NOTHING


def test_the_difference_of_groups_by_hand():
    first, second = np.array([3.0, 5.0, np.nan]), np.array([1.0, 2.0, 3.0])
    found = bootstrap_difference(first, second, 0)
    assert found.mean == pytest.approx(2.0)
    assert found.n == 5
    assert found.low < 0 < found.mean < 4 < found.high


def test_groups_of_equal_values_are_not_resampled_alike():
    values = RANDOM.normal(size=30)
    found = bootstrap_difference(values, values, 0)
    assert found.mean == 0
    assert found.low < 0 < found.high


def test_the_interval_of_a_difference_covers_what_is_true():
    covered = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        found = bootstrap_difference(
            draw.normal(1, 1, 40), draw.normal(0, 2, 60), seed, repeats=400
        )
        covered += found.low <= 1 <= found.high
    assert 88 <= covered <= 99


def test_means_of_people():
    found = person_means(np.array([1.0, 3.0, np.nan, 5.0]), np.array([0, 0, 1, 3]), 4)
    np.testing.assert_array_equal(found, [2.0, np.nan, np.nan, 5.0])


def test_draws_that_failed_do_not_spoil_an_interval():
    found = estimate(1.0, np.array([np.nan, 1.0, 1.0]), 2)
    assert (found.low, found.high) == (1.0, 1.0)
    assert estimate(1.0, np.array([np.nan]), 2).low is None


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


def test_a_single_value_can_be_tested():
    assert sign_flip_p(np.array([0.7, np.nan]), 0) == 1
    assert label_permutation_p(np.array([3.0]), np.array([1.0]), 0) == 1
    others = np.array([1.0, 2.0, 1.5, 2.5])
    assert label_permutation_p(np.array([9.0]), others, 0) == 1 / 5
    assert label_permutation_p(others, np.array([9.0]), 0) == 1 / 5
    # Each value differs from the mean of the others by at least 0.2, the difference of 1.95.
    assert label_permutation_p(np.array([1.95]), others, 0) == 1


def test_small_samples_give_exact_p_values_without_the_seed():
    differences = np.array([0.4, 1.2, -0.3, 0.9])
    # Of 16 combinations of signs, the observed sum of 2.2 and three others are as extreme.
    assert sign_flip_p(differences, 0) == sign_flip_p(differences, 1) == 4 / 16


def test_memory_is_bounded_by_the_batch(monkeypatch):
    differences = np.random.default_rng(0).normal(0.1, 1, 60)
    whole = sign_flip_p(differences, 3, 500)
    monkeypatch.setattr("leam.metrics.statistics._MAX_PERMUTED", 600)
    assert sign_flip_p(differences, 3, 500) == pytest.approx(whole, abs=0.1)


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
    np.testing.assert_allclose(holm(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])


def test_holm_multiplies_by_the_number_of_p_values_that_are_not_smaller():
    # 0.03 * 2 and 0.04 * 1: the latter would be the smaller one.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.6])), [1, 1])
    assert len(holm(np.array([]))) == 0


@given(arrays(float, st.integers(1, 20), elements=st.floats(0, 1)))
def test_holm_is_stricter_than_benjamini_and_hochberg_and_milder_than_bonferroni(p_values):
    adjusted = holm(p_values)
    assert (adjusted >= benjamini_hochberg(p_values) - 1e-12).all()
    assert (adjusted <= (p_values * len(p_values)).clip(max=1) + 1e-12).all()


def test_p_values_of_a_single_value():
    assert sign_flip_p(np.array([3.0]), 0) == 1
    assert label_permutation_p(np.array([1.0]), np.array([2.0]), 0) == 1
    # Of five placings of the single label, the true one is the most extreme.
    assert label_permutation_p(np.array([9.0]), np.array([1.0, 2.0, 3.0, 4.0]), 0) == 0.2
    assert label_permutation_p(np.array([1.0, 2.0, 3.0, 4.0]), np.array([9.0]), 0) == 0.2
    assert label_permutation_p(np.array([3.0]), np.array([1.0, 2.0, 4.0, 5.0]), 0) == 1


def margin(low: float, high: float, n: int = 40) -> Estimate:
    return Estimate((low + high) / 2, low, high, n)


@pytest.mark.parametrize(
    ("margins", "word", "control"),
    [
        ({"far": margin(0.2, 0.3), "near": margin(0.01, 0.02)}, "supported", "near"),
        ({"far": margin(0.2, 0.3), "near": margin(0.0, 0.02)}, "inconclusive (n = 40)", "near"),
        # The interval of a control with few people reaches zero, although its margin is larger.
        ({"far": margin(-0.1, 0.9), "near": margin(0.1, 0.2)}, "inconclusive (n = 40)", "near"),
        ({"far": margin(0.2, 0.3), "near": margin(-0.2, 0.0)}, "not supported", "near"),
        ({"near": margin(0.1, 0.2, FEWEST)}, "supported", "near"),
        ({"near": margin(0.1, 0.2, FEWEST - 1)}, "inconclusive (n = 9)", "near"),
        ({"near": margin(-0.2, -0.1, FEWEST - 1)}, "inconclusive (n = 9)", "near"),
        ({"absent": NOTHING, "near": margin(0.1, 0.2)}, "supported", "near"),
        ({}, "inconclusive (n = 0)", None),
    ],
)
def test_a_claim_must_beat_its_strongest_control(margins, word, control):
    found = verdict(margins)
    assert (str(found), found.control) == (word, control)
    assert found.margin == margins.get(control, NOTHING)


def test_related_recognizers_count_as_one_family():
    yes, no, unclear = (
        verdict({"control": one}) for one in (margin(1, 2), margin(-2, -1), margin(-1, 1, 30))
    )
    verdicts = {"a1": yes, "a2": yes, "a3": no, "b1": yes, "b2": no, "c": unclear, "d": yes}
    families = {name: name[0] for name in ("a1", "a2", "a3", "b1", "b2")}
    found = tally(verdicts, families)
    assert found.counts == "supported on 4 of 7 recognizers, 2 of 4 families"
    assert str(found) == "inconclusive (n = 30)"
    assert str(tally({"a1": yes, "a2": yes, "b": no, "d": yes}, families)) == "supported"
    assert str(tally({"a1": no, "a2": no, "b": no, "d": yes}, families)) == "not supported"
    assert str(tally({}, {})) == "inconclusive (n = 0)"


def test_permuted_labels_keep_the_level_of_groups_with_other_sizes_and_variances():
    """Forty people with three times the deviation of the other 160; an unstudentised test rejects in 24 %."""
    rejected = []
    for seed in range(400):
        draw = np.random.default_rng(seed)
        first, second = draw.normal(0, 3, 40), draw.normal(0, 1, 160)
        rejected.append(label_permutation_p(first, second, seed, 299) <= 0.05)
    assert 0.025 <= np.mean(rejected) <= 0.08


def test_permuted_labels_of_equal_values_differ_from_none():
    assert label_permutation_p(np.ones(5), np.zeros(5), 0) == pytest.approx(2 / 252)
    assert label_permutation_p(np.ones(5), np.ones(5), 0) == 1
