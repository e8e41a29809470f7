"""The explanation of a person: the person map of several pictures, its critical mask and regions, and what made it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from leam.display import card
from leam.errors import InputError
from leam.explain.explanation import (
    Evidence,
    Explanation,
    FaceRecord,
    MethodRecord,
    Record,
    RegionRecord,
    explain_faces,
    in_words,
    percent_rows,
)
from leam.explain.figures import explanation_figure
from leam.explain.methods import Method
from leam.explain.person import PersonMap, Population, person_map
from leam.faces.face import Face
from leam.faces.reading import Picture
from leam.figures import FORMATS, SCREEN, check_formats, figure_bytes, joined
from leam.files import write_private
from leam.parsers.parsing import Parser
from leam.parsers.regions import REGIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA_VERSION: Final = 1
"""The version of ``person.json``; raised when a field changes its name or meaning."""

_BATCH = 32


class PictureRecord(Record):
    """A picture of the person."""

    image: str | None
    """The picture's file; null for an array, or if the pixels were changed after reading."""
    sha256: str
    """SHA-256 of the bytes that were read from ``image``; of the pixels if ``image`` is null."""
    face: FaceRecord
    """The face in the picture."""


class PopulationRecord(Record):
    """The other people whose maps the estimate used."""

    people: int
    """Number of people."""
    agreement: float
    """Part of the variance of single maps that is between people and not between a person's pictures, in [0, 1]."""
    pictures: list[str]
    """SHA-256 of their pictures, sorted."""


class PersonRecord(MethodRecord):
    """The content of ``person.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format."""
    pictures: list[PictureRecord]
    """The pictures that the map was made of. The map must not be applied to them, or compared with maps of them."""
    estimate: str
    """How the pictures' maps became the person map."""
    population: PopulationRecord | None
    """The other people whose maps the estimate used; null if it used none."""
    target: Literal["self"]
    """What is explained in each picture: the embedding itself."""
    critical_pixels: int
    """Number of critical pixels."""
    regions: dict[str, RegionRecord]
    """The regions of most of the pictures, pixel by pixel; the largest share first."""


@dataclass(frozen=True, repr=False)
class PersonExplanation:
    """The explanation of a person.

    Attributes:
        person_map: The map, which knows its pictures.
        pictures: The explanation of each picture.
        population: The maps of other people, if the estimate used them.
        face: The mean of the aligned faces, RGB ``(h, w, 3)`` uint8.
        regions: The most frequent region of each pixel, as positions in ``REGIONS``, ``(h, w)``.
        critical: The critical mask, ``(h, w)`` bool.
    """

    person_map: PersonMap
    pictures: Sequence[Explanation]
    population: Population | None
    face: Picture
    regions: NDArray[np.uint8]
    critical: NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"PersonExplanation({self._title}: critical pixels: {in_words(self._regions)})"

    def _repr_html_(self) -> str:
        return card(
            self._title,
            header=("region", "share", "mass", "area"),
            rows=percent_rows(self._regions),
            pictures={"person map": figure_bytes(self.plot(), dpi=SCREEN)},
        )

    @property
    def _title(self) -> str:
        made, other = self.pictures[0].provenance, self.population
        return joined(
            [
                f"{len(self.pictures)} pictures of one person",
                made.model,
                self.person_map.estimate,
                f"{other.people} other people" if other else None,
                None if made.method == "leam" else made.method,
            ]
        )

    def record(self) -> PersonRecord:
        """The content of ``person.json``."""
        first = self.pictures[0].provenance
        known = self.population
        return PersonRecord(
            **{name: getattr(first, name) for name in MethodRecord.model_fields},
            target="self",
            pictures=[
                PictureRecord(
                    image=one.provenance.image,
                    sha256=one.provenance.image_sha256,
                    face=one.provenance.face,
                )
                for one in self.pictures
            ],
            estimate=self.person_map.estimate,
            population=known
            and PopulationRecord(
                people=known.people, agreement=known.agreement, pictures=sorted(known.pictures)
            ),
            critical_pixels=int(self.critical.sum()),
            regions=self._regions,
        )

    def plot(self) -> Figure:
        """Draw the mean face, the person map and its critical pixels, as a figure of matplotlib."""
        return explanation_figure(
            self.face,
            self.person_map.map.numpy(),
            self.critical,
            self.regions,
            [
                self._title,
                f"critical pixels: top {100 * self.pictures[0].provenance.top:g} % of the map",
                "Do not apply this map to these pictures, or compare it with maps of them.",
            ],
            ("mean of the aligned faces", "person map", "critical pixels"),
        )

    def save(self, folder: str | Path, formats: Sequence[str] = FORMATS[:1]) -> None:
        """Write ``person.json``, ``maps.npz`` and ``overlay.png``.

        ``maps.npz`` holds ``person`` (the person map), ``critical``, ``regions``, ``face`` (the mean of the aligned
        faces) and ``pictures`` (the overall map of each picture, in the order of ``person.json``).

        Args:
            folder: The folder to write into; created if missing.
            formats: File types of the figure: ``png``, ``svg``, ``pdf``.

        Raises:
            InputError: There is no such file type.
        """
        folder, formats = Path(folder), check_formats(formats)
        record = json.dumps(self.record().model_dump(mode="json"), indent=1, allow_nan=False)
        write_private(folder / "person.json", f"{record}\n".encode())
        values = self.person_map.map.numpy()
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            allow_pickle=False,
            person=values,
            critical=self.critical,
            regions=self.regions,
            face=self.face,
            pictures=np.stack([one.maps.overall[0].cpu().numpy() for one in self.pictures]),
        )
        write_private(folder / "maps.npz", stream.getvalue())
        figure = self.plot()
        for form in formats:
            write_private(folder / f"overlay.{form}", figure_bytes(figure, form))

    @property
    def _regions(self) -> dict[str, RegionRecord]:
        top = self.pictures[0].provenance.top
        return Evidence.of(self.person_map.map, self.regions, top).regions


def explain_person(
    faces: Sequence[Face],
    explainer: Method,
    parser: Parser,
    *,
    estimate: str = "mean",
    population: Population | None = None,
    top: float = 0.01,
) -> PersonExplanation:
    """Explain a person from several pictures.

    Args:
        faces: The person's faces, each from another picture.
        explainer: Explains a recognizer; see :mod:`leam.explain.methods`.
        parser: Finds the regions.
        estimate: Name of the estimate in :data:`leam.explain.person.PERSON_MAPS`.
        population: Maps of other people, if the estimate needs them; see :func:`population_of_faces`.
        top: The critical fraction of the pixels, in (0, 1].

    Raises:
        ModelError: A face has no overall map.
        InputError: As for :func:`leam.explain.person.person_map`; ``top`` is not in (0, 1], or there are no faces.
    """
    check_different(faces)
    made = explain_faces(faces, explainer, parser, top=top)
    maps = torch.cat([one.maps.overall.cpu() for one in made])
    found = person_map(maps, [face.sha256 for face in faces], estimate, population)
    votes = np.stack([[one.parsing.regions == i for i in range(len(REGIONS))] for one in made])
    mean = np.stack([one.chip.image for one in made]).mean(axis=0)
    return PersonExplanation(
        found,
        made,
        population,
        np.rint(mean).astype(np.uint8),
        votes.sum(axis=0).argmax(axis=0).astype(np.uint8),
        found.mask(top).numpy(),
    )


def population_of_faces(
    faces: Sequence[Face], people: Sequence[str], explainer: Method
) -> Population:
    """Explain other people's faces, for estimates that need a population.

    Args:
        faces: Faces of other people, several of each.
        people: The person of each face.
        explainer: Explains the recognizer that the person is explained for.

    Raises:
        InputError: There are too few people with several pictures.
    """
    crop = explainer.recognizer.crop
    chips = np.stack([crop.align(face).image for face in faces])
    parts = [
        explainer.explain(chips[start : start + _BATCH]).overall.cpu()
        for start in range(0, len(chips), _BATCH)
    ]
    maps = torch.cat(parts)
    full = (maps.flatten(1).sum(dim=1) > 0).tolist()
    kept = [index for index, present in enumerate(full) if present]
    return Population.of(
        maps[kept], [people[index] for index in kept], [faces[index].sha256 for index in kept]
    )


def check_different(faces: Sequence[Face]) -> None:
    """Refuse a picture that occurs twice.

    Raises:
        InputError: There is one; the message names both files.
    """
    seen: dict[str, Face] = {}
    for face in faces:
        if (earlier := seen.setdefault(face.sha256, face)) is not face:
            raise InputError(f"{face.path}: the same picture as {earlier.path}; remove one")
