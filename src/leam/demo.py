"""Pictures for the demo: altered copies of two portraits that come with Python packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from leam.errors import InputError
from leam.faces.reading import Picture, read_picture
from leam.files import packaged_file

# Package, file in it, and name of the person. Both are in the public domain (NASA, US Navy).
_PORTRAITS = (
    ("skimage", "data/astronaut.png", "Eileen Collins"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "Grace Hopper"),
)
_EXTRA = {"skimage": "pip install 'leam-xai[demo]'"}
_VIEWS = 6


def portraits() -> dict[str, Path]:
    """The files of the two portraits by the person's name.

    Raises:
        InputError: A package that contains one is not installed.
    """
    found = {}
    for package, inside, person in _PORTRAITS:
        path = packaged_file(package, inside)
        if path is None:
            way_out = _EXTRA.get(package, f"pip install {package}")
            raise InputError(
                f"the demo needs a portrait from the package {package}; run `{way_out}`"
            )
        found[person] = path
    return found


def write_views(folder: Path, seed: int = 0) -> None:
    """Write copies of each portrait into one subfolder per person: moved, rotated, brightened, blurred, with noise.

    Args:
        folder: The folder to write into; created if missing.
        seed: Random seed.
    """
    generator = np.random.default_rng(seed)
    for person, path in portraits().items():
        target = folder / person
        target.mkdir(parents=True, exist_ok=True)
        for number, view in enumerate(_views(read_picture(path), generator)):
            cv2.imwrite(
                str(target / f"view {number + 1}.png"), cv2.cvtColor(view, cv2.COLOR_RGB2BGR)
            )


def _views(picture: Picture, generator: np.random.Generator) -> Iterator[Picture]:
    height, width = picture.shape[:2]
    yield picture
    for _ in range(_VIEWS - 1):
        turn = cv2.getRotationMatrix2D(
            (width / 2, height / 2), generator.uniform(-8, 8), generator.uniform(0.85, 1.1)
        )
        turn[:, 2] += generator.uniform(-0.03, 0.03, size=2) * np.array([width, height])
        view = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
        view = cv2.GaussianBlur(view, (0, 0), generator.uniform(0.3, 1.6)).astype(np.float64)
        lit = 255 * (view / 255) ** generator.uniform(0.7, 1.4) + generator.normal(
            0, 4, size=view.shape
        )
        yield np.clip(lit, 0, 255).astype(np.uint8)
