"""Read a picture file as an RGB array, whatever its colour mode, depth or orientation."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from leam.errors import ImageError

Picture = NDArray[np.uint8]
"""An RGB picture: ``(height, width, 3)``, uint8, 0-255."""

_SMALLEST_SIDE = 20
_LARGEST_PIXELS = 200_000_000


def read_picture(path: str | Path) -> Picture:
    """Read one picture file.

    EXIF orientation is applied, 16-bit depth is scaled to 8 bits, transparency is laid on white, and the first frame
    of an animation is taken.

    Args:
        path: A file in any format that Pillow reads.

    Returns:
        RGB, ``(height, width, 3)``, uint8, 0-255.

    Raises:
        ImageError: The file is missing, is not a picture, is damaged, or has a side under 20 pixels or over
            200 million pixels in all.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels on; the limit here is explicit instead.
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                _check_size(opened, path)
                opened.load()
                picture = _to_rgb(ImageOps.exif_transpose(opened))
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
        raise ImageError(f"{path}: damaged picture ({error})") from None
    return picture


def _check_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > _LARGEST_PIXELS:
        raise ImageError(f"{path}: {image.width}x{image.height} pixels are too many")
    if min(image.size) < _SMALLEST_SIDE:
        raise ImageError(f"{path}: {image.width}x{image.height} pixels are too few for a face")


def _to_rgb(image: Image.Image) -> Picture:
    if image.mode in {"I", "I;16", "I;16L", "I;16B", "F"}:
        return _grey_to_rgb(np.asarray(image, dtype=np.float64))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        image = Image.alpha_composite(white, layered)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _grey_to_rgb(values: NDArray[np.float64]) -> Picture:
    """Scale deep grey to 8 bits by the smallest depth that holds it (1.0, 8 or 16 bits)."""
    highest = values.max(initial=0.0)
    depth = next((d for d in (1.0, 255.0, 65535.0) if highest <= d), highest)
    grey = np.clip(np.round(values * (255.0 / depth)), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
