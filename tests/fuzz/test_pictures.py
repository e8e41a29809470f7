"""Pictures that are damaged or built to do harm."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hostile import FUZZ, damaged, endures
from leam.errors import ImageError
from leam.faces.detection import find_face
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.reading import read_picture

pytestmark = pytest.mark.slow

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def picture(kind: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(NOISE).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


WHOLE = [
    picture("PNG"),
    picture("PNG", "P"),
    picture("PNG", "LA"),
    picture("JPEG", progressive=True),
    picture("JPEG", "CMYK"),
    picture("WEBP"),
    picture("GIF"),
    picture("BMP"),
    picture("PPM"),
    picture("TIFF"),
    picture("TIFF", compression="tiff_lzw"),
    picture("TIFF", "F"),
]


@FUZZ
@given(data=st.sampled_from(WHOLE).flatmap(damaged))
def test_damage(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.img"
    path.write_bytes(data)
    with endures():
        found = read_picture(path)
        assert found.dtype == np.uint8
        assert found.ndim == 3
        assert found.shape[2] == 3


@FUZZ
@given(data=st.binary(max_size=400), magic=st.sampled_from([one[:12] for one in WHOLE]))
def test_noise_after_a_true_beginning(tmp_path_factory, data, magic):
    path = tmp_path_factory.getbasetemp() / "noise.img"
    path.write_bytes(magic + data)
    with endures():
        read_picture(path)


def png(width: int, height: int, depth: int = 8, colour: int = 0, body: bytes = b"") -> bytes:
    """A PNG that declares any size, however little it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@FUZZ
@given(
    width=st.integers(0, 2**31),
    height=st.integers(0, 2**31),
    depth=st.sampled_from([1, 8, 16]),
    colour=st.sampled_from([0, 2, 3, 4, 6]),
)
def test_declared_sizes(tmp_path_factory, width, height, depth, colour):
    path = tmp_path_factory.getbasetemp() / "size.png"
    path.write_bytes(png(width, height, depth, colour))
    with endures():
        read_picture(path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(13000, 13000, body=zlib.compress(bytes(13001) * 200)))
    with pytest.raises(ImageError, match="13000x13000 pixels are too many"):
        read_picture(path)


def test_a_jpeg_of_very_many_scans_is_refused(tmp_path):
    whole = picture("JPEG", progressive=True)
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    (tmp_path / "scans.jpg").write_bytes(whole[:-2] + scan * 5000 + whole[-2:])
    with pytest.raises(ImageError, match=r"a JPEG of 50\d\d scans"):
        read_picture(tmp_path / "scans.jpg")


def test_postscript_is_not_run(tmp_path, monkeypatch):
    """Pillow would hand it to Ghostscript."""
    path = tmp_path / "script.png"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\nshowpage\n"
    )
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(ImageError, match="not a picture that can be read"):
        read_picture(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_no_numbers(tmp_path, value):
    values = np.full((30, 30), 0.5, dtype=np.float32)
    values[3, 4] = value
    Image.fromarray(values).save(tmp_path / "f.tif")
    with endures():
        assert read_picture(tmp_path / "f.tif").shape == (30, 30, 3)


@pytest.fixture(scope="module")
def finder() -> DlibDetector:
    return DlibDetector()


@pytest.mark.parametrize("size", [(20, 60_000), (60_000, 20), (20, 20), (1, 3000), (3000, 1)])
def test_strips_hold_no_face(finder, size):
    with endures():
        find_face(np.zeros((*size, 3), dtype=np.uint8), finder)
