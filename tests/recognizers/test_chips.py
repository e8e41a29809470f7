"""Chips in the forms that users have them: the same faces, or a refusal that says how to state the form."""

import numpy as np
import pytest
import torch
from PIL import Image

from leam.errors import InputError, ModelError
from tiny import TinyNet, wrap


@pytest.fixture
def recognizer():
    torch.manual_seed(0)
    return wrap(TinyNet())


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def forms(faces):
    """The same faces in other forms, and what states the form."""
    unit = torch.from_numpy(faces).float() / 255
    planes_first = unit.permute(0, 3, 1, 2)
    return {
        "tensor": (torch.from_numpy(faces), {}),
        "int64": (faces.astype(np.int64), {}),
        "uint16": (faces.astype(np.uint16), {}),
        "double": (faces.astype(np.float64), {}),
        "half": (torch.from_numpy(faces).half(), {}),
        "reversed": (faces[:, ::-1][:, ::-1], {}),
        "pil": ([Image.fromarray(face) for face in faces], {}),
        "arrays": (list(faces), {}),
        "tensors": (tuple(map(torch.from_numpy, faces)), {}),
        "mixed": ([faces[0], torch.from_numpy(faces[1]), Image.fromarray(faces[2])], {}),
        "unit": (unit, {"range": (0, 1)}),
        "unit_numpy": (unit.numpy(), {"range": [0, 1]}),
        "symmetric": (unit * 2 - 1, {"range": (-1, 1)}),
        "torchvision": (planes_first, {"range": (0, 1), "layout": "BCHW"}),
        "list_of_torchvision": (list(planes_first), {"range": (0, 1), "layout": "BCHW"}),
        "bool": (faces > 127, {"range": (0, 1)}),
        "stated": (faces.astype(np.float32), {"range": (0, 255), "layout": "BHWC"}),
    }


@pytest.mark.parametrize("form", forms(np.zeros((3, 8, 8, 3), np.uint8)))
def test_every_stated_form_is_the_same_face(recognizer, faces, form):
    chips, stated = forms(faces)[form]
    if form == "bool":
        faces = np.where(chips, 255, 0).astype(np.uint8)
    expected = recognizer.embed(faces)
    torch.testing.assert_close(recognizer.embed(chips, **stated), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        recognizer.preprocess(chips, **stated), recognizer.preprocess(faces), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("change", "stated", "hint"),
    [
        (lambda x: x / 255, {}, r"values from 0 to 1, expected 0 to 255; .*range=\(0, 1\)$"),
        (lambda x: (x / 255).round().byte(), {}, r"from 0 to 1, expected .*range=\(0, 1\)$"),
        (lambda x: (x / 255).round().int(), {}, r"from 0 to 1, expected .*range=\(0, 1\)$"),
        (lambda x: x > 127, {}, r"from 0 to 1, expected .*range=\(0, 1\)$"),
        (lambda x: (x > 127).numpy(), {}, r"from 0 to 1, expected .*range=\(0, 1\)$"),
        (lambda x: [*x[:2], x[2] / 255], {}, r"expected 0 to 255; .*range="),
        (lambda x: x, {"range": (0, 65535)}, r"to 255, expected 0 to 65535; .*range=\(0, 255\)$"),
        (lambda x: x.byte(), {"range": (0, 65535)}, r"expected 0 to 65535; .*range=\(0, 255\)$"),
        (lambda x: x / 65025, {"range": (0, 1)}, r"expected 0 to 1; state which"),
        (lambda x: x.double() / 255, {}, r"range=\(0, 1\)"),
        (lambda x: x / 127.5 - 1, {}, r"values from -1 to 1, .*range=\(-1, 1\)$"),
        (lambda x: (x / 255 - 0.45) / 0.225, {}, r"range="),
        (lambda x: x - 127.5, {}, r"127.5, expected 0 to 255; .*range=\(-127.5, 127.5\)"),
        (lambda x: x * 257, {}, r"to 6.554e\+04, .*range=\(0, 65535\)$"),
        (lambda x: x, {"range": (0, 1)}, r"to 255, expected 0 to 1$"),
        (lambda x: x.byte(), {"range": (0, 1)}, r"to 255, expected 0 to 1$"),
        (lambda x: x, {"range": (1, 0)}, r"expected two numbers, the values of black and white"),
        (lambda x: x / 0, {}, "values that are not finite"),
        (lambda x: x + 1j, {}, r"type torch.complex64; expected numbers"),
        (lambda x: 3.5, {}, r"type float; expected numbers"),
        (lambda x: "none.png", {}, r"none.png: no such file"),
        (lambda x: x, {"layout": "NCHW"}, r"layout NCHW: .*available: BHWC, BCHW"),
        (lambda x: [Image.new("RGBA", (8, 8))], {}, r'mode RGBA; convert it with .convert\("RGB'),
    ],
)
def test_values_that_are_not_colours_are_refused(recognizer, faces, change, stated, hint):
    faces[0, 0, 0] = 0, 128, 255
    with pytest.raises(InputError, match=hint):
        recognizer.embed(change(torch.from_numpy(faces).float()), **stated)


@pytest.mark.parametrize(
    ("shape", "stated", "hint"),
    [
        ((2, 3, 8, 8), {}, r'expected \(B, 8, 8, 3\); if they are, add layout="BCHW"'),
        ((2, 8, 8, 3), {"layout": "BCHW"}, r'expected \(B, 3, 8, 8\); .*layout="BHWC"'),
        ((8, 8, 3), {}, r"for one face, give chips\[None\]"),
        ((2, 8, 8), {}, "repeat a grey picture's values"),
        ((2, 8, 8, 1), {}, "repeat a grey picture's values"),
        ((2, 9, 8, 3), {}, r"shape \(2, 9, 8, 3\), expected \(B, 8, 8, 3\)$"),
    ],
)
def test_shapes_that_are_not_chips_are_refused_with_the_way_out(recognizer, shape, stated, hint):
    with pytest.raises(ModelError, match=hint):
        recognizer.embed(torch.full(shape, 200.0), **stated)


def test_pictures_of_several_sizes_are_refused(recognizer):
    pictures = [Image.new("RGB", (8, 8)), Image.new("RGB", (9, 8))]
    with pytest.raises(ModelError, match=r"several shapes, \(8, 8, 3\), \(8, 9, 3\)"):
        recognizer.embed(pictures)


def test_black_floats_and_a_dark_picture_of_a_stated_range_are_taken(recognizer):
    black = recognizer.embed(np.zeros((1, 8, 8, 3), np.uint8))
    torch.testing.assert_close(recognizer.embed(torch.zeros(1, 8, 8, 3)), black)
    dark = np.full((1, 8, 8, 3), 3, np.uint8)
    torch.testing.assert_close(
        recognizer.embed(dark.astype(np.float32), range=(0, 255)), recognizer.embed(dark)
    )


def test_one_picture_and_no_faces(recognizer):
    grey = Image.new("L", (8, 8), 90)
    rgb = np.full((1, 8, 8, 3), 90, np.uint8)
    torch.testing.assert_close(recognizer.embed(grey), recognizer.embed(rgb))
    assert recognizer.embed([]).shape == (0, 0)


def test_a_dark_picture_among_others_is_a_picture(recognizer, faces):
    faces[1] = np.random.default_rng(1).integers(0, 2, faces[1].shape)
    alone = recognizer.embed(faces[1:2], range=(0, 255))
    torch.testing.assert_close(recognizer.embed(faces)[1:2], alone)


def test_files_of_aligned_faces_are_read(tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, chip in zip(paths, large, strict=True):
        Image.fromarray(chip).save(path)
    recognizer = wrap(TinyNet(32), 32)
    expected = torch.from_numpy(large)
    torch.testing.assert_close(recognizer.as_chips(paths), expected)
    torch.testing.assert_close(recognizer.as_chips([str(path) for path in paths]), expected)
    torch.testing.assert_close(recognizer.as_chips(paths[0]), expected[:1])


@pytest.mark.filterwarnings("error")
def test_an_array_that_cannot_be_written_is_taken_without_a_warning(recognizer, faces):
    fixed = faces.copy()
    fixed.flags.writeable = False
    np.testing.assert_array_equal(recognizer.embed(fixed), recognizer.embed(faces))
