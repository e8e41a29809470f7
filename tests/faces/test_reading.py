from __future__ import annotations

import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from encoded import encoded, write_video
from encoded import picture as colour
from leam.errors import ImageError
from leam.faces import reading
from leam.faces.reading import (
    hash_picture,
    picture_suffixes,
    read_picture,
    read_picture_file,
    unreadable,
)

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


def ramp(highest: int, channels: int = 3) -> np.ndarray:
    return np.linspace(0, highest, 40 * 30 * channels).reshape(30, 40, channels).astype(np.uint16)


def png(values: np.ndarray, colour: int, exif: bytes = b"") -> bytes:
    """A PNG of 16 bits of a colour type that Pillow does not write."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0),
        **({b"eXIf": exif} if exif else {}),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("highest", "bits"), [(4095, 12), (65535, 16)])
def test_deep_colours_keep_their_brightness(tmp_path, suffix, highest, bits):
    values = ramp(highest)
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), values[:, :, ::-1])
    picture, file = read_picture_file(path)
    np.testing.assert_allclose(picture, values * (255 / highest), atol=0.51)
    assert file.note == f"{bits}-bit values in 16 bits are scaled to 8 bits"


def test_deep_colours_with_transparency(tmp_path):
    values = ramp(4095, 4)
    values[:, :, 3] = 65535
    values[:15, :, 3] = 0
    (tmp_path / "a.png").write_bytes(png(values, 6))
    picture, file = read_picture_file(tmp_path / "a.png")
    assert picture[:15].min() == 255
    np.testing.assert_allclose(picture[15:], values[15:, :, :3] * (255 / 4095), atol=0.51)
    assert file.note.endswith("to 8 bits; transparent pixels are shown on white")


def test_deep_grey_with_transparency(tmp_path):
    values = ramp(4095, 2)
    values[:, :, 1] = 65535
    (tmp_path / "a.png").write_bytes(png(values, 4))
    picture, file = read_picture_file(tmp_path / "a.png")
    for channel in range(3):
        np.testing.assert_allclose(picture[:, :, channel], values[:, :, 0] / 16.06, atol=0.6)
    assert file.note == "12-bit values in 16 bits are scaled to 8 bits"


def test_deep_colours_are_turned_as_the_file_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = ramp(4095)
    (tmp_path / "turned.png").write_bytes(png(values, 2, exif.tobytes().removeprefix(b"Exif\0\0")))
    picture = read_picture(tmp_path / "turned.png")
    np.testing.assert_allclose(picture, np.rot90(values, -1) / 16.06, atol=0.6)


@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiffs(tmp_path, channels):
    values = (ramp(1000, channels) / 1000).astype(np.float32)
    path = tmp_path / "float.tif"
    cv2.imwrite(str(path), values[:, :, ::-1])
    picture, file = read_picture_file(path)
    np.testing.assert_allclose(picture, np.broadcast_to(values * 255, (30, 40, 3)), atol=0.51)
    assert file.note == "floats from 0 to 1 are scaled to 8 bits"


def test_the_stated_depth_of_a_pgm_is_used(tmp_path):
    dark = (ramp(4095, 1) // 16).astype(">u2")
    (tmp_path / "dark.pgm").write_bytes(b"P5 40 30 4095\n" + dark.tobytes())
    np.testing.assert_allclose(
        read_picture(tmp_path / "dark.pgm")[:, :, :1], dark / 16.06, atol=0.51
    )


@pytest.mark.parametrize(
    ("mode", "suffix", "note"),
    [
        ("1", ".png", "1-bit values are scaled to 8 bits"),
        ("CMYK", ".tif", "CMYK is converted without a colour profile"),
        ("L", ".png", ""),
        ("RGB", ".jpg", ""),
        ("RGBA", ".png", ""),
    ],
)
def test_what_was_changed_is_noted(tmp_path, mode, suffix, note):
    image = Image.new("RGB", (40, 30), (200, 200, 200)).convert(mode)
    assert read_picture_file(save(tmp_path, f"a{suffix}", image))[1].note == note


def test_a_palette_with_a_transparent_colour_is_shown_on_white(tmp_path):
    image = Image.new("P", (40, 30), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(0, (0, 0, 20, 30))
    picture, file = read_picture_file(save(tmp_path, "a.png", image, transparency=0))
    assert picture[5, 5].tolist() == [255] * 3
    assert picture[5, 30].tolist() == [10, 20, 30]
    assert file.note == "transparent pixels are shown on white"


def test_suffixes_are_those_that_can_be_read(tmp_path):
    image = Image.new("RGB", (40, 30), (200, 10, 10))
    assert {".avif", ".jfif", ".jp2", ".jpg", ".png", ".tif", ".webp"} <= picture_suffixes()
    assert not {".psd", ".eps", ".txt", ".mp4", ""} & picture_suffixes()
    for suffix, form in {".avif": "AVIF", ".jfif": "JPEG", ".jp2": "JPEG2000"}.items():
        path = save(tmp_path, f"a{suffix}", image, format=form)
        assert np.abs(read_picture(path)[5, 5].astype(int) - (200, 10, 10)).max() < 12


def test_heic_is_read_by_an_extra(tmp_path):
    pytest.importorskip("pillow_heif")
    assert ".heic" in picture_suffixes()
    path = save(tmp_path, "a.heic", Image.new("RGB", (64, 64), (200, 10, 10)))
    assert np.abs(read_picture(path)[5, 5].astype(int) - (200, 10, 10)).max() < 12


def test_without_the_extra_heic_names_it(tmp_path, monkeypatch):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(12))
    monkeypatch.setattr(reading, "_formats", lambda: ("JPEG", "PNG"))
    assert unreadable(path) == "HEIC pictures need pillow-heif; run `pip install leam-xai[heic]`"
    with pytest.raises(ImageError, match=r"a\.heic: HEIC pictures need pillow-heif"):
        read_picture(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg(), ""),
        (b"Pyrrhus was a king", "not a picture"),
        (b"BMW and others are makers of cars", "not a picture"),
        (b"P5 20 20 255\n" + bytes(400), ""),
        # The canvas of a WebP of 16383x16383 pixels is not made for this.
        (b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0\x2f\xfe\xff\xff\x0f" + bytes(9), ""),
        (b"", "empty file"),
        (b"\0\0\0\x18ftypmp42" + bytes(20), "a video; give it a suffix such as .mp4"),
    ],
)
def test_a_file_is_judged_by_its_content(tmp_path, data, reason):
    (tmp_path / "a").write_bytes(data)
    assert unreadable(tmp_path / "a") == reason


def test_a_member_is_read_from_its_bytes(tmp_path):
    path, data = tmp_path / "archive", encoded(7)
    cut = len(data) // 2
    text = data.decode("latin1")
    forms = {
        "bytes": data,
        "text": text.encode(),
        "raw": text.encode("raw-unicode-escape").replace(b"\\u", b"\\u005cu"),
        "repr": repr(data)[2:-1].encode(),
    }
    for name, form in forms.items():
        path.write_bytes(b"12345" + form + b"678")
        picture, file = read_picture_file(path, f"{name}=5+{len(form)}")
        np.testing.assert_array_equal(picture, colour(7))
        assert file.sha256 == hashlib.sha256(data).hexdigest()
        assert file.member == f"{name}=5+{len(form)}"
        assert hash_picture(path, file.member) == file.sha256
    path.write_bytes(b"12345" + data[:cut] + b"678" + data[cut:])
    joined = f"bytes=5+{cut},{8 + cut}+{len(data) - cut}"
    np.testing.assert_array_equal(read_picture_file(path, joined)[0], colour(7))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("bytes=5+9999", "beyond the end of the file"),
        ("bytes=5+9999999999", "too many bytes"),
        ("bytes=a+b", "no such member"),
        ("frame=-1", "no such member"),
        ("frame=0", "not a video that can be read"),
        ("bytes=0+3", "not a picture that can be read"),
    ],
)
def test_members_that_are_not_there(tmp_path, member, message):
    (tmp_path / "archive").write_bytes(encoded(1))
    with pytest.raises(ImageError, match=message) as caught:
        read_picture_file(tmp_path / "archive", member)
    assert str(caught.value).startswith(f"{tmp_path / 'archive'}: ")
    assert str(caught.value).count("archive") == 1


def test_a_frame_of_a_video(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    picture, file = read_picture_file(path, "frame=20")
    assert abs(int(picture.mean()) - 160) < 6
    assert hash_picture(path, "frame=20") == file.sha256 != hash_picture(path, "frame=21")


@pytest.mark.parametrize(
    ("suffix", "note"),
    [
        ("tif", "the first of several pages is used"),
        ("gif", "the first frame of an animation is used"),
        ("webp", "the first frame of an animation is used"),
        ("png", "the first frame of an animation is used"),
    ],
)
def test_the_first_of_several_pictures_is_used_and_this_is_said(tmp_path, suffix, note):
    path = tmp_path / f"one.{suffix}"
    first, second = (Image.new("RGB", (40, 40), colour) for colour in ("red", "blue"))
    first.save(path, save_all=True, append_images=[second])
    picture, file = read_picture_file(path)
    assert file.note == note
    assert picture[20, 20, 0] > 200
    assert picture[20, 20, 2] < 50
    first.save(path)
    assert read_picture_file(path)[1].note == ""


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "one.jpg").touch()
    with pytest.raises(ImageError, match=r"one\.jpg: is empty"):
        read_picture(tmp_path / "one.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_a_colour_profile_that_is_not_applied_is_said(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for name, note in (("Display P3", "the colour profile is not applied"), ("sRGB", "")):
        profile = name.encode().ljust(256, b"\0")
        Image.new("RGB", (40, 40)).save(path, icc_profile=profile)
        assert read_picture_file(path)[1].note == note


def test_a_header_of_very_many_pixels_is_not_called_damaged(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (40, 40)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 20_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.png: too many pixels; make it smaller"):
        read_picture(path)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_tiff_in_which_zero_is_white(tmp_path, kind):
    grey = np.tile(np.arange(40, dtype=np.uint8) * 6 + 5, (30, 1))
    grey[0, 0] = 255
    values = {np.uint8: grey, np.uint16: grey.astype(np.uint16) * 257, np.float32: grey / 255}[kind]
    image = Image.fromarray(values.astype(kind))
    black, white = (save(tmp_path, f"{name}.tif", image, tiffinfo={262: name}) for name in (1, 0))
    np.testing.assert_array_equal(read_picture(black)[:, :, 0], grey)
    # Pillow writes such values of 8 bits so that the picture is the same.
    expected = grey if kind is np.uint8 else 255 - grey
    np.testing.assert_array_equal(read_picture(white)[:, :, 0], expected)


def many_segments(count: int) -> bytes:
    return jpeg()[:2] + b"\xff\xec\x00\x02" * count + jpeg()[2:]


def many_chunks(count: int, kind: bytes = b"tESt") -> bytes:
    data = encoded(9)
    one = b"\0\0\0\0" + kind + struct.pack(">I", zlib.crc32(kind))
    return data[:33] + one * count + data[33:]


@pytest.mark.parametrize(
    ("data", "here"),
    [
        (many_segments(100), True),
        (many_segments(1000), False),
        # Exif segments are joined, which takes time that grows with the square of their number.
        (jpeg()[:2] + (b"\xff\xe1\x00\x0aExif\0\0ab") * 1000 + jpeg()[2:], False),
        (many_chunks(100), True),
        (many_chunks(1000), False),
        (many_chunks(10_000, b"IDAT"), True),
        (many_chunks(30_000, b"IDAT"), False),
        (b"GIF89a", False),
    ],
)
def test_files_of_very_many_parts_are_decoded_in_the_helper_process(tmp_path, data, here):
    assert reading._is_decoded_here(data) is here
    if data != b"GIF89a":
        (tmp_path / "a").write_bytes(data)
        assert read_picture(tmp_path / "a").size
