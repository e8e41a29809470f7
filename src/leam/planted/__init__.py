"""Planted truth: faces whose identity lies in one known region, and whether maps find it."""

from leam.planted.drawing import REGIONS, DrawnFaces, Sketch
from leam.planted.training import train_recognizer
from leam.planted.truth import Planted, plant, planted_share, planted_shares

__all__ = [
    "REGIONS",
    "DrawnFaces",
    "Planted",
    "Sketch",
    "plant",
    "planted_share",
    "planted_shares",
    "train_recognizer",
]
