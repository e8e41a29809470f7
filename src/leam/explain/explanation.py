"""The explanation of one face: its maps, critical mask and regions, and everything that made it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from leam.errors import InputError, ModelError
from leam.explain.explainer import Explainer, Maps
from leam.explain.masks import critical_mask
from leam.explain.pictures import explanation_panels, figure_png, layer_strip, png
from leam.explain.targets import Target, reference_target, self_target
from leam.faces.alignment import Chip
from leam.faces.face import Box, Face
from leam.faces.reading import Picture
from leam.parsers.parsing import Parser, Parsing, weights_sha256
from leam.parsers.regions import REGIONS
from leam.parsers.shares import region_areas, region_shares
from leam.recognizers.card import Similarity
from leam.version import installed_versions

SCHEMA_VERSION: Final = 1
"""The version of ``explanation.json``; raised when a field changes its name or meaning."""


class Record(BaseModel):
    """A frozen record; the docstring below each field describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FaceRecord(Record):
    """A face in its picture."""

    box: Box
    """Left, top, right and bottom in pixels of the picture."""
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Alignment: the affine map from pixels of the picture ``(x, y, 1)`` to pixels of the aligned face, 2x3."""
    found: int
    """Number of faces in the picture."""
    detector: str | None
    """The detector that found the face, if known."""


class InputRecord(Record):
    """How a face becomes the recognizer's input."""

    input_size: tuple[int, int]
    """Height and width in pixels."""
    template: str
    """Alignment template: ``arcface`` or ``dlib``."""
    window: tuple[int, int, int, int] | None
    """Top, left, height and width of the used part of the template's chip; null for the whole chip."""
    channels: str
    """Order of the colour channels: ``RGB``, ``BGR`` or ``GRAY``."""
    mean: tuple[float, ...]
    """Subtracted from 0-255 values: one value, or three in the order of ``channels``."""
    std: tuple[float, ...]
    """Divides the differences: one value or three."""


class RegionRecord(Record):
    """A region of the face."""

    share: float
    """Part of the critical pixels in the region."""
    mass: float
    """Part of the overall map in the region."""
    area: float
    """Part of the aligned face that the region covers."""


class LayerRecord(Record):
    """An explained layer."""

    name: str
    """The module's name in the network."""
    place: str
    """The module at whose output activations and gradients are taken: ``name``, or the last of the frozen affine
    operations that follow it."""
    channels: int
    """Number of channels."""
    size: tuple[int, int]
    """Height and width of the layer map."""
    empty: bool
    """Whether the layer's map is all zero, not finite, or made of rounding errors only."""


class Provenance(Record):
    """Everything that an explanation depends on, recorded when it is made."""

    versions: dict[str, str]
    """Versions of LEAM, Python and the packages that figures depend on."""
    image: str | None
    """The picture's file; null for an array, or if the pixels were changed after reading."""
    image_sha256: str
    """SHA-256 of the bytes that were read from ``image``; of the pixels if ``image`` is null."""
    reference: str | None
    """The file of the picture that the face is compared with; null for an array, or without a reference."""
    reference_sha256: str | None
    """SHA-256 of the bytes that were read from ``reference``, or of the pixels; null without a reference."""
    face: FaceRecord
    """The explained face."""
    model: str
    """The recognizer's name."""
    sha256: str
    """SHA-256 of the recognizer's verified weights file; of its parameters and buffers if there is no such file, or if
    they were changed after loading."""
    input: InputRecord
    """Alignment and preprocessing."""
    similarity_kind: Similarity
    """``cosine``, or ``euclidean`` for minus the Euclidean distance."""
    threshold: float | None
    """Pairs at or above this similarity count as genuine; null if the recognizer's card gives none."""
    target: Literal["self", "reference"]
    """What is explained: the embedding itself, or its similarity with the reference."""
    weighting: str
    """How activations and gradients became layer maps."""
    aggregate: str
    """How layer maps became the overall map."""
    backend: str
    """What computed the layer maps."""
    top: float
    """The critical fraction of the pixels that was asked for."""
    parser: str
    """The face parser's name."""
    parser_sha256: str | None
    """SHA-256 of the parser's weights file; null for a parser without one."""


class ExplanationRecord(Provenance):
    """The content of ``explanation.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format."""
    score: float
    """The target's value."""
    similarity: float | None
    """Similarity with the reference; null without one."""
    critical_pixels: int
    """Number of critical pixels."""
    regions: dict[str, RegionRecord]
    """The regions that the face has, the largest share first."""
    layers: list[LayerRecord]
    """The explained layers, from the first to the last."""
    notes: list[str]
    """Limitations of this explanation, in sentences."""


@dataclass(frozen=True)
class Explanation:
    """One explained face.

    Attributes:
        face: The face in its picture.
        chip: The aligned face, as the recognizer sees it.
        maps: Layer maps and overall map, a batch of one.
        critical: The critical mask, ``(h, w)`` bool.
        parsing: The regions.
        share: Part of the critical mask in each region, ``(R,)``, in the order of ``REGIONS``.
        mass: Part of the overall map in each region, ``(R,)``.
        area: Part of the chip that each region covers, ``(R,)``.
        provenance: Everything that the explanation depends on.
        similarity: Similarity with the reference, if there is one.
        reference: The face that this one is compared with; None for the target ``self``.
    """

    face: Face
    chip: Chip
    maps: Maps
    critical: NDArray[np.bool_]
    parsing: Parsing
    share: NDArray[np.float32]
    mass: NDArray[np.float32]
    area: NDArray[np.float32]
    provenance: Provenance
    similarity: float | None = None
    reference: Face | None = None

    @property
    def notes(self) -> list[str]:
        """Limitations of this explanation, in sentences."""
        notes = [f"{layer.name}: {layer.note}" for layer in self.maps.layers if layer.note]
        if self.face.found > 1:
            notes.append(f"{self.face.found} faces found; the most prominent one is explained")
        empty = [
            layer.name
            for layer, is_empty in zip(self.maps.layers, self.maps.empty[:, 0], strict=True)
            if is_empty
        ]
        if empty:
            count = len(self.maps.layers)
            notes.append(f"no support found in {len(empty)} of {count} layers: {', '.join(empty)}")
        return notes

    @property
    def regions(self) -> dict[str, RegionRecord]:
        """The regions that the face has, the largest share of the critical mask first."""
        order = np.argsort(-self.share, kind="stable")
        return {
            REGIONS[index]: RegionRecord(
                share=float(self.share[index]),
                mass=float(self.mass[index]),
                area=float(self.area[index]),
            )
            for index in order
            if self.area[index] > 0
        }

    def record(self) -> ExplanationRecord:
        """The content of ``explanation.json``."""
        maps = self.maps
        return ExplanationRecord(
            **dict(self.provenance),
            score=float(maps.scores[0]),
            similarity=self.similarity,
            critical_pixels=int(self.critical.sum()),
            regions=self.regions,
            layers=[
                LayerRecord(
                    name=layer.name,
                    place=layer.place,
                    channels=layer.channels,
                    size=layer.size,
                    empty=bool(empty),
                )
                for layer, empty in zip(maps.layers, maps.empty[:, 0], strict=True)
            ],
            notes=self.notes,
        )

    def save(self, folder: str | Path) -> None:
        """Write ``explanation.json``, ``maps.npz``, ``overlay.png`` and ``layers.png``.

        ``maps.npz`` holds ``overall``, ``critical``, ``regions``, ``face`` and, for each layer, ``layer/NAME``.

        Args:
            folder: The folder to write into; created if missing.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        record = self.record().model_dump(mode="json")
        (folder / "explanation.json").write_text(
            json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        (folder / "maps.npz").write_bytes(self._arrays())
        (folder / "overlay.png").write_bytes(png(self._panels()))
        (folder / "layers.png").write_bytes(self._layer_strip())

    def _arrays(self) -> bytes:
        layers = {
            f"layer/{layer.name}": layer_map[0].cpu().numpy()
            for layer, layer_map in zip(self.maps.layers, self.maps.layer_maps, strict=True)
        }
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            allow_pickle=False,
            overall=self.maps.overall[0].cpu().numpy(),
            critical=self.critical,
            regions=self.parsing.regions,
            face=self.chip.image,
            **layers,
        )
        return stream.getvalue()

    def _panels(self) -> Picture:
        overall = self.maps.overall[0].cpu().numpy()
        return explanation_panels(self.chip.image, overall, self.critical, self.parsing.regions)

    def _layer_strip(self) -> bytes:
        titles = [
            f"{layer.name}\n{layer.channels} x {layer.size[0]}x{layer.size[1]}"
            f"{', empty' if empty else ''}"
            for layer, empty in zip(self.maps.layers, self.maps.empty[:, 0], strict=True)
        ]
        maps = list(self.maps.at_input_size()[:, 0].cpu().numpy())
        figure = layer_strip(self.chip.image, titles, maps, self.maps.overall[0].cpu().numpy())
        return figure_png(figure)


def explain_faces(
    faces: Sequence[Face],
    explainer: Explainer,
    parser: Parser,
    *,
    references: Sequence[Face] | None = None,
    top: float = 0.01,
) -> list[Explanation]:
    """Explain each face's embedding, or its similarity with a reference.

    Args:
        faces: The faces, at least one.
        explainer: Explains a recognizer.
        parser: Finds the regions.
        references: A reference for each face; the target is then ``reference``, else ``self``.
        top: The critical fraction of the pixels, in (0, 1].

    Raises:
        ModelError: A face has no overall map: every layer's map is zero or not finite.
        InputError: ``top`` is not in (0, 1], there are no faces, or the number of references is not that of faces.
    """
    if not faces:
        raise InputError("no faces to explain; give at least one")
    if references is not None and len(references) != len(faces):
        raise InputError(
            f"{len(references)} references for {len(faces)} faces; give one for each face"
        )
    others = [None] * len(faces) if references is None else references
    recognizer = explainer.recognizer
    # Before anything is computed: pictures and weights may change later.
    sha256 = recognizer.sha256
    chips = [recognizer.crop.align(face) for face in faces]
    made = [
        _provenance(face, chip, other, explainer, sha256, parser, top)
        for face, chip, other in zip(faces, chips, others, strict=True)
    ]
    target: Target = self_target
    if references is not None:
        images = np.stack([recognizer.crop.align(face).image for face in references])
        target = reference_target(recognizer.embed(images), recognizer.card.similarity)
    maps = explainer.explain(np.stack([chip.image for chip in chips]), target)
    return [
        _explanation(
            face,
            chip,
            maps.face(index),
            parser.parse(face, recognizer.crop),
            made[index],
            others[index],
        )
        for index, (face, chip) in enumerate(zip(faces, chips, strict=True))
    ]


def _explanation(
    face: Face,
    chip: Chip,
    maps: Maps,
    parsing: Parsing,
    provenance: Provenance,
    reference: Face | None,
) -> Explanation:
    if maps.overall_empty.any():
        raise ModelError(
            f"{face.path or 'the face'}: every layer's map is zero or not finite; nothing to explain"
        )
    regions = torch.from_numpy(parsing.regions)[None]
    critical = critical_mask(maps.overall.cpu(), provenance.top)
    return Explanation(
        face=face,
        chip=chip,
        maps=maps,
        critical=critical[0].numpy(),
        parsing=parsing,
        share=region_shares(critical, regions, len(REGIONS))[0].numpy(),
        mass=region_shares(maps.overall.cpu(), regions, len(REGIONS))[0].numpy(),
        area=region_areas(regions, len(REGIONS))[0].numpy(),
        provenance=provenance.model_copy(update={"backend": maps.backend}),
        similarity=float(maps.scores[0]) if reference else None,
        reference=reference,
    )


def _provenance(
    face: Face,
    chip: Chip,
    reference: Face | None,
    explainer: Explainer,
    sha256: str,
    parser: Parser,
    top: float,
) -> Provenance:
    card = explainer.recognizer.card
    return Provenance(
        versions=installed_versions(),
        image=_file_of(face),
        image_sha256=face.sha256,
        reference=_file_of(reference) if reference else None,
        reference_sha256=reference.sha256 if reference else None,
        face=FaceRecord(
            box=face.box, matrix=chip.matrix.tolist(), found=face.found, detector=face.detector
        ),
        model=card.name,
        sha256=sha256,
        input=InputRecord(**card.model_dump(include=set(InputRecord.model_fields))),
        similarity_kind=card.similarity,
        threshold=card.threshold,
        target="reference" if reference else "self",
        weighting=explainer.weighting,
        aggregate=explainer.aggregate,
        backend=explainer.backend,
        top=top,
        parser=parser.name,
        parser_sha256=weights_sha256(parser),
    )


def _file_of(face: Face) -> str | None:
    return str(face.source.path) if face.source else None
