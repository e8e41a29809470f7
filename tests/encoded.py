"""Small encoded pictures, no two alike."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def picture(number: int) -> np.ndarray:
    """A picture of 24x20 pixels of one colour."""
    return np.full((20, 24, 3), (number % 256, 50 + number // 256, 9), np.uint8)


def encoded(number: int, form: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(number)).save(stream, form)
    return stream.getvalue()


def write_tree(root: Path, *names: str) -> None:
    """Pictures with these names, and other files where a name does not end in .png."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(number) if name.endswith(".png") else b"text")


def write_video(path: Path, frames: int = 30, code: str = "mp4v") -> Path:
    """A video whose frame n is grey of 8n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 8 * number % 256, np.uint8))
    writer.release()
    return path
