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


@pytest.mark.parametrize("size", [(224, 224), (160, 160), (64, 64), (224, 192)])
def test_inputs_of_any_size_are_cut_from_the_picture_in_one_step(portrait, detector, size):
    face = find_face(portrait, detector)
    crop = Crop(size)
    chip = crop.align(face)
    np.testing.assert_array_equal(chip.image, warp(face.picture, chip.matrix, size))
    # The template is scaled from corner to corner of the input.
    corners = np.array([[-0.5, -0.5], [111.5, 111.5]])
    to_picture = np.linalg.inv(np.vstack([Crop().matrix(face), [0, 0, 1]]))[:2]
    placed = transform_points(chip.matrix, transform_points(to_picture, corners))
    np.testing.assert_allclose(placed, [[-0.5, -0.5], [size[1] - 0.5, size[0] - 0.5]], atol=1e-9)


def test_a_resized_chip_is_enlarged_from_the_chip(portrait, detector):
    face = find_face(portrait, detector)
    crop, straight = Crop((224, 224), resized_chip=True), Crop((224, 224))
    chip = crop.align(face).image
    np.testing.assert_array_equal(chip, np.rint(crop.from_chip(Crop().align(face).image)))
    assert crop.name != straight.name
    np.testing.assert_array_equal(crop.matrix(face), straight.matrix(face))
    sharp = straight.align(face).image
    assert np.abs(chip[8:-8, 8:-8].astype(int) - sharp[8:-8, 8:-8].astype(int)).mean() < 4
    assert sharpness(sharp) > 1.2 * sharpness(chip)


def sharpness(image):
    return np.diff(image.astype(float), n=2, axis=1).std()


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((400, 400, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = warp(stripes, np.array([[0.1, 0, 0], [0, 0.1, 0]]), (40, 40))
    assert abs(small[5:-5, 5:-5].mean() - 127.5) < 3
