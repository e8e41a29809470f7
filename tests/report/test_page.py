"""The page: what it is made of, what it needs, and what it says where something is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import polars as pl
import pytest

from handmade import NAMES, e, make_summary, text
from leam.errors import StudyError
from leam.metrics.statistics import Estimate
from leam.report.page import render_page, render_report
from leam.report.parts import Cell, Drawing, Part, Table, Text
from leam.report.section import SECTIONS, Context, Section, sections_of
from leam.results.figures import Figures, Model, UnknownFigures
from leam.results.shards import Shard
from leam.study.stage import STAGES, Stage
from leam.study.store import RunFolder
from reading import head_of, read_page


class Inner(Model):
    """A record within figures."""

    depth: Estimate


class BrightnessFigures(Figures):
    """How bright the critical pixels are.

    The second paragraph says more.
    """

    mean_value: Estimate
    """Mean brightness,
    0-1."""
    regions: dict[str, Estimate]
    """By region."""
    inner: Inner
    """Something nested."""
    count: int
    """Not an estimate."""


class BalanceFigures(Figures):
    """Figures of all recognizers together."""

    balance: Estimate
    """How even they are."""


@pytest.fixture
def plugged(summary, context, monkeypatch) -> Context:
    """A report with the figures of two stages that no section shows, and of one whose package is gone."""
    # All built-in stages are registered before, so that none is lost with the copy.
    list(STAGES)
    monkeypatch.setattr(STAGES, "_things", dict(STAGES._things))

    @STAGES("brightness")
    class Brightness(Stage[Shard]):
        name, title, figures = "brightness", "brightness of the critical pixels", BrightnessFigures

    @STAGES("balance")
    class Balance(Stage[Shard]):
        name, title, figures = "balance", "balance", BalanceFigures

    recognizers = {}
    for place, (name, one) in enumerate(summary.recognizers.items()):
        figures = BrightnessFigures(
            mean_value=e(0.5 + place / 10),
            regions={"nose": e(0.04 + place / 100), "eyes": e(None if place == 1 else 0.7)},
            inner=Inner(depth=e(3.25 + place)),
            count=7,
        )
        gone = UnknownFigures.model_validate({"x": 1})
        added = {**one.figures, "brightness": figures, "gone": gone}
        recognizers[name] = one.model_copy(update={"figures": added})
    everything = {**summary.figures, "balance": BalanceFigures(balance=e(0.9))}
    changed = summary.model_copy(update={"recognizers": recognizers, "figures": everything})
    return Context(context.plan, changed, context.run, faces=False)


def test_figures_that_no_section_shows_appear_by_themselves(plugged):
    balance, brightness, gone = SECTIONS["further"]().boxes(plugged)
    assert (balance.title, brightness.title, gone.title) == (
        "Balance",
        "Brightness of the critical pixels",
        "Gone",
    )
    about, drawing, more, table, _, meanings = brightness.parts
    assert about == Text("How bright the critical pixels are. The second paragraph says more.")
    assert isinstance(drawing, Drawing)
    assert isinstance(more, Drawing)
    names = ("mean value", "regions · nose", "regions · eyes", "inner · depth")
    panels = [*drawing.chart.panels, *more.chart.panels]
    assert [panel.title for panel in panels] == list(names)
    for panel, values in zip(
        panels,
        ((0.5, 0.6, 0.7), (0.04, 0.05, 0.06), (0.7, None, 0.7), (3.25, 4.25, 5.25)),
        strict=True,
    ):
        assert tuple(panel.rows) == NAMES
        assert [one.mean for one in panel.series[0].estimates] == pytest.approx(values)
    assert isinstance(table, Table)
    assert table.header == ("figure", "recognizer", "mean with 95 % interval", "people")
    assert table.rows == [
        row
        for place, name in enumerate(NAMES)
        for row in (
            ("mean value", name, text(0.5 + place / 10), "12"),
            ("regions · nose", name, text(0.04 + place / 100, 5), "12"),
            ("regions · eyes", name, "–" if place == 1 else text(0.7), "0" if place == 1 else "12"),
            ("inner · depth", name, text(3.25 + place), "12"),
        )
    ]
    assert isinstance(meanings, Table)
    assert meanings.rows[:2] == [("mean value", "Mean brightness, 0-1."), ("regions", "By region.")]
    numbers, _ = [part for part in balance.parts if isinstance(part, Table)]
    assert numbers.rows == [("balance", "all recognizers", text(0.9), "12")]
    (missing,) = gone.parts
    assert isinstance(missing, Text)
    assert "Install its plug-in" in missing.text


def test_long_tables_are_folded():
    def summary(rows: int, folded: str = "") -> str:
        return Table(("a",), [("1",)] * rows, folded=folded).summary

    assert (summary(20), summary(21), summary(21, "By face")) == ("", "21 rows", "By face")


def test_which_columns_are_figures():
    rows = [
        ("1", "0.5 [0.4, 0.6]", "–", "3 %", "2 of 3", "1a", Cell("1", "break"), "-0.1", "<1e-05"),
        ("2", "–", "–", "–", "–", "2", Cell("2", "break"), "+2,000", "1e3"),
    ]
    assert Table((), rows).numeric == {0, 1, 3, 4, 7, 8}


@pytest.mark.usefixtures("_without_charts")
def test_what_a_section_shows_is_not_shown_again(plugged, context):
    assert "further" not in [section.name for section in sections_of(context)]

    @SECTIONS("shown")
    class Shown(Section):
        name, title, order, shows = "shown", "Shown", 55, (BrightnessFigures,)

        def parts(self, context: Context) -> Iterator[Part]:
            yield Text("<b>``shown``</b> by its own section")

    titles = [box.title for box in SECTIONS["further"]().boxes(plugged)]
    page = render_page(plugged)
    assert titles == ["Balance", "Gone"]
    assert "<p>&lt;b&gt;<code>shown</code>&lt;/b&gt; by its own section</p>" in page
    names = list(read_page(page))
    assert names[names.index("shown") - 1 : names.index("shown") + 2] == [
        "specificity",
        "shown",
        "occlusion",
    ]


def test_a_chart_is_an_image_with_words(plugged):
    page = render_page(plugged)
    drawn = re.findall(
        r'<div class="drawing" role="img" aria-label="[^"]+"><div aria-hidden="true"><svg', page
    )
    assert len(drawn) == page.count('<figure class="chart"') > 20
    assert page.startswith("<!doctype html>")


@pytest.mark.usefixtures("_without_charts")
def test_the_head_names_the_recognizers(folder):
    page = render_report(folder, faces=False).read_text()
    title, names = head_of(page)
    assert title == "What these face recognizers rely on"
    assert "of alpha, beta, gamma." in names
    assert "This page names no person and no file" in page


@pytest.mark.usefixtures("_without_charts")
def test_a_quick_study_has_no_empty_section(plan, summary, context):
    """Only what every study measures: one recognizer, no subset, no second parser, no exclusion."""
    kept = ("regions", "specificity", "occlusion", "layers")
    one = summary.recognizers["beta"]
    only = one.model_copy(update={"figures": {k: one.figures[k] for k in kept}})
    few = summary.model_copy(
        update={
            "recognizers": {"beta": only},
            "figures": {},
            "exclusions": [],
            "failed": [],
            "people": 20,
        }
    )
    working = plan.only(["beta"])
    found = read_page(render_page(Context(working, few, context.run)))
    assert list(found) == [
        "findings", "facts", "support", "claims", "regions", "specificity", "occlusion", "layers", "provenance",
    ]  # fmt: skip
    assert found["facts"].texts == [
        "20", "people", "26", "faces", "1", "recognizer", "0", "excluded pictures",
    ]  # fmt: skip
    assert "the band" not in found["layers"].texts[0]
    rows = found["claims"].tables[0][1:]
    without = [row[4] for row in rows if row[3] == "none measured"]
    assert without == ["inconclusive (n = 0)"] * 5


def test_long_lists_of_exclusions_are_cut(summary, context):
    many = summary.model_copy(update={"exclusions": summary.exclusions * 101})
    table, more = SECTIONS["exclusions"]().parts(Context(context.plan, many, context.run))
    assert isinstance(table, Table)
    assert len(table.rows) == 200
    assert more == Text("2 more are listed in summary.json.", "muted")


@pytest.mark.usefixtures("_without_charts")
def test_progress_is_told(folder):
    told: list[tuple[str, int, int | None]] = []
    render_report(folder, faces=False, progress=lambda *one: told.append(one))
    assert told[0][:2] == ("rendering the report", 0)
    assert told[-1][1] == told[-1][2] == len(told) - 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "summary.json").unlink(), "summary.json: missing; finish the study"),
        (lambda run: (run / "summary.json").write_text("{"), "summary.json: not JSON"),
        (
            lambda run: (run / "tables/specificity/beta.parquet").write_bytes(b"PAR1"),
            "beta.parquet: missing, or changed since the study finished; run the study",
        ),
        (
            lambda run: pl.DataFrame({"person": ["a"]}).write_parquet(
                run / "tables/specificity/alpha.parquet"
            ),
            "alpha.parquet: missing, or changed since the study finished; run the study",
        ),
        (
            lambda run: (run / "shards/detect/00000.npz").unlink(),
            "disappeared; run the study again",
        ),
    ],
)
@pytest.mark.usefixtures("_without_charts")
def test_a_damaged_folder_gives_one_line(write_run, tmp_path, damage, message):
    folder = write_run(tmp_path / "run")
    damage(folder.path)
    with pytest.raises(StudyError, match=message) as caught:
        render_report(folder)
    assert "\n" not in str(caught.value)


def test_an_incomplete_summary_names_the_field(write_run, tmp_path, plan):
    folder: RunFolder = write_run(tmp_path / "run")
    broken = make_summary(plan.settings).to_json().replace('"divergences"', '"divergence_s"', 1)
    folder.write_text("summary.json", broken)
    with pytest.raises(StudyError, match=r"summary.json: .*divergences: Field required"):
        render_report(folder)


def test_a_bug_in_a_section_is_not_called_damaged_data(folder, monkeypatch):
    monkeypatch.setattr(SECTIONS["sanity"], "parts", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        render_report(folder, faces=False)


def test_altair_is_imported_only_when_a_chart_is_drawn():
    code = (
        "import sys, leam.report.page, leam.report.section as s; list(s.SECTIONS);"
        "assert not {'altair', 'vl_convert'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
