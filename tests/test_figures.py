"""Figures are files with the same bytes each time, and their text is text."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from leam.errors import InputError
from leam.figures import FORMATS, Sheet, check_formats, figure_bytes, legend_height, wrapped

RED = np.full((8, 8, 3), (200, 30, 90), dtype=np.uint8)


def sheet(name: str = "$a$_model") -> Sheet:
    made = Sheet(3, [name, "below"], 1.2)
    made.picture(RED, (0.1, made.top + 0.2, 1, 1), "$b$\nb")
    made.bar(RED[:1], (1.3, made.top, 1), 2.5, "unit")
    made.legend({"nose": (1, 0, 0)}, made.top + 1)
    return made


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_figure_has_the_same_bytes(form):
    assert figure_bytes(sheet().figure, form) == figure_bytes(sheet().figure, form)


def test_names_are_not_formulas():
    named = [text for text in sheet().figure.findobj(Text) if "$" in text.get_text()]
    assert len(named) == 2
    assert not any(text.get_parse_math() for text in named)


def test_text_is_text():
    svg = figure_bytes(sheet().figure, "svg").decode()
    for text in ("$a$_model", "below", "nose", "unit", "≥ 2.5"):
        assert f">{text}</text>" in svg
    assert b"/FontFile2" in figure_bytes(sheet().figure, "pdf")  # TrueType, not outlines


def test_a_png_shows_the_picture_where_it_is_placed():
    with Image.open(io.BytesIO(figure_bytes(sheet().figure, dpi=100))) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert pixels.shape[1] == 300
    top = round(100 * (sheet().top + 0.2))
    np.testing.assert_array_equal(pixels[top + 50, 60], RED[0, 0])
    assert (pixels[top + 50, 5] == 255).all()


def test_names_that_cannot_be_drawn_are_no_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure_bytes(sheet("顔\x1b[31m\udcff.jpg").figure)


def test_a_long_title_is_cut_in_the_middle():
    figure = sheet("a" * 200 + " · model").figure
    (title,) = [text for text in figure.texts if text.get_text().startswith("aaa")]
    assert title.get_text().endswith("aaa · model")
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert title.get_window_extent(renderer).x1 <= figure.bbox.x1


@pytest.mark.parametrize("formats", [["gif"], [], [""], ["png", "jpeg"]])
def test_unknown_formats_are_refused(formats):
    with pytest.raises(InputError, match=r"not a format of figures; .*available: png, svg, pdf"):
        check_formats(formats)


def test_formats_are_written_once():
    assert check_formats(["svg", "png", "svg"]) == ("svg", "png")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("conv1", "conv1"),
        ("layer1.0.conv2", "layer1.0.\nconv2"),
        ("stage3_unit12_x", "stage3_\nunit12_x"),
        ("abcdefghijklmnop", "abcdefghij\nklmnop"),
        ("a.very.long.name.of.a.layer", "a.very.lo…\nof.a.layer"),
    ],
)
def test_names_are_wrapped(name, shown):
    assert wrapped(name, 10) == shown


def test_a_legend_takes_as_many_rows_as_it_needs():
    names = ["nose", "skin", "clothes", "necklace", "earring", "glasses"]
    assert legend_height([], 7) == 0
    assert legend_height(names, 2) > legend_height(names, 7) == legend_height(names[:1], 7)
