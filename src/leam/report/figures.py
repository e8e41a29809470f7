"""The charts of a report as files for papers: ``figures/NAME.svg``, ``.pdf`` and ``.png`` in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping

from leam.figures import FORMATS
from leam.progress import Progress, silent
from leam.report.charts import Chart, Histograms, Lines, Matrix, RegionMap, Rows
from leam.study.store import RunFolder

FIGURES = "figures"
"""The folder."""
# More columns of a table do not fit into a column of a paper.
_MOST_COLUMNS = 6


def write_figures(
    folder: RunFolder, charts: Mapping[str, Chart], progress: Progress = silent
) -> None:
    """Write each chart black on white, as wide as one or two columns of a paper; figures of other charts are removed.

    Args:
        folder: The run folder.
        charts: By the names of their files, without a suffix.
        progress: Progress callback.

    Raises:
        StudyError: A file cannot be written or removed.
    """
    # Altair is imported only when a chart is drawn.
    from leam.report.drawing import figure_files  # noqa: PLC0415

    written = {f"{FIGURES}/{name}.{suffix}" for name in charts for suffix in FORMATS}
    for name in folder.written(FIGURES):
        if name not in written:
            folder.discard(name)
    for done, (name, chart) in enumerate(charts.items()):
        progress("drawing figures", done, len(charts))
        for suffix, data in figure_files(chart, wide=is_wide(chart)).items():
            folder.write_bytes(f"{FIGURES}/{name}.{suffix}", data)
    progress("drawing figures", len(charts), len(charts))


def is_wide(chart: Chart) -> bool:
    """Whether a chart needs both columns of a paper: panels side by side, or a large table."""
    if isinstance(chart, Rows | Lines | Histograms):
        return len(chart.panels) > 1
    if isinstance(chart, Matrix):
        return len(chart.columns) > _MOST_COLUMNS
    return isinstance(chart, RegionMap) and len(chart.layers) > 2 * _MOST_COLUMNS
