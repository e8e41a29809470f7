"""Charts are drawn as their data say."""

from __future__ import annotations

import numpy as np
import pytest

from handmade import e
from leam.metrics.statistics import Estimate
from leam.report.charts import (
    INK,
    Line,
    LinePanel,
    Lines,
    Matrix,
    Panel,
    RegionMap,
    Rows,
    Series,
    Tree,
    colours,
)
from leam.report.drawing import chart_svg, draw
from leam.report.parts import Drawing
from reading import cells_of, lines_of, row_colours, rows_of

NOTHING = Estimate(None, None, None, 0)


def test_the_first_row_is_on_top_and_a_missing_estimate_leaves_its_row_empty():
    panel = Panel(["one", "two"], [Series("s", [e(0.3), NOTHING], "#112233")], "axis")
    (axis,) = draw(Rows([panel])).axes
    assert rows_of(axis) == {
        ("s", "one"): (0.3, pytest.approx(0.25), pytest.approx(0.37)),
        ("s", "two"): (None, None, None),
    }
    top, bottom = (axis.transData.transform((0, place))[1] for place in (0, 1))
    assert top > bottom


@pytest.mark.parametrize("bars", [True, False])
def test_series_are_drawn_from_top_to_bottom_within_a_row(bars):
    series = [Series(str(k), [e(k)], colour) for k, colour in enumerate(colours(3))]
    (axis,) = draw(Rows([Panel(["row"], series, "", bars=bars, spread=0.6)])).axes
    assert [key[0] for key in rows_of(axis)] == ["0", "1", "2"]
    drawn = axis.containers if bars else axis.collections[::2]
    places = [one[0].get_y() if bars else one.get_offsets()[0][1] for one in drawn]
    assert places == sorted(places)
    assert row_colours(axis) == {(str(k), "row"): colour for k, colour in enumerate(colours(3))}


def test_rows_may_have_colours_of_their_own():
    panel = Panel(["a", "b"], [Series("s", [e(1), e(2)], ["#110000", "#000011"])], "", bars=True)
    (axis,) = draw(Rows([panel])).axes
    assert row_colours(axis) == {("s", "a"): "#110000", ("s", "b"): "#000011"}


def test_panels_with_other_rows_name_them():
    panels = [Panel([name], [Series("s", [e(1)], INK)], "") for name in ("a", "b")]
    axes = draw(Rows(panels)).axes
    assert [axis.get_yticklabels()[0].get_text() for axis in axes] == ["a", "b"]


def test_a_point_without_a_value_is_left_out_of_its_line():
    panel = LinePanel("t", [Line("a", [0, 1, 2], [0.5, None, 0.7], INK)], "x")
    (axis,) = draw(Lines([panel], "y")).axes
    assert lines_of(axis) == {"a": [(0, 0.5), (1, None), (2, 0.7)]}


def test_a_matrix_shows_its_numbers_and_its_colour_scale():
    matrix = Matrix([[1, 0.2], [None, 1]], ["a", "b"], ["c", "d"], scale="bc", highest=2.0)
    axis, bar = draw(matrix).axes
    assert cells_of(axis) == {
        ("a", "c"): "1.00",
        ("a", "d"): "0.20",
        ("b", "c"): "–",
        ("b", "d"): "1.00",
    }
    assert axis.images[0].get_clim() == (0, 2)
    assert bar.get_ylabel() == "bc"
    whole = draw(Matrix([[0.1, -0.2]], ["a"], ["c", "d"])).axes[0]
    assert whole.images[0].get_clim() == (-0.2, 0.1)


def test_an_axis_shows_zero_or_says_that_it_does_not():
    dots = [Series("s", [e(0.98)], INK)]
    (axis,) = draw(Rows([Panel(["a"], dots, "bc")])).axes
    assert (axis.get_xlim()[0], axis.get_xlabel()) == (0, "bc")
    (axis,) = draw(Rows([Panel(["a"], dots, "bc", limits=(0.5, 1))])).axes
    assert axis.get_xlabel() == "bc (axis from 0.5)"
    line = Line("a", [0, 1], [0.7, 0.8], INK)
    (axis,) = draw(Lines([LinePanel("", [line], "x")], "y")).axes
    assert (axis.get_ylim()[0], axis.get_ylabel()) == (0, "y")
    (axis,) = draw(Lines([LinePanel("", [line], "x", limits=(0.5, 1))], "y")).axes
    assert axis.get_ylabel() == "y (axis from 0.5)"


def test_panels_of_one_label_have_one_scale():
    panels = [Panel(["a"], [Series("s", [e(value)], INK)], "d") for value in (0.1, 1.0)]
    first, second = draw(Rows(panels)).axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_xlim()[1] > 1
    lines = [LinePanel("", [Line("a", [0, 1], [0, top], INK)], "x") for top in (0.1, 1.0)]
    first, second = draw(Lines(lines, "d")).axes
    assert first.get_ylim() == second.get_ylim()


def test_few_people_are_said_beside_and_below_a_chart():
    few = Rows([Panel(["a", "b"], [Series("s", [e(0.3, 4), e(0.5, 10)], INK)], "")])
    (axis,) = draw(few).axes
    assert [text.get_text() for text in axis.texts] == ["n = 4"]
    assert "(n = 4)" in Drawing(few, "").note
    lines = [Line("a", [0, 1], [0, 1], INK, people=count) for count in (9, 10)]
    (axis,) = draw(Lines([LinePanel("", lines, "x")], "y")).axes
    assert [line.get_linestyle() for line in axis.lines] == [":", "-"]
    assert "(n = 9)" in Drawing(Lines([LinePanel("", lines, "x")], "y"), "").note
    many = Rows([Panel(["a"], [Series("s", [e(0.3, 10)], INK)], "")])
    assert Drawing(many, "").note == ""


def test_one_layer_and_no_value_at_all_can_be_drawn():
    axis = draw(RegionMap([[None]], ["nose"], "density", 1.0)).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1"]


def test_recognizers_that_are_all_alike_can_be_drawn():
    (axis,) = draw(Tree([[0, 1, 0, 2]], ["a", "b"], "distance")).axes
    assert axis.get_xlim()[1] > 0


def test_an_svg_is_the_same_text_each_time_and_names_are_not_formulas():
    chart = Rows([Panel(["$a$_b", "<b>"], [Series("$x_$", [e(1), e(np.e)], INK)], "")])
    assert chart_svg(chart) == chart_svg(chart)
    assert chart_svg(chart).startswith("<svg")
    assert "<!-- $a$_b -->" in chart_svg(chart)


def test_what_is_no_chart_is_named():
    with pytest.raises(TypeError, match="str: not a chart"):
        draw("chart")
