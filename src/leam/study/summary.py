"""Write ``summary.json``, all figures of a finished study, and read it for the command line and the report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl

from leam.errors import StudyError, first_line
from leam.files import read_json
from leam.metrics.fairness import head_pose
from leam.progress import Progress
from leam.results.figures import Figures
from leam.results.summary import (
    Failure,
    RecognizerSummary,
    Summary,
    rounded,
    schema,
)
from leam.study.plan import Plan
from leam.study.preparation import notes_of, usable_images
from leam.study.run_data import RunData
from leam.study.schedule import SUMMARISE
from leam.study.stage import blaming, recognizer_kinds, stages_of, study_kinds
from leam.study.store import RunFolder
from leam.study.worker import StoredFigures
from leam.version import __version__

FACES_COLUMNS = {
    "person": "Name of the person.",
    "image": "Name of the picture.",
    "sha256": "SHA-256 of the file; null if it could not be read.",
    "reason": "Why the picture was excluded; empty if it was used.",
    "note": "How the picture was changed: values that are not 8-bit RGB, and turns; empty if it was not.",
    "detector": "The detector that found the face; empty without a face.",
    "confidence": "Confidence of the detector, on its own scale; NaN without a face, or for aligned faces.",
    "found": "Number of faces in the picture.",
    "left": "Left edge of the face, in pixels.",
    "top": "Top edge.",
    "right": "Right edge.",
    "bottom": "Bottom edge.",
    "yaw": "Proxy of the head's yaw; 0 for a frontal face.",
    "pitch": "Proxy of the head's pitch; about 0.5 for a frontal face.",
    "roll": "Slope of the line between the eyes, in radians.",
}
"""The columns of ``tables/faces.parquet``, followed by ``group_NAME`` for each further column of the people table."""


def write_faces_table(plan: Plan, folder: RunFolder) -> None:
    """Write ``tables/faces.parquet``, one row per picture."""
    folder.write_table("faces", _faces(RunData(plan, folder)))


def write_summary(
    plan: Plan, folder: RunFolder, failed: Mapping[str, str], progress: Progress
) -> Summary:
    """Write ``summary.json`` of a finished study, and its schema.

    Args:
        plan: The plan of the study, with all recognizers.
        folder: The run folder, with all tables and figures.
        failed: Why each failed recognizer failed, by name.
        progress: Progress callback.
    """
    working = plan.only({model.card.name for model in plan.models} - failed.keys())
    run = RunData(working, folder, progress)
    positions, exclusions = usable_images(plan, folder)
    devices = folder.devices()
    summary = Summary(
        versions=plan.versions,
        settings=plan.settings.model_dump(mode="json"),
        people=len(run.people),
        images=len(positions),
        exclusions=exclusions,
        notes=notes_of(plan, folder),
        failed=[Failure(recognizer=name, reason=reason) for name, reason in failed.items()],
        recognizers={
            model.card.name: _stored_figures(folder, model.card.name, place).model_copy(
                update={"devices": tuple(devices.get(model.card.name, ()))}
            )
            for place, model in enumerate(plan.models)
            if model.card.name not in failed
        },
        figures=_study_figures(run),
    )
    folder.write_text("summary.schema.json", json.dumps(summary_schema(), indent=1) + "\n")
    folder.write_text("summary.json", summary.to_json())
    folder.write_manifest()
    return summary


def _study_figures(run: RunData) -> dict[str, Figures]:
    """The figures of all recognizers together, by stage."""
    found = {}
    for stage in stages_of(run.plan):
        with blaming(stage.name):
            if (figures := stage.summarise_study(run)) is not None:
                found[stage.name] = stage.checked(figures)
    return found


def read_summary(folder: RunFolder) -> Summary:
    """Read the summary of a finished study.

    Raises:
        StudyError: The summary is missing or damaged, has another schema version, or is that of another study.
    """
    path = folder.path / "summary.json"
    try:
        loaded = read_json(path)
    except OSError:
        raise StudyError(
            f"{path}: missing; finish the study with the same `leam study` command"
        ) from None
    except ValueError as error:
        raise StudyError(f"{path}: not JSON ({first_line(error)})") from None
    try:
        summary = Summary.of(loaded, {**recognizer_kinds(), **study_kinds()})
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    _check_study(path, summary, folder.plan())
    return summary


def _check_study(path: Path, summary: Summary, plan: Plan) -> None:
    """Reject a summary that contradicts the plan beside it, since the report shows both."""
    if other := sorted(summary.settings.keys() ^ type(plan.settings).model_fields.keys()):
        wrote = summary.versions.get("leam", "unknown")
        raise StudyError(
            f"{path}: written by another version of LEAM ({wrote}, this is {__version__}) with other settings "
            f"({', '.join(other)}); its report.html stays valid, but cannot be rendered again; install that version, "
            "or run the study again with another --out"
        )
    planned = {model.card.name: model.sha256 for model in plan.models}
    pairs = {
        "versions": (summary.versions, plan.versions),
        "settings": (summary.settings, rounded(plan.settings.model_dump(mode="json"))),
        "recognizers": (
            {name: one.sha256 for name, one in summary.recognizers.items()},
            {name: planned.get(name) for name in summary.recognizers},
        ),
    }
    for what, (found, expected) in pairs.items():
        if found != expected:
            raise StudyError(f"{path}: its {what} are not those of run.json; run the study again")


def summary_schema(stages: Iterable[str] | None = None) -> dict[str, object]:
    """The JSON Schema of ``summary.json``, with the figures of the named stages or of all that are installed."""
    names = None if stages is None else list(stages)
    return schema(recognizer_kinds(names), study_kinds(names))


def _stored_figures(folder: RunFolder, name: str, place: int) -> RecognizerSummary:
    shard = folder.read_shard(StoredFigures, f"{SUMMARISE}/{name}", place)
    if shard is None:
        raise StudyError(f"{folder.path}: the figures of {name} disappeared; run the study again")
    return RecognizerSummary.model_validate_json(
        shard.json.tobytes(), context={"kinds": recognizer_kinds()}
    )


def _faces(run: RunData) -> Iterator[pl.DataFrame]:
    plan = run.plan
    reasons = {one.image: one.reason for one in usable_images(plan, run.folder)[1]}
    groups = sorted({name for image in plan.images for name in image.groups})
    for part, detections in run.detections():
        images, pose = plan.images[part.start : part.stop], head_pose(detections.landmarks)
        yield pl.DataFrame(
            {
                "person": [image.person for image in images],
                "image": [image.image for image in images],
                # All hashes of a slice may be missing.
                "sha256": pl.Series([image.sha256 for image in images], dtype=pl.String),
                "reason": [reasons.get(image.image, "") for image in images],
                "note": detections.note,
                "detector": detections.detector,
                "confidence": detections.score,
                "found": detections.found,
                **dict(zip(("left", "top", "right", "bottom"), detections.box.T, strict=True)),
                **dict(zip(("yaw", "pitch", "roll"), pose.T, strict=True)),
                **{
                    f"group_{name}": pl.Series(
                        [image.groups.get(name) for image in images], dtype=pl.String
                    )
                    for name in groups
                },
            }
        )
