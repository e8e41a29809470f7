from __future__ import annotations

import dlib
import numpy as np
import pytest

from leam.errors import FaceError
from leam.faces.alignment import Crop, similarity_transform, transform_points, warp
from leam.faces.detection import dlib_model, find_face
from leam.faces.face import Face


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


def face_at(box, side=100):
    """A face at a box in a picture whose pixels are all different, its points in the box."""
    picture = np.arange(side * side * 3, dtype=np.uint32).reshape(side, side, 3) * 7 % 251
    left, top, right, bottom = box
    unit = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    points = unit * [right - left, bottom - top] + [left, top]
    return Face(picture.astype(np.uint8), box, 1.0, np.zeros((68, 2)), points, np.zeros((5, 2)))


def test_a_box_is_cut_from_edge_to_edge():
    face = face_at((10, 20, 60, 90))
    chip = Crop((70, 50), "box").align(face)
    np.testing.assert_array_equal(chip.image, face.picture[20:90, 10:60])
    assert chip.outside == 0


@pytest.mark.parametrize("size", [(160, 160), (70, 50)])
def test_a_margin_is_facenet_pytorchs(size):
    """Its margin of m pixels in an output of n enlarges the box by m / (n - m), half on each side; no padding here."""
    m, n = 14, 160
    left, top, right, bottom = box = (30, 20, 70, 80)
    wide, high = m * (right - left) / (n - m), m * (bottom - top) / (n - m)
    wanted = [left - wide / 2, top - high / 2], [right + wide / 2, bottom + high / 2]
    half = m / (n - m) / 2
    matrix = Crop(size, "box", margin=(half,) * 4).matrix(face_at(box))
    edges = transform_points(matrix, np.array(wanted) - 0.5)
    np.testing.assert_allclose(edges, [[-0.5, -0.5], [size[1] - 0.5, size[0] - 0.5]], atol=1e-9)


def test_each_side_has_its_own_margin():
    face = face_at((20, 20, 60, 60))
    chip = Crop((58, 46), "box", margin=(0.1, 0.2, 0.05, 0.25)).align(face)
    np.testing.assert_array_equal(chip.image, face.picture[12:70, 16:62])


def test_a_square_extends_the_shorter_side():
    face = face_at((40, 20, 60, 60))
    chip = Crop((40, 40), "box", square=True).align(face)
    np.testing.assert_array_equal(chip.image, face.picture[20:60, 30:70])
    flat = face_at((20, 40, 60, 60))
    chip = Crop((40, 40), "box", square=True).align(flat)
    np.testing.assert_array_equal(chip.image, flat.picture[30:70, 20:60])


def test_what_lies_outside_the_picture_is_black_and_counted():
    face = face_at((-10, 0, 30, 40))
    chip = Crop((40, 40), "box").align(face)
    np.testing.assert_array_equal(chip.image[:, 10:], face.picture[:40, :30])
    assert not chip.image[:, :9].any()
    assert chip.outside == pytest.approx(0.25, abs=0.01)


def test_a_crop_outside_the_picture_and_an_empty_one_are_refused():
    with pytest.raises(FaceError, match="outside the picture"):
        Crop((40, 40), "box").align(face_at((-50, 0, -10, 40)))
    with pytest.raises(FaceError, match="empty after its margin"):
        Crop((40, 40), "box", margin=(-0.5,) * 4).align(face_at((10, 10, 50, 50)))


POINTS = ((30.0, 50.0), (66.0, 50.0), (48.0, 70.0), (34.0, 90.0), (62.0, 90.0))


def test_points_of_ones_own_replace_the_template(portrait, detector):
    face = find_face(portrait, detector)
    crop = Crop((112, 96), points=POINTS)
    chip = crop.align(face)
    wanted = similarity_transform(face.five_points, np.array(POINTS))
    np.testing.assert_array_equal(chip.matrix, wanted)
    np.testing.assert_array_equal(chip.image, warp(face.picture, wanted, (112, 96)))
    placed = transform_points(chip.matrix, face.five_points)
    assert np.abs(placed - POINTS).mean() < 6


def test_arcfaces_points_of_ones_own_give_its_chip(portrait, detector):
    points = (
        (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
        (70.7299, 92.2041),
    )  # fmt: skip
    face = find_face(portrait, detector)
    np.testing.assert_array_equal(Crop(points=points).align(face).image, Crop().align(face).image)


def test_every_geometry_has_its_own_name():
    crops = [
        Crop(),
        Crop((160, 160)),
        Crop(template="box"),
        Crop(template="box", margin=(0.1, 0.1, 0.1, 0.1)),
        Crop(template="box", margin=(0.1, 0.1, 0.1, 0.2)),
        Crop(template="box", square=True),
        Crop(points=POINTS),
        Crop(points=(*POINTS[:4], (1.0, 2.0))),
    ]
    names = {crop.name for crop in crops}
    assert len(names) == len(crops)
    assert all(name.replace("-", "").replace("_", "").replace(".", "").isalnum() for name in names)
    assert Crop().name == "arcface-112x112"
