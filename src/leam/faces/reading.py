"""Read picture files of any common format as 8-bit RGB arrays."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from leam.errors import ImageError, first_line
from leam.files import open_regular

Picture = NDArray[np.uint8]
"""An RGB picture: ``(height, width, 3)``, uint8, 0-255."""

_MIN_SIDE = 20
# Below Pillow's own limit of 179 million. Decoding so many pixels takes some seconds and 2 GB.
_MAX_PIXELS = 150_000_000
# A file is read as a whole, so that its hash is that of the bytes that were decoded.
_MAX_BYTES = 1 << 30
# What cameras and browsers write. Pillow supports forty more formats, some of them slow, and one that runs
# Ghostscript on the file.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
# A progressive JPEG has about ten scans. Decoding each takes time for every pixel, however few bytes the scan has, so
# that a small file with thousands of scans would take hours.
_MAX_SCANS = 100
_SCAN = b"\xff\xda"


@dataclass(frozen=True)
class PictureFile:
    """The file that a picture was read from.

    Attributes:
        path: Its path.
        sha256: The SHA-256 of the bytes that were decoded, in hexadecimal.
        pixels: The :func:`checksum` of the decoded picture.
    """

    path: Path
    sha256: str
    pixels: int


def checksum(picture: Picture) -> int:
    """The CRC-32 of a picture's pixels: tells whether they are still those that were read."""
    return zlib.crc32(np.ascontiguousarray(picture).data)


def read_picture(path: str | Path) -> Picture:
    """Read one picture file.

    EXIF orientation is applied, 16-bit depth is scaled to 8 bits, transparency becomes white, and of an animation the
    first frame is read.

    Args:
        path: A file: AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP, as far as the installed Pillow reads
            them.

    Returns:
        RGB, ``(height, width, 3)``, uint8, 0-255.

    Raises:
        ImageError: The file is missing, is not a picture, is damaged, is larger than 1 GiB, or has a side under 20
            pixels or more than 150 million pixels.
    """
    return read_picture_file(path)[0]


def read_picture_file(path: str | Path) -> tuple[Picture, PictureFile]:
    """Read one picture file as :func:`read_picture` does, and identify the bytes that were read.

    Raises:
        ImageError: As for :func:`read_picture`.
    """
    path = Path(path)
    try:
        with open_regular(path) as stream, warnings.catch_warnings():
            # Pillow warns above 89 million pixels; the limit here is explicit instead.
            warnings.simplefilter("ignore")
            data = _read_all(stream, path)
            picture = _decode(data, path)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder, not a picture") from None
    except PermissionError:
        raise ImageError(f"{path}: permission denied") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a picture that can be read") from None
    except Exception as error:  # noqa: BLE001  decoders of hostile files raise nearly anything
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
        raise ImageError(f"{path}: damaged picture ({first_line(error)})") from None
    return picture, PictureFile(path, hashlib.sha256(data).hexdigest(), checksum(picture))


def _read_all(stream: BinaryIO, path: Path) -> bytes:
    size = os.fstat(stream.fileno()).st_size
    if size > _MAX_BYTES:
        raise ImageError(f"{path}: {size} bytes are too many for a picture")
    return stream.read(_MAX_BYTES)


def _decode(data: bytes, path: Path) -> Picture:
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    with Image.open(io.BytesIO(data), formats=formats) as opened:
        _check_size(opened, path)
        if opened.format in {"JPEG", "MPO"}:
            _check_scans(data, path)
        opened.load()
        return _to_rgb(ImageOps.exif_transpose(opened))


def _check_scans(data: bytes, path: Path) -> None:
    """Refuse a JPEG with very many scans."""
    scans = data.count(_SCAN)
    if scans > _MAX_SCANS:
        raise ImageError(f"{path}: damaged picture (a JPEG of {scans} scans)")


def _check_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > _MAX_PIXELS:
        raise ImageError(f"{path}: {image.width}x{image.height} pixels are too many")
    if min(image.size) < _MIN_SIDE:
        raise ImageError(f"{path}: {image.width}x{image.height} pixels are too few for a face")


def _to_rgb(image: Image.Image) -> Picture:
    if image.mode in {"I", "I;16", "I;16L", "I;16B", "F"}:
        return _grey_to_rgb(np.array(image, dtype=np.float64))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        image = Image.alpha_composite(white, layered)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _grey_to_rgb(values: NDArray[np.float64]) -> Picture:
    """Scale grey values to 8 bits by the smallest depth that holds them (1.0, 8 or 16 bits).

    The values are overwritten, since copies of a large picture would take gigabytes.
    """
    highest = values.max(initial=0.0)
    if not np.isfinite(highest):
        raise ValueError("some values are not finite")
    depth = next((d for d in (1.0, 255.0, 65535.0) if highest <= d), highest)
    values *= 255.0 / depth
    np.round(values, out=values)
    np.clip(values, 0, 255, out=values)
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)
