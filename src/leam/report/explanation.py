"""The page of ``leam explain``: one file with the maps, the regions and what they were made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from leam.explain.explanation import Explanation, Provenance, RegionRecord, percent_rows
from leam.explain.figures import UNIT
from leam.explain.person_explanation import PersonExplanation
from leam.explain.pictures import HEAT, PAIR, Map, bright_end, enlarge, heat, overlay, spotlight
from leam.faces.reading import Picture as Pixels
from leam.parsers.drawing import labelled, outlined
from leam.recognizers.decisions import amount, noun
from leam.report.html import html_page
from leam.report.parts import Cards, ColourBar, Part, Picture, Table, Text, listed, plural
from leam.report.pictures import jpeg
from leam.report.section import Box

_LEAD = "It explains what a recognizer relies on; it does not identify anyone. This page shows faces: it is private."
_HOW = (
    "Map: part of the overall map in the region. Area: part of the aligned face that the region covers. A region whose "
    "part of the critical pixels is about its area is not preferred."
)
_CRITICAL = "critical pixels"
# Pictures and layers are enlarged to about these many pixels.
_SIDE, _SMALL = 450, 220
_COLOURS = 9


def explanation_page(explanation: Explanation) -> str:
    """The HTML of an explanation; of a pair, of both faces if the other one was explained, too."""
    made, mate = explanation.provenance, explanation.mate
    table = [_regions(explanation), Text(_HOW, "muted")]
    if explanation.reference is None:
        boxes = [Box("", [*_said(explanation), *_maps(explanation)]), Box("Regions", table)]
    else:
        boxes = [Box("", [*_said(explanation)])]
        for one in filter(None, (explanation, mate)):
            parts = [*_maps(one), _regions(one), Text(_HOW, "muted")]
            boxes.append(Box(f"What makes them alike and different, on {one.name}", parts))
    if explanation.maps.layers:
        which = "Layers" if mate is None else f"Layers, on {explanation.name}"
        boxes.append(Box(which, [*_layers(explanation)]))
    notes = list(
        dict.fromkeys([*explanation.notes, *(mate.notes if mate else ()), *made.unchecked])
    )
    if notes:
        boxes.append(Box("Limitations", [Text(note, "note") for note in notes]))
    boxes.append(Box("Provenance", [Table((), _read(made, explanation.target), folded="")]))
    subject = explanation.name if mate is None else f"{explanation.name} and {mate.name}"
    return html_page(
        f"what {made.model} relies on in {subject}",
        f"What {made.model} relies on in {subject}",
        _LEAD,
        [("explanation", boxes)],
    )


def person_page(explanation: PersonExplanation) -> str:
    """The HTML of the explanation of a person."""
    record = explanation.record()
    values = explanation.person_map.map.numpy()
    read = [
        *((f"picture {at}", one.image or "in memory") for at, one in enumerate(record.pictures, 1)),
        *((f"SHA-256 of {at}", one.sha256) for at, one in enumerate(record.pictures, 1)),
        ("estimate", record.estimate),
        *_settings(explanation.pictures[0].provenance, "the embedding"),
    ]
    parts: list[Part] = [
        Text(_sentence(record.regions)),
        *_panels(
            explanation.face, values, explanation.critical, explanation.regions, "mean of the faces"
        ),
        Table(("region", _CRITICAL, "map", "area"), percent_rows(record.regions), folded=""),
        Text(_HOW, "muted"),
        Text("Do not apply this map to these pictures, or compare it with maps of them.", "note"),
    ]
    heading = (
        f"What {record.model} relies on in {plural(len(record.pictures), 'picture')} of one person"
    )
    boxes = [Box("", parts), Box("Provenance", [Table((), read, folded="")])]
    return html_page(heading[0].lower() + heading[1:], heading, _LEAD, [("person", boxes)])


def _said(explanation: Explanation) -> Iterator[Part]:
    """What the explanation says; of a pair, the decision and both faces."""
    if explanation.reference_chip is None:
        yield Text(_sentence(explanation.regions))
        return
    other = explanation.reference.path if explanation.reference else None
    names = explanation.name, other.name if other else "face"
    chips = explanation.chip, explanation.reference_chip
    yield Text(f"{explanation.verdict[0].upper()}{explanation.verdict[1:]}.")
    faces = zip(chips, names, strict=True)
    yield Cards(
        [_picture(enlarge(one.image, _factor(one.image)), name) for one, name in faces], "medium"
    )


def _sentence(regions: dict[str, RegionRecord], what: str = "The critical pixels") -> str:
    """Where most of the critical pixels are."""
    found = [(name, row) for name, row in regions.items() if row.share > 0][:3]
    if not found:
        return f"{what}: none."
    said = [
        f"{name} {100 * row.share:.0f} % ({100 * row.area:.1f} % of the picture)"
        for name, row in found
    ]
    return f"{what} lie mainly in these regions: {listed(said)}."


def _maps(explanation: Explanation) -> Iterator[Part]:
    """The pictures of a face."""
    face, regions = explanation.chip.image, explanation.parsing.regions
    if explanation.reference is None:
        overall = explanation.maps.overall[0].cpu().numpy()
        yield from _panels(face, overall, explanation.critical, regions, "aligned face")
        return
    large = enlarge(face, _factor(face))
    shown = [_picture(large, explanation.name), _picture(labelled(large, regions), "regions")]
    yield Text(_sentence(explanation.regions, "The critical pixels of what makes the faces alike"))
    for kind, (values, critical) in explanation.side.maps.items():
        colours, marked = PAIR[kind]
        brightest = f"brightest: {bright_end(values) * values.size:.3g} {UNIT}"
        shown += [
            _on_face(
                overlay(face, values, colours), regions, f"what makes them {kind} ({brightest})"
            ),
            _on_face(spotlight(face, critical, marked), regions, f"{kind}: {_CRITICAL}"),
        ]
    yield Cards(shown, "medium")


def _panels(
    face: Pixels, overall: Map, critical: np.ndarray, regions: np.ndarray, title: str
) -> Iterator[Part]:
    """A face, its map, its critical pixels and its regions, and the scale of the map."""
    large = enlarge(face, _factor(face))
    yield Cards(
        [
            _picture(large, title),
            _on_face(overlay(face, overall), regions, "overall map"),
            _on_face(spotlight(face, critical), regions, _CRITICAL),
            _picture(labelled(large, regions), "regions"),
        ],
        "medium",
    )
    yield _bar(bright_end(overall) * overall.size)


def _layers(explanation: Explanation) -> Iterator[Part]:
    """The map of each layer, on one scale."""
    maps, face = explanation.maps, explanation.chip.image
    each = maps.at_input_size()[:, 0].cpu().numpy()
    highest = bright_end(each)
    shown = []
    for number, (layer, empty, values) in enumerate(
        zip(maps.layers, maps.empty[:, 0], each, strict=True), 1
    ):
        drawn = overlay(face, values, highest=highest)
        size = f"{layer.channels} x {layer.size[0]}x{layer.size[1]}{', empty' if empty else ''}"
        caption = f"{number} {layer.name} ({size})"
        shown.append(
            Picture(jpeg(enlarge(drawn, _factor(face, _SMALL))), f"map of layer {caption}", caption)
        )
    yield Text("From the first layer to the last: channels x size of the layer's map.", "muted")
    yield Cards(shown, "layers")
    yield _bar(highest * each[0].size)


def _regions(explanation: Explanation) -> Table:
    header, rows = ["region", _CRITICAL, "map", "area"], percent_rows(explanation.regions)
    if explanation.difference:
        header[1:3] = ["alike", "map: alike", "different", "map: different"]
        different = {name: row for name, *row in percent_rows(explanation.difference.regions)}
        rows = [(name, share, mass, *different[name][:2], area) for name, share, mass, area in rows]
    return Table(header, rows, folded="")


def _read(made: Provenance, target: str) -> list[tuple[str, str]]:
    """Files, models and settings with their hashes."""
    rows = [("picture", made.image or "in memory"), ("SHA-256 of the picture", made.image_sha256)]
    if made.reference_sha256:
        rows += [
            ("compared with", made.reference or "in memory"),
            ("SHA-256 of that", made.reference_sha256),
        ]
    return [*rows, *_settings(made, target)]


def _settings(made: Provenance, target: str) -> list[tuple[str, str]]:
    kind = made.similarity_kind
    threshold = (
        None
        if made.threshold is None
        else f"{amount(made.threshold, kind)}, from the recognizer's card"
    )
    height, width = made.input.input_size
    alignment = "five points of the card" if made.input.points else made.input.template
    known = {
        "recognizer": made.model,
        "SHA-256 of its weights": made.sha256,
        "input": f"{height}x{width} {made.input.channels}, aligned by {alignment}",
        f"threshold of the {noun(kind)}": threshold,
        "device": f"{made.device}, {made.precision}",
        "target": target,
        "method": made.method,
        "weighting": made.weighting,
        "aggregate": made.aggregate,
        "backend": made.backend,
        _CRITICAL: f"top {100 * made.top:g} % of the map",
        "parser": made.parser,
        "SHA-256 of its weights (parser)": made.parser_sha256,
        "versions": ", ".join(f"{name} {one}" for name, one in made.versions.items()),
    }
    return [(name, value) for name, value in known.items() if value is not None]


def _bar(highest: float) -> ColourBar:
    values = np.linspace(0, 1, _COLOURS)[None]
    colours = [
        f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in heat(values, HEAT, 1.0)[0]
    ]
    return ColourBar(colours, f"≥ {highest:.3g}", UNIT)


def _on_face(drawn: Pixels, regions: np.ndarray, title: str) -> Picture:
    return _picture(outlined(enlarge(drawn, _factor(drawn)), regions), title)


def _picture(drawn: Pixels, title: str) -> Picture:
    return Picture(jpeg(drawn), title, title)


def _factor(face: Pixels, side: int = _SIDE) -> int:
    return max(1, round(side / len(face)))
