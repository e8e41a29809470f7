"""Methods that hide parts of the face and measure the score, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from leam.errors import InputError
from leam.explain.backends import Chips
from leam.explain.methods import Attribution, attribution, scorer
from leam.explain.targets import Target
from leam.recognizers.recognizer import Recognizer

# The shorter side of the input in units of the sliding window's, which moves by half of itself.
_WINDOWS = 8
# CorrRISE: the number of masks, the patches in each, and their side relative to the input's.
_MASKS, _PATCHES, _PATCH = 500, 3, 30 / 112


@attribution("occlusion", needs="scores", counted=True)
def occlusion(recognizer: Recognizer, calls: int | None) -> Attribution:
    """The score's drop under a black window, averaged over the windows that hide a pixel, where positive.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. The window's side is an eighth
    of the input's shorter side (226 calls for a square input), or the smallest for which the calls suffice.
    """
    windows = _windows(recognizer.card.input_size, calls)

    def attribute(chips: Chips, target: Target) -> Tensor:
        score, maps = scorer(recognizer, chips, target), []
        for row, chip in enumerate(torch.as_tensor(chips)):
            drops = score(row, chip[None]) - score(row, masked(chip, ~windows))
            hidden = windows.to(drops)
            maps.append(torch.einsum("n,nhw->hw", drops, hidden) / hidden.sum(dim=0))
        return torch.stack(maps).relu()

    return attribute


@attribution("corrrise", needs="scores", counted=True)
def corrrise(recognizer: Recognizer, calls: int | None) -> Attribution:
    """Correlation between the visibility of a pixel and the score, where positive.

    Lu, Xu and Ebrahimi, "Towards visual saliency explanations of face verification", WACV 2024:
    Pearson's correlation over random masks that hide patches. Here 500 masks (501 calls) of three square
    patches, 30 of 112 pixels wide, the same for every face; the mate stays whole.
    """
    if calls is not None and calls < 3:  # noqa: PLR2004  a correlation of two masks at least
        raise InputError(f"corrrise: {calls} calls are too few; give at least 3")
    seen = _random_masks(recognizer.card.input_size, _MASKS if calls is None else calls - 1)

    def attribute(chips: Chips, target: Target) -> Tensor:
        score, maps = scorer(recognizer, chips, target), []
        for row, chip in enumerate(torch.as_tensor(chips)):
            scores = score(row, masked(chip, seen))
            maps.append(_correlation(scores, seen.to(scores)))
        return torch.stack(maps).relu()

    return attribute


def masked(chip: Tensor, seen: Tensor) -> Tensor:
    """Copies of a chip ``(h, w, 3)`` that are black outside masks ``(n, h, w)`` bool, ``(n, h, w, 3)``."""
    return chip * seen[..., None].to(chip)


def _windows(size: tuple[int, int], calls: int | None = None) -> Tensor:
    """All positions of the sliding window, ``(n, h, w)`` bool; the last ones end at the edge.

    Raises:
        InputError: The calls do not suffice for windows of half the side.
    """
    parts = _WINDOWS
    if calls is not None:
        fitting = [n for n in range(2, min(size) // 2 + 1) if _count(size, n) < calls]
        if not fitting:
            least = _count(size, 2) + 1
            raise InputError(f"occlusion: {calls} calls are too few; give at least {least}")
        parts = max(fitting)
    side, starts = _positions(size, parts)
    windows = torch.zeros(_count(size, parts), *size, dtype=torch.bool)
    for number, window in enumerate(windows):
        row, column = starts[0][number // len(starts[1])], starts[1][number % len(starts[1])]
        window[row : row + side, column : column + side] = True
    return windows


def _positions(size: tuple[int, int], parts: int) -> tuple[int, list[list[int]]]:
    """The side of the window, and its first rows and columns."""
    side = max(2, round(min(size) / parts))
    return side, [sorted({*range(0, n - side, side // 2), n - side}) for n in size]


def _count(size: tuple[int, int], parts: int) -> int:
    rows, columns = _positions(size, parts)[1]
    return len(rows) * len(columns)


def _random_masks(size: tuple[int, int], count: int = _MASKS) -> Tensor:
    """Masks ``(count, h, w)`` bool, False in patches that lie inside the picture."""
    generator = torch.Generator().manual_seed(0)
    side = round(_PATCH * min(size))
    seen = torch.ones(count, *size, dtype=torch.bool)
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
