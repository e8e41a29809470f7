"""Pictures are taken in the forms that users have them; what is ambiguous is refused with the way out."""

import numpy as np
import pytest
import torch
from PIL import Image

from leam.errors import InputError
from leam.faces.detection import find_face
from leam.faces.pictures import open_picture

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def test_every_form_gives_the_same_picture(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    for source in (path, str(path), Image.fromarray(PICTURE), PICTURE, torch.from_numpy(PICTURE)):
        found, file = open_picture(source)
        np.testing.assert_array_equal(found, PICTURE)
        assert found.dtype == np.uint8
        assert (file.path == path) if isinstance(source, str | type(path)) else (file is None)


def test_a_grey_pil_image_and_one_that_is_turned():
    grey = Image.fromarray(PICTURE).convert("L")
    np.testing.assert_array_equal(open_picture(grey)[0], np.stack([np.asarray(grey)] * 3, axis=2))
    turned = Image.fromarray(PICTURE)
    turned.getexif()[274] = 6
    np.testing.assert_array_equal(open_picture(turned)[0], np.rot90(PICTURE, -1))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PICTURE / 255, r"array of float64 with values from 0 to 1, expected uint8, 0-255; if 1 is white"),
        (PICTURE.astype(np.float32), r"array of float32 with values from 0 to 255, expected uint8, 0-255$"),
        (torch.from_numpy(PICTURE).float() / 255, r"array of float32 with values from 0 to 1"),
        (PICTURE.astype(np.int64), r"array of int64"),
        (PICTURE.transpose(2, 0, 1), r"shape \(3, 40, 30\), .*channels come first, give picture.transpose\(1, 2, 0\)"),
        (PICTURE[:, :, :1].repeat(4, axis=2), r"shape \(40, 30, 4\), .*without the opacity it is picture\[:, :, :3\]"),
        (PICTURE[:, :, 0], r"shape \(40, 30\) without channels; repeat a grey picture's values"),
        (PICTURE[None], r"holds several; give a list of pictures, or for aligned faces leam.explain\(batch"),
        (Image.fromarray(PICTURE).convert("RGBA"), r'mode RGBA; convert it with .convert\("RGB"\)'),
        (torch.from_numpy(PICTURE).permute(2, 0, 1), r"channels come first, give picture.permute\(1, 2, 0\)"),
        (torch.from_numpy(PICTURE).bfloat16(), r"array of float32 with values from 0 to "),
        (PICTURE > 3, r"array of bool with values from 0 to 1"),
        (PICTURE.astype(str), r"array of <U\d+, expected uint8, 0-255$"),
        (PICTURE[:0], r"shape \(0, 30, 3\) without pixels$"),
        ("", r"an empty path; give the path of a picture file$"),
        (None, r"of type NoneType; expected a path"),
        (3, r"of type int; expected a path"),
        ([PICTURE], r"of type list; expected a path, a PIL image, an array or a tensor"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_refused(source, message):
    with pytest.raises(InputError, match=rf"^the picture: .*{message}"):
        open_picture(source)


def test_an_open_file_and_images_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    with (
        path.open("rb") as stream,
        pytest.raises(InputError, match="of type BufferedReader; expected"),
    ):
        open_picture(stream)
    closed = Image.open(path)
    closed.close()
    damaged = tmp_path / "b.png"
    damaged.write_bytes(path.read_bytes()[:-200])
    message = r"^the picture: a PIL image that cannot be read \(.*give the path"
    with pytest.raises(InputError, match=message):
        open_picture(closed)
    with Image.open(damaged) as image, pytest.raises(InputError, match=message):
        open_picture(image)


def test_a_face_is_found_in_every_form(portrait, detector):
    with Image.open(portrait) as opened:
        picture = opened.convert("RGB")
    boxes = {
        find_face(source, detector).box
        for source in (
            portrait,
            str(portrait),
            picture,
            np.asarray(picture),
            torch.tensor(np.asarray(picture)),
        )
    }
    assert len(boxes) == 1
