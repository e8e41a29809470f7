"""Figures that are written and read back."""

from __future__ import annotations

import json

import jsonschema
import pytest

from leam.errors import StudyError
from leam.metrics.statistics import Estimate
from leam.results.figures import Figures, UnknownFigures
from leam.results.summary import RecognizerSummary, Summary, rounded, schema


class Heights(Figures):
    """How high things are."""

    height: Estimate
    """Height in metres."""
    by_day: dict[str, Estimate] = {}
    """By day."""


class Widths(Figures):
    """How wide things are."""

    width: float
    """Width in metres."""


KINDS = {"heights": Heights, "widths": Widths}


def summary(height: float = 1.5) -> Summary:
    return Summary(
        versions={"leam": "1"},
        settings={"seed": 0},
        people=2,
        images=4,
        exclusions=[],
        failed=[],
        recognizers={
            name: RecognizerSummary(
                similarity="cosine",
                sha256=name,
                figures={"heights": Heights(height=Estimate(height + place, None, 2.0, 2))},
            )
            for place, name in enumerate(("one", "two"))
        },
        figures={"widths": Widths(width=3)},
    )


def test_figures_come_back_typed():
    again = Summary.from_json(summary().to_json(), KINDS)
    assert again == summary()
    assert again.get(Widths).width == 3
    assert again.get(Heights) is None
    assert {name: found.height.mean for name, found in again.each(Heights).items()} == {
        "one": 1.5, "two": 2.5,
    }  # fmt: skip
    assert again.recognizers["one"].get(Widths) is None


def test_eight_digits_are_written():
    text = json.loads(summary(1.23456789012).to_json())
    figures = text["recognizers"]["one"]["figures"]["heights"]
    assert figures["height"] == {"mean": 1.2345679, "low": None, "high": 2.0, "n": 2}
    assert rounded({"a": [1e-12 / 3, 2, True, "x"]}) == {"a": [3.3333333e-13, 2, True, "x"]}


def test_figures_of_a_plug_in_that_is_gone_are_kept():
    again = Summary.from_json(summary().to_json(), {"heights": Heights})
    (found,) = again.figures.values()
    assert isinstance(found, UnknownFigures)
    assert json.loads(again.to_json()) == json.loads(summary().to_json())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema_version": 1}, "schema version 1, but this version of LEAM reads 2; run"),
        ({"people": "many"}, "people: "),
        ({"recognizers": {}}, "recognizers: "),
        ({"figures": {"widths": {"width": "wide"}}}, "width"),
        ({"figures": {"widths": {"width": 1, "depth": 2}}}, "depth"),
        ({"other": 1}, "other: "),
    ],
)
def test_what_does_not_fit_is_named(change, why):
    text = json.dumps({**json.loads(summary().to_json()), **change})
    with pytest.raises(StudyError, match=why):
        Summary.from_json(text, KINDS)


def test_the_schema_fits_what_is_written_and_nothing_else():
    made = schema({"heights": Heights}, {"widths": Widths})
    written = json.loads(summary().to_json())
    jsonschema.validate(written, made)
    assert made["$defs"]["Heights"]["properties"]["height"]["description"] == "Height in metres."
    for path, value in (
        (("schema_version",), 1),
        (("figures", "widths", "width"), "wide"),
        (("recognizers", "one", "figures", "heights", "height"), 1),
        (("figures", "unheard"), {}),
    ):
        changed = json.loads(summary().to_json())
        node = changed
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed, made)


def test_every_number_becomes_a_row_of_the_frame():
    frame = summary().to_frame()
    assert frame.columns == ["recognizer", "stage", "figure", "value", "low", "high", "n"]
    rows = {row[:3]: row[3:] for row in frame.iter_rows()}
    found = {
        key: value
        for name, figures in [
            *((name, one.figures) for name, one in summary().recognizers.items()),
            (None, summary().figures),
        ]
        for stage, one in figures.items()
        for key, value in (
            ((name, stage, field), getattr(one, field)) for field in type(one).model_fields
        )
    }
    for key, value in found.items():
        if isinstance(value, Estimate):
            assert rows[key] == (value.mean, value.low, value.high, value.n)
        elif isinstance(value, float):
            assert rows[key] == (value, None, None, None)
        else:
            for name, one in value.items():
                assert rows[(key[0], key[1], f"{key[2]}.{name}")][0] == one.mean
    assert len(rows) == frame.height > 1


def test_a_summary_shows_itself_in_a_line():
    many = summary()
    one = next(iter(many.recognizers.values()))
    many = many.model_copy(update={"recognizers": dict.fromkeys("abcde", one)})
    assert repr(many) == str(many) == "Summary(2 people, 4 images, a, b, c and 2 more)"
    assert ">a, b, c, d, e</td>" in many._repr_html_()
