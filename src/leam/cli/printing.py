"""Short tables of what was found."""

from __future__ import annotations

import json
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from leam.cli.console import out
from leam.explain.explanation import Explanation
from leam.faces.face import Face
from leam.parsers.writing import Areas
from leam.report.explanation import region_rows
from leam.study.check import ModelCheck
from leam.study.store import RunFolder


def print_explanation(explanation: Explanation, folder: Path, model: str) -> None:
    """A face's regions, largest share first, and its notes."""
    title = f"{face_name(explanation.face)} · {model}"
    if explanation.reference:
        title += (
            f" · similarity with {face_name(explanation.reference)}: {explanation.similarity:.3f}"
        )
    out.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    table = Table("region", "critical pixels", "map", "area", box=None)
    for region, row in region_rows(explanation).items():
        table.add_row(region, *(f"{100 * row[key]:.1f} %" for key in ("share", "mass", "area")))
    out.print(table)
    for note in explanation.notes:
        out.print(f"note: {note}", style="dim", markup=False, highlight=False, soft_wrap=True)
    out.print(f"written: {folder}\n", markup=False, highlight=False, soft_wrap=True)


def print_areas(areas: Areas, title: str) -> None:
    """Area and confidence of each region of a parsed face."""
    out.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    table = Table("region", "area of the chip", "confidence", box=None)
    for region, row in areas.items():
        if row["confidence"] is not None:
            table.add_row(region, f"{100 * row['area']:.1f} %", f"{row['confidence']:.2f}")
    out.print(table)


def print_summary(folder: RunFolder) -> None:
    """A study's main figures, one row a model."""
    summary = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
    out.print(
        f"{summary['people']} people, {summary['images']} faces, {len(summary['skipped'])} pictures skipped",
        highlight=False,
    )
    table = Table(
        "model", "nose", "overlap same", "different", "drop", "scattered", "moved", box=None
    )
    for name, model in summary["models"].items():
        baselines = model["occlusion"]["baselines"]
        numbers = (
            model["regions"].get("nose", {}).get("share"),
            model["bc"]["critical"]["same"],
            model["bc"]["critical"]["different"],
            model["occlusion"]["drop"],
            baselines.get("scattered"),
            baselines.get("moved"),
        )
        table.add_row(
            name, *("–" if n is None or n["mean"] is None else f"{n['mean']:.3f}" for n in numbers)
        )
    out.print(table)


def print_check(found: ModelCheck) -> None:
    """What a check of a recognizer found."""
    table = Table(show_header=False, box=None)
    table.add_row("parameters", f"{found.parameters:,}")
    table.add_row("embedding", str(found.embedding_size))
    table.add_row("a face", f"{found.milliseconds:.1f} ms")
    table.add_row("layers", str(len(found.layers)))
    if found.verification:
        one = found.verification
        table.add_row("accuracy", f"{one.accuracy:.4f} of {one.pairs} pairs")
        table.add_row("threshold", f"{one.threshold:.4f}")
        table.add_row("pictures left out", str(len(one.skipped)))
    for doubt in found.doubts:
        table.add_row("doubt", doubt)
    out.print(f"[bold]{escape(found.name)}[/bold] loads and embeds")
    out.print(table)
    for layer in found.layers:
        size = f"{layer.channels} x {layer.size[0]}x{layer.size[1]}"
        out.print(f"  {layer.name}  {size}", markup=False, highlight=False)


def face_name(face: Face) -> str:
    """The file name of a face's picture."""
    return face.path.name if face.path else "face"
