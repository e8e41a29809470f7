"""What replaces hidden pixels."""

import numpy as np
import pytest

from leam.errors import InputError
from leam.metrics.fills import FILLS, occlude, road

RANDOM = np.random.default_rng(0)
CHIP = RANDOM.integers(0, 256, (24, 20, 3), dtype=np.uint8)
MASK = RANDOM.random((24, 20)) < 0.3


@pytest.mark.parametrize("name", FILLS)
def test_only_the_mask_is_changed_and_the_chip_is_not(name):
    before = CHIP.copy()
    hidden = occlude(CHIP, MASK, name)
    np.testing.assert_array_equal(hidden[~MASK], CHIP[~MASK])
    np.testing.assert_array_equal(CHIP, before)
    np.testing.assert_array_equal(hidden, occlude(CHIP, MASK, name))


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("every", [False, True])
def test_all_or_nothing_can_be_hidden(name, every):
    hidden = occlude(CHIP, np.full(MASK.shape, every), name)
    assert (hidden == CHIP).all() != every


def test_the_mean_is_the_chips():
    hidden = occlude(CHIP, MASK, "mean")
    np.testing.assert_allclose(hidden[MASK][0], CHIP.mean(axis=(0, 1)), atol=0.5)


def test_one_hidden_pixel_becomes_the_weighted_mean_of_its_neighbours(monkeypatch):
    monkeypatch.setattr("leam.metrics.fills._NOISE", 0.0)
    mask = np.zeros(MASK.shape, dtype=bool)
    mask[5, 7] = True
    near = CHIP[4:7, 6:9].astype(float)
    direct = near[0, 1] + near[2, 1] + near[1, 0] + near[1, 2]
    diagonal = near[0, 0] + near[0, 2] + near[2, 0] + near[2, 2]
    np.testing.assert_allclose(road(CHIP, mask)[5, 7], direct / 6 + diagonal / 12, rtol=1e-6)


def test_at_the_corner_the_neighbours_that_exist_share_the_weight(monkeypatch):
    monkeypatch.setattr("leam.metrics.fills._NOISE", 0.0)
    mask = np.zeros(MASK.shape, dtype=bool)
    mask[0, 0] = True
    chip = CHIP.astype(float)
    wanted = (2 * chip[0, 1] + 2 * chip[1, 0] + chip[1, 1]) / 5
    np.testing.assert_allclose(road(CHIP, mask)[0, 0], wanted, rtol=1e-6)


def test_every_hidden_pixel_solves_its_equation(monkeypatch):
    monkeypatch.setattr("leam.metrics.fills._NOISE", 0.0)
    filled = road(CHIP, MASK).astype(float)
    for row, column in zip(*np.nonzero(MASK), strict=True):
        total, weights = np.zeros(3), 0.0
        for step in np.ndindex(3, 3):
            r, c = row + step[0] - 1, column + step[1] - 1
            if step != (1, 1) and 0 <= r < 24 and 0 <= c < 20:
                weight = 1 / 6 if 1 in step else 1 / 12
                total += weight * filled[r, c]
                weights += weight
        np.testing.assert_allclose(filled[row, column], total / weights, rtol=1e-4, atol=1e-3)


def test_the_noise_is_small():
    grey = np.full((40, 40, 3), 100, dtype=np.uint8)
    hidden = occlude(grey, np.ones((40, 40), dtype=bool), "road").astype(float)
    assert hidden.mean() == pytest.approx(100, abs=0.3)
    assert hidden.std() == pytest.approx(2.55, rel=0.1)


def test_an_unknown_fill_is_named():
    with pytest.raises(InputError, match="pink: no such fill; available: black"):
        occlude(CHIP, MASK, "pink")


@pytest.mark.parametrize(("name", "width"), [("blur", 0.1 * 112), ("local_blur", 4)])
def test_a_blur_spreads_a_point_by_its_width(name, width):
    chip = np.zeros((112, 112, 3), dtype=np.uint8)
    chip[56, 56] = 255
    spread = FILLS[name](chip, np.ones((112, 112), dtype=bool))[..., 0]
    columns = np.arange(112) - 56
    variance = (spread.sum(axis=0) * columns**2).sum() / spread.sum()
    assert np.sqrt(variance) == pytest.approx(width, rel=0.02)
