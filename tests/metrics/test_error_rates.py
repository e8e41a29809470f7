"""Error rates: equal to pyeer's, right intervals, and honest about few comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from pyeer import eer_stats

from leam.errors import InputError
from leam.metrics.error_rates import (
    Comparisons,
    eer_estimate,
    equal_error_rate,
    error_curve,
    fmr_estimate,
    fnmr_at,
    fnmr_at_fmr,
    fnmr_estimate,
    least_fmr,
    mean_estimate,
    pair_counts,
    threshold_at_fmr,
)
from leam.metrics.statistics import NOTHING

D = 12


def simulated(people: int, pictures: int, seed: int, decimals: int | None = None) -> Comparisons:
    """All comparisons of simulated faces: people differ in how much their pictures vary."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(people, 1, D))
    spread = np.exp(generator.normal(-0.35, 0.35, size=(people, 1, 1)))
    faces = centres + spread * generator.normal(size=(people, pictures, D))
    faces = faces.reshape(-1, D) / np.linalg.norm(faces, axis=2).reshape(-1, 1)
    first, second = np.triu_indices(len(faces), 1)
    scores = (faces @ faces.T)[first, second]
    person = np.repeat(np.arange(people), pictures)
    if decimals is not None:
        scores = scores.round(decimals)
    return Comparisons(scores, person[first], person[second], people)


@pytest.mark.parametrize("decimals", [None, 2], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", range(5))
def test_curves_and_equal_error_rates_are_those_of_pyeer(decimals, seed):
    comparisons = simulated(20, 3, seed, decimals)
    scores = comparisons.genuine.scores, comparisons.impostors.scores
    thresholds, fmr, fnmr = eer_stats.calculate_roc(*scores)
    curve = error_curve(comparisons)
    assert curve.thresholds[:-1] == pytest.approx(thresholds)
    assert curve.fmr[:-1] == pytest.approx(fmr, abs=1e-12)
    assert curve.fnmr[:-1] == pytest.approx(fnmr, abs=1e-12)
    assert (curve.fmr[-1], curve.fnmr[-1]) == (0, 1)
    place, low, high, rate = eer_stats.get_eer_values(fmr, fnmr)
    found = equal_error_rate(curve)
    assert (found.low, found.high, found.rate) == pytest.approx((low, high, rate))
    assert found.threshold == pytest.approx(thresholds[place])


@pytest.mark.parametrize("fmr", [0.1, 0.01])
def test_operating_points_are_those_of_pyeer_where_the_rate_is_reached(fmr):
    comparisons = simulated(25, 4, 0)
    curve = error_curve(comparisons)
    threshold = threshold_at_fmr(curve, fmr)
    reached = float(curve.fmr[curve.thresholds == threshold][0])
    _, fnmr = eer_stats.get_fmr_op(curve.fmr, curve.fnmr, reached)
    assert reached <= fmr
    assert fnmr_at(curve, threshold) == pytest.approx(fnmr)
    lower = curve.fmr[np.searchsorted(curve.thresholds, threshold) - 1]
    assert lower > fmr


def test_a_rate_that_counts_reach_exactly_is_reached():
    scores = np.arange(10.0)
    pairs = Comparisons(scores, np.zeros(10, int), np.array([0] * 5 + [1] * 5), 2)
    assert threshold_at_fmr(error_curve(pairs), 0.4) == 8
    assert threshold_at_fmr(error_curve(pairs), 0.39) == 9
    assert threshold_at_fmr(error_curve(pairs), 0.0) == np.inf


@pytest.mark.parametrize(
    ("comparisons", "least"),
    [(299, None), (300, 0.1), (2999, 0.1), (3000, 0.01), (4_000_000, 1e-5), (30_000_000, 1e-6)],
)
def test_the_least_rate_has_thirty_expected_errors(comparisons, least):
    assert least_fmr(comparisons) == least


def by_hand(comparisons: Comparisons, threshold: float) -> tuple[float, float]:
    """The false match rate and its standard error from all two comparisons that share a person, or both people."""
    wrong = (comparisons.scores >= threshold).astype(float)
    ends = np.stack([comparisons.first, comparisons.second], axis=1)
    common = (ends[:, None, :, None] == ends[None, :, None, :]).sum(axis=(2, 3))
    rest = wrong - wrong.mean()
    squares = [(rest[:, None] * rest * (common >= least)).sum() for least in (1, 2)]
    return wrong.mean(), np.sqrt(max(squares)) / len(wrong)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("full", [0.0, 1.0], ids=["full", "sparse"])
def test_standard_errors_count_each_two_comparisons_that_share_a_person(monkeypatch, full, seed):
    monkeypatch.setattr("leam.metrics.error_rates._FULL", full)
    impostors = simulated(12, 2, seed).impostors
    rate, error = by_hand(impostors, 0.3)
    counts = pair_counts(impostors, impostors.scores >= 0.3)
    rates, errors = counts.moments(np.ones((1, 12)))
    assert rates[0] == pytest.approx(rate)
    assert errors[0] == pytest.approx(error)


def test_a_person_drawn_twice_counts_as_two_people():
    impostors = simulated(8, 2, 1).impostors
    weights = np.array([2.0, 1, 1, 1, 0, 1, 1, 1])
    drawn = np.repeat(np.arange(8), weights.astype(int))
    rates = pair_counts(impostors, impostors.scores >= 0.2).rates(weights[None])
    matrix = np.zeros((8, 8, 2))
    for score, one, other in zip(impostors.scores, impostors.first, impostors.second, strict=True):
        for place in (one, other), (other, one):
            matrix[place] += score >= 0.2, 1
    # Copies of one person are not impostors of each other.
    errors, total = sum(matrix[a, b] for a in drawn for b in drawn)
    assert rates[0] == pytest.approx(errors / total)


@pytest.mark.slow
def test_intervals_contain_the_true_rates():
    """A rough check; benchmarks/audit_coverage.py measures the coverage."""
    many = [simulated(2000, 2, seed) for seed in (100, 101)]
    curves = [error_curve(one) for one in many]
    threshold = float(np.mean([threshold_at_fmr(curve, 0.01) for curve in curves]))
    true = float(np.mean([fnmr_at(curve, threshold) for curve in curves]))
    hits = np.zeros(3)
    for seed in range(40):
        some = simulated(40, 3, seed)
        found = [
            (fmr_estimate(some.impostors, threshold, seed), 0.01),
            (fnmr_estimate(some.genuine, threshold, seed), true),
            (fnmr_at_fmr(some, 0.01, seed).fnmr, true),
        ]
        hits += [one.low <= value <= one.high for one, value in found]
    assert (hits >= 34).all()


def test_without_errors_the_interval_is_that_of_as_many_independent_pairs_of_people():
    comparisons = simulated(20, 3, 0)
    found = fmr_estimate(comparisons.impostors, 2.0, 0)
    assert (found.mean, found.low, found.n) == (0, 0, 20)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 190))
    found = fnmr_estimate(comparisons.genuine, -2.0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert fnmr_estimate(comparisons.genuine, 2.0, 0).high == 1


def test_without_comparisons_there_is_nothing_to_estimate():
    some = simulated(20, 1, 0)
    assert fnmr_estimate(some.genuine, 0.0, 0).mean is None
    with pytest.raises(InputError, match="no genuine comparisons"):
        error_curve(some)
    with pytest.raises(InputError, match="no impostor comparisons"):
        error_curve(simulated(1, 3, 0))


def test_the_interval_of_an_equal_error_rate_surrounds_it():
    found = eer_estimate(simulated(40, 3, 0), 0)
    assert 0 < found.low < found.mean < found.high < 0.5
    assert found.mean == equal_error_rate(error_curve(simulated(40, 3, 0))).rate
    assert found.n == 40


@pytest.mark.parametrize(
    ("scores", "first"), [([1.0, np.nan], [0, 0]), ([1.0], [0, 0])], ids=["nan", "lengths"]
)
def test_wrong_arrays_are_refused(scores, first):
    with pytest.raises(InputError):
        Comparisons(np.array(scores), np.array(first), np.array([0, 1]), 2)


def test_a_mean_is_that_of_all_comparisons_and_has_an_interval_over_people():
    some = simulated(30, 3, 0)
    for one in (some.genuine, some.impostors):
        found = mean_estimate(one, one.scores, 0)
        assert found.mean == pytest.approx(one.scores.mean())
        assert found.low < found.mean < found.high
        assert found.n == 30
        assert found == mean_estimate(one, one.scores, 0)
        # A scale and a place change the interval alike.
        moved = mean_estimate(one, 3 * one.scores - 2, 0)
        assert (moved.low, moved.mean, moved.high) == pytest.approx(
            tuple(3 * end - 2 for end in (found.low, found.mean, found.high))
        )


def test_comparisons_of_one_person_count_as_one():
    """Copies of a person's comparisons do not narrow the interval."""
    genuine = simulated(20, 2, 0).genuine
    often = Comparisons(
        *(np.repeat(x, 50) for x in (genuine.scores, genuine.first)),
        np.repeat(genuine.second, 50),
        20,
    )
    few, many = (mean_estimate(one, one.scores, 0) for one in (genuine, often))
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_people_who_are_not_compared_do_not_count():
    genuine = simulated(30, 3, 0).genuine
    some = genuine.where(genuine.first < 12)
    assert mean_estimate(some, some.scores, 0).n == 12
    few = genuine.where(genuine.first < 9)
    found = mean_estimate(few, few.scores, 0)
    assert found.mean == pytest.approx(few.scores.mean())
    assert (found.low, found.high, found.n) == (None, None, 9)


def test_means_without_comparisons_or_without_spread():
    genuine = simulated(12, 3, 0).genuine
    nothing = genuine.where(np.zeros(len(genuine.scores), dtype=bool))
    assert mean_estimate(nothing, nothing.scores, 0) == NOTHING
    found = mean_estimate(genuine, np.zeros(len(genuine.scores)), 0)
    assert (found.mean, found.low, found.high) == (0, None, None)


@pytest.mark.slow
def test_intervals_of_means_contain_the_true_mean():
    """A rough check, with as many people as a small audit has."""
    true = [
        np.mean([getattr(simulated(1000, 2, seed), kind).scores.mean() for seed in (100, 101)])
        for kind in ("genuine", "impostors")
    ]
    hits = np.zeros(2)
    for seed in range(40):
        some = simulated(30, 3, seed)
        found = [mean_estimate(one, one.scores, seed) for one in (some.genuine, some.impostors)]
        hits += [one.low <= value <= one.high for one, value in zip(found, true, strict=True)]
    assert (hits >= 34).all()
