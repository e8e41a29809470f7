"""Pictures in the forms that users have them, as RGB arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from leam.errors import InputError
from leam.faces.reading import Picture, PictureFile, read_picture_file

if TYPE_CHECKING:
    from torch import Tensor

Source: TypeAlias = "str | Path | Image.Image | NDArray[np.generic] | Tensor"
"""A picture: a file, a PIL image, or an RGB array or tensor ``(H, W, 3)`` uint8, 0-255."""

_ARRAY = "the picture"


def open_picture(source: Source, member: str = "") -> tuple[Picture, PictureFile | None]:
    """A picture and the file that it was read from; None for one in memory.

    Nothing is guessed of a picture in memory: other shapes, types and ranges are refused.

    Args:
        source: The picture. The EXIF orientation of a PIL image is applied, as it is for files.
        member: The place of the picture inside the file; see :func:`leam.faces.reading.read_picture_file`.

    Returns:
        RGB ``(H, W, 3)`` uint8.

    Raises:
        ImageError: The file cannot be read.
        InputError: The picture in memory is of another form.
    """
    if isinstance(source, str | Path):
        return read_picture_file(source, member)
    if isinstance(source, Image.Image):
        if source.mode not in {"RGB", "L"}:
            raise InputError(
                f'{_ARRAY}: a PIL image of mode {source.mode}; convert it with .convert("RGB")'
            )
        return np.array(ImageOps.exif_transpose(source).convert("RGB")), None
    if hasattr(source, "detach"):
        source = source.detach().cpu().numpy()
    if not isinstance(source, np.ndarray):
        raise InputError(
            f"{_ARRAY}: of type {type(source).__name__}; expected a path, a PIL image, an array or a tensor"
        )
    return _checked(source), None


def _checked(array: NDArray[np.generic]) -> Picture:
    """An array, if it is an RGB picture.

    Raises:
        InputError: It is not.
    """
    shape = array.shape
    if len(shape) == 4:  # noqa: PLR2004
        raise InputError(
            f"{_ARRAY}: an array of shape {shape} holds several; give a list of pictures, or for aligned faces "
            "leam.explain(batch, recognizer)"
        )
    if len(shape) == 2:  # noqa: PLR2004
        raise InputError(
            f"{_ARRAY}: an array of shape {shape} without channels; repeat a grey picture's values for red, green and "
            "blue: np.stack([picture] * 3, axis=-1)"
        )
    if len(shape) != 3 or shape[2] != 3:  # noqa: PLR2004
        hint = ""
        if len(shape) == 3:  # noqa: PLR2004
            first, last = shape[0] == 3, shape[2] == 4  # noqa: PLR2004
            hint = "; if channels come first, give picture.transpose(1, 2, 0)" if first else hint
            hint = "; without the opacity it is picture[:, :, :3]" if last else hint
        raise InputError(f"{_ARRAY}: an array of shape {shape}, expected (H, W, 3), RGB{hint}")
    if array.dtype != np.uint8:
        least, most = (array.min(), array.max()) if array.size else (0, 0)
        hint = '; if 1 is white, give (255 * picture).round().astype("uint8")' if most <= 1 else ""
        said = f"an array of {array.dtype} with values from {least:.4g} to {most:.4g}"
        raise InputError(f"{_ARRAY}: {said}, expected uint8, 0-255{hint}")
    return np.ascontiguousarray(array)
