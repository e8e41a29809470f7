"""Read a picture file as an RGB array, whatever its colour mode, depth or orientation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from leam.errors import ImageError, first_line
from leam.files import open_regular

Picture = NDArray[np.uint8]
"""An RGB picture: ``(height, width, 3)``, uint8, 0-255."""

_SMALLEST_SIDE = 20
# Below Pillow's own limit of 179 million. Decoding so many pixels takes some seconds and 2 GB.
_LARGEST_PIXELS = 150_000_000
# What cameras and browsers write. Pillow knows forty more, among them one that runs Ghostscript on
# the file, and slow ones written in Python.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
# A progressive JPEG comes in about ten scans. Each costs time for every pixel, however few bytes it
# has, so that a small file with thousands of them would be decoded for hours.
_MOST_SCANS = 100
_SCAN = b"\xff\xda"
_BLOCK = 1 << 20


def read_picture(path: str | Path) -> Picture:
    """Read one picture file.

    EXIF orientation is applied, 16-bit depth is scaled to 8 bits, transparency is laid on white, and the first frame
    of an animation is taken.

    Args:
        path: A file: AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP, as far as the installed Pillow reads
            them.

    Returns:
        RGB, ``(height, width, 3)``, uint8, 0-255.

    Raises:
        ImageError: The file is missing, is not a picture, is damaged, or has a side under 20 pixels or over
            150 million pixels in all.
    """
    path = Path(path)
    try:
        with open_regular(path) as stream, warnings.catch_warnings():
            # Pillow warns from 89 million pixels on; the limit here is explicit instead.
            warnings.simplefilter("ignore")
            return _decode(stream, path)
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


def _decode(stream: BinaryIO, path: Path) -> Picture:
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    with Image.open(stream, formats=formats) as opened:
        _check_size(opened, path)
        if opened.format in {"JPEG", "MPO"}:
            _check_scans(stream, path)
        opened.load()
        return _to_rgb(ImageOps.exif_transpose(opened))


def _check_scans(stream: BinaryIO, path: Path) -> None:
    """Refuse a JPEG with very many scans; the stream stays where it is."""
    place = stream.tell()
    stream.seek(0)
    scans, last = 0, b""
    while block := stream.read(_BLOCK):
        scans += block.count(_SCAN) + (last + block[:1] == _SCAN)
        last = block[-1:]
    stream.seek(place)
    if scans > _MOST_SCANS:
        raise ImageError(f"{path}: damaged picture (a JPEG of {scans} scans)")


def _check_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > _LARGEST_PIXELS:
        raise ImageError(f"{path}: {image.width}x{image.height} pixels are too many")
    if min(image.size) < _SMALLEST_SIDE:
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
    """Scale deep grey to 8 bits by the smallest depth that holds it (1.0, 8 or 16 bits).

    The values are overwritten: a large picture's would fill gigabytes several times over.
    """
    highest = values.max(initial=0.0)
    if not np.isfinite(highest):
        raise ValueError("some of its values are no numbers")
    depth = next((d for d in (1.0, 255.0, 65535.0) if highest <= d), highest)
    values *= 255.0 / depth
    np.round(values, out=values)
    np.clip(values, 0, 255, out=values)
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)
