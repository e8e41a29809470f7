"""Pictures of maps and masks show what they are given."""

from __future__ import annotations

import numpy as np

from leam.explain.pictures import brightness, heat, overlay, spotlight

FACE = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)


def test_one_peak_does_not_darken_the_rest():
    values = np.ones((40, 40))
    values[0, 0] = 1000
    assert brightness(values).min() == 1
    assert brightness(np.zeros((4, 4))).max() == 0
    # So few pixels that none would be left below a quantile of them.
    alone = np.zeros((40, 40))
    alone[3, 3] = 2
    assert brightness(alone)[3, 3] == 1


def test_the_stronger_the_map_the_more_of_its_colour():
    values = np.zeros((16, 12))
    values[:8] = 1
    drawn = overlay(FACE, values).astype(int)
    below = drawn[8:]
    assert (below[..., 0] == below[..., 1]).all()  # grey where there is nothing
    assert (abs(drawn[:8] - heat(values)[:8]) < 25).all()


def test_only_the_pixels_of_a_mask_shine():
    mask = np.zeros((16, 12), dtype=bool)
    mask[2, 3] = True
    drawn = spotlight(FACE, mask)
    assert drawn[2, 3, 0] > drawn[2, 3, 2] + 40
    assert (drawn[~mask][:, 0] == drawn[~mask][:, 2]).all()
    assert drawn[~mask].max() <= 255 * 0.45 + 1
