"""Write one face's explanation: numbers, maps and pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from leam.explain.explainer import Explainer
from leam.explain.explanation import Explanation
from leam.faces.face import Face
from leam.parsers.regions import REGIONS
from leam.report.drawing import (
    INK,
    MUTED,
    enlarge,
    figure_png,
    outline_regions,
    overlay,
    png,
    spotlight,
)
from leam.study.plan import installed_versions
from leam.version import __version__

# Pictures are enlarged to about this side, in pixels.
_SIDE = 450
_STRIP_COLUMNS = 9


def write_explanation(
    explanation: Explanation, explainer: Explainer, folder: Path, *, top: float, parser: str
) -> None:
    """Write ``explanation.json``, ``maps.npz``, ``overlay.png`` and ``layers.png`` into a folder, which is made.

    Args:
        explanation: What to write.
        explainer: What made it.
        folder: Where.
        top: The critical fraction that was asked for.
        parser: The parser's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = describe(explanation, explainer, top=top, parser=parser)
    (folder / "explanation.json").write_text(
        json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    (folder / "maps.npz").write_bytes(_arrays(explanation))
    (folder / "overlay.png").write_bytes(png(_overlay_panels(explanation)))
    (folder / "layers.png").write_bytes(figure_png(_layer_strip(explanation)))


def describe(
    explanation: Explanation, explainer: Explainer, *, top: float, parser: str
) -> dict[str, Any]:
    """An explanation as it stands in ``explanation.json``."""
    recognizer, maps = explainer.recognizer, explanation.maps
    return {
        "leam": __version__,
        "versions": installed_versions(),
        "image": _path(explanation.face),
        "reference": _path(explanation.reference) if explanation.reference else None,
        "face": {"box": list(explanation.face.box), "found": explanation.face.found},
        "model": recognizer.name,
        "sha256": recognizer.sha256,
        "target": "reference" if explanation.reference else "self",
        "score": float(maps.scores[0]),
        "similarity": explanation.similarity,
        "similarity_kind": recognizer.card.similarity,
        "threshold": recognizer.card.threshold,
        "weighting": explainer.weighting,
        "aggregate": explainer.aggregate,
        "top": top,
        "critical_pixels": int(explanation.critical.sum()),
        "parser": parser,
        "regions": region_rows(explanation),
        "layers": [
            {
                "name": layer.name,
                "channels": layer.channels,
                "size": list(layer.size),
                "empty": bool(empty),
            }
            for layer, empty in zip(maps.layers, maps.empty[:, 0], strict=True)
        ],
        "notes": explanation.notes,
    }


def region_rows(explanation: Explanation) -> dict[str, dict[str, float]]:
    """Share of the critical mask, mass of the map and area of each region present, the largest share first."""
    order = np.argsort(-explanation.share, kind="stable")
    return {
        REGIONS[index]: {
            "share": float(explanation.share[index]),
            "mass": float(explanation.mass[index]),
            "area": float(explanation.area[index]),
        }
        for index in order
        if explanation.area[index] > 0
    }


def _arrays(explanation: Explanation) -> bytes:
    """``overall``, ``critical``, ``regions``, ``face``, and each layer's map as ``layer/NAME``."""
    arrays = {
        f"layer/{layer.name}": m[0].cpu().numpy()
        for layer, m in zip(explanation.maps.layers, explanation.maps.layer_maps, strict=True)
    }
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        allow_pickle=False,
        overall=explanation.maps.overall[0].cpu().numpy(),
        critical=explanation.critical,
        regions=explanation.parsing.regions,
        face=explanation.chip.image,
        **arrays,
    )
    return stream.getvalue()


def _overlay_panels(explanation: Explanation) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The face, its heat map with region outlines, and its critical mask, side by side."""
    face, values = explanation.chip.image, explanation.maps.overall[0].cpu().numpy()
    factor = max(1, round(_SIDE / face.shape[0]))
    regions = explanation.parsing.regions
    panels = [
        enlarge(face, factor),
        outline_regions(enlarge(overlay(face, values), factor), regions, factor),
        outline_regions(enlarge(spotlight(face, explanation.critical), factor), regions, factor),
    ]
    gap = np.full((panels[0].shape[0], 8, 3), 255, dtype=np.uint8)
    return np.hstack([panels[0], gap, panels[1], gap, panels[2]])


def _layer_strip(explanation: Explanation) -> Figure:
    """Every layer's map on the face, from early to late, and the overall map last."""
    maps, face = explanation.maps, explanation.chip.image
    names = [
        f"{layer.name}\n{layer.channels} x {layer.size[0]}x{layer.size[1]}{', empty' if empty else ''}"
        for layer, empty in zip(maps.layers, maps.empty[:, 0], strict=True)
    ]
    layers = [*maps.at_input_size()[:, 0].cpu().numpy(), maps.overall[0].cpu().numpy()]
    rows = -(-len(layers) // _STRIP_COLUMNS)
    columns = min(_STRIP_COLUMNS, len(layers))
    figure = Figure(figsize=(1.35 * columns, 1.68 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, name, values in zip(axes, [*names, "overall"], layers, strict=False):
        axis.imshow(overlay(face, values))
        axis.set_title(_short(name), fontsize=6, color=INK if name == "overall" else MUTED)
    return figure


def _short(name: str) -> str:
    """A layer's name, its middle left out where it is too long for its picture."""
    first, *rest = name.split("\n")
    longest = 22
    if len(first) > longest:
        first = f"{first[:9]}…{first[-12:]}"
    return "\n".join([first, *rest])


def _path(face: Face) -> str | None:
    return str(face.path) if face.path else None
