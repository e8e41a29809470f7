"""Changed pictures: found or aligned as the original, and which pixels changed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from leam.errors import FaceError
from leam.faces.detection import find_face
from leam.faces.face import Face
from leam.faces.protections import ProtectionInput
from leam.protect.changes import COVERED, areas_of, changed_face, overlap


class Finder:
    """Finds the faces that it was given."""

    name = "given"

    def __init__(self, *faces: Face) -> None:
        self._faces = list(faces)

    def detect(self, _picture: np.ndarray) -> list[Face]:
        return self._faces


@pytest.fixture(scope="module")
def face(portrait, detector) -> Face:
    return find_face(portrait, detector)


def moved(face: Face, by: float) -> Face:
    """The same face elsewhere."""
    left, top, right, bottom = face.box
    return replace(face, box=(left + by, top, right + by, bottom))


def test_a_face_that_is_found_is_aligned_by_its_own_points(face):
    found = moved(face, 3)
    changed = changed_face(face, face.picture.copy(), Finder(moved(face, 5000), found))
    assert changed.found
    assert changed.face is found
    assert changed.pixels == 0


@pytest.mark.parametrize("kind", ["nothing", "elsewhere", "unreliable"])
def test_a_face_that_is_not_found_is_aligned_as_the_original(face, kind):
    unreliable = replace(face, corner_points=face.corner_points + 500)
    faces = {"nothing": [], "elsewhere": [moved(face, 5000)], "unreliable": [unreliable]}
    picture = np.zeros_like(face.picture)
    changed = changed_face(face, picture, Finder(*faces[kind]))
    assert not changed.found
    assert changed.face.picture is picture
    assert np.allclose(changed.face.landmarks, face.landmarks)
    assert np.allclose(changed.face.box, face.box)


def test_pixels_are_counted_in_the_box_of_the_face(face):
    picture = face.picture.copy()
    rows, _ = ProtectionInput.of(face).box
    middle = (rows.start + rows.stop) // 2
    picture[middle:] = 255 - picture[middle:]
    changed = changed_face(face, picture, Finder())
    assert changed.pixels == pytest.approx((rows.stop - middle) / (rows.stop - rows.start))


def test_a_resized_picture_is_aligned_by_scaled_points(face, detector):
    half = cv2.resize(face.picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    kept = changed_face(face, half, Finder())
    detected = changed_face(face, half, detector)
    assert detected.found
    distance = np.linalg.norm(kept.face.landmarks - detected.face.landmarks, axis=1).mean()
    assert distance < 0.05 * np.ptp(kept.face.landmarks[:, 0])
    assert kept.pixels is not None


def test_a_cropped_picture_needs_a_face_that_is_found(face):
    cropped = face.picture[:, : face.picture.shape[1] * 3 // 4]
    found = changed_face(face, cropped, Finder(face))
    assert found.found
    assert found.pixels is None
    with pytest.raises(FaceError, match="the picture was cropped"):
        changed_face(face, cropped, Finder())


def test_overlap():
    assert overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0


def test_cover_hides_a_tenth_of_the_box_where_the_maps_are_high(face, dlib_resnet):
    class TopLeft:
        recognizer = dlib_resnet

        def explain(self, chips):
            import torch

            values = torch.zeros(chips.shape[:3])
            values[:, 30:110, 10:75] = 1
            return type("Maps", (), {"overall": values})

    (areas,) = areas_of([face], [TopLeft()])
    rows, columns = ProtectionInput.of(face).box
    box = np.zeros_like(areas)
    box[rows, columns] = True
    assert areas.sum() == pytest.approx(COVERED * box.sum(), rel=0.01)
    assert not areas[~box].any()
    # The left half of the chip is the left of the face.
    assert np.flatnonzero(areas.any(axis=0)).mean() < face.landmarks[:, 0].mean()
