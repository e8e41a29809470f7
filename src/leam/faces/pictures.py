"""Pictures in the forms that users have them, as RGB arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from leam.errors import InputError, first_line
from leam.faces.reading import Picture, PictureFile, read_picture_file

if TYPE_CHECKING:
    from torch import Tensor

Source: TypeAlias = "str | Path | Image.Image | NDArray[np.generic] | Tensor"
"""A picture: a file, a PIL image, or an RGB array or tensor ``(H, W, 3)`` uint8, 0-255."""

IN_MEMORY = "the picture"
"""What messages call a picture without a file."""


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
    if isinstance(source, str) and not source:
        raise InputError(f"{IN_MEMORY}: an empty path; give the path of a picture file")
    if isinstance(source, str | Path):
        return read_picture_file(source, member)
    if isinstance(source, Image.Image):
        return _of_pil(source), None
    planes = "picture.transpose(1, 2, 0)"
    # Torch is not imported for its type; files have the method detach, too.
    if hasattr(source, "detach") and hasattr(source, "cpu"):
        planes = "picture.permute(1, 2, 0)"
        tensor = source.detach().cpu()
        # Numpy lacks bfloat16.
        source = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if not isinstance(source, np.ndarray):
        raise InputError(
            f"{IN_MEMORY}: of type {type(source).__name__}; expected a path, a PIL image, an array or a tensor"
        )
    return _checked(source, planes), None


def _of_pil(image: Image.Image) -> Picture:
    """The pixels of a PIL image.

    Raises:
        InputError: It has another mode, is closed, or its file is damaged.
    """
    if image.mode not in {"RGB", "L"}:
        raise InputError(
            f'{IN_MEMORY}: a PIL image of mode {image.mode}; convert it with .convert("RGB")'
        )
    try:
        # An opened image is read only now.
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{IN_MEMORY}: a PIL image that cannot be read ({first_line(error)}); give the path of its file"
        ) from None


def _checked(array: NDArray[np.generic], planes: str) -> Picture:
    """An array, if it is an RGB picture.

    Args:
        array: The array.
        planes: The expression that puts the channels last.

    Raises:
        InputError: It is not.
    """
    shape = array.shape
    if len(shape) == 4:  # noqa: PLR2004
        raise InputError(
            f"{IN_MEMORY}: an array of shape {shape} holds several; give a list of pictures, or for aligned faces "
            "leam.explain(batch, recognizer)"
        )
    if len(shape) == 2:  # noqa: PLR2004
        raise InputError(
            f"{IN_MEMORY}: an array of shape {shape} without channels; repeat a grey picture's values for red, green "
            "and blue: np.stack([picture] * 3, axis=-1)"
        )
    if len(shape) != 3 or shape[2] != 3:  # noqa: PLR2004
        hint = ""
        if len(shape) == 3:  # noqa: PLR2004
            first, last = shape[0] == 3, shape[2] == 4  # noqa: PLR2004
            hint = f"; if channels come first, give {planes}" if first else hint
            hint = "; without the opacity it is picture[:, :, :3]" if last else hint
        raise InputError(f"{IN_MEMORY}: an array of shape {shape}, expected (H, W, 3), RGB{hint}")
    if not array.size:
        raise InputError(f"{IN_MEMORY}: an array of shape {shape} without pixels")
    if array.dtype.kind not in "buif":
        raise InputError(f"{IN_MEMORY}: an array of {array.dtype}, expected uint8, 0-255")
    if array.dtype != np.uint8:
        least, most = float(array.min()), float(array.max())
        hint = '; if 1 is white, give (255 * picture).round().astype("uint8")' if most <= 1 else ""
        said = f"an array of {array.dtype} with values from {least:.4g} to {most:.4g}"
        raise InputError(f"{IN_MEMORY}: {said}, expected uint8, 0-255{hint}")
    return np.ascontiguousarray(array)
