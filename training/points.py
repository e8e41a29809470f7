"""Detect the faces in the CelebAMask-HQ images, and save their landmarks to a file.

python training/points.py CELEBAMASK_FOLDER points.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from leam.errors import FaceError
from leam.faces.detection import find_face
from leam.faces.detectors.dlib import DlibDetector


def main() -> None:
    """Write ``names`` and ``landmarks (n, 68, 2)``; NaN if no face is found."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="folder with images/ and masks/")
    arguments.add_argument("out", type=Path, help="output file (.npz)")
    given = arguments.parse_args()
    paths = sorted((given.folder / "images").glob("*.jpg"))
    landmarks = np.full((len(paths), 68, 2), np.nan)
    detector = DlibDetector()
    for index, path in enumerate(paths):
        try:
            face = find_face(path, detector)
        except FaceError:
            continue
        landmarks[index] = face.landmarks
    np.savez(given.out, names=[path.stem for path in paths], landmarks=landmarks)
    print(f"{len(paths)} images, {int(np.isnan(landmarks[:, 0, 0]).sum())} without a face")


if __name__ == "__main__":
    main()
