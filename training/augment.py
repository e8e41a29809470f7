"""Augmentation: create training views with realistic variation of geometry, light and image quality."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.faces.alignment import Matrix, Picture, warp

Labels = NDArray[np.uint8]

# Pairs of left and right labels in CelebAMask-HQ's palette: eyes, brows, ears.
MIRRORED = np.arange(256, dtype=np.uint8)
for left, right in ((4, 5), (6, 7), (8, 9)):
    MIRRORED[left], MIRRORED[right] = right, left

# Labels that determine which side is left: eyes or, if missing, brows.
SIDES = ((4, 5), (6, 7))

# The usual five-point chip within a head view of side 1: left, top, right, bottom.
CHIP = np.array([0.163, 0.165, 0.841, 0.843])


@dataclass(frozen=True)
class Example:
    """A picture ``(h, w, 3)``, labels ``(H, W)``, and the transform from labels to a unit head view."""

    picture: Picture
    labels: Labels
    to_head: Matrix


def sided(labels: Labels) -> Labels:
    """Correct the labels of masks in which the data set has swapped left and right."""
    for left, right in SIDES:
        columns = [np.nonzero(labels == value)[1] for value in (left, right)]
        if all(len(found) for found in columns):
            return labels if columns[0].mean() > columns[1].mean() else MIRRORED[labels]
    return labels


def plain(example: Example, side: int) -> tuple[Picture, Labels]:
    """The head view: picture ``(side, side, 3)`` and labels ``(side / 2, side / 2)``."""
    return _view(example, example.to_head, side)


def augmented(example: Example, side: int, rng: np.random.Generator) -> tuple[Picture, Labels]:
    """A random view: picture ``(side, side, 3)`` and labels ``(side / 2, side / 2)``."""
    matrix = _compose(_jitter(rng), example.to_head)
    mirror = rng.random() < 0.5
    if mirror:
        matrix = _compose(np.array([[-1.0, 0, 1], [0, 1, 0]]), matrix)
    picture, labels = _view(example, matrix, side)
    if mirror:
        labels = MIRRORED[labels]
    if rng.random() < 0.35:
        window = _window(rng)
        picture, labels = _cut(picture, window), _cut(labels, window)
        # The border of a chip is black before the chip is blurred or compressed.
    return _damage(picture, rng), labels


def _view(example: Example, to_head: Matrix, side: int) -> tuple[Picture, Labels]:
    ratio = example.labels.shape[0] / example.picture.shape[0]
    from_picture = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2]])
    picture = warp(example.picture, _compose(_to_pixels(to_head, side), from_picture), (side, side))
    half = side // 2
    labels = cv2.warpAffine(
        example.labels, _to_pixels(to_head, half), (half, half), flags=cv2.INTER_NEAREST
    )
    return picture, labels


def _to_pixels(to_head: Matrix, side: int) -> Matrix:
    matrix = to_head * side
    matrix[:, 2] -= 0.5
    return matrix


def _jitter(rng: np.random.Generator) -> Matrix:
    """A random similarity transform around the middle of the head, slightly stretched."""
    # Landmarks are accurate in most views, but sometimes wrong or missing.
    wild = rng.random() < 0.25
    angle = np.deg2rad(rng.normal(0, 20 if wild else 7))
    scale = np.exp(rng.uniform(-0.45, 0.45) if wild else rng.uniform(-0.15, 0.2))
    stretch = np.exp(rng.normal(0, 0.05))
    shift = rng.normal(0, 0.08 if wild else 0.025, 2)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cos * stretch, -sin], [sin, cos / stretch]])
    middle = np.array([0.5, 0.55])
    return np.hstack([linear, (middle + shift - linear @ middle)[:, None]])


def _window(rng: np.random.Generator) -> NDArray[np.float64]:
    """The part of a head view that a tight chip shows: the usual chip, slightly moved and resized."""
    return np.clip(CHIP + rng.normal(0, 0.03, 4) + rng.normal(0, 0.04, 2)[[0, 1, 0, 1]], 0, 1)


def _cut(array: NDArray[np.uint8], window: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Set pixels outside a window to black (or background). The window is given in units of the side."""
    left, top, right, bottom = np.round(window * array.shape[0]).astype(int)
    inside = np.zeros_like(array)
    inside[top:bottom, left:right] = array[top:bottom, left:right]
    return inside


def _damage(picture: Picture, rng: np.random.Generator) -> Picture:
    side = picture.shape[0]
    if rng.random() < 0.7:
        picture = _relit(picture, rng)
    if rng.random() < 0.1:
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    if rng.random() < 0.35:
        small = int(side * np.exp(rng.uniform(np.log(0.2), np.log(0.9))))
        shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 2.0) * side / 192)
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(2, 12), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(20, 90))
        _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return picture


def _relit(picture: Picture, rng: np.random.Generator) -> Picture:
    """Change exposure, contrast and tint with a lookup table, since each value changes independently."""
    values = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.25))
    values = (values - 0.5) * np.exp(rng.normal(0, 0.2)) + 0.5 + rng.normal(0, 0.06)
    values = values * np.exp(rng.normal(0, 0.08, 3))
    table = np.clip(np.round(values * 255), 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table[None])


def _compose(outer: Matrix, inner: Matrix) -> Matrix:
    return np.hstack(
        [outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]]
    )
