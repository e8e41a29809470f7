"""The charts of a report as files for papers."""

from __future__ import annotations

import re

import pytest

from handmade import e
from leam.metrics.statistics import NOTHING
from leam.report import drawing
from leam.report import html as html_module
from leam.report import page as page_module
from leam.report.charts import INK, Matrix, Panel, RegionMap, Rows, Series
from leam.report.figures import is_wide, write_figures

CHART = Rows([Panel(["a"], [Series("s", [e(1)], INK)], "axis")])


@pytest.fixture
def drawn(monkeypatch) -> list[bool]:
    """Whether each chart was wide; files hold one word."""
    widths = []

    def files(_chart: object, *, wide: bool) -> dict[str, bytes]:
        widths.append(wide)
        return {suffix: suffix.encode() for suffix in ("svg", "pdf", "png")}

    monkeypatch.setattr(drawing, "figure_files", files)
    return widths


def test_a_report_writes_each_of_its_charts_by_the_name_of_its_link(
    write_run, tmp_path, drawn, monkeypatch
):
    folder = write_run(tmp_path / "run")
    # The page's own charts are tested elsewhere.
    for name in ("_svg", "_spec"):
        monkeypatch.setattr(html_module, name, lambda *_: "")
    page = page_module.render_report(folder, faces=False).read_text()
    anchors = re.findall(r'<figure class="chart" id="([^"]+)"', page)
    assert len(anchors) == len(drawn) > 10
    files = {path.name for path in (folder.path / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in anchors for kind in ("svg", "pdf", "png")}
    assert all(folder.is_unchanged(f"figures/{name}") for name in files)
    assert set(drawn) == {True, False}


def test_figures_of_an_earlier_report_are_removed_and_those_of_users_stay(
    write_run, tmp_path, drawn
):
    folder = write_run(tmp_path / "run")
    write_figures(folder, {"old": CHART, "both": CHART})
    figures = folder.path / "figures"
    (figures / "old.png").write_text("changed by hand")
    (figures / "mine.png").write_text("made by hand")
    write_figures(folder, {"both": CHART})
    assert sorted(path.name for path in figures.iterdir()) == [
        "both.pdf", "both.png", "both.svg", "mine.png", "old.png.kept",
    ]  # fmt: skip
    folder.clear()
    left = {path.name: path.read_text() for path in figures.iterdir()}
    assert left == {"mine.png.kept": "made by hand", "old.png.kept": "changed by hand"}


def test_panels_side_by_side_and_large_tables_are_wide():
    assert not is_wide(CHART)
    assert is_wide(Rows([*CHART.panels, *CHART.panels]))
    for count in (6, 7):
        names = [str(k) for k in range(count)]
        assert is_wide(Matrix([[e(1)] * count], ["a"], names)) == (count > 6)
        layers = names * 2
        cells = [[NOTHING] * len(layers)]
        assert is_wide(RegionMap(cells, ["nose"], layers, "", 1)) == (count > 6)
