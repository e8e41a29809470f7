"""Figures of maps have titles, scales and legends that are those of the maps."""

from __future__ import annotations

import numpy as np
from matplotlib.text import Text

from leam.explain.figures import (
    LayerPanel,
    Side,
    batch_figure,
    explanation_figure,
    layers_figure,
    pair_figure,
)
from leam.explain.pictures import enlarge, overlay
from leam.parsers.regions import REGIONS

FACE = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
REGION_MAP = np.zeros((16, 12), dtype=np.uint8)
REGION_MAP[4:12, 3:9] = REGIONS.index("nose")
MAP = np.full((16, 12), 1 / 192)
MASK = np.zeros((16, 12), dtype=bool)
MASK[:4] = True


def texts(figure) -> list[str]:
    return [found.get_text() for found in figure.findobj(Text) if found.get_text()]


def panels(figure) -> list:
    """The axes that show a face or a map, without colour bars."""
    return [axes for axes in figure.axes if axes.images and not axes.axison]


def test_a_face_its_map_and_its_mask_stand_side_by_side():
    values = np.zeros((16, 12))
    values[8:, 6:] = 1 / 48
    figure = explanation_figure(FACE, values, MASK, REGION_MAP, ["title", "how"])
    face, overall, critical = panels(figure)
    assert [axes.get_title() for axes in figure.axes][:3] == [
        "aligned face", "overall map", "critical pixels",
    ]  # fmt: skip
    places = [axes.get_position() for axes in (face, overall, critical)]
    assert places[0].x1 < places[1].x0 < places[1].x1 < places[2].x0
    assert len({round(place.y0, 6) for place in places}) == 1
    # The outline of the nose is drawn on the map and on the mask, where the nose is.
    assert not face.lines
    for axes in (overall, critical):
        (line,) = axes.lines
        x, y = line.get_data()
        scale = axes.images[0].get_array().shape[1] / 12
        assert np.allclose([x.min(), x.max()], [3 * scale - 0.5, 9 * scale - 0.5], atol=0.6 * scale)
        assert np.allclose(
            [y.min(), y.max()], [4 * scale - 0.5, 12 * scale - 0.5], atol=0.6 * scale
        )
    said = texts(figure)
    for text in (
        "title",
        "how",
        "nose",
        "times the mean of the map",
        "≥ 4",
        "48 pixels, 25 % of the picture",
    ):
        assert text in said
    assert "skin" not in said


def test_the_scale_is_one_for_all_layers_and_stated():
    strong = np.zeros((16, 12))
    strong[0] = 1 / 12
    layers = [LayerPanel("stem", "32 x 4x4", MAP), LayerPanel("head", "64 x 2x2", strong)]
    figure = layers_figure(FACE, layers, MAP, ["title"])
    assert [axes.get_title() for axes in panels(figure)] == [
        "stem\n32 x 4x4", "head\n64 x 2x2", "overall\nall layers",
    ]  # fmt: skip
    assert {"one scale for all maps:", "≥ 16"} <= set(texts(figure))
    stem, head, overall = (axes.images[0].get_array().astype(int) for axes in panels(figure))
    np.testing.assert_array_equal(stem, overall)
    assert head[0].mean() > stem[0].mean() + 20


def test_many_layers_take_several_rows_and_long_names_several_lines():
    names = ["a.very.long.name.of.a.convolution.in.a.deep.network.conv2", *map(str, range(9))]
    figure = layers_figure(FACE, [LayerPanel(name, "", MAP) for name in names], MAP, ["title"])
    shown = panels(figure)
    assert len(shown) == 11
    assert shown[7].get_position().y1 < shown[0].get_position().y0
    first = shown[0].get_title().split("\n")
    assert len(first) <= 3
    assert max(map(len, first)) <= 20
    assert first[0].startswith("a.very.long")


def test_both_faces_of_a_pair_have_one_scale_for_each_kind_of_map():
    weak, strong = MAP, np.zeros((16, 12))
    strong[0] = 1 / 12
    sides = [
        Side(name, FACE, REGION_MAP, {"alike": (values, MASK), "different": (values, MASK)})
        for name, values in (("ada", weak), ("bob", strong))
    ]
    figure = pair_figure((sides[0], sides[1]), ["title", "verdict"])
    alike = [axes for axes in panels(figure) if axes.get_title() == "what makes them alike"]
    expected = overlay(FACE, MAP, highest=1 / 12)  # the weak map on the scale of the strong one
    drawn = alike[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, enlarge(expected, drawn.shape[0] // 16))
    said = texts(figure)
    assert {"ada", "bob", "verdict", "one scale for both faces", "nose"} <= set(said)
    assert {text for text in said if text.startswith("≥")} == {"≥ 16"}
    assert said.count("what makes them alike") == 2


def test_a_pair_without_a_map_of_what_differs_says_so():
    one = Side("ada", FACE, REGION_MAP, {"alike": (MAP, MASK)})
    said = texts(pair_figure((one, Side("bob", FACE)), ["title"]))
    assert said.count("this method does not tell\nwhat makes them different") == 1
    assert "see this face's own explanation" in said
    assert "one scale for both faces" not in said


def test_maps_of_a_batch_are_drawn_without_faces():
    figure = batch_figure(
        [LayerPanel("overall", f"face {i}", MAP) for i in range(3)], None, 2, ["a"]
    )
    assert [axes.get_title() for axes in panels(figure)] == [f"overall\nface {i}" for i in range(3)]
