"""Methods that hide parts of the face and measure the similarity, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from leam.explain.aggregates import distribution
from leam.explain.backends import Chips
from leam.explain.methods import METHODS, Method
from leam.recognizers.recognizer import Recognizer

# The side of the sliding window in units of the input's shorter side; it moves by half of itself.
_WINDOW = 1 / 8
# CorrRISE: the number of masks, the patches in each, and their side relative to the input's.
_MASKS, _PATCHES, _PATCH = 500, 3, 30 / 112


@METHODS("occlusion_sweep")
def occlusion_sweep(recognizer: Recognizer) -> Method:
    """The similarity drop caused by a black window, averaged over the windows that hide a pixel.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014; where
    positive.
    """
    windows = _windows(recognizer.card.input_size)

    def method(chips: Chips, mates: Tensor) -> Tensor:
        maps = []
        for chip, mate in zip(torch.as_tensor(chips), mates, strict=True):
            clean = recognizer.similarity(recognizer.embed(chip[None]), mate)
            drops = clean - _scores(recognizer, chip, mate, ~windows)
            hidden = windows.to(drops)
            maps.append(torch.einsum("n,nhw->hw", drops, hidden) / hidden.sum(dim=0))
        return distribution(torch.stack(maps).relu())

    return method


@METHODS("corrrise")
def corrrise(recognizer: Recognizer) -> Method:
    """Correlation between the visibility of a pixel and the similarity, where positive.

    Lu, Xu and Ebrahimi, "Towards visual saliency explanations of face verification", WACV 2024:
    Pearson's correlation over random masks that hide patches. Here 500 masks of three square
    patches, 30 of 112 pixels wide, the same for every face; the mate stays whole.
    """
    seen = _random_masks(recognizer.card.input_size)

    def method(chips: Chips, mates: Tensor) -> Tensor:
        maps = []
        for chip, mate in zip(torch.as_tensor(chips), mates, strict=True):
            scores = _scores(recognizer, chip, mate, seen)
            maps.append(_correlation(scores, seen.to(scores)))
        return distribution(torch.stack(maps).relu())

    return method


def _scores(recognizer: Recognizer, chip: Tensor, mate: Tensor, seen: Tensor) -> Tensor:
    """Similarities ``(n,)`` of a chip ``(h, w, 3)`` with its mate, through masks ``(n, h, w)``."""
    embeddings = recognizer.embed(chip * seen[..., None].to(chip))
    return recognizer.similarity(embeddings, mate)


def _windows(size: tuple[int, int]) -> Tensor:
    """All positions of the sliding window, ``(n, h, w)`` bool; the last ones end at the edge."""
    side = max(2, round(_WINDOW * min(size)))
    starts = [sorted({*range(0, length - side, side // 2), length - side}) for length in size]
    windows = torch.zeros(len(starts[0]) * len(starts[1]), *size, dtype=torch.bool)
    for number, window in enumerate(windows):
        row, column = starts[0][number // len(starts[1])], starts[1][number % len(starts[1])]
        window[row : row + side, column : column + side] = True
    return windows


def _random_masks(size: tuple[int, int]) -> Tensor:
    """Masks ``(500, h, w)`` bool, False in patches that lie inside the picture."""
    generator = torch.Generator().manual_seed(0)
    side = round(_PATCH * min(size))
    seen = torch.ones(_MASKS, *size, dtype=torch.bool)
    for mask in seen:
        for _ in range(_PATCHES):
            row, column = (
                int(torch.randint(length - side + 1, (), generator=generator)) for length in size
            )
            mask[row : row + side, column : column + side] = False
    return seen


def _correlation(scores: Tensor, seen: Tensor) -> Tensor:
    """Pearson's correlation of scores ``(n,)`` with pixels ``(n, h, w)``; 0 where constant."""
    scores, seen = scores - scores.mean(), seen - seen.mean(dim=0)
    lengths = scores.norm() * seen.norm(dim=0)
    together = torch.einsum("n,nhw->hw", scores, seen)
    return torch.where(lengths > 0, together / lengths.clamp(min=torch.finfo(scores.dtype).tiny), 0)
