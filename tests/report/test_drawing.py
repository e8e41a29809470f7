"""Charts are drawn as their data say."""

from __future__ import annotations

import io
import itertools
import json
import re
import xml.etree.ElementTree as ET

import altair as alt
import numpy as np
import pytest
from PIL import Image

from handmade import e
from leam.metrics.statistics import Estimate
from leam.report.charts import (
    INK,
    MUTED,
    SERIES,
    Expected,
    Histogram,
    Histograms,
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
from leam.report.drawing import chart_spec, chart_svg, figure_files, interactive_script
from leam.report.drawing.look import COLUMN, DIVERGING, PAPER, PHONE, SEQUENTIAL
from leam.report.parts import Drawing
from reading import (
    cells_of,
    colours_of,
    dashes_of,
    drawn,
    legend_of,
    lines_of,
    opacities,
    row_colours,
    rows_named,
    rows_of,
    ticks_of,
)

NOTHING = Estimate(None, None, None, 0)
ROWS = Rows(
    [
        Panel(
            ["one", "two"],
            [
                Series(name, [e(k), e(k + 1)], colour)
                for k, (name, colour) in enumerate(zip("abc", colours(3), strict=True))
            ],
            "axis",
            title=title,
            expected=Expected("chance", [0.5, None]),
            line=1,
        )
        for title in ("first", "second")
    ]
)
LINES = Lines(
    [
        LinePanel(
            title,
            [
                Line(name, [0, 1, 2], [k, 1, None], colour)
                for k, (name, colour) in enumerate(zip("ab", colours(2), strict=True))
            ],
            "x",
            zero=True,
        )
        for title in ("first", "second")
    ],
    "y",
)
HISTOGRAMS = Histograms(
    [
        Histogram(name, [0, 0.5, 1], {"genuine": [0.2, 0.8], "impostor": [0.9, 0.1]}, 0.4, 12)
        for name in ("alpha", "beta")
    ],
    {"genuine": SERIES[0], "impostor": MUTED},
    "by chance",
    "bc",
)
MATRIX = Matrix(
    [[e(1), e(0.2)], [NOTHING, e(1)]], ["a", "b"], ["c", "d"], ("row", "column"), "bc", 2.0
)
REGIONS = RegionMap(
    [[e(0.5), e(1)], [NOTHING, e(3)]], ["nose", "eyes"], ["conv1", "layer4.2"], "density", 3.0
)
TREE = Tree([[0, 2, 0.3, 2], [1, 3, 0.7, 3]], ["a", "b", "c"], "distance")
EVERY = [ROWS, LINES, HISTOGRAMS, MATRIX, REGIONS, TREE]


@pytest.mark.parametrize("chart", EVERY, ids=lambda chart: type(chart).__name__)
def test_specifications_are_valid_and_have_a_layout_for_phones(chart):
    spec = chart_spec(chart)
    alt.Chart.from_json(json.dumps(spec, allow_nan=False))
    narrow = {**spec, **spec["usermeta"]["narrow"]}
    alt.Chart.from_json(json.dumps(narrow))
    for look in (PHONE, COLUMN, PAPER):
        assert drawn(chart, look).size[0] <= look.width + 12


@pytest.mark.parametrize("chart", EVERY, ids=lambda chart: type(chart).__name__)
def test_pages_decide_the_ink_and_papers_are_black_on_white(chart):
    assert "var(--ink" in chart_svg(chart)
    files = figure_files(chart, wide=False)
    assert b"var(" not in files["svg"]
    assert b'fill="white"' in files["svg"]
    assert b"<text" in files["svg"]
    assert files["pdf"].startswith(b"%PDF")
    assert b"/ToUnicode" in files["pdf"]
    assert files["png"].startswith(b"\x89PNG")


def test_figures_have_the_width_of_columns_and_300_dpi():
    for wide, millimetres in ((False, 85), (True, 178)):
        files = figure_files(ROWS, wide=wide)
        width = re.search(rb"MediaBox \[0 0 ([\d.]+)", files["pdf"])
        assert millimetres - 4 < float(width[1]) / 72 * 25.4 < millimetres + 0.5
        with Image.open(io.BytesIO(files["png"])) as picture:
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert picture.width / 300 * 25.4 == pytest.approx(float(width[1]) / 72 * 25.4, abs=0.2)


def test_everything_is_shown_on_hovering():
    records = chart_spec(ROWS)["datasets"]["0"]
    assert [one for one in records if (one["series"], one["row"]) == ("b", "two")] == [
        {**records[3], "value": "2", "interval": "1.95 to 2.07", "n": 12}
    ]
    estimates = [e(0.25, 30), NOTHING]
    line = Line("mean", [1, 2], [0.25, None], INK, name="alpha", estimates=estimates)
    point, missing = chart_spec(Lines([LinePanel("", [line], "x")], "y"))["datasets"]["0"]
    assert (point["name"], point["value"], point["interval"], point["n"]) == (
        "alpha", "0.25", "0.2 to 0.32", 30,
    )  # fmt: skip
    assert (missing["value"], missing["interval"]) == ("–", "–")
    cell = chart_spec(REGIONS)["datasets"]["0"][3]
    assert (cell["row"], cell["column"], cell["value"], cell["n"]) == ("eyes", "layer4.2", "3", 12)
    fields = {
        tip["field"]
        for chart in EVERY
        for panel in chart_spec(chart)["concat"]
        for layer in panel["layer"]
        for tip in layer["encoding"].get("tooltip", [])
    }
    assert fields >= {"series", "row", "column", "name", "value", "interval", "n"}


def test_legends_filter_and_histograms_have_one_brush():
    for chart in (ROWS, LINES, HISTOGRAMS):
        params = {one["name"]: one for one in chart_spec(chart)["params"]}
        assert params["chosen"]["bind"] == "legend"
    assert len(params["range"]["views"]) == 2


def test_the_script_shows_a_chart_without_the_network():
    script = interactive_script()
    assert "window.vegaEmbed" in script
    assert "import(" not in script.replace("import(e", "")


def test_colours_of_series_differ_for_every_kind_of_colour_blindness():
    for view in VIEWS.values():
        seen = [lab(view, colour) for colour in (*SERIES, MUTED)]
        for one, other in itertools.combinations(seen, 2):
            assert np.linalg.norm(one - other) > 15
        # The first ones differ most.
        for one, other in itertools.combinations(seen[:4], 2):
            assert np.linalg.norm(one - other) > 25


@pytest.mark.parametrize("scale", [SEQUENTIAL, DIVERGING[5:], DIVERGING[5::-1]])
def test_colour_scales_have_equal_steps_from_light_to_dark(scale):
    for view in VIEWS.values():
        seen = np.array([lab(view, colour) for colour in scale])
        assert (np.diff(seen[:, 0]) < -4).all()
        steps = np.linalg.norm(np.diff(seen, axis=0), axis=1)
        assert steps.max() < 2 * steps.min()


# Vision with and without each kind of cone (Machado et al. 2009), of linear RGB.
VIEWS = {
    "all": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(view: np.ndarray, colour: str) -> np.ndarray:
    """A colour as it is seen, in CIELAB."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(view @ linear, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_first_row_is_on_top_and_a_missing_estimate_leaves_its_row_empty():
    panel = Panel(["one", "two"], [Series("s", [e(0.3), NOTHING], "#112233")], "axis")
    (axis,) = drawn(Rows([panel])).axes
    assert rows_of(axis) == {("s", "one"): (0.3, pytest.approx(0.25), pytest.approx(0.37))}
    assert rows_named(axis) == ["one", "two"]


@pytest.mark.parametrize("bars", [True, False])
def test_series_are_drawn_from_top_to_bottom_within_a_row(bars):
    series = [Series(str(k), [e(k + 1)], colour) for k, colour in enumerate(colours(3))]
    (axis,) = drawn(Rows([Panel(["row"], series, "", bars=bars)])).axes
    marks = axis.each("rect" if bars else "symbol")
    assert [axis.series(one["fill"]) for one in sorted(marks, key=lambda one: one["y"])] == [
        "0",
        "1",
        "2",
    ]
    assert len({one["y"] for one in marks}) == 3
    assert row_colours(axis) == {(str(k), "row"): colour for k, colour in enumerate(colours(3))}
    assert list(rows_of(axis).values()) == [
        pytest.approx((k + 1, k + 0.95, k + 1.07)) for k in range(3)
    ]


def test_series_of_one_colour_have_shapes_of_their_own():
    names = [f"r{k}" for k in range(14)]
    series = [Series(name, [e(1)], colour) for name, colour in zip(names, colours(14), strict=True)]
    figure = drawn(Rows([Panel(["row"], series, "")]))
    assert list(figure.shapes) == names
    assert len({(legend_of(figure)[name], figure.shapes[name]) for name in names}) == 14


def test_rows_may_have_colours_of_their_own():
    panel = Panel(
        ["a", "b"],
        [Series("s", [e(1), e(2)], ["#110000", "#000011"])],
        "",
        bars=True,
        expected=Expected("area", [0.5, 1.5]),
    )
    figure = drawn(Rows([panel]))
    (axis,) = figure.axes
    assert row_colours(axis) == {("", "a"): "#110000", ("", "b"): "#000011"}
    assert legend_of(figure) == {"area": INK}
    assert ticks_of(axis, "area") == pytest.approx({"a": 0.5, "b": 1.5})


def test_panels_with_other_rows_name_them():
    panels = [Panel([name], [Series("s", [e(1)], INK)], "") for name in ("a", "b")]
    axes = drawn(Rows(panels)).axes
    assert [rows_named(axis) for axis in axes] == [["a"], ["b"]]


def test_a_point_without_a_value_is_left_out_of_its_line():
    panel = LinePanel("t", [Line("a", [0, 1, 2], [0.5, None, 0.7], INK)], "x")
    (axis,) = drawn(Lines([panel], "y")).axes
    assert lines_of(axis) == {"a": [(0, 0.5), (1, None), (2, 0.7)]}


def test_a_line_goes_through_its_points_in_their_order():
    steps = [(1, 0.9), (1, 0.7), (2, 0.7), (2, 0.4), (2, 0.5)]
    x, y = zip(*steps, strict=True)
    (axis,) = drawn(Lines([LinePanel("", [Line("a", x, y, INK, dots=False)], "x")], "y")).axes
    assert lines_of(axis) == {"a": steps}


def test_long_titles_do_not_widen_a_chart():
    title = "a title of many words that is longer than its panel, " * 3
    panel = Panel(["a"], [Series("s", [e(1)], INK)], "", title=title)
    line = LinePanel(title, [Line("a", [0, 1], [0, 1], INK)], "x")
    for chart in (Rows([panel, panel]), Lines([line, line], "y")):
        assert drawn(chart, PHONE).size[0] <= PHONE.width + 12


def test_a_matrix_shows_its_numbers_and_its_colour_scale():
    figure = drawn(MATRIX)
    (axis,) = figure.axes
    assert cells_of(axis) == {
        ("a", "c"): "1.00",
        ("a", "d"): "0.20",
        ("b", "c"): "–",
        ("b", "d"): "1.00",
    }
    assert figure.bar == ("bc", [0, 0.5, 1, 1.5, 2])
    assert (axis.y.title, axis.x.title) == ("row", "column")
    assert colours_of(axis)["a", "c"] == colours_of(axis)["b", "d"] == rgb(SEQUENTIAL[4])
    low = drawn(Matrix([[e(0.1), e(-0.2)]], ["a"], ["c", "d"]))
    assert colours_of(low.axes[0]) == {
        ("a", "c"): rgb(SEQUENTIAL[-1]),
        ("a", "d"): rgb(SEQUENTIAL[0]),
    }


def test_recognizers_share_a_scale_so_that_a_tenth_does_not_look_like_one():
    pale, dark = (
        colours_of(drawn(Matrix([[e(value)]], ["a"], ["b"], highest=1.0)).axes[0])["a", "b"]
        for value in (0.1, 1.0)
    )
    assert dark == rgb(SEQUENTIAL[-1])
    assert pale != dark


def test_region_maps_diverge_from_chance_and_name_the_layers():
    figure = drawn(REGIONS)
    (axis,) = figure.axes
    assert [text for text, _ in axis.x.ticks] == ["conv1", "layer4.2"]
    assert colours_of(axis) == {
        ("nose", "conv1"): colours_of(axis)["nose", "conv1"],
        ("nose", "layer4.2"): rgb(DIVERGING[5]),
        ("eyes", "layer4.2"): rgb(DIVERGING[-1]),
    }
    blue = [int(one) for one in colours_of(axis)["nose", "conv1"][4:-1].split(",")]
    assert blue[2] > blue[0] + 40
    assert axis.texts == ["–"]


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))})"


def test_histograms_have_their_heights_and_the_line():
    figure = drawn(HISTOGRAMS)
    assert [axis.title for axis in figure.axes] == ["alpha", "beta"]
    for axis in figure.axes:
        bins = [
            (
                axis.series(one["fill"]),
                axis.x.value(one["x"]),
                axis.x.value(one["x2"]),
                one["height"],
            )
            for one in axis.each("rect")
        ]
        assert [one[:3] for one in bins] == [
            (name, low, low + 0.5) for name in ("genuine", "impostor") for low in (0, 0.5)
        ]
        tallest = max(one[3] for one in bins)
        assert [0.9 * one[3] / tallest for one in bins] == pytest.approx([0.2, 0.8, 0.9, 0.1])
        (line,) = axis.each("rule")
        assert axis.x.value(line["x"]) == pytest.approx(0.4)
    assert legend_of(figure) == {"genuine": SERIES[0], "impostor": MUTED, "by chance": INK}


def test_an_axis_shows_zero_or_says_that_it_does_not():
    dots = [Series("s", [e(0.98)], INK)]
    (axis,) = drawn(Rows([Panel(["a"], dots, "bc")])).axes
    assert (axis.x.value(0), axis.x.title) == (0, "bc")
    (axis,) = drawn(Rows([Panel(["a"], dots, "bc", limits=(0.5, 1))])).axes
    assert (axis.x.value(0), axis.x.value(axis.width)) == (0.5, 1)
    assert axis.x.title == "bc (axis from 0.5)"
    line = Line("a", [0, 1], [0.7, 0.8], INK)
    (axis,) = drawn(Lines([LinePanel("", [line], "x")], "y")).axes
    assert (axis.y.value(axis.height), axis.y.title) == (0, "y")
    (axis,) = drawn(Lines([LinePanel("", [line], "x", limits=(0.5, 1))], "y")).axes
    assert (axis.y.value(axis.height), axis.y.title) == (0.5, "y (axis from 0.5)")


def test_panels_of_one_label_have_one_scale():
    panels = [Panel(["a"], [Series("s", [e(value)], INK)], "d") for value in (0.1, 1.0)]
    first, second = drawn(Rows(panels)).axes
    assert first.x == second.x
    assert first.x.value(first.width) > 1
    lines = [LinePanel("", [Line("a", [0, 1], [0, top], INK)], "x") for top in (0.1, 1.0)]
    first, second = drawn(Lines(lines, "d")).axes
    assert lines_of(first)["a"][1][1] == 0.1
    assert lines_of(second)["a"][1][1] == 1


def test_few_people_are_said_beside_and_below_a_chart():
    few = Rows([Panel(["a", "b"], [Series("s", [e(0.3, 4), e(0.5, 10)], INK)], "")])
    (axis,) = drawn(few).axes
    assert axis.texts == ["n = 4"]
    assert opacities(axis) == {("s", "a"): 0.35, ("s", "b"): 1}
    assert "(n = 4)" in Drawing(few, "").note
    lines = [Line(str(count), [0, 1], [0, 1], INK, people=count) for count in (9, 10)]
    (axis,) = drawn(Lines([LinePanel("", lines, "x")], "y")).axes
    assert dashes_of(axis) == [True, False]
    assert "(n = 9)" in Drawing(Lines([LinePanel("", lines, "x")], "y"), "").note
    many = Rows([Panel(["a"], [Series("s", [e(0.3, 10)], INK)], "")])
    assert Drawing(many, "").note == ""
    assert "(n = 4)" in Drawing(Matrix([[e(1, 4), NOTHING]], ["a"], ["b", "c"]), "").note


def test_one_layer_and_no_value_at_all_can_be_drawn():
    (axis,) = drawn(RegionMap([[NOTHING]], ["nose"], ["layer 1"], "density", 1.0)).axes
    assert [text for text, _ in axis.x.ticks] == ["layer 1"]
    assert axis.texts == ["–"]


def test_recognizers_that_are_all_alike_can_be_drawn():
    (axis,) = drawn(Tree([[0, 1, 0, 2]], ["a", "b"], "distance")).axes
    assert axis.texts == ["a", "b"]


def test_a_tree_joins_its_leaves_at_their_distance():
    (axis,) = drawn(TREE).axes
    leaves = {text: item["y"] for text, item in zip(axis.texts, axis.each("text"), strict=True)}
    assert sorted(leaves, key=leaves.get) == ["b", "a", "c"] or sorted(leaves, key=leaves.get) == [
        "a",
        "c",
        "b",
    ]
    joined, root = sorted(axis.of("line"), key=lambda items: items[1]["x"])
    assert [axis.x.value(item["x"]) for item in joined] == pytest.approx([0, 0.3, 0.3, 0])
    assert {joined[0]["y"], joined[3]["y"]} == {leaves["a"], leaves["c"]}
    assert {axis.x.value(item["x"]) for item in root} == {0, 0.3, 0.7}


def test_an_svg_is_the_same_text_each_time_and_names_are_not_formulas():
    chart = Rows([Panel(["$a$_b", "<b>"], [Series("$x_$", [e(1), e(np.e)], INK)], "")])
    assert chart_svg(chart) == chart_svg(chart)
    assert chart_svg(chart).startswith("<svg")
    assert ">$a$_b</text>" in chart_svg(chart)
    assert ">&lt;b&gt;</text>" in chart_svg(chart)


def test_charts_of_a_page_have_identifiers_of_their_own():
    found = [
        re.findall(r'\bid="([^"]+)"', chart_svg(chart)) for chart in (ROWS, HISTOGRAMS, MATRIX)
    ]
    assert all(found)
    assert len(set(itertools.chain(*found))) == sum(map(len, found))
    for chart in (ROWS, MATRIX):
        svg = chart_svg(chart)
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) == set(re.findall(r'\bid="([^"]+)"', svg))


WILD = [
    "a\x1b[2J",
    "b\udcff",
    "<b>&\"'",
    "x" * 300,
    "",
    "url(#clip1)",
    "a.b[c]\\d",
    "constructor",
    "__proto__",
]
VALUES = [1e308, -1e308, 10**30, float("inf"), float("nan"), None, 0.0, -1, 1e-320]
WILDEST = [Estimate(value, value, value, 10**30) for value in VALUES]
WILD_CHARTS = [
    Rows(
        [
            Panel(
                WILD,
                [Series(name, WILDEST, INK) for name in WILD],
                WILD[0],
                title=WILD[1],
                counts=True,
            )
        ]
    ),
    Lines(
        [
            LinePanel(name, [Line(name, [0.0, 1.0], [value, 0.5], INK)], name)
            for name, value in zip(WILD, VALUES, strict=True)
        ],
        WILD[0],
    ),
    Histograms(
        [Histogram(name, [0, 1], {other: [0.5] for other in WILD}, None) for name in WILD],
        dict(zip(WILD, colours(9), strict=True)),
        "",
        WILD[0],
    ),
    Matrix([WILDEST for _ in WILD], WILD, WILD, (WILD[0], WILD[1]), WILD[2]),
    RegionMap([WILDEST for _ in WILD], WILD, WILD, WILD[1], 1e308),
    Tree([[0, 1, 1e308, 2]], WILD[:2], WILD[1]),
    Rows([Panel([], [Series("s", [], INK)], "")]),
    Lines([LinePanel("", [], "x")], "y"),
]


@pytest.mark.parametrize("chart", WILD_CHARTS, ids=lambda chart: type(chart).__name__)
def test_names_and_values_of_damaged_files_can_be_drawn(chart):
    json.dumps(chart_spec(chart), allow_nan=False).encode()
    for svg in (chart_svg(chart), figure_files(chart, wide=False)["svg"].decode()):
        ET.fromstring(svg)


def test_what_is_no_chart_is_named():
    with pytest.raises(TypeError, match="str: not a chart"):
        chart_spec("chart")
