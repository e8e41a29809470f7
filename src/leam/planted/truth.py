"""Plant identity in one region, train a recognizer on it, and measure the fraction of a map in that region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.explain.methods import MateMaps
from leam.explain.targets import template
from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.statistics import Estimate, auc, bootstrap_mean
from leam.parsers.shares import region_shares
from leam.planted.drawing import DrawnFaces, Sketch
from leam.planted.training import train_recognizer
from leam.recognizers.recognizer import Recognizer

IMAGES = 4
"""Number of new images per person to explain."""

_CONTROLS = ("scattered", "moved", "moved_on_face", "centre")


@dataclass(frozen=True)
class Planted:
    """A recognizer that relies on a known region, and faces to explain.

    Attributes:
        recognizer: Trained on people who differ in one region only.
        faces: New images of these people, four of each, person by person.
        mates: The template of the person's other faces for each face, ``(n, D)``.
        accuracy: The probability that a genuine pair is more similar than an impostor pair, which shows whether the
            recognizer has learnt the region.
    """

    recognizer: Recognizer
    faces: DrawnFaces
    mates: Tensor
    accuracy: float


def plant(region: str, *, seed: int = 0, people: int = 40, steps: int = 600) -> Planted:
    """Draw people who differ in one region only, and train a recognizer on them.

    Args:
        region: The planted region, one of ``REGIONS``.
        seed: Random seed of people, images and training.
        people: Number of people.
        steps: Number of training batches of 32 images.

    Raises:
        InputError: The region is unknown.
    """
    sketch = Sketch(region, people, seed)
    recognizer = train_recognizer(sketch, seed, steps)
    # Seeds of the training images are below 2**32.
    faces = sketch.draw(np.repeat(np.arange(people), IMAGES), seed + 2**32)
    embeddings = recognizer.embed(faces.chips).cpu()
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
    """The fraction of the critical masks in the planted region.

    Args:
        masks: One mask per face, ``(n, 112, 112)``; empty masks are ignored.
        faces: The faces.
        seed: Random seed of the bootstrap interval.
    """
    masks = torch.as_tensor(masks)
    shares = region_shares(masks, torch.from_numpy(faces.region), 2)[:, 1].double()
    shares[masks.flatten(1).sum(dim=1) == 0] = torch.nan
    return bootstrap_mean(shares.numpy(), faces.person, seed)


def planted_shares(
    planted: Planted, methods: Mapping[str, MateMaps], *, fraction: float = 0.01, seed: int = 0
) -> dict[str, Estimate]:
    """The planted shares of several methods' critical masks and of controls.

    The control ``other_person`` is not used, since the identity of all people is planted in the same region.

    Args:
        planted: The recognizer and its faces.
        methods: Attribution methods by name; see :func:`leam.explain.methods.explained`.
        fraction: Fraction of the pixels in the critical masks.
        seed: Random seed of intervals and controls.

    Returns:
        Shares by name: first the methods, then the controls ``scattered``, ``moved``, ``moved_on_face`` and ``centre``
        of the first method's masks.
    """
    faces = planted.faces
    maps = {name: method(faces.chips, planted.mates) for name, method in methods.items()}
    masks = {name: critical_mask(found, fraction).cpu().numpy() for name, found in maps.items()}
    first = next(iter(methods))
    for name in _CONTROLS:
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
    """The template of the person's other faces for each face, ``(n, D)``."""
    by_person = embeddings.view(people, IMAGES, -1)
    places = [[other for other in range(IMAGES) if other != place] for place in range(IMAGES)]
    return template(by_person[:, places], "cosine").flatten(0, 1)
