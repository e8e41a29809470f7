import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from leam.demo import portraits
from leam.errors import WeightsError
from leam.faces.alignment import Crop
from leam.faces.detection import find_face
from leam.faces.face import Face, five_points_of
from leam.parsers import load_parser
from leam.parsers.builtin.compact import WEIGHTS, CompactNet, read_compact
from leam.parsers.parsing import region_table
from leam.parsers.regions import INDEX


@pytest.fixture(scope="module")
def compact():
    return load_parser("compact")


@pytest.fixture(scope="module")
def face(detector):
    return find_face(portraits()["Eileen Collins"], detector)


def test_the_weights_are_small_and_described():
    assert WEIGHTS.stat().st_size < 2_000_000
    with safe_open(WEIGHTS, framework="pt") as stored:
        metadata = stored.metadata()
    assert metadata["side"] == "192"
    assert "non-commercial" in metadata["data"]


def test_a_portrait_has_its_parts(compact, face):
    areas = {row.region: row for row in region_table(compact.parse(face, Crop()))}
    assert areas["skin"].area > 0.25
    assert areas["hair"].area > 0.05
    assert 0.02 < areas["nose"].area < 0.08
    for region in ("eyes", "brows", "lips"):
        assert 0.003 < areas[region].area < 0.06
    assert areas["nose"].confidence > 0.8


def test_landmarks_fall_into_their_regions(compact, face):
    crop = Crop()
    labels = compact.parse(face, crop).labels
    points = face.landmarks @ crop.matrix(face)[:, :2].T + crop.matrix(face)[:, 2]

    def at(*indices):
        x, y = np.round(points[list(indices)].mean(axis=0)).astype(int)
        return labels[y, x]

    assert at(30) == INDEX["nose"]
    assert at(*range(36, 42)) == INDEX["left_eye"]
    assert at(*range(42, 48)) == INDEX["right_eye"]
    assert at(19) == INDEX["left_brow"]
    assert at(24) == INDEX["right_brow"]


def test_a_mirrored_face_has_mirrored_labels(compact, face):
    width = face.picture.shape[1]
    order = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]
    order += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    landmarks = (face.landmarks * [-1, 1] + [width - 1, 0])[order]
    mirrored = Face(
        np.ascontiguousarray(face.picture[:, ::-1]),
        face.box,
        face.score,
        landmarks,
        five_points_of(landmarks),
        face.corner_points,
    )
    crop = Crop()
    once, twice = compact.parse(face, crop), compact.parse(mirrored, crop)
    left = once.labels == INDEX["left_eye"]
    right = twice.labels == INDEX["right_eye"]
    assert abs(left.sum() - right.sum()) < 0.4 * left.sum()
    assert np.nonzero(left)[1].mean() < 56 < np.nonzero(right)[1].mean()


def test_the_network_keeps_half_of_the_resolution():
    scores = CompactNet(5).eval()(torch.zeros(2, 3, 64, 96))
    assert scores.shape == (2, 5, 32, 48)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="not found; install the package again"):
        read_compact(tmp_path / "compact.safetensors")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "compact.safetensors"
    path.write_bytes(WEIGHTS.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="not the weights of compact"):
        read_compact(path)


def test_missing_tensors_and_metadata_are_refused(tmp_path):
    path, state = tmp_path / "compact.safetensors", load_file(WEIGHTS)
    save_file(state, path)
    with pytest.raises(WeightsError, match="classes"):
        read_compact(path)
    del state["scores.bias"]
    save_file(state, path, {"classes": "background skin", "side": "192"})
    with pytest.raises(WeightsError, match="compact"):
        read_compact(path)
