"""What a reader of the page sees in its charts: every mark with its label, its place and its colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from handmade import NAMES, e
from leam.report.charts import (
    INK,
    MASK_COLOURS,
    MUTED,
    SERIES,
    Panel,
    Rows,
    Series,
    fewest_people,
)
from leam.report.parts import Drawing, Fold, Part
from leam.report.section import SECTIONS, Context
from leam.report.sections.person_maps import effect_chart, overlap_chart
from leam.study.stages.person_maps import PersonMapFigures
from leam.study.stages.regions import RegionFigures
from reading import (
    Figure,
    cells_of,
    colours_of,
    drawn,
    legend_of,
    lines_of,
    row_colours,
    rows_named,
    rows_of,
    thin_lines_of,
    ticks_of,
)

BASES = dict(zip(NAMES, (0.1, 0.133, 0.166), strict=True))


@pytest.fixture
def charts(context) -> Callable[[str], list[Figure]]:
    """The drawn charts of a section by its name."""

    def of_section(name: str) -> list[Figure]:
        return charts_of(context, name)

    return of_section


def charts_of(context: Context, name: str) -> list[Figure]:
    parts = [part for box in SECTIONS[name]().boxes(context) for part in box.parts]
    return [drawn(part.chart) for part in unfolded(parts) if isinstance(part, Drawing)]


def unfolded(parts: list[Part]) -> list[Part]:
    return [one for part in parts for one in (part.parts if isinstance(part, Fold) else (part,))]


def near(expected: dict) -> object:
    """The same with a tolerance; values may be tuples or lists."""
    return {
        key: pytest.approx(value, abs=1e-5) if value is not None else None
        for key, value in expected.items()
    }


def mark(mean: float, scale: float = 1) -> tuple[float, float, float]:
    return scale * mean, scale * (mean - 0.05), scale * (mean + 0.07)


def test_regions_are_sorted_by_share_and_stand_beside_their_area(charts):
    (figure,) = charts("regions")
    (axis,) = figure.axes
    assert rows_named(axis) == ["hat", "nose", "eyes"]
    assert rows_of(axis) == near(
        {
            (name, region): mark(base + add, 100)
            for name, base in BASES.items()
            for region, add in (("eyes", 0), ("nose", 0.1), ("hat", 0.2))
        }
    )
    mean = sum(BASES.values()) / 3
    assert ticks_of(axis, "area (chance)") == near(
        {"eyes": 25 * mean, "nose": 25 * (mean + 0.1), "hat": 25 * (mean + 0.2)}
    )
    assert legend_of(figure) == {
        **dict(zip(NAMES, SERIES, strict=False)),
        "area (chance)": INK,
    }
    assert axis.x.title == "% of the critical pixels"


def test_the_lead_of_the_own_mask_stands_beside_that_of_edges(charts):
    (figure,) = charts("effect")
    assert [axis.title for axis in figure.axes] == [
        "black", "mean", "blur", "local_blur", "road",
    ]  # fmt: skip
    for f, axis in enumerate(figure.axes):
        assert rows_of(axis) == near(
            {
                (label, name): mark(base + f / 10 + add + 1)
                for name, base in BASES.items()
                for label, add in (
                    ("own mask minus another person's", 0),
                    ("edges minus another person's edges", 0.04),
                )
            }
        )


def test_the_lead_of_person_maps_over_the_number_of_pictures(charts):
    effects, overlap = charts("person_maps")
    mean = sum(BASES.values()) / 3
    for f, axis in enumerate(effects.axes):
        lines, first = lines_of(axis), mean + f / 10 + 1
        for label, add in (
            ("edges, over another person", 0.1),
            ("mean, over another person", 0),
            ("mean, over the population", 0.02),
        ):
            assert np.array(lines.pop(label)) == pytest.approx(
                np.array([[1, first + add], [3, first + add + 2]])
            )
        assert not lines
    (axis,) = overlap.axes
    # There are no overlaps for three pictures.
    for label, value in (("mean", mean + 0.2), ("edges", mean + 0.3)):
        assert lines_of(axis)[label][0] == pytest.approx((1, value))


def test_a_single_recognizer_has_a_bar_in_each_region_s_colour(summary):
    from leam.report.sections.regions import region_chart

    found = {"beta": summary.each(RegionFigures)["beta"]}
    (axis,) = drawn(region_chart(found)).axes
    assert rows_of(axis) == near(
        {
            ("", "eyes"): mark(0.133, 100),
            ("", "nose"): mark(0.233, 100),
            ("", "hat"): mark(0.333, 100),
        }
    )
    assert ticks_of(axis, "area (chance)")["nose"] == pytest.approx(100 * 0.233 / 4)
    assert len(set(row_colours(axis).values())) == 3


def test_second_parser_shows_the_regions_that_change(charts):
    (figure,) = charts("second_parser")
    (axis,) = figure.axes
    assert rows_of(axis) == near(
        {
            (name, region): mark((base + add) / 50, 100)
            for name, base in BASES.items()
            for region, add in (("nose", 0), ("lips", 1))
        }
    )


def test_coefficients_of_genuine_and_impostor_pairs(charts):
    figure = charts("specificity")[0]
    critical, dense = figure.axes
    assert (critical.title, dense.title) == (
        "critical pixels",
        "whole maps",
    )
    for axis, add in ((critical, 0), (dense, 0.1)):
        assert rows_of(axis) == near(
            {
                (f"{kind} pairs", name): mark(base + add + more)
                for name, base in BASES.items()
                for kind, more in (("genuine", 0.02), ("impostor", 0.01))
            }
        )
        assert axis.x.title == "Bhattacharyya coefficient"
    assert legend_of(figure) == {"genuine pairs": SERIES[0], "impostor pairs": MUTED}


def test_the_first_panel_names_the_rows(charts):
    first, second = charts("specificity")[0].axes
    assert rows_named(first) == list(NAMES)
    # The second one has no labels of its own.
    assert second.y is first.y


def test_distributions_of_genuine_and_impostor_pairs(charts):
    figure = charts("specificity")[1]
    assert [axis.title for axis in figure.axes] == list(NAMES)
    for axis, base in zip(figure.axes, BASES.values(), strict=True):
        bins = [
            (axis.series(one["fill"]), axis.x.value(one["x"]), axis.x.value(one["x2"]))
            for one in axis.each("rect")
        ]
        assert bins == [
            (kind, pytest.approx(low, abs=1e-5), pytest.approx(low + base, abs=1e-5))
            for kind in ("impostor pairs", "genuine pairs")
            for low in (0, base)
        ]
        # The tallest bin of all panels is 0.9.
        heights = [
            one["height"] * 0.9 / axis.each("rect")[0]["height"] for one in axis.each("rect")
        ]
        assert heights == pytest.approx([0.9, 0.1, 0.25, 0.75])
        (line,) = axis.each("rule")
        assert axis.x.value(line["x"]) == pytest.approx(base + 0.003, abs=1e-5)
        assert axis.series(line["stroke"]) == "genuine pairs by chance"
    colours = legend_of(figure)
    assert (colours["genuine pairs"], colours["impostor pairs"]) == (SERIES[0], MUTED)


def test_similarity_drops_stand_beside_the_controls(charts):
    figures = charts("occlusion")
    axes = [axis for figure in figures for axis in figure.axes]
    # Cosines and distances have a chart each.
    assert [axis.x.title for axis in axes] == [
        "drop of the cosine similarity, other pictures",
        "growth of the Euclidean distance, other pictures",
    ]
    assert [{name for _, name in rows_of(axis)} for axis in axes] == [
        {"alpha", "beta"},
        {"gamma"},
    ]
    assert rows_of(axes[0]) | rows_of(axes[1]) == near(
        {
            (mask, name): mark(base / by)
            for name, base in BASES.items()
            for mask, by in (("critical", 1), ("scattered", 2), ("moved", 4))
        }
    )
    figure = figures[0]
    assert legend_of(figure) == {
        mask: MASK_COLOURS[mask] for mask in ("critical", "scattered", "moved")
    }


def test_curves_are_means_over_the_recognizers_of_one_similarity(charts):
    figure, other = charts("curves")
    assert other.axes[0].y.title == "growth of the Euclidean distance"
    mean = (0.1 + 0.133) / 2
    for axis, fill, add in zip(figure.axes, ("mean", "blur"), (0, 0.1), strict=True):
        assert axis.title == fill
        assert axis.x.logarithmic
        assert lines_of(axis) == {
            mask: [
                (1, pytest.approx(mean + add + more)),
                (5, pytest.approx(mean + add + more + 0.5)),
            ]
            for mask, more in (("critical", 0), ("moved", 0.01))
        }
    assert [text for text, _ in figure.axes[0].x.ticks] == ["1", "5"]
    assert figure.axes[0].y.title == "drop of the cosine similarity"
    assert legend_of(figure) == {mask: MASK_COLOURS[mask] for mask in ("critical", "moved")}


def test_accuracy_by_the_map_and_at_random(charts):
    (figure,) = charts("verification")
    mean = sum(BASES.values()) / 3
    for axis, way, changed, add in zip(
        figure.axes, ("deletion", "insertion"), ("deleted", "inserted"), (0, 0.2), strict=True
    ):
        assert axis.title == way
        assert axis.x.title == f"% of the pixels {changed}"
        assert lines_of(axis) == {
            label: [
                (0, pytest.approx(mean + add + more, abs=1e-5)),
                (50, pytest.approx(mean + add + more + 0.03, abs=1e-5)),
                (100, pytest.approx(mean + add + more + 0.06, abs=1e-5)),
            ]
            for label, more in (("by the map", 0), ("at random", 0.1))
        }
        assert thin_lines_of(axis) == [
            (colour, pytest.approx([base + add + more + part for part in (0, 0.03, 0.06)]))
            for colour, more in ((MASK_COLOURS["critical"], 0), (MUTED, 0.1))
            for base in BASES.values()
        ]
    assert legend_of(figure) == {"by the map": MASK_COLOURS["critical"], "at random": MUTED}


def test_similarity_to_the_true_map_by_randomised_layers(charts):
    (figure,) = charts("sanity")
    for axis, title, sign in zip(
        figure.axes, ("rank correlation", "structural similarity"), (-1, 1), strict=True
    ):
        assert axis.title == title
        assert lines_of(axis) == {
            name: [
                (0, 1),
                (50, pytest.approx(base + sign * 0.05)),
                (100, pytest.approx(base + sign * 0.1)),
            ]
            for name, base in BASES.items()
        }
    assert legend_of(figure) == dict(zip(NAMES, SERIES, strict=False))
    assert figure.axes[0].x.title.endswith("n = 14")


def test_few_people_are_not_charted():
    panel = Panel(["few", "many"], [Series("dots", [e(0.3, 9), e(0.4, 10)], INK)], "", counts=True)
    (axis,) = drawn(Rows([panel])).axes
    assert rows_of(axis) == near({("dots", "many"): mark(0.4)})
    assert axis.texts == ["n = 9: not drawn", "n = 10"]
    few, many = axis.each("text")
    assert (axis.x.value(few["x"]), axis.y.name(few["y"])) == (0, "few")
    assert (axis.x.value(many["x"]), axis.y.name(many["y"])) == (pytest.approx(0.47), "many")
    everything = replace(panel, counts=False)
    (axis,) = drawn(Rows([everything])).axes
    assert rows_of(axis)["dots", "few"] == pytest.approx(mark(0.3))
    assert axis.texts == ["n = 9"]


def test_exchanged_regions(charts):
    (figure,) = charts("swap")
    (axis,) = figure.axes
    assert rows_of(axis) == near(
        {
            (region, name): mark(base + add)
            for name, base in BASES.items()
            for region, add in (("nose", 0.4), ("lips", 0.41))
        }
    )
    assert legend_of(figure) == {"nose": SERIES[0], "lips": SERIES[1]}


def test_stability(charts):
    (figure,) = charts("stability")
    for axis, title, add in zip(
        figure.axes, ("sensitivity to noise", "mirror consistency"), (0.01, 0.6), strict=True
    ):
        assert axis.title == title
        assert [key[1] for key in rows_of(axis)] == list(NAMES)
        assert list(rows_of(axis).values()) == [
            pytest.approx(mark(base + add)) for base in BASES.values()
        ]


def test_agreement_is_ordered_by_cluster(charts):
    critical, tree, rank = charts("agreement")
    order = ("gamma", "alpha", "beta")
    place = {name: number for number, name in enumerate(NAMES, start=1)}
    for figure, add in ((critical, 0.0), (rank, 0.5)):
        axis = figure.axes[0]
        assert rows_named(axis) == list(order)
        assert [text for text, _ in axis.x.ticks] == list(order)
        assert cells_of(axis) == {
            (one, other): "1.00"
            if one == other
            else f"{add + place[one] / 10 + place[other] / 100:.2f}"
            for one in order
            for other in order
        }
    (axis,) = tree.axes
    leaves = {text: item["y"] for text, item in zip(axis.texts, axis.each("text"), strict=True)}
    assert sorted(leaves, key=lambda leaf: leaves[leaf]) == list(order)
    assert {axis.x.value(item["x"]) for item in axis.each("line")} == {0, 0.3, 0.7}


def test_transfer_has_a_row_for_each_recognizer_and_a_column_for_each_mask(charts):
    figures = charts("transfer")
    (axis,), (other,) = (figure.axes for figure in figures)
    assert figures[0].bar[0] == "drop of the cosine similarity"
    assert cells_of(axis) | cells_of(other) == {
        (name, mask): f"{(i + 1) / 10 + (j + 1) / 100:.2f}"
        for i, name in enumerate(NAMES)
        for j, mask in enumerate((*NAMES, "scattered"))
    }
    assert (axis.y.title, axis.x.title) == ("similarity drop of", "mask of")


def test_gaps_of_all_people_and_of_matched_ones(charts):
    (figure,) = charts("groups")
    (axis,) = figure.axes
    assert rows_of(axis) == near(
        {
            ("all people", "alpha"): mark(0.1),
            ("all people", "beta"): mark(0.3),
            ("matched on pose", "alpha"): mark(0.11),
            ("matched on pose", "beta"): mark(0.31),
        }
    )
    assert axis.x.title == "drop of the cosine similarity, female minus male"
    assert axis.texts == ["n = 12"] * 2 + ["n = 11"] * 2
    assert legend_of(figure) == {"all people": SERIES[0], "matched on pose": SERIES[1]}


def test_layers_of_one_recognizer_stand_beside_those_of_two(charts):
    figure = charts("layers")[0]
    (axis,) = figure.axes
    kinds = {"one recognizer": 0, "two, same relative depth": 0.01, "two, different depths": 0.02}
    assert rows_of(axis) == near(
        {
            (kind, name): mark(base + add)
            for kind, add in kinds.items()
            for name, base in BASES.items()
        }
    )
    assert set(axis.texts) == {"n = 14"}


def test_lines_of_person_maps_know_how_few_people_they_are_of(context):
    found = context.summary.each(PersonMapFigures)
    few = {
        name: PersonMapFigures.model_validate(fewer(one.model_dump()))
        for name, one in found.items()
    }
    for chart in (effect_chart, overlap_chart):
        assert fewest_people(chart(found)) > 4
        assert fewest_people(chart(few)) == 4
        assert "n = 4" in Drawing(chart(few), "").note


def fewer(part: object) -> object:
    """Figures with four people behind each estimate."""
    if not isinstance(part, dict):
        return part
    return {key: 4 if key == "n" else fewer(value) for key, value in part.items()}


def test_densities_by_region_and_layer(charts):
    figures = charts("layers")[1:]
    assert len(figures) == 3
    scale = {}
    for figure, base in zip(figures, BASES.values(), strict=True):
        (axis,) = figure.axes
        rows, layers = rows_named(axis), [text for text, _ in axis.x.ticks]
        expected = {
            region: [(depth + i) / 100 / ((base + i / 10) / 4) for depth in (1, 2, 3)]
            for i, region in enumerate(("eyes", "nose", "hat"))
        }
        # The second layer of the first recognizer has no maps, and so no name.
        missing = {"layer 2"} if base == 0.1 else set()
        assert layers == ["first", *(missing or {"second"}), "third"]
        colours = colours_of(axis)
        assert colours.keys() == {
            (row, one) for row in rows for one in layers if one not in missing
        }
        assert cells_of(axis) == {(row, one): "–" for row in rows for one in missing}
        assert rows == sorted(rows, key=lambda region: -expected[region][0] - expected[region][2])
        scale |= {
            expected[row][layers.index(one)]: brightness(colour)
            for (row, one), colour in colours.items()
        }
    # One scale for all recognizers, lightest at chance.
    below = [light for value, light in sorted(scale.items()) if value < 1]
    above = [light for value, light in sorted(scale.items()) if value >= 1]
    assert below == sorted(below)
    assert above == sorted(above, reverse=True)
    assert len(set(scale.values())) > 15


def brightness(colour: str) -> int:
    """The sum of the channels of ``rgb(r, g, b)``."""
    return sum(int(channel) for channel in colour[4:-1].split(","))
