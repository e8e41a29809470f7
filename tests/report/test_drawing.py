"""Pictures of maps, masks and regions show what they are given."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from leam.parsers.regions import REGIONS
from leam.report.drawing import (
    brightness,
    figure_png,
    figure_svg,
    grid,
    heat,
    jpeg,
    outline_regions,
    overlay,
    png,
    region_colour,
    spotlight,
)

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


def test_regions_are_outlined_in_their_colours_and_the_background_is_not():
    regions = np.zeros((16, 12), dtype=np.uint8)
    regions[:] = REGIONS.index("background")
    regions[4:12, 3:9] = REGIONS.index("nose")
    blank = np.zeros((64, 48, 3), dtype=np.uint8)
    drawn = outline_regions(blank, regions, 4)
    assert not blank.any()
    brightest = drawn.reshape(-1, 3)[drawn.sum(axis=2).argmax()] / 255
    shares = np.array(region_colour("nose")) / sum(region_colour("nose"))
    np.testing.assert_allclose(brightest / brightest.sum(), shares, atol=0.02)
    assert brightest.max() > 0.5
    assert not drawn[:10].any()
    assert not drawn[28:36, 20:28].any()  # a border, not an area


def test_pictures_are_laid_out_in_rows_on_white():
    sheet = grid([np.zeros((4, 3, 3), dtype=np.uint8)] * 3, columns=2, gap=2)
    assert sheet.shape == (10, 8, 3)
    assert (sheet[6:, 5:] == 255).all()
    assert (sheet[4:6] == 255).all()
    assert not sheet[6:, :3].any()


@pytest.mark.parametrize(("write", "within"), [(png, 0), (jpeg, 60)])
def test_files_hold_the_picture(write, within):
    flat = np.full((8, 8, 3), (200, 30, 90), dtype=np.uint8)
    read = np.asarray(Image.open(io.BytesIO(write(flat))).convert("RGB")).astype(int)
    assert abs(read - flat).max() <= within


def test_figures_are_the_same_bytes_each_time_and_names_no_formula():
    def figure() -> Figure:
        made = Figure(figsize=(2, 1))
        made.text(0.1, 0.5, "$a$_model")
        return made

    assert figure_png(figure()) == figure_png(figure())
    assert figure_svg(figure()) == figure_svg(figure())
    assert figure_svg(figure()).startswith("<svg")
