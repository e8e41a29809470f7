"""Drawing for the report."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from leam.report.drawing import data_uri, figure_svg, grid, jpeg


def test_pictures_are_laid_out_in_rows_on_white():
    sheet = grid([np.zeros((4, 3, 3), dtype=np.uint8)] * 3, columns=2, gap=2)
    assert sheet.shape == (10, 8, 3)
    assert (sheet[6:, 5:] == 255).all()
    assert (sheet[4:6] == 255).all()
    assert not sheet[6:, :3].any()


def test_a_jpeg_holds_the_picture():
    flat = np.full((8, 8, 3), (200, 30, 90), dtype=np.uint8)
    read = np.asarray(Image.open(io.BytesIO(jpeg(flat)))).astype(int)
    assert abs(read - flat).max() <= 60


def test_an_svg_is_the_same_text_each_time_and_names_are_not_formulas():
    def figure() -> Figure:
        made = Figure(figsize=(2, 1))
        made.text(0.1, 0.5, "$a$_model")
        return made

    assert figure_svg(figure()) == figure_svg(figure())
    assert figure_svg(figure()).startswith("<svg")


def test_a_data_uri_holds_the_bytes():
    uri = data_uri(b"\x00picture", "jpeg")
    assert uri.startswith("data:image/jpeg;base64,")
    assert base64.b64decode(uri.partition(",")[2]) == b"\x00picture"
