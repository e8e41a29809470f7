"""The explanation of one face: its maps, critical mask and regions, and everything that made it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from leam.devices import description
from leam.display import card
from leam.errors import InputError, ModelError, printable
from leam.explain.doubts import rests_on_few, way_out, why_empty
from leam.explain.explainer import Explainer, Maps
from leam.explain.figures import (
    LayerPanel,
    Side,
    explanation_figure,
    layers_figure,
    pair_figure,
)
from leam.explain.masks import critical_mask
from leam.explain.methods import Method, PixelMethod, evidence, pair_target
from leam.explain.targets import (
    Target,
    TargetName,
    contrast_target,
    nearest_of_others,
    reference_target,
    self_target,
    templates_of_others,
)
from leam.faces.alignment import Chip
from leam.faces.face import Box, Face
from leam.figures import FORMATS, SCREEN, check_formats, figure_bytes, joined
from leam.files import write_private
from leam.parsers.parsing import Parser, Parsing, unchecked_weights, weights_sha256
from leam.parsers.regions import REGIONS
from leam.parsers.shares import region_areas, region_shares
from leam.recognizers.card import Similarity
from leam.recognizers.decisions import measured, verdict
from leam.version import installed_versions

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

Picture = Literal["overlay", "layers"]

SCHEMA_VERSION: Final = 1
"""The version of ``explanation.json``; raised when a field changes its name or meaning."""


# Where another weighting is set.
_SETTING = (
    " (leam.Explainer(..., weighting=...) for leam.explain_faces; --weighting of `leam explain`)"
)


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
    turned: int = 0
    """Degrees by which the picture was turned counter-clockwise; ``box`` and ``matrix`` are of the turned picture."""


class InputRecord(Record):
    """How a face becomes the recognizer's input."""

    input_size: tuple[int, int]
    """Height and width in pixels."""
    template: str
    """Alignment template: ``arcface``, ``dlib`` or ``box``; replaced by ``points`` where there are any."""
    window: tuple[int, int, int, int] | None
    """Top, left, height and width of the used part of the template's chip; null for the whole chip."""
    resized_chip: bool = False
    """The input is the template's chip, resized, instead of sampled from the picture in one step."""
    margin: float | tuple[float, float, float, float] = 0.0
    """What was added to a box, as fractions of its sides: one number, or left, top, right and bottom."""
    square: bool = False
    """Whether a box was extended to a square."""
    points: list[tuple[float, float]] | None = None
    """Where the eyes, nose tip and mouth corners went in the input, in pixels; null with a template or box."""
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


class DifferenceRecord(Record):
    """What makes the two faces of a pair different: the map of minus their similarity."""

    critical_pixels: int
    """Number of critical pixels."""
    regions: dict[str, RegionRecord]
    """The regions that the face has, the largest share first."""


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


class MethodRecord(Record):
    """The recognizer, the attribution method and the parser behind a map."""

    versions: dict[str, str]
    """Versions of LEAM, Python and the packages that figures depend on."""
    model: str
    """The recognizer's name."""
    sha256: str
    """SHA-256 of the recognizer's verified weights file; of its parameters and buffers if there is no such file, or if
    they were changed after loading."""
    device: str
    """The device that the recognizer ran on, such as ``cpu`` or ``cuda:0 (NVIDIA H100 80GB HBM3)``."""
    precision: str
    """What it computed with: ``float32`` or ``bfloat16``."""
    input: InputRecord
    """Alignment and preprocessing."""
    similarity_kind: Similarity
    """``cosine``, or ``euclidean`` for minus the Euclidean distance."""
    method: str
    """The attribution method."""
    calls: int | None = None
    """The largest number of calls for one map that was allowed; null for the method's own number."""
    weighting: str | None
    """How activations and gradients became layer maps; null for methods other than ``leam``."""
    aggregate: str | None
    """How layer maps became the overall map of a picture; null for methods other than ``leam``."""
    backend: str | None
    """What computed the layer maps; null for methods other than ``leam``."""
    top: float
    """The critical fraction of the pixels that was asked for."""
    parser: str
    """The face parser's name."""
    parser_sha256: str | None
    """SHA-256 of the parser's weights file; null for a parser without one."""
    unchecked: list[str] = []
    """Models whose weights were not compared with a published checksum, in sentences."""


class Provenance(MethodRecord):
    """Everything that an explanation depends on, recorded when it is made."""

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
    threshold: float | None
    """Pairs at or above this similarity count as genuine; null if the recognizer's card gives none."""
    target: TargetName
    """What is explained: the embedding itself, its similarity with the reference or with the template of the person's
    other pictures, or the latter minus the mean similarity with the nearest impostors."""
    template: list[str] | None = None
    """SHA-256 of the person's other pictures; null for the targets ``self`` and ``reference``."""
    impostors: list[str] | None = None
    """The people whose templates are most similar to the person's; null for other targets than ``contrast``."""


class ExplanationRecord(Provenance):
    """The content of ``explanation.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format."""
    score: float
    """The target's value."""
    similarity: float | None
    """Similarity with the reference; null without one."""
    decision: Literal["same person", "different people"] | None
    """``same person`` if the similarity reaches the threshold; null without a reference or a threshold."""
    critical_pixels: int
    """Number of critical pixels."""
    regions: dict[str, RegionRecord]
    """The regions that the face has, the largest share first."""
    difference: DifferenceRecord | None
    """What makes the faces different; null without a reference, or if the method maps magnitudes and cannot tell."""
    layers: list[LayerRecord]
    """The explained layers, from the first to the last."""
    notes: list[str]
    """Limitations of this explanation, in sentences."""


@dataclass(frozen=True, repr=False)
class Evidence:
    """A map of a face with its critical mask and regions.

    Attributes:
        overall: The map, ``(h, w)``; sums to 1, or all zero.
        critical: The critical mask, ``(h, w)`` bool; empty for an all-zero map.
        share: Part of the critical mask in each region, ``(R,)``, in the order of ``REGIONS``.
        mass: Part of the map in each region, ``(R,)``.
        area: Part of the chip that each region covers, ``(R,)``.
    """

    overall: NDArray[np.float32]
    critical: NDArray[np.bool_]
    share: NDArray[np.float32]
    mass: NDArray[np.float32]
    area: NDArray[np.float32]

    @classmethod
    def of(cls, overall: Tensor, regions: NDArray[np.uint8], top: float) -> Evidence:
        """The evidence of a map ``(h, w)`` with the region of each pixel ``(h, w)``, as positions in ``REGIONS``."""
        parsed, maps = torch.from_numpy(regions)[None], overall.cpu()[None]
        critical = critical_mask(maps, top)
        return cls(
            overall=maps[0].numpy(),
            critical=critical[0].numpy(),
            share=region_shares(critical, parsed, len(REGIONS))[0].numpy(),
            mass=region_shares(maps, parsed, len(REGIONS))[0].numpy(),
            area=region_areas(parsed, len(REGIONS))[0].numpy(),
        )

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


@dataclass(frozen=True, repr=False)
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
        reference_chip: The aligned reference.
        difference: What makes the two faces different; None without a reference, or if the method cannot tell.
        mate: The explanation of the reference, compared with this face, if it was made as well.
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
    reference_chip: Chip | None = None
    difference: Evidence | None = None
    mate: Explanation | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        said = f" {self.verdict};" if self.reference else ""
        return f"Explanation({self._title}:{said} critical pixels: {in_words(self.regions)})"

    def _repr_html_(self) -> str:
        frame = self.to_frame().drop("image", "model")
        rows = [
            (name, *("" if part is None else f"{100 * part:.1f} %" for part in parts))
            for name, *parts in frame.iter_rows()
        ]
        return card(
            self._title,
            {"comparison": self.verdict or None, "notes": "; ".join(self.notes) or None},
            header=[name.replace("_", " ") for name in frame.columns],
            rows=rows,
            pictures={f"Explanation of {self.name}": figure_bytes(self.plot(), dpi=SCREEN)},
        )

    @property
    def name(self) -> str:
        """The name of the picture's file; ``face`` for an array."""
        return self.face.path.name if self.face.path else "face"

    @property
    def decision(self) -> Literal["same person", "different people"] | None:
        """What the recognizer decides about the pair; None without a reference or a threshold."""
        threshold = self.provenance.threshold
        if self.similarity is None or threshold is None:
            return None
        return "same person" if self.similarity >= threshold else "different people"

    @property
    def notes(self) -> list[str]:
        """Limitations of this explanation, in sentences."""
        notes = [f"{layer.name}: {layer.note}" for layer in self.maps.layers if layer.note]
        if self.face.file and self.face.file.note:
            notes.append(f"the picture's {self.face.file.note}")
        if self.face.found > 1:
            left, top, *_ = self.face.box
            notes.append(
                f"one of {self.face.found} faces in the picture: the one at {left:.0f}, {top:.0f} (upper left corner)"
            )
        if self.face.turned:
            notes.append(f"the picture was turned by {self.face.turned} degrees counter-clockwise")
        empty = [
            layer.name
            for layer, is_empty in zip(self.maps.layers, self.maps.empty[:, 0], strict=True)
            if is_empty
        ]
        if empty:
            count = len(self.maps.layers)
            few = bool(rests_on_few(self.maps.layers, self.maps.empty))
            way = way_out(self.provenance.weighting) if few else ""
            way += _SETTING if way else ""
            notes.append(
                f"no support found in {len(empty)} of {count} layers: {', '.join(empty)}{way}"
            )
        if self.reference and not self.critical.any():
            notes.append("nothing found that makes the faces alike")
        if self.difference and not self.difference.critical.any():
            notes.append("nothing found that makes the faces different")
        if self.reference and self.difference is None:
            notes.append(
                "this method maps magnitudes: it does not tell what makes the faces different"
            )
        return notes

    @property
    def regions(self) -> dict[str, RegionRecord]:
        """The regions that the face has, the largest share of the critical mask first."""
        return self._evidence.regions

    @property
    def _evidence(self) -> Evidence:
        overall = self.maps.overall[0].cpu().numpy()
        return Evidence(overall, self.critical, self.share, self.mass, self.area)

    def record(self) -> ExplanationRecord:
        """The content of ``explanation.json``."""
        maps = self.maps
        return ExplanationRecord(
            **dict(self.provenance),
            score=float(maps.scores[0]),
            similarity=self.similarity,
            decision=self.decision,
            critical_pixels=int(self.critical.sum()),
            regions=self.regions,
            difference=self.difference
            and DifferenceRecord(
                critical_pixels=int(self.difference.critical.sum()),
                regions=self.difference.regions,
            ),
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

    def plot(self, picture: Picture = "overlay") -> Figure:
        """Draw a figure, as :meth:`save` writes it.

        Args:
            picture: ``overlay``: the face, its overall map and its critical pixels; of a pair, both faces and what
                makes them alike and different. ``layers``: the map of every layer.

        Returns:
            A figure of matplotlib.

        Raises:
            InputError: There is no such figure, or the method has no layer maps.
        """
        if picture == "overlay":
            return self._overlay()
        if picture != "layers":
            raise InputError(f"{picture}: no such figure; available: overlay, layers")
        if not self.maps.layers:
            raise InputError(f"{self.provenance.method}: has no layer maps; plot the overlay")
        return self._layers()

    def save(self, folder: str | Path, formats: Sequence[str] = FORMATS[:1]) -> None:
        """Write ``explanation.json``, ``maps.npz``, ``overlay.png`` and, if there are layer maps, ``layers.png``.

        ``maps.npz`` holds ``overall``, ``critical``, ``regions``, ``face`` and, for each layer, ``layer/NAME``; for a
        pair also ``difference`` and ``difference_critical``.

        Args:
            folder: The folder to write into; created if missing.
            formats: File types of the figures: ``png``, ``svg``, ``pdf``.

        Raises:
            InputError: There is no such file type, or the folder is that of a study.
        """
        folder, formats = Path(folder), check_formats(formats)
        if (folder / "run.json").exists():
            raise InputError(f"{folder}: the folder of a study; choose another one")
        record = json.dumps(self.record().model_dump(mode="json"), indent=1, allow_nan=False)
        write_private(folder / "explanation.json", f"{record}\n".encode())
        write_private(folder / "maps.npz", self._arrays())
        names: tuple[Picture, ...] = ("overlay", "layers") if self.maps.layers else ("overlay",)
        for name in names:
            figure = self.plot(name)
            for form in formats:
                write_private(folder / f"{name}.{form}", figure_bytes(figure, form))

    def to_frame(self) -> pl.DataFrame:
        """The regions, the largest share of the critical pixels first: a polars DataFrame.

        Its columns are ``image``, ``model``, ``region``, ``share``, ``mass`` and ``area`` as in
        :class:`RegionRecord`, and for a pair ``difference_share`` and ``difference_mass``, of what makes the faces
        different. Frames of several explanations can be joined by ``polars.concat``.
        """
        import polars as pl  # noqa: PLC0415  slow to import

        rows = []
        for region, row in self.regions.items():
            values = row.model_dump()
            if self.reference:
                other = self.difference.regions[region] if self.difference else None
                values["difference_share"] = other.share if other else None
                values["difference_mass"] = other.mass if other else None
            rows.append(
                {"image": self.name, "model": self.provenance.model, "region": region, **values}
            )
        return pl.DataFrame(rows)

    def _arrays(self) -> bytes:
        layers: dict[str, NDArray[np.generic]] = {
            f"layer/{layer.name}": layer_map[0].cpu().numpy()
            for layer, layer_map in zip(self.maps.layers, self.maps.layer_maps, strict=True)
        }
        if self.difference:
            layers |= {
                "difference": self.difference.overall,
                "difference_critical": self.difference.critical,
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

    def _overlay(self) -> Figure:
        if self.reference_chip is None:
            return explanation_figure(
                self.chip.image,
                self._evidence.overall,
                self.critical,
                self.parsing.regions,
                [self._title, self._how],
            )
        name = self.reference.path.name if self.reference and self.reference.path else "face"
        other = self.mate.side if self.mate else Side(name, self.reference_chip.image)
        made = self.provenance
        source = None if made.threshold is None else f"threshold from the card of {made.model}"
        lines = [
            joined([f"{self.name} and {name}", made.model, _other_method(made.method)]),
            self.verdict,
            joined([source, self._how]),
        ]
        return pair_figure((self.side, other), lines)

    def _layers(self) -> Figure:
        maps = self.maps
        panels = [
            LayerPanel(
                f"{number} {layer.name}",
                f"{layer.channels} x {layer.size[0]}x{layer.size[1]}{', empty' if empty else ''}",
                values.cpu().numpy(),
            )
            for number, (layer, empty, values) in enumerate(
                zip(maps.layers, maps.empty[:, 0], maps.at_input_size()[:, 0], strict=True), 1
            )
        ]
        lines = [self._title, "maps of the layers, from the first to the last (channels x size)"]
        return layers_figure(self.chip.image, panels, self._evidence.overall, lines)

    @property
    def side(self) -> Side:
        """This face in the figure of a pair."""
        maps = {"alike": (self._evidence.overall, self.critical)}
        if self.difference:
            maps["different"] = (self.difference.overall, self.difference.critical)
        return Side(self.name, self.chip.image, self.parsing.regions, maps)

    @property
    def _title(self) -> str:
        made = self.provenance
        return joined([self.name, made.model, _other_method(made.method)])

    @property
    def _how(self) -> str:
        """How the maps were made, in words."""
        made, count = self.provenance, len(self.maps.layers)
        layers = f"{count} layer{'' if count == 1 else 's'}"
        return joined(
            [
                f"overall map: {layers}, weighting {made.weighting}, aggregate {made.aggregate}"
                if count
                else None,
                None if made.target == "reference" else f"target: {self.target}",
                f"critical pixels: top {100 * made.top:g} % of the map",
            ]
        )

    @property
    def target(self) -> str:
        """What is explained, in words, with its value."""
        return target_in_words(
            self.provenance.target, float(self.maps.scores[0]), self.provenance.similarity_kind
        )

    @property
    def verdict(self) -> str:
        """The similarity or distance, the threshold and the decision; empty without a reference."""
        made = self.provenance
        if self.similarity is None:
            return ""
        return verdict(self.similarity, made.threshold, made.similarity_kind)


def in_words(regions: Mapping[str, RegionRecord]) -> str:
    """The three regions with most of the critical pixels: ``nose 74 %, skin 19 %``."""
    shares = {name: round(100 * row.share) for name, row in regions.items()}
    largest = [f"{name} {share} %" for name, share in shares.items() if share][:3]
    return ", ".join(largest) or "none"


def percent_rows(regions: Mapping[str, RegionRecord]) -> list[tuple[str, ...]]:
    """Regions as rows of a table: name, share of the critical pixels, share of the map and area, in percent."""
    return [
        (name, *(f"{100 * part:.1f} %" for part in (row.share, row.mass, row.area)))
        for name, row in regions.items()
    ]


def target_in_words(target: TargetName, score: float, kind: Similarity) -> str:
    """A target with its value: ``template, similarity 0.512``; of a Euclidean similarity the distance."""
    if target == "self":
        return "the embedding"
    if target == "contrast":
        # A difference of similarities is no distance.
        return f"contrast, {score:.3f}"
    return f"{target}, {measured(score, kind)}"


def explain_faces(
    faces: Sequence[Face],
    explainer: Method,
    parser: Parser,
    *,
    references: Sequence[Face] | None = None,
    top: float = 0.01,
) -> list[Explanation]:
    """Explain each face's embedding, or its similarity with a reference.

    With references, what makes the faces different is explained as well; see
    :func:`leam.explain.methods.evidence`.

    Args:
        faces: The faces, at least one.
        explainer: Explains a recognizer: an :class:`leam.explain.explainer.Explainer`, or another method.
        parser: Finds the regions.
        references: A reference for each face; the target is then ``reference``, else ``self``.
        top: The critical fraction of the pixels, in (0, 1].

    Raises:
        ModelError: A face has no overall map: every layer's map is zero or not finite.
        InputError: ``top`` is not in (0, 1], there are no faces, the number of references is not that of faces, or the
            method cannot explain the target.
    """
    if not faces:
        raise InputError("no faces to explain; give at least one")
    if references is not None and len(references) != len(faces):
        raise InputError(
            f"{len(references)} references for {len(faces)} faces; give one for each face"
        )
    work = _Work(faces, explainer, parser, top, references)
    if references is None:
        return work.explanations(self_target)
    mates = np.stack([explainer.recognizer.crop.align(face).image for face in references])
    return work.explanations(pair_target(explainer.recognizer, mates))


def explain_pair(
    face: Face, other: Face, explainer: Method, parser: Parser, *, top: float = 0.01
) -> tuple[Explanation, Explanation]:
    """Explain the similarity of two faces on both of them; each explanation has the other one as its mate.

    Args:
        face: The first face.
        other: The second face.
        explainer: As for :func:`explain_faces`.
        parser: As for :func:`explain_faces`.
        top: As for :func:`explain_faces`.

    Raises:
        ModelError, InputError: As for :func:`explain_faces`.
    """
    one, two = explain_faces([face, other], explainer, parser, references=[other, face], top=top)
    return replace(one, mate=two), replace(two, mate=one)


def explain_people(
    faces: Sequence[Face],
    people: Sequence[str],
    explainer: Method,
    parser: Parser,
    *,
    target: Literal["template", "contrast"] = "contrast",
    only: Sequence[str] | None = None,
    top: float = 0.01,
) -> list[Explanation]:
    """Explain what makes each face similar to its person, for ``contrast`` in contrast to the nearest impostors.

    The template of a face is that of the person's other faces; impostors are the five people whose templates are most
    similar to it. Both are those of a study.

    Args:
        faces: The faces of all people, at least two of each person who is explained.
        people: The person of each face.
        explainer: Explains a recognizer that gives embeddings.
        parser: Finds the regions.
        target: ``template`` or ``contrast``.
        only: The people whose faces are explained; all by default.
        top: The critical fraction of the pixels, in (0, 1].

    Raises:
        ModelError: A face has no overall map, or the recognizer gives no embeddings.
        InputError: As for :func:`explain_faces`; or a person who is explained has only one face, or there is nobody
            else to contrast with.
    """
    wanted = set(people if only is None else only)
    rows = [row for row, person in enumerate(people) if person in wanted]
    for person in sorted(wanted):
        if list(people).count(person) < 2:  # noqa: PLR2004
            raise InputError(f"{person}: --target {target} needs at least two pictures of a person")
    if target == "contrast" and len(set(people)) == 1:
        raise InputError(
            "--target contrast needs pictures of other people; name their folder with --population"
        )
    recognizer, kind = explainer.recognizer, explainer.recognizer.card.similarity
    embeddings = recognizer.embed(np.stack([recognizer.crop.align(face).image for face in faces]))
    owners = np.array(people)
    templates = templates_of_others(embeddings, owners, kind, rows)
    named: list[list[str] | None] = [None] * len(rows)
    chosen: Target = reference_target(templates, kind)
    if target == "contrast":
        found = [
            nearest_of_others(template, embeddings, owners, people[row], kind)
            for row, template in zip(rows, templates, strict=True)
        ]
        named = [names for names, _ in found]
        chosen = contrast_target(templates, torch.stack([others for _, others in found]), kind)
    own = [[i for i in range(len(faces)) if people[i] == people[row] and i != row] for row in rows]
    work = _Work([faces[row] for row in rows], explainer, parser, top)
    return work.explanations(
        chosen,
        [
            {"target": target, "template": [faces[i].sha256 for i in mates], "impostors": names}
            for mates, names in zip(own, named, strict=True)
        ],
    )


def _check_top(top: object) -> None:
    real = isinstance(top, int | float | np.integer | np.floating) and not isinstance(top, bool)
    if not real or not 0 < float(cast("float", top)) <= 1:
        raise InputError(f"top {printable(repr(top))}: must be above 0 and at most 1, such as 0.01")


class _Work:
    """Faces to explain, recorded before anything is computed: pictures and weights may change later."""

    def __init__(
        self,
        faces: Sequence[Face],
        method: Method,
        parser: Parser,
        top: float,
        references: Sequence[Face] | None = None,
    ) -> None:
        _check_top(top)
        self.faces, self.method, self.parser, self.top = faces, method, parser, top
        self.references = [None] * len(faces) if references is None else list(references)
        crop, sha256 = method.recognizer.crop, method.recognizer.sha256
        self.chips = [crop.align(face) for face in faces]
        self.made = [
            _provenance(face, chip, other, method, sha256, parser, top)
            for face, chip, other in zip(faces, self.chips, self.references, strict=True)
        ]

    def explanations(
        self, target: Target, details: Sequence[dict[str, object]] | None = None
    ) -> list[Explanation]:
        """The explanations under a target of all faces, with what else is recorded of each."""
        images = np.stack([chip.image for chip in self.chips])
        if any(self.references):
            maps, against = evidence(self.method, images, target)
        else:
            maps, against = self.method.explain(images, target), None
        known = details or [{}] * len(self.faces)
        return [
            self._explanation(row, maps.face(row), None if against is None else against[row], more)
            for row, more in enumerate(known)
        ]

    def _explanation(
        self, row: int, maps: Maps, against: Tensor | None, more: dict[str, object]
    ) -> Explanation:
        face, reference = self.faces[row], self.references[row]
        crop = self.method.recognizer.crop
        if maps.overall_empty.any() and (against is None or not against.any()):
            several = len(self.faces) > 1 and not reference
            name = face.path or (f"face {row + 1} of {len(self.faces)}" if several else "the face")
            if reference and np.array_equal(crop.align(reference).image, self.chips[row].image):
                raise InputError(
                    f"{name}: is compared with itself: nothing can make identical pictures more or less alike; give "
                    "another picture of the person, or of another one"
                )
            weighting = getattr(self.method, "weighting", None)
            why, way = why_empty(maps, weighting), way_out(weighting)
            raise ModelError(f"{name}: {why}{_SETTING if way and why.endswith(way) else ''}")
        parsing = self.parser.parse(face, crop)
        evidence_of = Evidence.of(maps.overall[0], parsing.regions, self.top)
        backend = maps.backend if maps.layers else None
        return Explanation(
            face=face,
            chip=self.chips[row],
            maps=maps,
            critical=evidence_of.critical,
            parsing=parsing,
            share=evidence_of.share,
            mass=evidence_of.mass,
            area=evidence_of.area,
            provenance=self.made[row].model_copy(update={"backend": backend, **more}),
            similarity=float(maps.scores[0]) if reference else None,
            reference=reference,
            reference_chip=crop.align(reference) if reference else None,
            difference=None if against is None else Evidence.of(against, parsing.regions, self.top),
        )


def _provenance(
    face: Face,
    chip: Chip,
    reference: Face | None,
    method: Method,
    sha256: str,
    parser: Parser,
    top: float,
) -> Provenance:
    card = method.recognizer.card
    leam = method if isinstance(method, Explainer) else None
    return Provenance(
        versions=installed_versions(),
        image=_file_of(face),
        image_sha256=face.sha256,
        reference=_file_of(reference) if reference else None,
        reference_sha256=reference.sha256 if reference else None,
        face=FaceRecord(
            box=face.box,
            matrix=chip.matrix.tolist(),
            found=face.found,
            detector=face.detector,
            turned=face.turned,
        ),
        model=card.name,
        sha256=sha256,
        device=description(method.recognizer.device),
        precision=method.recognizer.precision,
        input=InputRecord(**card.model_dump(include=set(InputRecord.model_fields))),
        similarity_kind=card.similarity,
        threshold=card.threshold,
        target="reference" if reference else "self",
        method=method.name,
        calls=method.calls if isinstance(method, PixelMethod) else None,
        weighting=leam and leam.weighting,
        aggregate=leam and leam.aggregate,
        backend=leam and leam.backend,
        top=top,
        parser=parser.name,
        parser_sha256=weights_sha256(parser),
        unchecked=[*card.unchecked, *unchecked_weights(parser.name)],
    )


def _file_of(face: Face) -> str | None:
    return str(face.source.path) if face.source else None


def _other_method(name: str) -> str | None:
    return None if name == "leam" else name
