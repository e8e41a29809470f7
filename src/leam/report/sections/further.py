"""Figures that no section shows, such as those of a plug-in's metric: a chart and a table of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leam.metrics.statistics import NOTHING, Estimate
from leam.report.charts import SERIES, Panel, Rows, Series
from leam.report.parts import Drawing, Heading, Part, Table, Text, number
from leam.report.section import SECTIONS, Box, Context, Section
from leam.results.figures import Figures, Model, UnknownFigures
from leam.study.stage import STAGES

# Panels side by side, and charts of one stage; the table has the rest.
_COLUMNS = 3
_MOST_PANELS = 12
# Decimals of figures from 0.1 on, and of smaller ones.
_LARGE, _DIGITS, _MORE = 0.1, 3, 5
_ALL = "all recognizers"


@dataclass(frozen=True)
class Figure:
    """One estimate of a stage.

    Attributes:
        name: Its name: fields and keys, such as ``regions · nose``.
        row: Whose it is: a recognizer, or all of them.
        estimate: The estimate.
    """

    name: str
    row: str
    estimate: Estimate


@SECTIONS("further")
class FurtherMetrics(Section):
    """A box for each stage whose figures no other section shows."""

    name = "further"
    order = 160

    def applies(self, context: Context) -> bool:
        """Where there are such figures."""
        return bool(_stages(context))

    def boxes(self, context: Context) -> Iterator[Box]:
        """Title and docstrings of the stage, a chart and a table of its estimates."""
        for stage, figures in _stages(context).items():
            kind = type(next(iter(figures.values())))
            if kind is UnknownFigures:
                text = f"The figures of ``{stage}`` are in summary.json. Install its plug-in to see them here."
                yield Box(_capital(stage), [Text(text)])
            else:
                yield Box(_capital(STAGES[stage].title), list(_parts(kind, figures)))


def _stages(context: Context) -> dict[str, dict[str, Figures]]:
    """The figures that no section shows: by stage, then by recognizer or ``all recognizers``."""
    shown = {kind for name in SECTIONS for kind in SECTIONS[name].shows}
    found: dict[str, dict[str, Figures]] = {}
    summary = context.summary
    everything = [(name, one.figures) for name, one in summary.recognizers.items()]
    for name, by_stage in [*everything, (_ALL, summary.figures)]:
        for stage, figures in by_stage.items():
            if type(figures) not in shown:
                found.setdefault(stage, {})[name] = figures
    return dict(sorted(found.items()))


def _parts(kind: type[Figures], figures: Mapping[str, Figures]) -> Iterator[Part]:
    yield Text(" ".join((kind.__doc__ or "").split()))
    estimates = [one for row, model in figures.items() for one in estimates_of(model, row)]
    names = list(dict.fromkeys(one.name for one in estimates))
    for start in range(0, min(len(names), _MOST_PANELS), _COLUMNS):
        some = names[start : start + _COLUMNS]
        yield Drawing(figure_chart(estimates, some), f"{', '.join(some)} with 95 % intervals")
    if estimates:
        yield Table(
            ("figure", "recognizer", "mean with 95 % interval", "people"),
            [(one.name, one.row, _number(one.estimate), str(one.estimate.n)) for one in estimates],
        )
    explained = [
        (name.replace("_", " "), " ".join(field.description.split()))
        for name, field in kind.model_fields.items()
        if field.description
    ]
    if explained:
        yield Heading("What the figures mean")
        yield Table(("figure", "meaning"), explained, folded="")


def estimates_of(value: object, row: str, path: tuple[str, ...] = ()) -> Iterator[Figure]:
    """All estimates in some figures, also those within dictionaries and nested records."""
    if isinstance(value, Estimate):
        yield Figure(" · ".join(path), row, value)
    elif isinstance(value, Model):
        for name in type(value).model_fields:
            yield from estimates_of(getattr(value, name), row, (*path, name.replace("_", " ")))
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from estimates_of(one, row, (*path, str(key)))


def figure_chart(estimates: list[Figure], names: list[str]) -> Rows:
    """A panel for each named figure with a dot per recognizer."""
    rows = list(dict.fromkeys(one.row for one in estimates))
    panels = []
    for name in names:
        known = {one.row: one.estimate for one in estimates if one.name == name}
        series = Series("", [known.get(row, NOTHING) for row in rows], SERIES[0])
        panels.append(Panel(rows, [series], "", title=name))
    return Rows(panels)


def _number(found: Estimate) -> str:
    return number(found, _DIGITS if found.mean is None or abs(found.mean) >= _LARGE else _MORE)


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]
