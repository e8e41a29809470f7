"""Explain single faces: everything there is to say about each, in one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import ModelError
from leam.explain.explainer import Explainer, Maps
from leam.explain.masks import critical_mask
from leam.explain.targets import Target, reference_target, self_target
from leam.faces.alignment import Chip
from leam.faces.face import Face
from leam.parsers.parsing import Parser, Parsing
from leam.parsers.regions import REGIONS
from leam.parsers.shares import region_areas, region_shares


@dataclass(frozen=True)
class Explanation:
    """One face explained.

    Attributes:
        face: The face as found in its picture.
        chip: The face as the recognizer sees it.
        maps: Layer maps and overall map, a batch of one.
        critical: The critical mask, ``(h, w)`` bool.
        parsing: The regions.
        share: Part of the critical mask in each region, ``(R,)``, in the order of ``REGIONS``.
        mass: Part of the overall map in each region, ``(R,)``.
        area: Part of the picture that each region covers, ``(R,)``.
        similarity: With the other face, where the target is ``reference``.
        reference: The other face.
    """

    face: Face
    chip: Chip
    maps: Maps
    critical: NDArray[np.bool_]
    parsing: Parsing
    share: NDArray[np.float32]
    mass: NDArray[np.float32]
    area: NDArray[np.float32]
    similarity: float | None = None
    reference: Face | None = None

    @property
    def notes(self) -> list[str]:
        """What a reader must know of this explanation, in sentences."""
        notes = [f"{layer.name}: {layer.note}" for layer in self.maps.layers if layer.note]
        if self.face.found > 1:
            notes.append(f"{self.face.found} faces found; the most prominent one is explained")
        silent = [
            layer.name
            for layer, empty in zip(self.maps.layers, self.maps.empty[:, 0], strict=True)
            if empty
        ]
        if silent:
            notes.append(
                f"no support found in {len(silent)} of {len(self.maps.layers)} layers: {', '.join(silent)}"
            )
        return notes


def explain_faces(
    faces: Sequence[Face],
    explainer: Explainer,
    parser: Parser,
    *,
    references: Sequence[Face] | None = None,
    top: float = 0.01,
) -> list[Explanation]:
    """Explain what supports each face's embedding, or its similarity with a reference.

    Args:
        faces: The faces.
        explainer: Explains a recognizer.
        parser: Names the regions.
        references: One other face for each; the target is then ``reference``, else ``self``.
        top: The critical fraction of the pixels, in (0, 1].

    Raises:
        ModelError: A face has no overall map: every layer's map is zero or not finite.
        InputError: ``top`` is not in (0, 1].
    """
    recognizer = explainer.recognizer
    chips = [recognizer.crop.align(face) for face in faces]
    target: Target = self_target
    similarities = None
    if references is not None:
        others = recognizer.embed(
            np.stack([recognizer.crop.align(face).image for face in references])
        )
        target = reference_target(others, recognizer.card.similarity)
    maps = explainer.explain(np.stack([chip.image for chip in chips]), target)
    if references is not None:
        similarities = maps.scores.tolist()
    return [
        _explanation(
            face,
            chip,
            _single(maps, index),
            parser.parse(face, recognizer.crop),
            top,
            similarities[index] if similarities else None,
            references[index] if references else None,
        )
        for index, (face, chip) in enumerate(zip(faces, chips, strict=True))
    ]


def _explanation(
    face: Face,
    chip: Chip,
    maps: Maps,
    parsing: Parsing,
    top: float,
    similarity: float | None,
    reference: Face | None,
) -> Explanation:
    if maps.overall_empty.any():
        raise ModelError(
            f"{face.path or 'the face'}: every layer's map is zero or not finite; nothing to explain"
        )
    regions = torch.from_numpy(parsing.regions)[None]
    critical = critical_mask(maps.overall.cpu(), top)
    return Explanation(
        face=face,
        chip=chip,
        maps=maps,
        critical=critical[0].numpy(),
        parsing=parsing,
        share=region_shares(critical, regions, len(REGIONS))[0].numpy(),
        mass=region_shares(maps.overall.cpu(), regions, len(REGIONS))[0].numpy(),
        area=region_areas(regions, len(REGIONS))[0].numpy(),
        similarity=similarity,
        reference=reference,
    )


def _single(maps: Maps, index: int) -> Maps:
    """The maps of one face of a batch, as a batch of one."""

    def one(tensor: Tensor) -> Tensor:
        return tensor[index : index + 1]

    return Maps(
        layers=maps.layers,
        layer_maps=tuple(one(layer) for layer in maps.layer_maps),
        overall=one(maps.overall),
        embeddings=one(maps.embeddings),
        scores=one(maps.scores),
        empty=maps.empty[:, index : index + 1],
    )
