"""Pictures that claim to be huge: refused or decoded smaller, within 600 MB, and silently."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from leam.errors import ImageError
from leam.faces.reading import read_picture, read_picture_file

pytestmark = pytest.mark.slow

LIMIT = 600_000_000
READ = """
import json, resource, sys
from leam import contained
from leam.errors import LeamError
from leam.faces.people import read_dataset
from leam.faces.reading import read_picture_file
try:
    path, member = sys.argv[1:]
    if member == "frame":
        member = read_dataset(path).samples[0].member
    picture, file = read_picture_file(path, member)
    said = [list(picture.shape), file.note]
except LeamError as error:
    said = str(error)
def most_of(process):
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
helper = contained._helper
ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
most = [most_of("self"), max(ended, most_of(helper.process.pid) if helper else 0)]
print(json.dumps([said, most]))
"""


def png(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer = zlib.compressobj(1)
    row = bytes((width * depth * channels + 7) // 8 + 1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    palette = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(256)) if colour == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + palette + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )  # fmt: skip


def webp(kind: bytes, side: int = 16383) -> bytes:
    size = struct.pack("<I", side - 1)[:3]
    heads = {
        b"VP8L": b"\x2f" + struct.pack("<I", (side - 1) | (side - 1) << 14),
        b"VP8X": b"\x10\0\0\0" + size + size,
        b"VP8 ": b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", side, side),
    }
    body = heads[kind].ljust(14, b"\0")
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def saved(kind: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind, **options)
    return stream.getvalue()


def tiff(tags: dict[int, int | tuple[int, ...]], data: bytes = bytes(4000)) -> bytes:
    """A TIFF of one directory; tag 273 or 324 names where the data start."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    for start in (273, 324):
        if start in tags:
            directory[start] = 8
    stream = io.BytesIO(b"II*\0" + struct.pack("<I", 8 + len(data)) + data)
    stream.seek(8 + len(data))
    directory.save(stream)
    return stream.getvalue()


GREY = {256: 100, 257: 100, 258: 8, 259: 1, 262: 1, 277: 1}


def jpeg_claiming(width: int, height: int, **options: object) -> bytes:
    data = bytearray(saved("JPEG", (64, 64), **options))
    start = data.find(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def boxed(kind: str, side: int, box: bytes, at: int) -> bytes:
    data = bytearray(saved(kind, (64, 64)))
    start = data.find(box) + at
    data[start : start + 8] = struct.pack(">II", side, side)
    return bytes(data)


def heic(size: tuple[int, int]) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return saved("HEIF", size)


def frames(count: int) -> bytes:
    pictures = [Image.new("P", (640, 480), color=n % 7) for n in range(count)]
    stream = io.BytesIO()
    pictures[0].save(stream, "GIF", save_all=True, append_images=pictures[1:])
    return stream.getvalue()


def noisy_jpeg(size: tuple[int, int], **options: object) -> bytes:
    small = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize(size).save(stream, "JPEG", **options)
    return stream.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "lossless.webp": lambda: webp(b"VP8L"),
    "canvas.webp": lambda: webp(b"VP8X"),
    "lossy.webp": lambda: webp(b"VP8 "),
    "whole.webp": lambda: saved("WEBP", (7000, 5700), lossless=True, method=0),
    "alpha.webp": lambda: saved("WEBP", (7000, 5700), "RGBA", lossless=True, method=0),
    "bits.png": lambda: png(40000, 40000, 1, 0),
    "alpha.png": lambda: png(7000, 5700, 8, 6),
    "palette.png": lambda: png(7000, 5700, 8, 3, 1),
    "deep.png": lambda: png(7000, 5700, 16, 6),
    "deep_grey.png": lambda: png(7000, 5700, 16, 0),
    "ratio.tif": lambda: saved("TIFF", (12000, 12000), compression="tiff_deflate"),
    "lzw.tif": lambda: saved("TIFF", (7000, 5700), compression="tiff_lzw"),
    "floats.tif": lambda: saved("TIFF", (6000, 6000), "F", compression="tiff_deflate"),
    "tile.tif": lambda: tiff(GREY | {322: 60000, 323: 60000, 324: 8, 325: 4000}),
    "rows.tif": lambda: tiff(GREY | {256: 60000, 257: 60000, 273: 8, 278: 2**32 - 1, 279: 4000}),
    "strips.tif": lambda: tiff(
        GREY | {257: 300_000, 273: (8,) * 300_000, 278: 1, 279: (100,) * 300_000}
    ),
    "samples.tif": lambda: tiff(
        GREY | {256: 6000, 257: 6000, 258: (16,) * 200, 277: 200, 273: 8, 278: 6000, 279: 4000}
    ),
    "canvas.gif": lambda: saved("GIF", (64, 64), "P").replace(
        b"GIF87a\x40\0\x40\0", b"GIF87a\xff\xff\xff\xff", 1
    ),
    "frames.gif": lambda: frames(500),
    "whole.gif": lambda: saved("GIF", (7000, 5700), "P"),
    "claims.avif": lambda: boxed("AVIF", 40000, b"ispe", 8),
    "whole.avif": lambda: saved("AVIF", (7000, 5700), speed=10),
    "whole.heic": lambda: heic((6000, 4000)),
    "claims.bmp": lambda: (
        b"BM" + struct.pack("<IIIIiiHHII", 99, 0, 54, 40, 30000, 30000, 1, 8, 1, 0)
    ),
    "whole.bmp": lambda: saved("BMP", (6500, 5700)),
    "claims.jp2": lambda: boxed("JPEG2000", 60000, b"ihdr", 4),
    "tiles.jp2": lambda: boxed("JPEG2000", 60000, b"\xff\x51", 6),
    "whole.jp2": lambda: saved("JPEG2000", (12000, 12000), "L"),
    "claims.jpg": lambda: jpeg_claiming(65500, 65500),
    "claims_less.jpg": lambda: jpeg_claiming(12000, 12000),
    "progressive.jpg": lambda: jpeg_claiming(12000, 12000, progressive=True, subsampling=0),
    "whole.jpg": lambda: noisy_jpeg((7000, 5700), progressive=True, subsampling=0),
    "large.jpg": lambda: noisy_jpeg((13000, 10000)),
    "claims.pgm": lambda: b"P5 30000 30000 255\n" + bytes(4000),
    "deep.pgm": lambda: b"P5 6000 6000 60000\n" + bytes(6000 * 6000 * 2),
    "claims.psd": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30000, 30000, 8, 3),
    "claims.ico": lambda: b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 4000, 22),
}


def reading(path: Path, member: str = "") -> tuple[object, list[int]]:
    """What came of reading in a process of its own, and the bytes that it and its helper took at most."""
    run = subprocess.run(
        [sys.executable, "-c", READ, str(path), member],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stderr == ""
    said, most = json.loads(run.stdout)
    return said, [1024 * size for size in most]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measured on Linux")
@pytest.mark.parametrize("name", FILES)
def test_no_file_takes_more_than_600_megabytes(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name]())
    said, most = reading(path)
    assert sum(most) < LIMIT, said
    if name.startswith("claims"):
        assert isinstance(said, str) or name == "claims_less.jpg", said
    if isinstance(said, str):
        assert said.startswith(str(path))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measured on Linux")
def test_pictures_in_archives_are_bounded_alike(tmp_path):
    path = tmp_path / "set.bin"
    bomb = webp(b"VP8L")
    path.write_bytes(pickle.dumps(([bomb, bomb], [True])))
    start = path.read_bytes().find(b"RIFF")
    said, most = reading(path, f"bytes={start}+{len(bomb)}")
    assert "16383x16383 pixels are too many" in str(said)
    assert sum(most) < LIMIT


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measured on Linux")
@pytest.mark.parametrize(("width", "height"), [(16000, 16000), (65500, 65500)])
def test_frames_are_bounded_alike(tmp_path, width, height):
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(5):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    data = path.read_bytes().replace(struct.pack(">HH", 48, 64), struct.pack(">HH", height, width))
    path.write_bytes(data.replace(struct.pack("<II", 64, 48), struct.pack("<II", width, height)))
    said, most = reading(path, "frame")
    assert isinstance(said, str)
    assert sum(most) < LIMIT


def test_a_large_jpeg_is_decoded_at_half_its_size(tmp_path):
    (tmp_path / "a.jpg").write_bytes(noisy_jpeg((8000, 6000)))
    (tmp_path / "b.jpg").write_bytes(noisy_jpeg((4000, 3000)))
    picture, file = read_picture_file(tmp_path / "a.jpg")
    assert file.note == "8000x6000 pixels are decoded at 1/2 of their size"
    assert np.abs(picture.astype(int) - read_picture(tmp_path / "b.jpg")).mean() < 4


def test_other_formats_say_the_way_out(tmp_path):
    (tmp_path / "a.png").write_bytes(png(8000, 6000, 1, 0))
    with pytest.raises(
        ImageError, match="8000x6000 pixels are too many; save it as JPEG, or small"
    ):
        read_picture(tmp_path / "a.png")


def test_decoders_print_nothing(tmp_path, capfd):
    stream = io.BytesIO()
    Image.fromarray(np.arange(62500).reshape(250, 250) % 7 > 3).save(
        stream, "TIFF", compression="group4"
    )
    data = bytearray(stream.getvalue())
    data[20:60] = bytes(range(7, 47))
    (tmp_path / "noise.tif").write_bytes(data)
    (tmp_path / "deep.png").write_bytes(png(64, 64, 16, 2)[:70])
    for name in ("deep.png", "noise.tif"):
        try:
            read_picture(tmp_path / name)
        except ImageError:
            os.write(2, b"refused\n")
    os.write(2, b"ours\n")
    assert capfd.readouterr().err.replace("refused\n", "") == "ours\n"
