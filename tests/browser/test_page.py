"""The report in a browser: what a reader can do with it, on a screen, on a phone, by keyboard and on paper."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect
from pypdf import PdfReader

from browser.conftest import DESKTOP, PHONE, Visit
from handmade import BASES, NAMES, text
from leam.metrics.statistics import Estimate
from leam.report.charts import Panel, Rows, Series
from leam.report.html import html_page
from leam.report.parts import Code, Drawing, Fold, Heading, Table, Text
from leam.report.section import Box

HOSTILE = "</script><img src=x onerror=alert(1)> =1+1 & \u202e \x07 \ud800"


def unfold(page: Page) -> None:
    page.evaluate(
        "document.querySelectorAll('main details').forEach((one) => { one.open = true; })"
    )


def table(page: Page, section: str, number: int = 0) -> Locator:
    """A table with its tools, unfolded."""
    found = page.locator(f"#{section} .table").nth(number)
    found.evaluate("one => { const fold = one.closest('details'); if (fold) fold.open = true; }")
    return found


def column(box: Locator, number: int) -> list[str]:
    """The cells of a column of the rows that are shown, from top to bottom."""
    return box.locator(f"tbody tr:not([hidden]) > :nth-child({number})").all_inner_texts()


def chart(page: Page, section: str) -> Locator:
    """The first chart of a section, once it is interactive."""
    found = page.locator(f"#{section} .chart").first
    found.scroll_into_view_if_needed()
    expect(found).to_have_class(re.compile("live"))
    return found


def overflow(page: Page) -> int:
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def test_charts_become_interactive_when_they_are_seen(visit: Visit, report: Path):
    page = visit(report)
    assert page.locator(".chart").count() > 20
    assert page.locator(".chart.live").count() < 5
    found = chart(page, "regions")
    expect(found.locator(".drawing")).to_be_hidden()
    dots = found.locator(".view .mark-symbol.role-mark path")
    dots.first.hover()
    tooltip = page.locator("#vg-tooltip-element.visible")
    expect(tooltip).to_contain_text("95 % interval")
    expect(tooltip).to_contain_text("alpha")
    count = dots.count()
    # A click on an entry of the legend leaves only that one.
    found.locator(".view .role-legend-symbol path").first.click()
    expect(found.locator(".view .mark-symbol.role-mark path")).not_to_have_count(count)


def test_a_search_leaves_the_rows_with_the_text(visit: Visit, report: Path):
    page = visit(report)
    box = table(page, "specificity")
    names = column(box, 1)
    box.get_by_role("searchbox").fill("BETA")
    assert set(column(box, 1)) == {"beta"}
    expect(box.locator(".count")).to_have_text(f"{names.count('beta')} of {len(names)} rows")
    box.get_by_role("searchbox").fill("no such row")
    assert column(box, 1) == []
    box.get_by_role("searchbox").fill("")
    assert column(box, 1) == names


def test_a_column_of_figures_is_sorted_by_value_with_what_is_missing_last(
    visit: Visit, tmp_path: Path
):
    cells = ["10.5 [9.0, 12.0]", "–", "-2.0 [-3.0, -1.0]", "1e-3 [0.0, 0.1]", "9.0 [8.0, 10.0]"]
    rows = [(f"row {number}", cell) for number, cell in enumerate(cells)]
    part = Table(("name", "figure"), rows, folded="")
    page = visit(written(tmp_path, [part]))
    box = table(page, "part")
    sort = box.get_by_role("button", name="figure")
    sort.click()
    assert column(box, 2) == [cells[place] for place in (2, 3, 4, 0, 1)]
    expect(box.locator("th").nth(1)).to_have_attribute("aria-sort", "ascending")
    sort.click()
    assert column(box, 2) == [cells[place] for place in (0, 4, 3, 2, 1)]
    expect(box.locator("th").nth(1)).to_have_attribute("aria-sort", "descending")
    sort.click()
    assert column(box, 2) == cells
    assert box.locator("th[aria-sort]").count() == 0


def test_figures_are_aligned_and_texts_are_not(visit: Visit, report: Path):
    page = visit(report)
    box = table(page, "specificity")
    aligned = (
        box.locator("tbody tr")
        .first.locator("td")
        .evaluate_all("found => found.map((one) => getComputedStyle(one).textAlign)")
    )
    assert aligned == ["left", "left", *["right"] * 6]


def test_a_table_is_copied_and_saved_with_intervals_in_columns(visit: Visit, report: Path):
    page = visit(report, permissions=["clipboard-read", "clipboard-write"])
    box = table(page, "specificity")
    box.get_by_role("searchbox").fill("gamma")
    box.get_by_role("button", name=re.compile("^Copy table")).click()
    expect(page.locator("#status")).to_have_text(re.compile(r"Copied \d+ rows"))
    copied = page.evaluate("navigator.clipboard.readText()")
    head, *rows = [line.split("\t") for line in copied.split("\n")]
    assert head[:5] == [
        "recognizer",
        "compared",
        "genuine pairs",
        "genuine pairs, low",
        "genuine pairs, high",
    ]
    mean, low, high = re.findall(r"[\d.]+", text(BASES[2] + 0.02))
    assert rows[0][:5] == ["gamma", "critical", mean, low, high]
    assert {row[0] for row in rows} == {"gamma"}
    with page.expect_download() as download:
        box.get_by_role("button", name=re.compile("as CSV$")).click()
    assert download.value.suggested_filename == "leam-specificity-1.csv"
    saved = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(saved))) == [head, *rows]


def test_a_filter_leaves_the_chosen_recognizers_in_tables_and_charts(visit: Visit, report: Path):
    page = visit(report)
    found = chart(page, "regions")
    assert "alpha" in found.locator(".view").inner_text()
    page.get_by_label("alpha", exact=True).uncheck()
    expect(page.locator(".filtered")).to_have_text("Only beta, gamma: the page is filtered.")
    unfold(page)
    shown = page.locator("main [data-recognizer]:visible").evaluate_all(
        "found => found.map((one) => one.dataset.recognizer)"
    )
    assert set(shown) & set(NAMES) == {"beta", "gamma"}
    expect(found.locator(".view")).not_to_contain_text("alpha")
    expect(found.locator(".view")).to_contain_text("beta")
    page.get_by_label("alpha", exact=True).check()
    expect(page.locator(".filtered")).to_be_hidden()
    expect(found.locator(".view")).to_contain_text("alpha")


def test_permalinks_lead_to_sections_headings_and_charts_even_if_folded(visit: Visit, report: Path):
    page = visit(report)
    assert page.locator("section > h2").count() == page.locator("section > h2 > .permalink").count()
    links = page.locator(".permalink").evaluate_all(
        "found => found.map((one) => one.hash.slice(1))"
    )
    assert len(set(links)) == len(links) > 40
    assert page.evaluate("links => links.every((one) => document.getElementById(one))", links)
    folded = page.locator("main details:not([open]) h3[id]").first.get_attribute("id")
    assert folded
    page = visit(report, f"#{folded}")
    expect(page.locator(f"#{folded}")).to_be_in_viewport()


def test_the_link_of_a_chart_is_copied(visit: Visit, report: Path):
    page = visit(report, permissions=["clipboard-read", "clipboard-write"])
    found = page.locator("#regions .chart").first
    found.get_by_role("button", name=re.compile("^Copy the link")).click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{report.as_uri()}#regions-share-of-the-critical-pixels-in-each-region"


def test_a_chart_is_saved_without_the_colours_of_the_page(visit: Visit, report: Path):
    page = visit(report, color_scheme="dark")
    found = chart(page, "regions")
    with page.expect_download() as download:
        found.get_by_role("button", name=re.compile("^Save as SVG")).click()
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    assert saved.startswith("<svg")
    assert "var(" not in saved
    assert ">alpha<" in saved
    with page.expect_download() as download:
        found.get_by_role("button", name=re.compile("^Save as PNG")).click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_on_paper_are_all_tables_and_each_chart_once(visit: Visit, report: Path, tmp_path: Path):
    page = visit(report)
    live = chart(page, "regions")
    table(page, "specificity").get_by_role("searchbox").fill("beta")
    cells = page.locator("main :is(td, th)").all_text_contents()
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    pages = [one.extract_text() for one in PdfReader(tmp_path / "report.pdf").pages]
    printed = "".join("".join(pages).split())
    missing = {cell for cell in cells if "".join(cell.split()) not in printed}
    assert missing == set()
    for number, one in enumerate(pages, 1):
        assert f"{number} / {len(pages)}" in one
    assert "Copy" not in printed
    assert page.locator("main details:not([open])").count() > 0
    page.emulate_media(media="print")
    assert live.locator("svg:visible").count() == 1


def test_nothing_is_wider_than_a_phone(visit: Visit, report: Path):
    page = visit(report, viewport=PHONE)
    assert overflow(page) == 0
    unfold(page)
    chart(page, "regions")
    assert overflow(page) == 0
    wide = page.locator("main :is(table, .scroll, .view svg, .drawing:visible svg)").evaluate_all(
        "found => found.filter((one) => one.scrollWidth > one.clientWidth + 1"
        " || one.getBoundingClientRect().right > innerWidth)"
        ".map((one) => one.outerHTML.slice(0, 200))"
    )
    assert wide == []
    # An interval is on one line, below or beside its mean.
    lines = page.locator("td small:visible").evaluate_all(
        "found => found.map((one) => one.getClientRects().length)"
    )
    assert set(lines) == {1}
    # Labels of charts are as large as text.
    smallest = page.locator("#regions .view text").evaluate_all(
        "found => Math.min(...found.filter((one) => one.textContent.trim())"
        ".map((one) => one.getBoundingClientRect().height))"
    )
    assert smallest > 9


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, report: Path, scheme: str, viewport: dict[str, int]):
    page = visit(report, color_scheme=scheme, viewport=viewport)
    unfold(page)
    chart(page, "regions")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_colour_scheme_can_be_chosen_and_stays(visit: Visit, report: Path):
    page = visit(report, color_scheme="light")

    def lightness() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return max(map(int, re.findall(r"\d+", colour)[:3]))

    assert lightness() > 200
    found = chart(page, "regions")
    label = found.locator(".view .role-axis-label text").first
    dark_ink = label.evaluate("one => getComputedStyle(one).fill")
    page.get_by_label("Colours").select_option("Dark")
    assert lightness() < 60
    assert label.evaluate("one => getComputedStyle(one).fill") != dark_ink
    page.reload()
    assert lightness() < 60
    page.get_by_label("Colours").select_option("System")
    assert lightness() > 200


def test_everything_is_reached_by_keyboard(visit: Visit, report: Path):
    page = visit(report, viewport=PHONE)

    def focused(what: str) -> str:
        return page.evaluate(f"document.activeElement.{what}")

    page.keyboard.press("Tab")
    assert focused("className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Tab")
    assert focused("textContent") == "Contents"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    contents = page.locator(".menu ol")
    expect(contents).to_be_hidden()
    page.keyboard.press("Enter")
    expect(contents).to_be_visible()
    page.keyboard.press("Escape")
    expect(contents).to_be_hidden()
    assert focused("textContent") == "Contents"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    name = focused("hash")
    page.keyboard.press("Enter")
    expect(page.locator(name)).to_be_in_viewport()
    expect(contents).to_be_hidden()
    sort = table(page, "specificity").get_by_role("button", name="AUC", exact=True)
    sort.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#specificity th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    # No control is left out of the order of tabs.
    assert page.locator(":is(a, button, input, select, summary)[tabindex='-1']").count() == 0


def test_without_scripts_are_the_same_figures(visit: Visit, report: Path):
    page = visit(report, java_script_enabled=False, viewport=PHONE)
    expect(page.locator("#regions .drawing svg").first).to_be_visible()
    expect(page.get_by_label("Colours")).to_be_hidden()
    expect(page.locator(".filter")).to_be_hidden()
    fold = page.locator("#specificity details", has=page.locator("table")).first
    fold.locator("summary").first.click()
    expect(fold.locator("table")).to_be_visible()


@pytest.mark.parametrize(("motion", "wanted"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_scrolling_is_smooth_only_where_motion_is_wanted(
    visit: Visit, report: Path, motion: str, wanted: str
):
    page = visit(report, reduced_motion=motion)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == wanted


def test_texts_cannot_become_scripts_or_formulas(visit: Visit, tmp_path: Path):
    estimates = [Estimate(0.5, 0.4, 0.6, 20)] * 2
    drawing = Drawing(
        Rows(
            [
                Panel(
                    [HOSTILE, "other"],
                    [Series(HOSTILE, estimates, "#2b6cb0")],
                    HOSTILE,
                    title=HOSTILE,
                )
            ]
        ),
        HOSTILE,
    )
    rows = [(HOSTILE, "=1+1", "-0.5"), ("other", "+cmd", "0.5")]
    parts = [
        Heading(HOSTILE), Text(HOSTILE), Code(HOSTILE), drawing, Table(("recognizer", HOSTILE, "x"), rows, folded=""),
        Fold(HOSTILE, [Text(HOSTILE, recognizer=HOSTILE)]),
    ]  # fmt: skip
    page = visit(written(tmp_path, parts))
    chart(page, "part")
    assert page.locator("main img").count() == 0
    assert (
        page.locator("h3").inner_text().startswith("</script><img src=x onerror=alert(1)> =1+1 &")
    )
    with page.expect_download() as download:
        table(page, "part").get_by_role("button", name=re.compile("as CSV$")).click()
    saved = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    assert [row[1:] for row in csv.reader(io.StringIO(saved))][1:] == [
        ["'=1+1", "-0.5"],
        ["'+cmd", "0.5"],
    ]
    page.get_by_label("other", exact=True).uncheck()
    assert len(column(table(page, "part"), 1)) == 1


def written(folder: Path, parts: list) -> Path:
    path = folder / "page.html"
    path.write_text(
        html_page("page", "Page", "Lead.", [("part", [Box("Part", parts)])], [HOSTILE, "other"]),
        encoding="utf-8",
    )
    return path


def test_the_recognizers_of_the_study_can_be_filtered(visit: Visit, report: Path):
    page = visit(report)
    assert [name.strip() for name in page.locator(".filter label").all_inner_texts()] == [*NAMES]
