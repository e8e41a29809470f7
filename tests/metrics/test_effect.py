"""Contrasts of drops, by hand and against other ways to the same numbers."""

import numpy as np
import pytest

from leam.metrics.effect import effect
from leam.metrics.statistics import bootstrap_mean, cohens_d_paired

MASKS = ("own", "other", "third")
GENERATOR = np.random.default_rng(1)
DROPS = GENERATOR.normal((0.2, 0.1, 0), 0.1, (60, 3))
ENERGY = GENERATOR.uniform(0.1, 0.3, (60, 3)) * (1, 2, 5)
WEIGHTS = {"own": 1.0, "other": -1.0}


def test_the_contrast_is_the_paired_difference():
    found = effect(DROPS, ENERGY, MASKS, WEIGHTS, 0)
    difference = DROPS[:, 0] - DROPS[:, 1]
    assert found.drop == bootstrap_mean(difference, np.arange(60), 0)
    assert found.d.mean == pytest.approx(cohens_d_paired(difference))
    assert found.p is not None
    assert found.p < 0.01
    rate = DROPS[:, :2].mean(axis=0) / ENERGY[:, :2].mean(axis=0)
    assert found.per_energy.mean == pytest.approx(rate[0] - rate[1])
    for one in (found.drop, found.d, found.per_energy):
        assert one.low < one.mean < one.high
        assert one.n == 60


def test_the_interval_of_d_is_that_of_a_noncentral_t():
    """The standard error of d is sqrt(1/n + d^2/2n) for normal values (Hedges and Olkin 1985)."""
    found = effect(DROPS, ENERGY, MASKS, WEIGHTS, 0).d
    error = np.sqrt(1 / 60 + found.mean**2 / 120)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_the_sign_and_the_unit():
    found = effect(DROPS, ENERGY, MASKS, WEIGHTS, 0)
    other = effect(DROPS * -3, ENERGY * 2, MASKS, WEIGHTS, 0)
    assert other.d.mean == pytest.approx(-found.d.mean)
    assert other.drop.mean == pytest.approx(-3 * found.drop.mean)
    assert other.per_energy.mean == pytest.approx(-1.5 * found.per_energy.mean)
    weights = {"third": -2.0, "own": 1.0, "other": 1.0}
    several = effect(DROPS, ENERGY, MASKS, weights, 0).drop.mean
    assert several == pytest.approx((DROPS @ (1, 1, -2)).mean())


def test_people_without_a_mask_are_left_out_and_unused_masks_do_not_count():
    drops = DROPS.copy()
    drops[:10, 1] = np.nan
    drops[:, 2] = np.nan
    found = effect(drops, ENERGY, MASKS, WEIGHTS, 0)
    assert found == effect(DROPS[10:], ENERGY[10:], MASKS, WEIGHTS, 0)
    assert found.drop.n == 50
    nothing = effect(np.full((5, 3), np.nan), ENERGY[:5], MASKS, WEIGHTS, 0)
    assert nothing.drop.mean is nothing.d.mean is nothing.per_energy.mean is nothing.p is None


def test_no_energy_and_no_variation_have_no_figure():
    found = effect(np.ones((20, 3)), np.zeros((20, 3)), MASKS, {"own": 1.0}, 0)
    assert found.drop.mean == 1
    assert found.d.mean is None
    assert found.per_energy.mean is None
