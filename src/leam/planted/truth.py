"""Plant identity in one region, train a recognizer on it, and ask where maps find it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.explain.methods import Method
from leam.explain.targets import template
from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.statistics import Estimate, auc, bootstrap_mean
from leam.parsers.shares import region_shares
from leam.planted.drawing import DrawnFaces, Sketch
from leam.planted.training import train_recognizer
from leam.recognizers.recognizer import Recognizer

IMAGES = 4
"""New images of each person that maps are asked about."""

_BASELINES = ("scattered", "moved", "moved_on_face", "centre")


@dataclass(frozen=True)
class Planted:
    """A recognizer whose evidence is known, and faces to explain.

    Attributes:
        recognizer: Trained on people who differ in one region only.
        faces: New images of these people, four of each, person by person.
        mates: For each face the template of the person's other faces, ``(n, D)``.
        accuracy: The chance that two images of one person are more similar than two of different
            people: that the recognizer has learnt its region.
    """

    recognizer: Recognizer
    faces: DrawnFaces
    mates: Tensor
    accuracy: float


def plant(region: str, *, seed: int = 0, people: int = 40, steps: int = 600) -> Planted:
    """Draw people who differ in one region only, and train a recognizer on them.

    Args:
        region: Where the identity lies, one of ``REGIONS``.
        seed: Of people, images and training.
        people: How many there are.
        steps: Of training, 32 images each.

    Raises:
        InputError: There is no such region.
    """
    sketch = Sketch(region, people, seed)
    recognizer = train_recognizer(sketch, seed, steps)
    # Not a seed of the training images, which come from below 2**32.
    faces = sketch.draw(np.repeat(np.arange(people), IMAGES), seed + 2**32)
    embeddings = recognizer.embed(faces.chips)
    similarities = recognizer.similarity(embeddings[:, None], embeddings).double().numpy()
    same = faces.person[:, None] == faces.person
    pairs = np.triu(np.ones_like(same), 1)
    return Planted(
        recognizer,
        faces,
        mates=_others(embeddings, people),
        accuracy=auc(similarities[pairs & same], similarities[pairs & ~same]),
    )


def planted_share(masks: Tensor | NDArray[np.bool_], faces: DrawnFaces, seed: int = 0) -> Estimate:
    """The part of the critical masks that lies in the region that carries the identity.

    Args:
        masks: One a face, ``(n, 112, 112)``; those without a pixel are left out.
        faces: The faces.
        seed: Of the interval's resampling of people.
    """
    masks = torch.as_tensor(masks)
    shares = region_shares(masks, torch.from_numpy(faces.region), 2)[:, 1].double()
    shares[masks.flatten(1).sum(dim=1) == 0] = torch.nan
    return bootstrap_mean(shares.numpy(), faces.person, seed)


def planted_shares(
    planted: Planted, methods: Mapping[str, Method], *, fraction: float = 0.01, seed: int = 0
) -> dict[str, Estimate]:
    """The planted share of several methods' critical masks, and of the baselines beside them.

    Another person's mask is no baseline here: all people carry their identity in one place.

    Args:
        planted: The recognizer and its faces.
        methods: By name; see :mod:`leam.explain.methods`.
        fraction: The critical part of the pixels.
        seed: Of intervals and random baselines.

    Returns:
        Shares by name: the methods', then ``scattered``, ``moved``, ``moved_on_face`` and
            ``centre``,
        which move or replace the first method's masks.
    """
    faces = planted.faces
    maps = {name: method(faces.chips, planted.mates) for name, method in methods.items()}
    masks = {name: critical_mask(found, fraction).cpu().numpy() for name, found in maps.items()}
    first = next(iter(methods))
    for name in _BASELINES:
        masks[name] = np.stack(
            [
                CONTROLS[name](
                    ControlInput(
                        critical=mask,
                        overall=maps[first][index].cpu().numpy(),
                        face=faces.face[index],
                        other=np.zeros_like(mask),
                        generator=np.random.default_rng([seed, index]),
                    )
                )
                for index, mask in enumerate(masks[first])
            ]
        )
    return {name: planted_share(found, faces, seed) for name, found in masks.items()}


def _others(embeddings: Tensor, people: int) -> Tensor:
    """For each face the template of the person's other faces, ``(n, D)``."""
    by_person = embeddings.view(people, IMAGES, -1)
    places = [[other for other in range(IMAGES) if other != place] for place in range(IMAGES)]
    return template(by_person[:, places], "cosine").flatten(0, 1)
