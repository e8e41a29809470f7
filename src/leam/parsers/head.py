"""Parsers that are networks: a view of the head goes in, a score of every class comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leam.faces.align import Crop, Matrix, similarity_transform, transform_points, warp
from leam.faces.face import Face, Points
from leam.parsers.orders import label_values
from leam.parsers.parsing import Parsing
from leam.parsers.regions import INDEX

Network = Callable[[Tensor], Tensor]
"""From RGB pictures ``(n, 3, side, side)``, 0-255, to class scores ``(n, classes, h, w)``."""

# Where the five points lie in a head view of side one: the means over CelebAMask-HQ's frames, made
# symmetrical, and drawn a little together, so that the whole of such a frame is seen although the
# points scatter around their means.
_FIVE_POINTS = np.array(
    [[0.3884, 0.4830], [0.6116, 0.4830], [0.5, 0.6125], [0.3994, 0.7161], [0.6006, 0.7161]]
)


def head_matrix(five_points: Points, side: int) -> Matrix:
    """The map from picture pixels to a view of the head with its hair and neck, ``(2, 3)``.

    Args:
        five_points: Eyes, nose tip and mouth corners in the picture, ``(5, 2)`` pixels.
        side: Height and width of the view.
    """
    return similarity_transform(five_points, _FIVE_POINTS * side - 0.5)


@dataclass(frozen=True)
class HeadParser:
    """A parser that looks at the head, as far as the picture shows it, and labels any crop.

    Attributes:
        name: The parser's name.
        labels: The label of each of the network's classes.
        side: Height and width of the view that the network sees.
        network: Scores the classes.
        view: The geometry of the view, from five points and the side.
    """

    name: str
    labels: tuple[str, ...]
    side: int
    network: Network
    view: Callable[[Points, int], Matrix] = head_matrix

    def parse(self, face: Face, crop: Crop) -> Parsing:
        """The parts of a face ``(h, w)`` in the crop's geometry.

        Confidence is the network's softmax. Beyond the picture's edge all is background for
        certain; beyond the view, it is background with confidence 0.
        """
        matrix = self.view(face.five_points, self.side)
        picture = warp(face.picture, matrix, (self.side, self.side))
        with torch.inference_mode():
            scores = self.network(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        to_picture = inverse(crop.matrix(face))
        probabilities, seen = resample(
            scores[0].softmax(dim=0), matrix, self.side, to_picture, crop.size
        )
        return _label(probabilities, seen, _beyond(face, to_picture, crop.size), self.labels)


def resample(
    values: Tensor, view: Matrix, side: int, to_picture: Matrix, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Bring values of a head view into a crop's geometry, bilinear and without aliasing.

    Args:
        values: Of the view, at any resolution, ``(classes, h, w)``.
        view: From picture pixels to view pixels.
        side: The view's height and width in its own pixels.
        to_picture: From crop pixels to picture pixels.
        size: The crop's height and width.

    Returns:
        The values ``(classes, *size)`` float32, and what lies within the view, ``size`` bool.
    """
    points = transform_points(view, transform_points(to_picture, _pixels(size)))
    scale = np.sqrt(abs(np.linalg.det(view[:, :2]) * np.linalg.det(to_picture[:, :2])))
    shrink = int(scale * values.shape[-1] / side)
    if shrink > 1:
        values = functional.adaptive_avg_pool2d(values, max(1, values.shape[-1] // shrink))
    # grid_sample's coordinates run from -1 to 1 between the outer edges of the border pixels.
    grid = torch.from_numpy((points + 0.5) / side * 2 - 1).float()
    sampled = functional.grid_sample(
        values[None], grid[None], padding_mode="border", align_corners=False
    )
    return sampled[0].numpy(), (np.abs(grid.numpy()) <= 1).all(axis=-1)


def _label(
    probabilities: NDArray[np.float32],
    seen: NDArray[np.bool_],
    beyond: NDArray[np.bool_],
    labels: Sequence[str],
) -> Parsing:
    best = probabilities.argmax(axis=0)
    background = INDEX["background"]
    values = np.where(seen & ~beyond, label_values(labels)[best], np.uint8(background))
    confidence = np.where(
        seen, np.take_along_axis(probabilities, best[None], axis=0)[0], np.float32(0)
    )
    return Parsing(values, np.where(beyond, np.float32(1), confidence).clip(0, 1))


def _beyond(face: Face, to_picture: Matrix, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a crop shows nothing of the picture, ``size`` bool."""
    height, width = face.picture.shape[:2]
    points = transform_points(to_picture, _pixels(size))
    x, y = points[..., 0], points[..., 1]
    return np.asarray((x <= -1) | (y <= -1) | (x >= width) | (y >= height), dtype=np.bool_)


def _pixels(size: tuple[int, int]) -> Points:
    """The coordinates of every pixel, ``(h, w, 2)``, x then y."""
    return np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), axis=-1).astype(np.float64)


def inverse(matrix: Matrix) -> Matrix:
    """The affine map back, ``(2, 3)``."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, (-linear @ matrix[:, 2])[:, None]])
