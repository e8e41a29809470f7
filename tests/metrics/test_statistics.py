"""Intervals by resampling people: means, differences, and what is drawn."""

from dataclasses import astuple

import numpy as np
import pytest

from leam.metrics.statistics import (
    NOTHING,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_means,
    estimate,
    person_means,
    resamples,
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
    assert 0 <= found.low < found.mean < found.high <= 4


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
