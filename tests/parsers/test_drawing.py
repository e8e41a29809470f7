"""Parsings are drawn where the regions are, with smooth borders and names that can be read."""

from __future__ import annotations

import numpy as np
from matplotlib.text import Text

from leam.demo import portraits
from leam.faces.detection import find_face
from leam.parsers import load_parser
from leam.parsers.drawing import (
    labelled,
    outlined,
    parsing_figure,
    region_colour,
    region_contours,
)
from leam.parsers.parsing import Frame
from leam.parsers.regions import REGIONS

REGION_MAP = np.zeros((40, 30), dtype=np.uint8)
REGION_MAP[10:30, 8:23] = REGIONS.index("nose")
BLANK = np.zeros((400, 300, 3), dtype=np.uint8)


def test_borders_surround_their_region_and_the_background_has_none():
    contours = region_contours(REGION_MAP)
    assert list(contours) == ["nose"]
    (line,) = contours["nose"]
    np.testing.assert_array_equal(line[0], line[-1])
    np.testing.assert_allclose(line.min(axis=0), [7.5, 9.5], atol=0.3)
    np.testing.assert_allclose(line.max(axis=0), [22.5, 29.5], atol=0.3)
    assert not region_contours(np.zeros((8, 8), np.uint8))


def test_regions_are_outlined_in_their_colours():
    drawn = outlined(BLANK, REGION_MAP)
    assert not BLANK.any()
    colour = np.array(region_colour("nose")) * 255
    assert (np.abs(drawn - colour).max(axis=2) < 30).any()
    assert not drawn[:80].any()
    assert not drawn[150:250, 120:180].any()  # a border, not an area


def test_a_border_has_no_steps():
    rows, columns = np.mgrid[:40, :30]
    regions = np.where((rows - 20) ** 2 + (columns - 15) ** 2 < 100, REGIONS.index("nose"), 0)
    (line,) = region_contours(regions.astype(np.uint8))["nose"]
    distance = np.hypot(*(line - [15, 20]).T)
    assert np.ptp(distance) < 1


def test_regions_are_tinted_and_named():
    white = np.full_like(BLANK, 200)
    drawn = labelled(white, REGION_MAP).astype(int)
    assert (drawn[20, 20] == 200).all()
    inside = drawn[120:140, 90:110].reshape(-1, 3)
    tint = inside.mean(axis=0)
    assert tint[0] > tint[1] > tint[2]
    middle = drawn[180:220, 120:190]
    assert (middle.min(axis=2) > 250).any()  # white letters
    assert (middle.max(axis=2) < 30).any()  # with a dark edge


def test_names_do_not_cover_each_other():
    regions = np.zeros((40, 40), np.uint8)
    for row, name in ((20, "lips"), (21, "mouth"), (22, "nose")):
        regions[row, 10:30] = REGIONS.index(name)
    grey = np.full((400, 400, 3), 120, np.uint8)
    white = (labelled(grey, regions) > 250).all(axis=2)
    rows = white.any(axis=1)
    lines = np.count_nonzero(np.diff(rows.astype(int)) == 1)
    assert lines == 3


def test_the_figure_of_a_parsing_has_its_regions_with_areas(detector):
    face = find_face(portraits()["Grace Hopper"], detector)
    parser = load_parser("compact")
    figure = parsing_figure(face, parser.parse(face, Frame.of(face)), "compact")
    said = [text.get_text() for text in figure.findobj(Text)]
    for text in ("grace_hopper.jpg · compact", "nose", "hat", "area", "confidence", "regions"):
        assert text in said
    assert "background" not in said


def test_a_face_in_a_large_picture_is_shown_without_the_rest(detector):
    face = find_face(portraits()["Grace Hopper"], detector)
    parser = load_parser("landmarks")
    figure = parsing_figure(face, parser.parse(face, Frame.of(face)), "landmarks")
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape[0] <= 1.5 * 700
