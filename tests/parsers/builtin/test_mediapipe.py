import builtins

import numpy as np
import pytest

from leam.demo import portraits
from leam.errors import FaceError, ModelError, WeightsError
from leam.faces.alignment import Crop
from leam.faces.detection import find_face
from leam.faces.face import Face
from leam.parsers import load_parser
from leam.parsers.builtin.mediapipe import MediaPipeParser
from leam.parsers.regions import INDEX


@pytest.fixture(scope="module")
def parser(assets):
    pytest.importorskip("mediapipe")
    return MediaPipeParser(assets / "detectors" / "face_landmarker.task")


def test_parts_lie_where_dlib_has_them(parser, detector):
    face, crop = find_face(portraits()["Eileen Collins"], detector), Crop()
    one, other = parser.parse(face, crop).labels, load_parser("landmarks").parse(face, crop).labels
    for name in ("left_eye", "right_eye", "nose", "upper_lip", "left_brow", "right_brow"):
        ours = np.argwhere(one == INDEX[name]).mean(axis=0)
        theirs = np.argwhere(other == INDEX[name]).mean(axis=0)
        assert np.linalg.norm(ours - theirs) < 6, name


def test_no_face_is_an_error_that_names_the_parser(parser):
    flat = np.full((120, 120, 3), 127, dtype=np.uint8)
    points = np.array([[40.0, 50], [80, 50], [60, 70], [45, 90], [75, 90]])
    face = Face(flat, (0, 0, 1, 1), 1.0, np.zeros((68, 2)), points, np.zeros((5, 2)))
    with pytest.raises(FaceError, match="no face found by mediapipe"):
        parser.parse(face, Crop())


def test_a_damaged_model_file_is_named(tmp_path):
    pytest.importorskip("mediapipe")
    (tmp_path / "no.task").write_text("no model")
    with pytest.raises(WeightsError, match=r"no\.task: not a face landmarker"):
        MediaPipeParser(tmp_path / "no.task")


def test_without_mediapipe_the_extra_is_named(monkeypatch, tmp_path):
    whole = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith("mediapipe"):
            raise ImportError(name)
        return whole(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"pip install leam-xai\[mediapipe\]"):
        MediaPipeParser(tmp_path / "face_landmarker.task")
