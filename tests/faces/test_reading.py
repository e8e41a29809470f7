from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from leam.errors import ImageError
from leam.faces.reading import read_picture

RAMP = np.arange(40 * 30, dtype=np.uint16).reshape(30, 40)


def save(folder, name: str, image: Image.Image, **options: object):
    path = folder / name
    image.save(path, **options)
    return path


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    deep = RAMP * 54
    picture = read_picture(save(tmp_path, "deep.png", Image.fromarray(deep)))
    assert picture.dtype == np.uint8
    assert picture.shape == (30, 40, 3)
    np.testing.assert_allclose(picture[:, :, 0], deep / 257, atol=0.51)


def test_eight_bit_greys_in_a_deep_file_stay_as_they_are(tmp_path):
    picture = read_picture(
        save(tmp_path, "shallow.tif", Image.fromarray((RAMP % 256).astype(np.int32)))
    )
    np.testing.assert_array_equal(picture[:, :, 1], RAMP % 256)


def test_transparency_is_laid_on_white(tmp_path):
    layered = Image.new("RGBA", (40, 30), (10, 20, 30, 0))
    layered.paste((200, 100, 50, 255), (0, 0, 20, 30))
    picture = read_picture(save(tmp_path, "alpha.png", layered))
    assert picture[5, 5].tolist() == [200, 100, 50]
    assert picture[5, 35].tolist() == [255, 255, 255]


def test_cmyk_grey_and_palette_become_rgb(tmp_path):
    colour = Image.new("RGB", (40, 30), (255, 0, 0))
    for name, mode in (("a.tif", "CMYK"), ("b.png", "L"), ("c.gif", "P")):
        picture = read_picture(save(tmp_path, name, colour.convert(mode)))
        assert picture.shape == (30, 40, 3)
        if mode == "CMYK":
            assert picture[0, 0].tolist() == [255, 0, 0]


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (40, 30))
    image.paste((255, 255, 255), (0, 0, 40, 5))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: the top of the file is the right of the scene
    picture = read_picture(save(tmp_path, "turned.jpg", image, exif=exif))
    assert picture.shape == (40, 30, 3)
    assert picture[20, 28].min() > 200
    assert picture[20, 5].max() < 60


def jpeg() -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "jpeg")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.jpg", b"this is no picture", "not a picture"),
        ("empty.png", b"", "not a picture"),
        ("cut.jpg", jpeg()[:900], "damaged picture"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_tiny(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_picture(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(ImageError, match="8x8 pixels are too few"):
        read_picture(save(tmp_path, "dot.png", Image.new("RGB", (8, 8))))


def test_unicode_and_spaces_in_names(tmp_path):
    path = save(tmp_path, "Zoë Ångström 写真 (1).png", Image.new("RGB", (40, 30), (1, 2, 3)))
    assert read_picture(path)[0, 0].tolist() == [1, 2, 3]


def test_a_file_of_a_gigabyte_is_refused_unread(tmp_path):
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    with pytest.raises(ImageError, match="bytes are too many for a picture"):
        read_picture(tmp_path / "huge.png")
