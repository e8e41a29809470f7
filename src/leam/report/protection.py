"""The page of ``leam protect``."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from leam.faces.reading import Picture as Pixels
from leam.metrics.statistics import FEWEST, NOTHING
from leam.protect.measuring import UNCHANGED, Measured, strongest_part
from leam.protect.record import ChangeRecord, LinkRecord, ProtectRecord, RegionRecord
from leam.report.charts import Panel, Rows, Series, colours
from leam.report.html import html_page
from leam.report.parts import (
    MISSING,
    Cards,
    Cell,
    Drawing,
    Facts,
    Fold,
    Part,
    Picture,
    Table,
    Text,
    listed,
    noun_for,
    number,
    plain,
    plural,
)
from leam.report.pictures import jpeg
from leam.report.section import DROP_AXES, Box

_LEAD = (
    "Which pairs of one person's pictures recognizers still link after ordinary changes. It measures and warns: "
    "nothing is optimised against a recognizer, and nobody else is identified. This page is private."
)
_HOW = (
    "Two pictures are linked if their similarity reaches the recognizer's threshold. Each changed picture is compared "
    "with every other unchanged picture, but not with the one it was made of, and changed pictures with each other. "
    "The strongest recognizer is the one that links the most pairs of a changed and an unchanged picture."
)
_NOT_FOUND = (
    "Where the face is not found in a changed picture, or its landmarks are unreliable, the picture is aligned with "
    "the landmarks of the original. That is the strongest case for whoever links the pictures: a face that is not "
    "found is not counted as protected."
)
_FEW = (
    "Figures from few pictures are too optimistic: where fewer than 10 % of the pairs of two pictures stayed linked, "
    "19 % of the pairs of the person's other pictures did (docs/protect.md). Use the column expected for others."
)
_EXPECTED = (
    "Expected for others: the part of the pairs of a changed and an unchanged picture that is expected to be linked "
    "among your other pictures. It follows from how far the similarities are from the threshold and how they vary; "
    "with few pictures it stays away from 0 and 100 % (docs/protect.md)."
)
_PIXELS = (
    "Pixels: the part of the pixels in the face's box that changed. Gain: percentage points by which the strongest "
    "recognizer links fewer pairs than without a change; per pixel: gain divided by the part of the pixels."
)
_REGIONS = (
    "Each region is hidden in one picture of a pair; the more the similarity falls, the more the region links the "
    "pictures. A large region usually links more than a small one."
)
_WHOSE = (
    "own: the drop lies above the range of 95 % of other people, for all regions of a recognizer together; "
    "everybody's: it lies within this range, and the region links other people's pictures as well."
)
# Longer side of an example in pixels.
_SIDE = 320


def protection_page(measured: Measured) -> str:
    """The page's HTML.

    Args:
        measured: The figures and an example of each change.
    """
    record = measured.record
    boxes = [
        Box("", list(_summary(record))),
        Box("What stays linked", list(_links(record))),
        Box("The changes", list(_examples(measured))),
        Box("Which regions link these pictures", list(_regions(record))),
        Box("What these figures cannot promise", [Text(one, "note") for one in record.limits]),
        Box("How it was measured", list(_provenance(record))),
    ]
    return html_page(
        "does it protect", "Does it protect?", _LEAD, [("protect", boxes)], list(record.recognizers)
    )


def sentences(record: ProtectRecord) -> Iterator[str]:
    """The result in words."""
    before = record.changes[UNCHANGED]
    yield (
        f"Without a change, the strongest recognizer, {before.strongest}, links {share(before)} of the pairs."
    )
    if strongest_part(before) == 0:
        yield "There is nothing to protect at these thresholds."
    elif record.best is None:
        yield "No change lowers this."
    else:
        best = record.changes[record.best]
        yield (
            f"The most effective change is {record.best}: after it, the strongest recognizer, {best.strongest}, still "
            f"links {share(best)}."
        )
        among = best.recognizers[best.strongest].among_changed
        if among.pairs:
            yield f"Of the pairs of two pictures that were both changed this way, {links_text(among)} are linked."
        if record.best_per_pixel not in {None, record.best}:
            other = record.changes[record.best_per_pixel or ""]
            yield (
                f"Per changed pixel, {record.best_per_pixel} is the most effective: it changes "
                f"{_percent(other.pixels)} of the face, and {share(other)} stay linked."
            )


def share(change: ChangeRecord) -> str:
    """What the strongest recognizer links, in words."""
    return links_text(change.recognizers[change.strongest].with_unchanged)


def links_text(found: LinkRecord) -> str:
    """The linked pairs: a part with its interval, or numbers for fewer than ten pictures."""
    part = found.part
    if part.mean is None or part.low is None or part.high is None:
        return f"{found.linked} of {found.pairs}" if found.pairs else MISSING
    return f"{100 * part.mean:.0f} % [{100 * part.low:.0f}, {100 * part.high:.0f}]"


def change_row(name: str, change: ChangeRecord) -> tuple[str, ...]:
    """The row of a change: what :data:`CHANGE_COLUMNS` names."""
    links = change.recognizers[change.strongest]
    return (
        name,
        links_text(links.with_unchanged),
        MISSING if name == UNCHANGED else links_text(links.among_changed),
        _percent(links.expected),
        f"{change.found} of {change.pictures}",
        MISSING if name == UNCHANGED else _percent(change.pixels),
        _points(change.gain),
        _points(change.gain_per_pixel),
        change.strongest,
    )


CHANGE_COLUMNS = (
    "change",
    "linked with unchanged",
    "linked among changed",
    "expected for others",
    "face found",
    "pixels",
    "gain",
    "per pixel",
    "strongest",
)
"""Name of the change, linked and expected parts, faces found, pixels, gain, gain per pixel, strongest recognizer."""


def region_row(name: str, found: RegionRecord) -> tuple[str, ...]:
    """The row of a region: name, area, similarity drop, that of others, their range, and whose."""
    return (
        name,
        _percent(found.area),
        plain(found.drop.mean, 3) if found.drop.low is None else number(found.drop),
        number(found.others or NOTHING),
        MISSING if found.low is None else f"{found.low:.3f} to {found.high:.3f}",
        whose_text(found),
    )


REGION_COLUMNS = ("region", "area", "similarity drop", "other people", "range of people", "whose")
"""What :func:`region_row` contains."""


def whose_text(found: RegionRecord) -> str:
    """Whose the region is, with the number of people where this is not known."""
    if found.whose == "inconclusive":
        return f"inconclusive (n = {found.others.n if found.others else 0})"
    return found.whose or MISSING


def _summary(record: ProtectRecord) -> Iterator[Part]:
    before = record.changes[UNCHANGED]
    facts = [
        (str(len(record.pictures)), "pictures of one person"),
        (str(len(record.recognizers)), noun_for(len(record.recognizers), "recognizer")),
        (_percent(strongest_part(before)), "of the pairs linked without a change"),
    ]
    if record.best:
        left = strongest_part(record.changes[record.best])
        facts.append((_percent(left), f"still linked after {record.best}"))
    yield Facts(facts)
    yield Text(" ".join(sentences(record)).replace(" %", "\N{NO-BREAK SPACE}%"))
    yield Text(record.limits[-1], "note")


def _links(record: ProtectRecord) -> Iterator[Part]:
    yield Text(_HOW)
    names, changes = list(record.recognizers), record.changes
    series = [
        Series(
            name, [one.recognizers[name].with_unchanged.part for one in changes.values()], colour
        )
        for name, colour in zip(names, colours(len(names)), strict=True)
    ]
    panel = Panel(
        list(changes),
        series,
        "linked pairs of a changed and an unchanged picture (%)",
        scale=100,
        limits=(0, 100),
    )
    if len(record.pictures) >= FEWEST:
        yield Drawing(Rows([panel]), "Linked pairs after each change by recognizer")
    else:
        yield Text(
            f"Intervals need {FEWEST} pictures; these are numbers of pairs of "
            f"{plural(len(record.pictures), 'picture')}. {_FEW}",
            "note",
        )
    rows = [change_row(name, one) for name, one in changes.items()]
    yield Table(CHANGE_COLUMNS, rows, folded="")
    yield Text(_EXPECTED, "muted")
    yield Text(_PIXELS, "muted")
    yield Text(_NOT_FOUND, "muted")
    if len(names) > 1:
        yield _every(record)
    if record.untested:
        reasons = listed(f"{name} ({reason})" for name, reason in record.untested.items())
        yield Text(f"Not tested: {reasons}.", "note")


def _every(record: ProtectRecord) -> Fold:
    names = list(record.recognizers)
    rows = [
        (name, *(links_text(one.recognizers[model].with_unchanged) for model in names))
        for name, one in record.changes.items()
    ]
    return Fold(
        "Every recognizer",
        [Table(("linked with unchanged", *names), rows, folded="")],
        unfolded=True,
    )


def _examples(measured: Measured) -> Iterator[Part]:
    yield Text("The same picture after each change, cut to the face.")
    changes = measured.record.changes
    pictures = []
    for name, picture in measured.examples.items():
        text = f"{name}: {changes[name].description}"
        pictures.append(Picture(jpeg(_limited(picture)), text, text))
    yield Cards(pictures, "medium" if len(pictures) < 3 else "large")  # noqa: PLR2004


def _limited(picture: Pixels) -> Pixels:
    scale = _SIDE / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _regions(record: ProtectRecord) -> Iterator[Part]:
    yield Text(_REGIONS)
    if record.population is None:
        yield Text(
            "Without other people (``--population``), it is not known whether these regions link everybody.",
            "muted",
        )
    else:
        yield Text(_WHOSE, "muted")
    for done, (name, one) in enumerate(record.recognizers.items()):
        columns = len(REGION_COLUMNS) if record.population else 3
        rows = [region_row(region, found)[:columns] for region, found in one.regions.items()]
        table = Table(REGION_COLUMNS[:columns], rows, folded="")
        title = f"{name}: {DROP_AXES[one.similarity]}"
        yield Fold(title, [table], unfolded=done == 0, recognizer=name)


def _provenance(record: ProtectRecord) -> Iterator[Part]:
    rows = []
    for name, one in record.recognizers.items():
        threshold = one.threshold
        fmr = threshold.fmr or NOTHING
        text = MISSING
        if fmr.mean is not None and fmr.low is not None:
            text = f"{fmr.mean:.2g} [{fmr.low:.2g}, {fmr.high:.2g}] on {threshold.pairs} pairs"
        rows.append(
            (name, f"{threshold.value:.3f}", threshold.source, text, Cell(one.sha256, "break"))
        )
    yield Table(("recognizer", "threshold", "from", "false match rate", "sha256"), rows, folded="")
    facts = [
        f"Detector {record.detector}, parser {record.parser}, seed {record.seed}",
        ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    ]
    if record.population:
        count = len(record.population.pictures)
        facts.append(f"population: {record.population.people} people, {count} pictures")
    yield Text("; ".join(facts) + ".", "muted")
    files = [
        (
            Cell(one.image, "break"),
            Cell(one.protected or MISSING, "break"),
            Cell(one.sha256, "break"),
        )
        for one in record.pictures
    ]
    yield Table(("picture", "changed file", "sha256"), files, folded="Pictures")


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.0f} %"


def _points(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:+.0f}"
