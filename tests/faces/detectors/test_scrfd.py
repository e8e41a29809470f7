"""SCRFD: decoding and suppression by hand, and real faces."""

import numpy as np
import pytest

from leam.errors import ModelError, WeightsError
from leam.faces.detection import find_face
from leam.faces.detectors import DETECTORS, load_detector
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.detectors.scrfd import ScrfdDetector, decode, suppress
from leam.faces.reading import read_picture


def outputs(side=64):
    """A network's outputs in which nothing is seen."""
    counts = [2 * (side // stride) ** 2 for stride in (8, 16, 32)]
    return [np.zeros((count, width), np.float32) for width in (1, 4, 10) for count in counts]


def test_decoding_by_hand():
    found = outputs()
    # Stride 16 has 4 x 4 places of two anchors each: number 13 is in row 1, column 2.
    found[1][13] = 0.9
    found[4][13] = [1, 0.5, 2, 3]
    found[7][13] = [-1, 0, 1, 0, 0, 0, -0.5, 1, 0.5, 1]
    seen = decode(found, side=64)
    np.testing.assert_allclose(seen.boxes, [[16, 8, 64, 64]])
    np.testing.assert_allclose(seen.scores, [0.9], rtol=1e-6)
    points = np.array([[16, 16], [48, 16], [32, 16], [24, 32], [40, 32]])
    np.testing.assert_allclose(seen.points, [points])


def test_the_unsure_is_left_out():
    found = outputs()
    found[0][5] = 0.49
    assert len(decode(found, 64).scores) == 0


def test_suppression_keeps_the_surest_of_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 6, 10, 16]], np.float32)
    # Overlaps with the surest, the second: 9/11, none, and 36/164.
    assert suppress(boxes, np.array([0.7, 0.9, 0.6, 0.8], np.float32)).tolist() == [1, 3, 2]


@pytest.fixture(scope="module")
def scrfd(assets):
    pytest.importorskip("onnxruntime")
    return ScrfdDetector()


def test_finds_the_same_face_as_dlib(scrfd, detector, portrait):
    ours, dlibs = find_face(portrait, scrfd), find_face(portrait, detector)
    eyes = np.linalg.norm(dlibs.five_points[1] - dlibs.five_points[0])
    assert np.abs(ours.five_points - dlibs.five_points).max() < 0.12 * eyes
    assert np.abs(ours.landmarks - dlibs.landmarks).mean() < 0.05 * eyes
    assert np.abs(np.subtract(ours.box, dlibs.box)).max() < 0.5 * eyes
    assert 0.5 <= ours.score <= 1


def test_tall_and_wide_pictures_give_points_in_their_own_pixels(scrfd, portrait):
    picture = read_picture(portrait)
    plain = scrfd.find(picture).points[0]
    for pad in ((picture.shape[0], 0), (0, picture.shape[1])):
        padded = np.pad(picture, ((0, pad[0]), (0, pad[1]), (0, 0)))
        assert np.abs(scrfd.find(padded).points[0] - plain).max() < 4


def test_a_picture_without_a_face_has_none(scrfd):
    assert scrfd.detect(np.full((90, 60, 3), 127, np.uint8)) == []


def test_missing_or_wrong_model_file_is_said_so(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.delenv("LEAM_ASSETS", raising=False)
    monkeypatch.delenv("LEAM_SCRFD", raising=False)
    with pytest.raises(WeightsError, match=r"set LEAM_SCRFD to the path of scrfd_2.5g_bnkps.onnx"):
        ScrfdDetector()
    monkeypatch.setenv("LEAM_SCRFD", str(tmp_path / "none.onnx"))
    with pytest.raises(WeightsError, match=r"none.onnx does not exist"):
        ScrfdDetector()
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"bad.onnx is not an ONNX file"):
        ScrfdDetector(tmp_path / "bad.onnx")


def test_a_recognizer_is_no_detector(assets):
    pytest.importorskip("onnxruntime")
    with pytest.raises(WeightsError, match=r"is not an SCRFD with key points"):
        ScrfdDetector(assets / "zoo" / "mobileface_v3.onnx")


def test_detectors_are_chosen_by_name():
    ours = ["aligned", "aligned_arcface", "aligned_dlib", "auto", "dlib", "scrfd"]
    assert list(DETECTORS)[: len(ours)] == ours  # plug-ins follow
    assert isinstance(load_detector("dlib"), DlibDetector)
    with pytest.raises(
        ModelError, match=r"cascade: no such detector; available: aligned, .*dlib, scrfd"
    ):
        load_detector("cascade")
