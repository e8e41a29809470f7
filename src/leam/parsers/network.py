"""Parsers that are networks: their weights, the view of the head that they see, and labels from their scores."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from leam.devices import CPU, Precision, full_float32
from leam.errors import ModelError, WeightsError, first_line
from leam.faces.alignment import Crop, Matrix, similarity_transform, transform_points, warp
from leam.faces.face import Face, Points
from leam.faces.reading import Picture
from leam.files import sha256_of
from leam.parsers.parsing import Parsing, unchecked_weights, variable_of
from leam.parsers.regions import INDEX, label_values
from leam.weights.fetching import cached_path, fetch

_LOGGER = logging.getLogger(__name__)

Network = Callable[[Tensor], Tensor]
"""From RGB pictures ``(n, 3, side, side)``, 0-255, to class scores ``(n, classes, h, w)``; a module can be moved to a
device, any other function runs on the processor."""

# The five points in a head view of side one: the means over the frames of CelebAMask-HQ, made symmetric, and drawn
# together a little, so that the view covers such a frame even when the points deviate from the means.
_FIVE_POINTS = np.array(
    [[0.3884, 0.4830], [0.6116, 0.4830], [0.5, 0.6125], [0.3994, 0.7161], [0.6006, 0.7161]]
)
# Pixels that are labelled at a time: the class probabilities of a whole photograph would take gigabytes.
_MAX_PIXELS = 1 << 18


def weights_of(parser: str, url: str, sha256: str) -> Path:
    """The weights of a parser: the file that ``LEAM_<PARSER>`` names, or the public one.

    The public file is downloaded into the user's cache on first use and verified. A file that the variable names is
    used as it is.

    Args:
        parser: The parser's name.
        url: The public file's URL.
        sha256: The public file's checksum.

    Raises:
        WeightsError: The variable's file does not exist, or the public file cannot be downloaded or has another
            checksum.
    """
    variable = variable_of(parser)
    if named := os.environ.get(variable):
        path = Path(named)
        if not path.is_file():
            raise WeightsError(f"{parser}: {path}, named by {variable}, does not exist")
        for text in unchecked_weights(parser):
            _LOGGER.warning("%s", text)
        return path
    path = cached_path(parser, url)
    try:
        fetch(url, path, sha256)
    except WeightsError as error:
        raise WeightsError(f"{parser}: {error}; or set {variable} to a file of your own") from None
    if (found := sha256_of(path)) != sha256:
        raise WeightsError(f"{parser}: {path} has sha256 {found}, not {sha256}; remove it")
    return path


def head_matrix(five_points: Points, side: int) -> Matrix:
    """The affine map from picture pixels to a view of the head with hair and neck, ``(2, 3)``.

    Args:
        five_points: Eyes, nose tip and mouth corners in the picture, ``(5, 2)`` pixels.
        side: Height and width of the view.
    """
    return similarity_transform(five_points, _FIVE_POINTS * side - 0.5)


def inverse(matrix: Matrix) -> Matrix:
    """The inverse of an affine map, ``(2, 3)``."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, (-linear @ matrix[:, 2])[:, None]])


@dataclass(frozen=True, repr=False)
class HeadParser:
    """A network that parses a view of the head; its labels are transferred to any crop.

    Attributes:
        name: The parser's name.
        labels: The label of each class of the network.
        side: Height and width of the network's input.
        network: From the view to class scores.
        view: From the five points and the side to the affine map from picture to view.
        sha256: SHA-256 of the weights file; None if there is no single file.
        device: Where the network runs.
        precision: What it computes with.
    """

    name: str
    labels: tuple[str, ...]
    side: int
    network: Network
    view: Callable[[Points, int], Matrix] = head_matrix
    sha256: str | None = None
    device: torch.device = CPU
    precision: Precision = "float32"

    def __repr__(self) -> str:
        return (
            f"HeadParser({self.name}, {len(self.labels)} classes, {self.device}, {self.precision})"
        )

    def to(self, device: torch.device, precision: Precision = "float32") -> HeadParser:
        """The parser on a device; the parser itself if its network is not a module and stays on the processor."""
        if not isinstance(self.network, nn.Module):
            return self
        self.network.to(device)
        return replace(self, device=device, precision=precision)

    def parse(self, face: Face, crop: Crop) -> Parsing:
        """The parts of a face ``(h, w)`` in the crop's geometry.

        Confidence is the network's softmax. Beyond the picture's edge, the label is background with confidence 1;
        beyond the view, background with confidence 0.

        Raises:
            ModelError: The network cannot run, or its output is not one finite score per class.
        """
        ((parsing,),) = self.parse_batch([face], [[crop]])
        return parsing

    def parse_batch(
        self, faces: Sequence[Face], crops: Sequence[Sequence[Crop]]
    ) -> list[list[Parsing]]:
        """The parsings of several faces, each in its own crops, from one pass of the network.

        Raises:
            ModelError: As for :meth:`parse`.
        """
        views = [self.view(face.five_points, self.side) for face in faces]
        size = (self.side, self.side)
        pictures = [warp(face.picture, view, size) for face, view in zip(faces, views, strict=True)]
        probabilities = self._scores(pictures, faces).softmax(dim=1).cpu()
        return [
            [self._labelled(face, crop, view, one) for crop in wanted]
            for face, wanted, view, one in zip(faces, crops, views, probabilities, strict=True)
        ]

    def _labelled(self, face: Face, crop: Crop, view: Matrix, scores: Tensor) -> Parsing:
        """The parsing in a crop, from class probabilities ``(classes, h, w)`` in the view."""
        to_picture = inverse(crop.matrix(face))
        probabilities = _shrunk(scores, self.side, view, to_picture)
        labels = np.full(crop.size, INDEX["background"], dtype=np.uint8)
        confidence = np.zeros(crop.size, dtype=np.float32)
        table = label_values(self.labels)
        for rows in _blocks(crop.size):
            points = transform_points(to_picture, _pixels(rows, crop.size[1]))
            best, highest, seen = _most_probable(
                probabilities, transform_points(view, points), self.side
            )
            inside = _within(face.picture, points)
            labels[rows] = np.where(seen & inside, table[best], labels[rows])
            confidence[rows] = np.where(inside, np.where(seen, highest, 0), 1)
        return Parsing(labels, confidence)

    def _scores(self, pictures: Sequence[Picture], faces: Sequence[Face]) -> Tensor:
        """The network's scores of views, ``(n, classes, h, w)`` float32."""
        where = f"{faces[0].path or 'the picture'}: parser {self.name}"
        views = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(self.device).float()
        cast = self.precision == "bfloat16"
        computing = torch.autocast(self.device.type, torch.bfloat16) if cast else nullcontext()
        try:
            with torch.inference_mode(), full_float32(), computing:
                scores = self.network(views).float()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  a network from a file may raise anything
            raise ModelError(f"{where} cannot run ({first_line(error)})") from None
        expected = (len(pictures), len(self.labels))
        if scores.ndim != 4 or scores.shape[:2] != expected:  # noqa: PLR2004
            raise ModelError(f"{where} gives {tuple(scores.shape)}, not {len(self.labels)} classes")
        if not torch.isfinite(scores).all():
            raise ModelError(f"{where} gives scores that are not finite")
        return scores


def _shrunk(values: Tensor, side: int, view: Matrix, to_picture: Matrix) -> Tensor:
    """Downsample values ``(classes, h, w)`` of a view that are finer than the crop's pixels, without aliasing."""
    scale = np.sqrt(abs(np.linalg.det(view[:, :2]) * np.linalg.det(to_picture[:, :2])))
    factor = int(scale * values.shape[-1] / side)
    if factor <= 1:
        return values
    size = [max(1, length // factor) for length in values.shape[1:]]
    return functional.interpolate(values[None], size, mode="bilinear", antialias=True)[0]


def _most_probable(
    probabilities: Tensor, points: Points, side: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """The most probable class at points ``(h, w, 2)`` of a view, by bilinear interpolation.

    Returns:
        The class, its probability, and whether the point lies in the view, ``(h, w)`` each.
    """
    # grid_sample's coordinates run from -1 to 1 between the outer edges of the border pixels.
    grid = torch.from_numpy((points + 0.5) / side * 2 - 1).float()
    sampled = functional.grid_sample(
        probabilities[None], grid[None], padding_mode="border", align_corners=False
    )
    highest, best = sampled[0].max(dim=0)
    return best.numpy(), highest.clamp(0, 1).numpy(), (grid.abs() <= 1).all(dim=-1).numpy()


def _blocks(size: tuple[int, int]) -> Iterator[slice]:
    """Blocks of rows that are small enough for the probabilities of all classes to fit in memory."""
    height, width = size
    step = max(1, _MAX_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _pixels(rows: slice, width: int) -> Points:
    """The coordinates of every pixel of some rows, ``(h, w, 2)``, x then y."""
    y, x = np.mgrid[rows, 0:width].astype(np.float64)
    return np.stack([x, y], axis=-1)


def _within(picture: Picture, points: Points) -> NDArray[np.bool_]:
    """Which points ``(h, w, 2)`` in picture pixels lie in the picture."""
    height, width = picture.shape[:2]
    x, y = points[..., 0], points[..., 1]
    return np.asarray((x > -1) & (y > -1) & (x < width) & (y < height), dtype=np.bool_)
