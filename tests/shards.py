"""Shards made by hand, in which every number tells where it belongs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leam.parsers.regions import REGIONS
from leam.study.explained import Explained
from leam.study.preparation import Detections, Parsings
from leam.study.stages.control_maps import ControlMaps
from leam.study.stages.layers import Focus
from leam.study.stages.regions import RegionShares
from planned import SIDE

LAYERS = ("early", "late")


def detections(count: int, reasons: Sequence[str] | None = None, points: float = 0.0) -> Detections:
    """The faces of some pictures; all points at one place, but for those that tell the pose of a straight face."""
    landmarks = np.full((count, 68, 2), float(points))
    landmarks[:, 36:42], landmarks[:, 42:48], landmarks[:, 30] = (0, 0), (2, 0), (1, 1)
    landmarks[:, [48, 54]] = (1, 2)
    five = np.array([[1.0, 1.0], [2.0, 1.0], [1.5, 1.5], [1.0, 2.0], [2.0, 2.0]])
    return Detections(
        reason=np.array(reasons or [""] * count, dtype=str),
        note=np.array([""] * count),
        box=np.arange(4.0 * count).reshape(-1, 4),
        score=np.ones(count),
        detector=np.array(["dlib"] * count),
        found=np.arange(count),
        turned=np.zeros(count, dtype=np.int64),
        landmarks=landmarks,
        five_points=np.stack([five] * count),
        corner_points=np.stack([five] * count),
    )


def parsings(count: int, reasons: Sequence[str] | None = None) -> Parsings:
    """Parsings of background alone."""
    return Parsings(
        labels=np.zeros((count, SIDE, SIDE), dtype=np.uint8),
        confidence=np.ones((count, SIDE, SIDE), dtype=np.float16),
        reason=np.array(reasons or [""] * count, dtype=str),
    )


def explained(
    positions: Sequence[int], density: np.ndarray | None = None, dimensions: int = 2
) -> Explained:
    """Maps of some faces, the late layer's empty."""
    count = len(positions)
    if density is None:
        density = np.ones((count, SIDE, SIDE))
    mask = density == density.max(axis=(1, 2), keepdims=True)
    return Explained(
        layers=np.array(LAYERS),
        position=np.array(positions, dtype=np.int64),
        matrix=np.stack([np.eye(2, 3)] * count),
        embedding=np.outer(np.array(positions) + 1.0, np.ones(dimensions)).astype(np.float32),
        density=density.astype(np.float16),
        density_sum=density.astype(np.float16).sum(axis=0, dtype=np.float64),
        critical=np.packbits(mask.reshape(count, -1), axis=1),
        empty=np.array([[False, False, True]] * count),
        layer_sum=np.zeros((len(LAYERS), SIDE, SIDE), dtype=np.float32),
        face_sum=np.zeros((SIDE, SIDE, 3), dtype=np.int64),
    )


def region_shares(positions: Sequence[int]) -> RegionShares:
    """Shares of ``10000 face + 100 layer + region``, masses of minus that, areas of ``10000 face + region``."""
    faces, layers, regions = np.indices((len(positions), 1 + len(LAYERS), len(REGIONS)))
    value = np.array(positions)[faces] * 10_000.0 + layers * 100 + regions
    return RegionShares(
        share=value.astype(np.float32),
        mass=-value.astype(np.float32),
        area=value[:, 0].astype(np.float32),
        confidence=value[:, 0].astype(np.float32) + 50,
    )


def control_maps(positions: Sequence[int], edges: np.ndarray, random: np.ndarray) -> ControlMaps:
    """Control masks ``(n, h, w)``, whose shares are those of the faces, plus 0.25 and plus 0.5."""
    faces, regions = np.indices((len(positions), len(REGIONS)))
    value = (np.array(positions)[faces] + regions / 100).astype(np.float32)
    return ControlMaps(
        position=np.array(positions, dtype=np.int64),
        edges=np.packbits(edges.reshape(len(positions), -1), axis=1),
        edge_share=value + np.float32(0.25),
        random=np.packbits(random.reshape(len(positions), -1), axis=1),
        random_share=value + np.float32(0.5),
    )


def focus(positions: Sequence[int]) -> Focus:
    """Spreads of ``10000 face + 100 layer``, and centres of that plus 1 (x) and 2 (y)."""
    faces, layers = np.indices((len(positions), 1 + len(LAYERS)))
    value = np.array(positions)[faces] * 10_000.0 + layers * 100
    return Focus(
        spread=value.astype(np.float32),
        centre=np.stack([value + 1, value + 2], axis=-1).astype(np.float32),
    )
