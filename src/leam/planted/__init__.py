"""Planted truth: faces that differ only in one known region, and the fraction of a map that lies in it."""

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
