"""Results as short tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from leam.cli.console import say, say_paragraph, show_table
from leam.errors import printable

if TYPE_CHECKING:
    from leam.explain.explanation import ExplanationRecord
    from leam.metrics.statistics import Estimate
    from leam.parsers.writing import ParsingRecord
    from leam.recognizers.card import Similarity
    from leam.report.parts import Findings
    from leam.results.summary import RecognizerSummary, Summary
    from leam.study.model_check import ModelCheck
    from leam.study.store import RunFolder

# Excluded pictures that a check names.
_MOST = 5
_UNITS = {"cosine": "cosine similarity", "euclidean": "Euclidean distance"}


def print_explanation(record: ExplanationRecord, folder: Path) -> None:
    """Print an explanation: its regions by share of the critical pixels, then its limitations."""
    from leam.explain.explanation import percent_rows, target_in_words
    from leam.recognizers.decisions import amount, verdict

    title = f"{_name(record.image)} · {record.model}"
    if record.method != "leam":
        title += f" · {record.method}"
    if record.similarity is not None:
        kind = record.similarity_kind
        with_ = "distance to" if kind == "euclidean" else "similarity with"
        title += f" · {with_} {_name(record.reference)}: {amount(record.similarity, kind)}"
    elif record.target != "self":
        title += f" · {target_in_words(record.target, record.score, record.similarity_kind)}"
    say(title)
    if record.decision and record.similarity is not None:
        said = verdict(record.similarity, record.threshold, record.similarity_kind)
        say(f"{said} (threshold from the card of {record.model})")
    elif record.similarity is not None:
        say(
            "decision: none, since the recognizer's card states no threshold; write a card with threshold = NUMBER "
            "(for a black box, see docs/howto/your-black-box.md)"
        )
    if record.difference:
        show_table(("region", "alike", "different", "area"), _pair_rows(record))
        say(
            "alike, different: parts of the critical pixels of what makes the faces alike and different"
        )
    else:
        show_table(("region", "critical pixels", "map", "area"), percent_rows(record.regions))
    for note in record.notes:
        say(f"note: {note}")
    say(f"written: {folder}")
    say("")


def _pair_rows(record: ExplanationRecord) -> Iterator[tuple[str, ...]]:
    different = record.difference.regions if record.difference else {}
    for region, row in record.regions.items():
        parts = row.share, different[region].share, row.area
        yield region, *(f"{100 * part:.1f} %" for part in parts)


def print_areas(record: ParsingRecord, folder: Path) -> None:
    """Print the regions of a parsed face and the folder of its files."""
    say(f"{_name(record.image)} · {record.parser}")
    show_table(
        ("region", "area", "confidence"),
        (
            (region, f"{100 * row.area:.1f} %", f"{row.confidence:.2f}")
            for region, row in record.chip.items()
            if row.confidence is not None
        ),
    )
    say(f"written: {folder}")
    say("")


def print_summary(folder: RunFolder) -> None:
    """Print a study's main figures, one row per recognizer."""
    from leam.study.summary import read_summary

    summary = read_summary(folder)
    say(
        f"{summary.people} people, {summary.images} faces; excluded pictures: {len(summary.exclusions)}"
    )
    show_table(
        ("recognizer", "nose", "genuine", "impostor", "drop", "scattered", "moved"),
        ((name, *map(_mean, _main_figures(one))) for name, one in summary.recognizers.items()),
    )
    say(
        "nose: share of the critical pixels; genuine, impostor: Bhattacharyya coefficient of critical masks"
    )
    say(
        "drop: similarity drop when the critical pixels are hidden; scattered, moved: under control masks"
    )
    say(f"unit of drops: {_units(summary)}")
    for failure in summary.failed:
        say(f"failed: {failure.recognizer}: {failure.reason}")


def findings_in(folder: RunFolder) -> Findings:
    """What a finished study found."""
    from leam.report.findings import study_findings
    from leam.study.summary import read_summary

    return study_findings(folder.plan(), read_summary(folder))


def print_findings(found: Findings) -> None:
    """Print what a study found and what it could not say: the sentences of the report."""
    if found.said:
        say("")
        say("What was found")
    for number, one in enumerate(found.said, 1):
        say_paragraph(one.text, f"{number}. ")
        say_paragraph("; ".join([*filter(None, [one.verdict]), *one.details]), "   ")
    if found.unsaid:
        say("")
        say("What could not be said")
    for line in found.unsaid:
        say_paragraph(line.replace("``", "`"), "- ")
    say("")


def findings_json(found: Findings) -> dict[str, object]:
    """The same for ``--json``."""
    return {"findings": list(map(asdict, found.said)), "unsaid": list(found.unsaid)}


def _units(summary: Summary) -> str:
    """What similarities are measured in; distances and cosines cannot be compared."""
    kinds: dict[str, list[str]] = {}
    for name, one in summary.recognizers.items():
        kinds.setdefault(_UNITS.get(one.similarity, one.similarity), []).append(name)
    if len(kinds) == 1:
        return next(iter(kinds))
    parts = [f"{unit} for {', '.join(names)}" for unit, names in kinds.items()]
    return f"{'; '.join(parts)}. Compare drops within a row only"


def _main_figures(one: RecognizerSummary) -> list[Estimate | None]:
    """A recognizer's figures in the order of the table; None if not measured."""
    from leam.study.stages.occlusion import OcclusionFigures
    from leam.study.stages.regions import RegionFigures
    from leam.study.stages.specificity import SpecificityFigures

    regions, pairs, occlusion = (
        one.get(RegionFigures), one.get(SpecificityFigures), one.get(OcclusionFigures)
    )  # fmt: skip
    nose = regions.regions.get("nose") if regions else None
    masks = pairs.operands.get("critical") if pairs else None
    controls = occlusion.controls if occlusion else {}
    return [
        nose.share if nose else None,
        masks.genuine if masks else None,
        masks.impostor if masks else None,
        occlusion.drop if occlusion else None,
        controls.get("scattered"),
        controls.get("moved"),
    ]


def _mean(estimate: Estimate | None) -> str:
    return "–" if estimate is None or estimate.mean is None else f"{estimate.mean:.3f}"


def print_check(found: ModelCheck, kind: Similarity, device: str, precision: str) -> None:
    """Print the result of a recognizer's test, and what it ran on."""
    rows = [
        ("parameters", f"{found.parameters:,}"),
        ("embedding size", str(found.embedding_size)),
        ("time per face", f"{found.milliseconds:.1f} ms"),
        ("device", f"{device}, {precision}"),
        ("layers", str(len(found.layers))),
    ]
    if found.verification:
        one = found.verification
        rows += [
            ("accuracy", f"{one.accuracy:.4f} on {one.pairs} pairs"),
            _threshold(one.threshold, kind),
            *([("accuracy by folds", _by_folds(one.folds))] if one.folds else []),
            ("excluded pictures", str(len(one.exclusions))),
            *(("excluded", printable(reason)) for reason in islice(one.exclusions.values(), _MOST)),
        ]
        if len(one.exclusions) > _MOST:
            rows.append(("excluded", f"and {len(one.exclusions) - _MOST} more, which --json lists"))
    rows += [("warning", warning) for warning in found.warnings]
    show_table((found.name, "loads and embeds"), rows)
    for layer in found.layers:
        say(f"  {layer.name}  {layer.channels} x {layer.size[0]}x{layer.size[1]}")


def _threshold(threshold: float, kind: Similarity) -> tuple[str, str]:
    """A threshold; of a distance also as its card would state it."""
    if kind == "cosine":
        return "threshold", f"{threshold:.4f}"
    return "distance threshold", f"{-threshold:.4f} (in a card: threshold = {threshold:.4f})"


def _by_folds(accuracies: Sequence[float]) -> str:
    """The mean and the standard deviation, as accuracies on published sets are stated."""
    return f"{mean(accuracies):.4f} ± {stdev(accuracies):.4f} ({len(accuracies)} folds)"


def _name(path: str | None) -> str:
    return Path(path).name if path else "face"
