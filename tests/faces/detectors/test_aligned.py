"""Aligned faces are taken as they are."""

from __future__ import annotations

import numpy as np
import pytest

from leam.errors import FaceError, InputError
from leam.faces.alignment import Crop
from leam.faces.detection import find_face
from leam.faces.detectors import aligned_templates, load_detector

POINTS = ((40.0, 50.0), (88.0, 50.0), (64.0, 76.0), (44.0, 100.0), (84.0, 100.0))
ARCFACE, DLIB = Crop(), Crop((150, 150), "dlib")
BOX = Crop((160, 160), "box", margin=(-0.002, 0.249, -0.002, 0.079))


@pytest.mark.parametrize(
    "crop",
    [
        ARCFACE,
        DLIB,
        BOX,
        Crop((224, 224)),
        Crop((112, 96), window=(0, 8, 112, 96)),
        Crop((96, 96), "box", margin=(0.1, 0.2, 0.1, 0.02), square=True),
        Crop((128, 128), points=POINTS),
    ],
    ids=lambda crop: crop.name,
)
def test_an_input_of_any_crop_is_aligned_to_the_same_pixels(crop):
    picture = np.random.default_rng(0).integers(0, 256, (*crop.size, 3), dtype=np.uint8)
    face = find_face(picture, load_detector("aligned", {"net": crop}))
    chip = crop.align(face)
    np.testing.assert_array_equal(chip.image, picture)
    assert chip.outside == 0
    assert face.detector == "aligned"
    assert np.isnan(face.score)


@pytest.mark.parametrize("crop", [ARCFACE, DLIB], ids=lambda crop: crop.name)
def test_landmarks_of_a_chip_are_those_of_its_picture(crop, portrait, detector):
    face = find_face(portrait, detector)
    chip = crop.align(face)
    again = find_face(chip.image, load_detector("aligned", {"net": crop}))
    expected = face.landmarks @ chip.matrix[:, :2].T + chip.matrix[:, 2]
    eyes = np.linalg.norm(expected[36:42].mean(0) - expected[42:48].mean(0))
    assert np.linalg.norm(again.landmarks - expected, axis=1).mean() < 0.1 * eyes


def test_chips_of_the_template_are_resampled_for_inputs_of_another_size(portrait, detector):
    chip = ARCFACE.align(find_face(portrait, detector)).image
    larger = Crop((224, 224))
    aligned = load_detector("aligned", {"large": larger})
    assert aligned.notes == [
        "large: aligned faces of 112x112 pixels are resampled to its input of 224x224"
    ]
    image = larger.align(find_face(chip, aligned)).image
    assert np.abs(image[::2, ::2].astype(int) - chip).mean() < 5
    assert load_detector("aligned", {"small": ARCFACE}).notes == []


@pytest.mark.parametrize("size", [(96, 96), (112, 96), (128, 128), (160, 160), (224, 224)])
def test_pictures_of_another_size_are_refused_with_a_way_out(size):
    resize = "resize them if they have the same alignment, or " if size[0] == size[1] else ""
    message = f"{size[0]}x{size[1]} pixels; expected aligned faces of 112x112; {resize}leave out --aligned"
    with pytest.raises(FaceError, match=message):
        find_face(np.zeros((*size, 3), np.uint8), load_detector("aligned", {"net": ARCFACE}))


def test_recognizers_that_need_other_pictures_are_refused():
    with pytest.raises(InputError, match=r"two: takes other aligned faces .* than one"):
        load_detector("aligned", {"one": ARCFACE, "two": DLIB})
    with pytest.raises(InputError, match="net: its faces are aligned by dlib-150x150, not by arc"):
        load_detector("aligned_arcface", {"net": DLIB})
    with pytest.raises(InputError, match="not by arcface"):
        load_detector("aligned_arcface", {"net": Crop((128, 128), points=POINTS)})
    # Both sizes take the chips of the template.
    shared = load_detector("aligned", {"one": ARCFACE, "two": Crop((224, 224))})
    assert find_face(np.zeros((112, 112, 3), np.uint8), shared).picture.shape == (112, 112, 3)


def test_without_recognizers_the_size_says_the_template():
    detector = load_detector("aligned")
    for crop in (ARCFACE, DLIB):
        picture = np.random.default_rng(0).integers(0, 256, (*crop.size, 3), dtype=np.uint8)
        np.testing.assert_array_equal(crop.align(find_face(picture, detector)).image, picture)
    assert aligned_templates() == ["arcface", "dlib"]
    with pytest.raises(FaceError, match="150x150 pixels; expected aligned faces of 112x112"):
        find_face(np.zeros((150, 150, 3), np.uint8), load_detector("aligned_arcface"))
