"""Pictures of maps, masks and regions show what they are given."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from leam.explain.pictures import (
    brightness,
    enlarge,
    explanation_panels,
    figure_png,
    heat,
    layer_strip,
    outline_regions,
    overlay,
    pair_figure,
    png,
    region_colour,
    spotlight,
)
from leam.parsers.regions import REGIONS

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


def test_every_layer_has_its_title_and_long_names_are_shortened():
    titles = ["stem\n32 x 4x4", "a.very.long.name.of.a.convolution\n64 x 2x2, empty"]
    maps = [np.full((16, 12), 1 / 192)] * 2
    figure = layer_strip(FACE, titles, maps, maps[0])
    assert [axis.get_title() for axis in figure.axes] == [
        "stem\n32 x 4x4",
        "a.very.lo….convolution\n64 x 2x2, empty",
        "overall",
    ]


def test_many_layers_take_several_rows():
    maps = [np.full((16, 12), 1 / 192)] * 10
    figure = layer_strip(FACE, [str(number) for number in range(10)], maps, maps[0])
    assert [axis.get_title() for axis in figure.axes if axis.images] == [*"0123456789", "overall"]
    assert figure.axes[9].get_subplotspec().rowspan.start == 1


def test_panels_show_the_face_its_map_and_its_critical_mask_side_by_side():
    overall, critical = np.zeros((16, 12)), np.zeros((16, 12), dtype=bool)
    overall[8:], critical[:4] = 1, True
    regions = np.zeros((16, 12), dtype=np.uint8)
    panels = explanation_panels(FACE, overall, critical, regions)
    factor = round(450 / 16)
    face, heated, lit = (
        panels[:, start : start + 12 * factor]
        for start in (0, 12 * factor + 8, 2 * (12 * factor + 8))
    )
    np.testing.assert_array_equal(face, enlarge(FACE, factor))
    np.testing.assert_array_equal(heated, enlarge(overlay(FACE, overall), factor))
    np.testing.assert_array_equal(lit, enlarge(spotlight(FACE, critical), factor))


def test_a_pair_without_a_map_of_what_differs_says_so():
    values, mask = np.ones((16, 12)), np.ones((16, 12), dtype=bool)
    both = {"alike": (values, mask), "different": (values, mask)}
    regions = np.zeros((16, 12), dtype=np.uint8)
    for maps, said in ((both, 0), ({"alike": both["alike"]}, 1)):
        figure = pair_figure((FACE, FACE), maps, regions, "verdict")
        texts = [text.get_text() for axis in figure.axes for text in axis.texts]
        assert texts == ["this method does not tell\nwhat makes them different"] * said


def test_a_png_holds_the_picture():
    flat = np.full((8, 8, 3), (200, 30, 90), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(flat)))), flat)


def figure() -> Figure:
    made = Figure(figsize=(2, 1))
    made.text(0.1, 0.5, "$a$_model")
    return made


def test_a_figure_gives_the_same_bytes_each_time_and_names_are_not_formulas():
    one = figure()
    assert figure_png(one) == figure_png(figure())
    assert not one.texts[0].get_parse_math()
