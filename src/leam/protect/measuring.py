"""The measurement of ``leam protect``: change a person's pictures, and count the pairs that recognizers still link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from leam.errors import FaceError, InputError, LeamError
from leam.explain.methods import Method
from leam.explain.person_explanation import check_different
from leam.faces.detection import Detector
from leam.faces.face import Face
from leam.faces.protections import PROTECTIONS, ProtectionInput
from leam.faces.reading import Picture, PictureFile
from leam.metrics.error_rates import fmr_estimate
from leam.parsers.parsing import Parser
from leam.progress import Progress, silent
from leam.protect.changes import Changed, areas_of, changed_face
from leam.protect.linking import (
    Embeddings,
    Links,
    Threshold,
    expected_part,
    links_among,
    links_between,
    population_scores,
    threshold_from,
)
from leam.protect.record import (
    ChangeRecord,
    LinkRecord,
    PictureRecord,
    PopulationRecord,
    ProtectRecord,
    RecognizerLinks,
    RegionRecord,
    TestedRecognizer,
    ThresholdRecord,
)
from leam.protect.regions import region_drops, region_links
from leam.recognizers.recognizer import Recognizer
from leam.version import installed_versions

FMR = 1e-3
"""The false match rate at which a population sets the threshold of a recognizer whose card states none."""
FILES = "protected"
"""The name of the change that was made by another tool."""
UNCHANGED = "none"
COVER = "cover"
"""The protection that needs the maps of recognizers."""


@dataclass(frozen=True)
class Others:
    """Faces of other people.

    Attributes:
        faces: The faces.
        people: The person of each face.
    """

    faces: Sequence[Face]
    people: Sequence[str]

    @property
    def repeated(self) -> list[int]:
        """Positions of faces whose person has several."""
        names = list(self.people)
        return [place for place, name in enumerate(names) if names.count(name) > 1]


@dataclass(frozen=True)
class Tools:
    """What pictures are measured with.

    Attributes:
        recognizers: The recognizers that link.
        thresholds: Their thresholds, by name; those without one are not tested.
        detector: Finds the faces in changed pictures.
        parser: Finds the regions.
        methods: Explains each recognizer, for ``cover``.
        seed: Random seed.
        untested: Recognizers that cannot be tested, with the reason.
    """

    recognizers: Sequence[Recognizer]
    thresholds: Mapping[str, Threshold]
    detector: Detector
    parser: Parser
    methods: Sequence[Method] = ()
    seed: int = 0
    untested: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """The result.

    Attributes:
        record: The figures.
        examples: Each change of the same picture, cut to the face, RGB ``(h, w, 3)`` uint8.
        errors: Why changed files could not be used.
    """

    record: ProtectRecord
    examples: dict[str, Picture]
    errors: list[LeamError]


def find_thresholds(
    recognizers: Sequence[Recognizer],
    *,
    value: float | None = None,
    fmr: float | None = None,
    others: Others | None = None,
    seed: int = 0,
) -> tuple[dict[str, Threshold], dict[str, str]]:
    """The threshold of each recognizer, and why others have none.

    A stated value comes first, then a stated false match rate on the population, then the card, then the population at
    :data:`FMR`.

    Raises:
        InputError: The population is too small for the rate, or no recognizer has a threshold.
    """
    found: dict[str, Threshold] = {}
    without: dict[str, str] = {}
    for recognizer in recognizers:
        card = recognizer.card
        scores = None
        if others is not None:
            vectors = _embedded(recognizer, others.faces)
            scores = population_scores(vectors, list(others.people), card.similarity, seed)
        stated = value if value is not None else card.threshold if fmr is None else None
        if stated is not None:
            source = "card" if value is None else "option"
            found[recognizer.name] = Threshold(stated, source)
            if scores is not None:
                rate = fmr_estimate(scores.impostors, stated, seed)
                pairs = len(scores.impostors.scores)
                found[recognizer.name] = Threshold(stated, source, rate, pairs)
        elif scores is not None:
            found[recognizer.name] = threshold_from(scores, fmr or FMR, seed)
        else:
            without[recognizer.name] = (
                "its card states no threshold; set one with --population FOLDER, or with --threshold"
            )
    if not found:
        name, reason = next(iter(without.items()))
        raise InputError(f"{name}: {reason}")
    return found, without


def measure(
    faces: Sequence[Face],
    tools: Tools,
    protections: Sequence[str],
    *,
    files: Mapping[int, tuple[Picture, PictureFile]] | None = None,
    others: Others | None = None,
    progress: Progress = silent,
) -> Measured:
    """Change a person's pictures in each way, and count the pairs that each recognizer still links.

    Args:
        faces: The person's faces, each from another picture; at least two.
        tools: What they are measured with.
        protections: Names in :data:`leam.faces.protections.PROTECTIONS`.
        files: Changed pictures by the position of their face, if another tool changed them.
        others: Faces of other people, to compare regions with.
        progress: Progress callback.

    Raises:
        InputError: There are fewer than two faces, or a picture occurs twice or is in the population.
        FaceError: No changed file can be aligned.
    """
    _check(faces, others)
    tested = [one for one in tools.recognizers if one.name in tools.thresholds]
    by_tool, errors = _by_tool(faces, files or {}, tools.detector)
    names = [UNCHANGED, *(name for name in protections if name != UNCHANGED)]
    names += [FILES] if by_tool else []
    areas = areas_of(faces, tools.methods) if COVER in names else None
    unchanged = {one.name: _embedded(one, faces) for one in tested}
    changed: dict[str, Mapping[int, Changed]] = {}
    links: dict[str, dict[str, tuple[Links, Links]]] = {}
    for done, name in enumerate(names):
        progress("changing pictures", done, len(names))
        changed[name] = by_tool if name == FILES else _changed(faces, name, areas, tools.detector)
        links[name] = _links(name, changed[name], unchanged, tested, tools)
    progress("changing pictures", len(names), len(names))
    changes = _changes(changed, links, tools.thresholds)
    best, best_per_pixel = _best(changes)
    record = ProtectRecord(
        versions=installed_versions(),
        seed=tools.seed,
        detector=tools.detector.name,
        parser=tools.parser.name,
        pictures=[
            _picture(face, files[place] if files and place in by_tool else None)
            for place, face in enumerate(faces)
        ],
        population=others
        and PopulationRecord(
            people=len(set(others.people)), pictures=sorted(face.sha256 for face in others.faces)
        ),
        recognizers={
            one.name: TestedRecognizer(
                sha256=one.sha256,
                similarity=one.card.similarity,
                threshold=ThresholdRecord.model_validate(asdict(tools.thresholds[one.name])),
                regions=_regions(one, faces, others, tools, progress, (done, len(tested))),
            )
            for done, one in enumerate(tested)
        },
        untested=dict(tools.untested),
        changes=changes,
        best=best,
        best_per_pixel=best_per_pixel,
    )
    first = min(by_tool, default=0)
    examples = {name: _cut(faces[first], some[first]) for name, some in changed.items()}
    return Measured(record, examples, errors)


def _check(faces: Sequence[Face], others: Others | None) -> None:
    if len(faces) < 2:  # noqa: PLR2004
        raise InputError(
            f"{len(faces)} usable picture; links need at least two pictures of the person"
        )
    check_different(faces)
    own = {face.sha256 for face in faces}
    for face in others.faces if others else ():
        if face.sha256 in own:
            raise InputError(
                f"{face.path}: belongs to the person and to the population; remove it from one"
            )


def _changed(
    faces: Sequence[Face], name: str, areas: Sequence[NDArray[np.bool_]] | None, detector: Detector
) -> dict[int, Changed]:
    """The faces after a standard change."""
    change = PROTECTIONS[name]
    return {
        place: changed_face(
            face, change(ProtectionInput.of(face, areas[place] if areas else None)), detector
        )
        for place, face in enumerate(faces)
    }


def _by_tool(
    faces: Sequence[Face], files: Mapping[int, tuple[Picture, PictureFile]], detector: Detector
) -> tuple[dict[int, Changed], list[LeamError]]:
    """The faces in the files of another tool, and the errors of those that cannot be aligned."""
    found: dict[int, Changed] = {}
    errors: list[LeamError] = []
    for place, (picture, file) in sorted(files.items()):
        try:
            found[place] = changed_face(faces[place], picture, detector)
        except FaceError as error:
            errors.append(FaceError(f"{file.path}: {error}"))
    if files and not found:
        raise errors[0]
    return found, errors


def _links(
    name: str,
    changed: Mapping[int, Changed],
    unchanged: Mapping[str, Embeddings],
    recognizers: Sequence[Recognizer],
    tools: Tools,
) -> dict[str, tuple[Links, Links]]:
    """By recognizer: the linked pairs of a changed and an unchanged picture, and of two changed pictures."""
    links, whose = {}, np.array(list(changed))
    for one in recognizers:
        clean, kind = unchanged[one.name], one.card.similarity
        threshold = tools.thresholds[one.name].value
        if name == UNCHANGED:
            among = links_among(clean, kind, threshold, tools.seed)
            between = among
        else:
            vectors = _embedded(one, [item.face for item in changed.values()])
            between, among = links_between(clean, vectors, whose, kind, threshold, tools.seed)
        links[one.name] = between, among
    return links


def _changes(
    changed: Mapping[str, Mapping[int, Changed]],
    links: Mapping[str, Mapping[str, tuple[Links, Links]]],
    thresholds: Mapping[str, Threshold],
) -> dict[str, ChangeRecord]:
    """The record of each change, with its gain over unchanged pictures."""
    variances = {one: _variance(one, links) for one in links[UNCHANGED]}
    found = {
        name: _change(name, some, links[name], variances, thresholds)
        for name, some in changed.items()
    }
    before = strongest_part(found[UNCHANGED])
    for name, one in found.items():
        if name != UNCHANGED:
            gain = before - strongest_part(one)
            per_pixel = gain / one.pixels if one.pixels else None
            found[name] = one.model_copy(update={"gain": gain, "gain_per_pixel": per_pixel})
    return found


def _best(changes: Mapping[str, ChangeRecord]) -> tuple[str | None, str | None]:
    """The changes with the largest gain, and with the largest gain per changed pixel; None if none helps."""
    gains = {name: one.gain for name, one in changes.items() if one.gain and one.gain > 0}
    per_pixel = {name: each for name in gains if (each := changes[name].gain_per_pixel)}
    return (
        max(gains, key=lambda name: gains[name], default=None),
        max(per_pixel, key=lambda name: per_pixel[name], default=None),
    )


def _variance(recognizer: str, links: Mapping[str, Mapping[str, tuple[Links, Links]]]) -> float:
    """The variance of the similarities after a change, in the mean over changes; 0 if it is not known."""
    found = [one[recognizer][0].variance for one in links.values()]
    return float(np.mean([one for one in found if one is not None] or [0.0]))


def _change(
    name: str,
    changed: Mapping[int, Changed],
    measured: Mapping[str, tuple[Links, Links]],
    variances: Mapping[str, float],
    thresholds: Mapping[str, Threshold],
) -> ChangeRecord:
    links = {
        one: RecognizerLinks(
            with_unchanged=_link_record(between),
            among_changed=_link_record(among),
            expected=expected_part(between, variances[one], thresholds[one].value),
        )
        for one, (between, among) in measured.items()
    }
    pixels = [item.pixels for item in changed.values() if item.pixels is not None]
    doc = (
        "The files that another tool changed." if name == FILES else PROTECTIONS[name].__doc__ or ""
    )
    return ChangeRecord(
        description=doc.strip().split("\n")[0],
        pictures=len(changed),
        found=sum(item.found for item in changed.values()),
        pixels=float(np.mean(pixels)) if pixels else None,
        recognizers=links,
        strongest=max(links, key=lambda one: links[one].with_unchanged.part.mean or 0.0),
        gain=None,
        gain_per_pixel=None,
    )


def _link_record(found: Links) -> LinkRecord:
    return LinkRecord(
        linked=found.linked, pairs=found.pairs, part=found.part, similarity=found.mean
    )


def strongest_part(change: ChangeRecord) -> float:
    """The part of the pairs of a changed and an unchanged picture that the strongest recognizer links."""
    return change.recognizers[change.strongest].with_unchanged.part.mean or 0.0


def _regions(
    recognizer: Recognizer,
    faces: Sequence[Face],
    others: Others | None,
    tools: Tools,
    progress: Progress,
    step: tuple[int, int],
) -> dict[str, RegionRecord]:
    progress("hiding regions", *step)
    own = region_drops(faces, [""] * len(faces), recognizer, tools.parser)
    known = None
    if others is not None and (rows := others.repeated):
        people = [others.people[row] for row in rows]
        some = [others.faces[row] for row in rows]
        known = region_drops(some, people, recognizer, tools.parser), people
    found = region_links(own, known, tools.seed)
    progress("hiding regions", step[0] + 1, step[1])
    return found


def _embedded(recognizer: Recognizer, faces: Sequence[Face]) -> Embeddings:
    chips = np.stack([recognizer.crop.align(face).image for face in faces])
    vectors: Embeddings = recognizer.embed(chips).cpu().numpy()
    return vectors


def _picture(face: Face, file: tuple[Picture, PictureFile] | None) -> PictureRecord:
    return PictureRecord(
        image=str(face.path or ""),
        sha256=face.sha256,
        protected=str(file[1].path) if file else None,
        protected_sha256=file[1].sha256 if file else None,
    )


def _cut(face: Face, changed: Changed) -> Picture:
    """A changed picture, cut to the face."""
    picture = changed.face.picture
    if picture.shape != face.picture.shape:
        return picture[ProtectionInput.of(changed.face).box]
    return picture[ProtectionInput.of(face).box]
