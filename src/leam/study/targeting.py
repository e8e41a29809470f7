"""The targets of a study's faces: what each face is compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.explainer import Explainer
from leam.explain.targets import (
    Target,
    contrast_target,
    nearest,
    reference_target,
    self_target,
    template,
)
from leam.recognizers.card import Similarity
from leam.study.plan import Settings

# How many nearest impostors the contrast target pushes away from.
IMPOSTORS = 5


def target_maker(
    explainer: Explainer,
    chips: NDArray[np.uint8],
    people: NDArray[np.str_],
    settings: Settings,
    others: Tensor | None,
) -> Callable[[slice], Target]:
    """A function from a slice of the faces to the target that explains them."""
    recognizer = explainer.recognizer
    kind = recognizer.card.similarity

    def of_self(_batch: slice) -> Target:
        return self_target

    if settings.target == "self":
        return of_self
    embeddings = recognizer.embed(chips)
    templates = mates(embeddings, people, kind)
    if settings.target == "template":
        return lambda batch: reference_target(templates[batch], kind)
    names = list(dict.fromkeys(people.tolist()))
    own = torch.stack(
        [template(embeddings[torch.from_numpy(people == name)], kind) for name in names]
    )

    def of_contrast(batch: slice) -> Target:
        impostors = []
        for index in range(*batch.indices(len(people))):
            neighbours = own[[name != people[index] for name in names]]
            candidates = neighbours if others is None else torch.cat([neighbours, others])
            impostors.append(nearest(templates[index : index + 1], candidates, IMPOSTORS, kind)[0])
        return contrast_target(templates[batch], torch.stack(impostors), kind)

    return of_contrast


def mates(embeddings: Tensor, people: NDArray[np.str_], kind: Similarity) -> Tensor:
    """For each face the template of the same person's other faces, ``(n, D)``."""
    rows = []
    for index, person in enumerate(people):
        same = torch.from_numpy(people == person)
        same[index] = False
        rows.append(template(embeddings[same], kind))
    return torch.stack(rows)
