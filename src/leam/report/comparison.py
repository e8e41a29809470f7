"""The page and the figures of ``leam compare``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from leam.compare.recognizers import ComparedFace, RecognizerComparison
from leam.compare.runs import DIFFERS, SHARE, Difference, RunComparison
from leam.explain.explanation import RegionRecord
from leam.explain.figures import LayerPanel, batch_figure
from leam.explain.pictures import enlarge, overlay
from leam.metrics.statistics import NOTHING, Estimate
from leam.report.charts import Panel, Rows, Series, colours
from leam.report.html import html_page
from leam.report.parts import (
    MISSING,
    Cards,
    Cell,
    Drawing,
    Part,
    Picture,
    Table,
    Text,
    listed,
    number,
    plain,
    plural,
)
from leam.report.pictures import colour_bar, jpeg, relative, scale_end
from leam.report.section import DROP_AXES, Box

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULE: Final = (
    "Differences are second minus first. They are paired by person if ten or more people are in both studies; "
    "otherwise the studies are taken as independent samples. A figure differs if the 95 % interval of the difference "
    "excludes zero and the p-value after Holm's correction over all rows is below 0.05. With fewer than ten people it "
    "is inconclusive. It is also inconclusive if people are not paired and the studies share people or pictures, or "
    "names were removed: the interval assumes independent samples, which these are not known to be; so do figures of "
    "impostor pairs if people are not paired, since the value of a person depends on the other people. No difference "
    "shown does not mean that figures are equal."
)
_AXES = {**DROP_AXES, SHARE: "points of the critical pixels", "bc": "Bhattacharyya coefficient"}
_COLUMNS = 4


def runs_page(found: RunComparison) -> str:
    """The page of two studies."""
    first, second = found.first.folder, found.second.folder
    boxes = [
        ("summary", Box("Which figures differ", list(_verdicts(found)))),
        ("differences", Box("Differences", list(_differences(found)))),
        ("not_compared", Box("Not compared", list(_not_compared(found)))),
        ("studies", Box("The studies", list(_studies(found)))),
    ]
    return html_page(
        f"{first} and {second}",
        "Two studies compared",
        f"First: {first}. Second: {second}. {found.pairing[0].upper()}{found.pairing[1:]}.",
        [(name, [box]) for name, box in boxes if box.parts],
        list(dict.fromkeys(one.recognizer for one in found.differences)),
    )


def verdict_counts(found: RunComparison) -> str:
    """In how many figures a difference is shown, in a sentence."""
    differ = sum(one.verdict == DIFFERS for one in found.differences)
    unclear = sum(one.verdict.startswith("inconclusive") for one in found.differences)
    sentence = f"A difference is shown in {differ} of {plural(len(found.differences), 'figure')} (Holm's correction)"
    return f"{sentence}; {unclear} are inconclusive." if unclear else f"{sentence}."


def estimate_text(found: Estimate, unit: str) -> str:
    """An estimate in its unit: shares in percent."""
    return number(found, 1, 100) if unit == SHARE else number(found)


def difference_rows(found: RunComparison) -> list[tuple[str, ...]]:
    """One row for each difference: recognizer, figure, both estimates, the difference, the p-value, n and verdict."""
    return [
        (
            one.recognizer,
            one.figure + (", %" if one.unit == SHARE else ""),
            estimate_text(one.first, one.unit),
            estimate_text(one.second, one.unit),
            estimate_text(one.difference, one.unit),
            plain(one.p_holm, 4),
            str(one.n),
            one.verdict,
        )
        for one in found.differences
    ]


def reasons(found: RunComparison) -> dict[str, list[str]]:
    """What was not compared, by reason."""
    by: dict[str, list[str]] = {}
    for one in found.refused:
        by.setdefault(f"settings differ: {one.reason}", []).append(one.figure)
    for folder, names in (
        (found.first.folder, found.only_first),
        (found.second.folder, found.only_second),
    ):
        if names:
            by[f"only in {folder}"] = names
    return by


def _verdicts(found: RunComparison) -> Iterator[Part]:
    yield Text(verdict_counts(found))
    differing = [one for one in found.differences if one.verdict == DIFFERS]
    if differing:
        rows = [row for row in difference_rows(found) if row[-1] == DIFFERS]
        yield Table(_HEADER, [_styled(row) for row in rows], folded="")
    yield Text(RULE, "muted")


_HEADER = ("recognizer", "figure", "first", "second", "difference", "p (Holm)", "people", "verdict")


def _styled(row: Sequence[str]) -> list[str | Cell]:
    style = {DIFFERS: "supported"}.get(row[-1], "inconclusive" if "inconclusive" in row[-1] else "")
    return [*row[:-1], Cell(row[-1], style)]


def _differences(found: RunComparison) -> Iterator[Part]:
    units = dict.fromkeys(one.unit for one in found.differences)
    for unit in units:
        rows = [one for one in found.differences if one.unit == unit]
        yield Drawing(difference_chart(rows, unit), f"Differences, {_AXES.get(unit, unit)}")
    yield Table(_HEADER, [_styled(row) for row in difference_rows(found)], folded="All figures")


def difference_chart(found: Sequence[Difference], unit: str) -> Rows:
    """Differences of one unit with their intervals, around zero.

    Args:
        found: The differences.
        unit: Their unit.
    """
    figures = list(dict.fromkeys(one.figure for one in found))
    names = list(dict.fromkeys(one.recognizer for one in found))
    by = {(one.recognizer, one.figure): one.difference for one in found}
    series = [
        Series(name, [by.get((name, figure), NOTHING) for figure in figures], colour)
        for name, colour in zip(names, colours(len(names)), strict=True)
    ]
    axis = f"second minus first, {_AXES.get(unit, unit)}"
    return Rows([Panel(figures, series, axis, scale=100 if unit == SHARE else 1, line=0)])


def _not_compared(found: RunComparison) -> Iterator[Part]:
    if by := reasons(found):
        rows = [(reason, Cell(", ".join(names), "break")) for reason, names in by.items()]
        yield Table(("reason", "figures"), rows, folded="")


def _studies(found: RunComparison) -> Iterator[Part]:
    sides = (found.first, found.second)
    rows: list[tuple[str | Cell, ...]] = [
        ("folder", *(Cell(one.folder, "break") for one in sides)),
        ("data", *(Cell(one.source, "break") for one in sides)),
        ("people", *(str(one.people) for one in sides)),
        ("pictures", *(str(one.pictures) for one in sides)),
        ("recognizers", *(", ".join(one.recognizers) for one in sides)),
        ("version of LEAM", *(one.version for one in sides)),
    ]
    yield Table(("study", "first", "second"), rows, folded="")
    for line in found.notes:
        yield Text(f"{line[0].upper()}{line[1:]}.", "muted")


def recognizers_page(found: RecognizerComparison, faces: Sequence[ComparedFace]) -> str:
    """The page of several recognizers on the same faces."""
    highest = scale_end(one.astype(np.float64) for face in faces for one in face.maps)
    return html_page(
        f"{len(found.recognizers)} recognizers",
        "Recognizers compared",
        f"Overall maps of {listed(found.recognizers)} ({found.method}), on the face as aligned for the first. Single "
        "pictures, without intervals: whether recognizers agree on people in general is a question for a study.",
        [
            (f"face-{place}", [Box(face.name, list(_face(found, face, highest)))])
            for place, face in enumerate(faces, 1)
        ],
    )


def _face(found: RecognizerComparison, face: ComparedFace, highest: float) -> Iterator[Part]:
    names = found.recognizers
    pictures = [
        Picture(jpeg(enlarge(face.chip, 2)), f"The aligned face of {face.name}", "aligned face")
    ]
    pictures += [
        Picture(
            jpeg(enlarge(overlay(face.chip, relative(one.astype(np.float64)), highest=highest), 2)),
            f"Map of {name}",
            name,
        )
        for name, one in zip(names, face.maps, strict=True)
    ]
    yield Cards(pictures)
    yield colour_bar(highest)
    yield Text("Critical pixels by region, and the region's area in brackets, in percent.", "muted")
    yield Table(("recognizer", *regions_of(face)), share_rows(face), folded="")
    yield Text(
        "Bhattacharyya coefficients of critical masks, and of overall maps in brackets. Two random masks have "
        f"{found.top:g}.",
        "muted",
    )
    yield Table(("recognizer", *names), agreement_rows(found, face), folded="")


def regions_of(face: ComparedFace) -> list[str]:
    """The regions that the face has for any recognizer."""
    of = face.record.recognizers.values()
    return list(dict.fromkeys(region for one in of for region in one.regions))


def share_rows(face: ComparedFace, *, areas: bool = True) -> list[tuple[str, ...]]:
    """One row for each recognizer: the share of the critical pixels by region, with the region's area in brackets."""

    def text(region: RegionRecord | None) -> str:
        if region is None:
            return MISSING
        area = f" ({100 * region.area:.1f})" if areas else ""
        return f"{100 * region.share:.1f}{area}"

    return [
        (name, *(text(one.regions.get(region)) for region in regions_of(face)))
        for name, one in face.record.recognizers.items()
    ]


def agreement_rows(
    found: RecognizerComparison, face: ComparedFace, *, maps: bool = True
) -> list[tuple[str, ...]]:
    """One row for each recognizer: the coefficient of critical masks with each other one, that of maps in brackets."""
    rows = zip(found.recognizers, face.record.critical, face.record.maps, strict=True)
    return [
        (
            name,
            *(
                f"{plain(a, 2)}{f' ({plain(b, 2)})' if maps else ''}"
                for a, b in zip(masks, overall, strict=True)
            ),
        )
        for name, masks, overall in rows
    ]


def recognizers_figure(found: RecognizerComparison, face: ComparedFace) -> Figure:
    """The maps of a face by all recognizers, on one scale that is stated below them."""
    panels = [
        LayerPanel(name, _favourite(face, name), one)
        for name, one in zip(found.recognizers, face.maps, strict=True)
    ]
    lines = [
        f"{face.name} · {len(panels)} recognizers",
        f"{found.method} · overall maps on the face as aligned for {found.recognizers[0]}, one scale",
    ]
    return batch_figure(panels, [face.chip] * len(panels), min(_COLUMNS, len(panels)), lines)


def _favourite(face: ComparedFace, name: str) -> str:
    """The region whose share of the critical pixels exceeds its area by the largest amount."""
    regions = face.record.recognizers[name].regions
    region = max(regions, key=lambda one: regions[one].share - regions[one].area)
    return f"{region} {100 * regions[region].share:.0f} %"
