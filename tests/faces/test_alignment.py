from __future__ import annotations

import dlib
import numpy as np
import pytest

from leam.faces.alignment import Crop, similarity_transform, transform_points, warp
from leam.faces.detection import dlib_model, find_face


def test_similarity_transform_recovers_turn_scale_and_shift():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(5, 2))
    angle, scale = 0.4, 2.5
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = points @ linear.T + [3, -7]
    matrix = similarity_transform(points, moved)
    np.testing.assert_allclose(matrix, np.hstack([linear, [[3], [-7]]]), atol=1e-12)


def test_arcface_chip_puts_the_points_on_the_template(portrait, detector):
    face = find_face(portrait, detector)
    placed = transform_points(Crop().matrix(face), face.five_points)
    template = [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
    assert np.abs(placed - template).mean() < 5  # the face is turned a little
    np.testing.assert_allclose(placed.mean(axis=0), np.mean(template, axis=0))


def test_dlib_chip_equals_dlibs_own(portrait, detector):
    face = find_face(portrait, detector)
    predictor = dlib.shape_predictor(str(dlib_model("shape_predictor_5_face_landmarks.dat")))
    shape = predictor(face.picture, dlib.rectangle(*(round(v) for v in face.box)))
    wanted = dlib.get_face_chip(face.picture, shape, 150, 0.25)
    found = Crop((150, 150), "dlib").align(face).image
    difference = np.abs(found.astype(int) - wanted.astype(int))
    assert difference.mean() < 1  # dlib rounds down


@pytest.mark.parametrize("window", [(0, 8, 112, 96), (10, 20, 80, 60)])
def test_window_cuts_and_the_matrix_follows(portrait, detector, window):
    top, left, height, width = window
    face = find_face(portrait, detector)
    whole = Crop().align(face)
    cut = Crop((height, width), window=window).align(face)
    np.testing.assert_array_equal(cut.image, whole.image[top : top + height, left : left + width])
    np.testing.assert_allclose(cut.matrix[:, 2], whole.matrix[:, 2] - [left, top])


def test_resized_input_and_its_matrix_agree(portrait, detector):
    """A picture warped straight by the composed matrix shows the same as the chip that was cut, then resized."""
    face = find_face(portrait, detector)
    chip = Crop((224, 224)).align(face)
    straight = warp(face.picture, chip.matrix, (224, 224))
    assert np.abs(chip.image[8:-8, 8:-8].astype(int) - straight[8:-8, 8:-8].astype(int)).mean() < 4


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((400, 400, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = warp(stripes, np.array([[0.1, 0, 0], [0, 0.1, 0]]), (40, 40))
    assert abs(small[5:-5, 5:-5].mean() - 127.5) < 3
