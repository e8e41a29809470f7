"""Parsers that are networks: where their weights are, the view of the head they see, and how scores become labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leam.errors import ModelError, WeightsError
from leam.faces.alignment import Crop, Matrix, similarity_transform, transform_points, warp
from leam.faces.face import Face, Points
from leam.faces.reading import Picture
from leam.parsers.parsing import Parsing
from leam.parsers.regions import INDEX, label_values
from leam.files import sha256_of
from leam.weights.fetching import cached_path, fetch


def weights_of(parser: str, url: str, sha256: str) -> Path:
    """The weights of a parser: the file that ``LEAM_<PARSER>`` names, else the public one.

    The public file is fetched into the user's cache on first use. A file that the variable names
    may be another one, and is taken as it is.

    Args:
        parser: The parser's name.
        url: The public file.
        sha256: Its checksum.

    Raises:
        WeightsError: The variable names no file, or the public one cannot be fetched or is not the
            right one.
    """
    variable = f"LEAM_{parser.upper()}"
    if named := os.environ.get(variable):
        path = Path(named)
        if not path.is_file():
            raise WeightsError(f"{parser}: {path}, named by {variable}, does not exist")
        return path
    path = cached_path(parser, url)
    try:
        fetch(url, path, sha256)
    except WeightsError as error:
        raise WeightsError(f"{parser}: {error}; or name your file in {variable}") from None
    if (found := sha256_of(path)) != sha256:
        raise WeightsError(f"{parser}: {path} has sha256 {found}, not {sha256}; remove it")
    return path


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


# Pixels labelled at a time: the probabilities of a whole photograph would fill gigabytes.
_BLOCK = 1 << 18


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

        Raises:
            ModelError: The network cannot run, or gives something else than a score of each class.
        """
        view = self.view(face.five_points, self.side)
        picture = warp(face.picture, view, (self.side, self.side))
        scores = self._scores(picture, face)
        to_picture = inverse(crop.matrix(face))
        probabilities = _shrunk(scores[0].softmax(dim=0), self.side, view, to_picture)
        labels = np.full(crop.size, INDEX["background"], dtype=np.uint8)
        confidence = np.zeros(crop.size, dtype=np.float32)
        table = label_values(self.labels)
        for rows in _blocks(crop.size):
            points = transform_points(to_picture, _pixels(rows, crop.size[1]))
            best, highest, seen = _likeliest(
                probabilities, transform_points(view, points), self.side
            )
            inside = _within(face.picture, points)
            labels[rows] = np.where(seen & inside, table[best], labels[rows])
            confidence[rows] = np.where(inside, np.where(seen, highest, 0), 1)
        return Parsing(labels, confidence)

    def _scores(self, picture: Picture, face: Face) -> Tensor:
        """The network's scores of a view, ``(1, classes, h, w)``."""
        where = f"{face.path or 'the picture'}: parser {self.name}"
        try:
            with torch.inference_mode():
                scores = self.network(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  networks from files fail in any way
            reason = (str(error) or type(error).__name__).partition("\n")[0]
            raise ModelError(f"{where} cannot run ({reason})") from None
        if scores.ndim != 4 or scores.shape[:2] != (1, len(self.labels)):  # noqa: PLR2004
            raise ModelError(f"{where} gives {tuple(scores.shape)}, not {len(self.labels)} classes")
        if not torch.isfinite(scores).all():
            raise ModelError(f"{where} gives scores that are no numbers")
        return scores


def _shrunk(values: Tensor, side: int, view: Matrix, to_picture: Matrix) -> Tensor:
    """Average values ``(classes, h, w)`` of a view that are much finer than a crop's pixels."""
    scale = np.sqrt(abs(np.linalg.det(view[:, :2]) * np.linalg.det(to_picture[:, :2])))
    factor = int(scale * values.shape[-1] / side)
    if factor <= 1:
        return values
    size = [max(1, length // factor) for length in values.shape[1:]]
    return functional.interpolate(values[None], size, mode="bilinear", antialias=True)[0]


def _likeliest(
    probabilities: Tensor, points: Points, side: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """The likeliest class at points ``(h, w, 2)`` of a view, by bilinear interpolation.

    Returns:
        Each ``(h, w)``: the class, its probability, and whether the point lies within the view.
    """
    # grid_sample's coordinates run from -1 to 1 between the outer edges of the border pixels.
    grid = torch.from_numpy((points + 0.5) / side * 2 - 1).float()
    sampled = functional.grid_sample(
        probabilities[None], grid[None], padding_mode="border", align_corners=False
    )
    highest, best = sampled[0].max(dim=0)
    return best.numpy(), highest.clamp(0, 1).numpy(), (grid.abs() <= 1).all(dim=-1).numpy()


def _blocks(size: tuple[int, int]) -> Iterator[slice]:
    """The rows of a map, few enough at a time for all classes' probabilities to fit in memory."""
    height, width = size
    step = max(1, _BLOCK // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _pixels(rows: slice, width: int) -> Points:
    """The coordinates of every pixel of some rows, ``(h, w, 2)``, x then y."""
    y, x = np.mgrid[rows, 0:width].astype(np.float64)
    return np.stack([x, y], axis=-1)


def _within(picture: Picture, points: Points) -> NDArray[np.bool_]:
    """Which points ``(h, w, 2)`` in picture pixels show something of the picture."""
    height, width = picture.shape[:2]
    x, y = points[..., 0], points[..., 1]
    return np.asarray((x > -1) & (y > -1) & (x < width) & (y < height), dtype=np.bool_)


def inverse(matrix: Matrix) -> Matrix:
    """The affine map back, ``(2, 3)``."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, (-linear @ matrix[:, 2])[:, None]])
