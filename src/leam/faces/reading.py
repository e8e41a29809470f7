"""Read pictures of any common format as 8-bit RGB arrays: files, members of archives, and frames of videos."""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from leam.errors import ImageError, first_line
from leam.faces.depth import to_eight_bits
from leam.faces.videos import is_video, read_frame
from leam.files import open_regular, sha256_of

Picture = NDArray[np.uint8]
"""An RGB picture: ``(height, width, 3)``, uint8, 0-255."""

_MIN_SIDE = 20
# Below Pillow's own limit of 179 million. Decoding so many pixels takes some seconds and 2 GB.
_MAX_PIXELS = 150_000_000
# A file is read as a whole, so that its hash is that of the bytes that were decoded.
_MAX_BYTES = 1 << 30
# What cameras and browsers write. Pillow supports forty more formats, some of them slow, and one that runs
# Ghostscript on the file. HEIF is there if pillow-heif is installed.
_FORMATS = (
    "AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip
# A progressive JPEG has about ten scans. Decoding each takes time for every pixel, however few bytes the scan has, so
# that a small file with thousands of scans would take hours.
_MAX_SCANS = 100
_SCAN = b"\xff\xda"
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_GREY_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
_LAYERED_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_TIFF = (b"II*\0", b"MM\0*")
_ORIENTATION, _WIDTH, _HEIGHT, _BITS_PER_SAMPLE = 274, 256, 257, 258
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MEMBER = re.compile(r"(bytes|text|raw|repr)=(\d+\+\d+(?:,\d+\+\d+)*)")
# How the bytes of a picture are written in an archive. Old pickles hold them as text.
_ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "bytes": lambda data: data,
    "text": lambda data: data.decode().encode("latin1"),
    "raw": lambda data: data.decode("raw-unicode-escape").encode("latin1"),
    "repr": lambda data: codecs.escape_decode(data)[0],
}


@dataclass(frozen=True)
class PictureFile:
    """The file that a picture was read from.

    Attributes:
        path: Its path.
        sha256: The SHA-256 of the bytes that were decoded, in hexadecimal; of a video frame, that of its pixels.
        pixels: The :func:`checksum` of the decoded picture.
        member: The place of the picture inside the file; see :func:`read_picture_file`.
        note: How values were changed that are not 8-bit RGB; empty if they were not.
    """

    path: Path
    sha256: str
    pixels: int
    member: str = ""
    note: str = ""


def checksum(picture: Picture) -> int:
    """The CRC-32 of a picture's pixels: tells whether they are still those that were read."""
    return zlib.crc32(np.ascontiguousarray(picture).data)


def read_picture(path: str | Path) -> Picture:
    """Read one picture file.

    EXIF orientation is applied, other depths are scaled to 8 bits by what the picture contains (see
    :func:`leam.faces.depth.to_eight_bits`), transparency becomes white, and of an animation the first frame is read.

    Args:
        path: A file: AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP, as far as the installed Pillow reads
            them; HEIC if pillow-heif is installed.

    Returns:
        RGB, ``(height, width, 3)``, uint8, 0-255.

    Raises:
        ImageError: The file is missing, is not a picture, is damaged, is larger than 1 GiB, or has a side under 20
            pixels or more than 150 million pixels.
    """
    return read_picture_file(path)[0]


def read_picture_file(path: str | Path, member: str = "") -> tuple[Picture, PictureFile]:
    """Read one picture as :func:`read_picture` does, and identify the bytes that were read.

    Args:
        path: A file.
        member: The place of the picture inside the file. Empty: the whole file. ``bytes=OFFSET+LENGTH``: these bytes;
            several ranges, separated by commas, are joined. ``text=``, ``raw=`` and ``repr=`` are such ranges whose
            bytes are written as text in UTF-8, with Unicode escapes, or as a Python string.
            ``frame=NUMBER``: a frame of a video.

    Raises:
        ImageError: As for :func:`read_picture`, or there is no such member.
    """
    path = Path(path)
    with _as_image_errors(path, member):
        if member.startswith("frame="):
            picture, digest, note = *_frame(path, member), ""
        else:
            data = read_bytes(path, member)
            digest = hashlib.sha256(data).hexdigest()
            with warnings.catch_warnings():
                # Pillow warns above 89 million pixels; the limit here is explicit instead.
                warnings.simplefilter("ignore")
                picture, note = _decode(data)
    return picture, PictureFile(path, digest, checksum(picture), member, note)


def hash_picture(path: Path, member: str = "") -> str:
    """The SHA-256 that :func:`read_picture_file` gives, without decoding a picture.

    Raises:
        ImageError: The file or its member cannot be read.
    """
    with _as_image_errors(path, member):
        if not member:
            return sha256_of(path)
        if member.startswith("frame="):
            return _frame(path, member)[1]
        return hashlib.sha256(read_bytes(path, member)).hexdigest()


def read_bytes(path: Path, member: str) -> bytes:
    """The bytes of a file or of a member; see :func:`read_picture_file`.

    Raises:
        OSError: The file cannot be opened.
        ImageError: There is no such member. The message names neither the file nor the member.
    """
    with open_regular(path) as stream:
        if not member:
            return _read_all(stream)
        matched = _MEMBER.fullmatch(member)
        if not matched:
            raise ImageError("no such member")
        ranges = [tuple(map(int, part.split("+"))) for part in matched[2].split(",")]
        if sum(length for _, length in ranges) > _MAX_BYTES:
            raise ImageError("too many bytes for a picture")
        parts = []
        for offset, length in ranges:
            stream.seek(offset)
            parts.append(stream.read(length))
            if len(parts[-1]) < length:
                raise ImageError("beyond the end of the file")
    return _ENCODINGS[matched[1]](b"".join(parts))


@cache
def picture_suffixes() -> frozenset[str]:
    """The suffixes of pictures that can be read here, in lower case with the dot."""
    readable = _formats()
    return frozenset(end for end, name in Image.registered_extensions().items() if name in readable)


def unreadable(path: Path) -> str:
    """Why a file is not a picture, judged by its first bytes; empty if it seems to be one."""
    try:
        with open_regular(path) as stream:
            head = stream.read(32)
            stream.seek(0)
            with Image.open(stream, formats=_formats()):
                return ""
    except OSError as error:
        # An unidentified picture is such an error, too, but has no text of the system.
        if error.strerror:
            return error.strerror
    except Exception as error:  # noqa: BLE001  decoders of hostile files raise nearly anything
        return f"damaged picture ({first_line(error)})"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _HEIC_HELP
    if is_video(head):
        return "a video; give it a suffix such as .mp4"
    return "not a picture" if head else "empty file"


_HEIC_HELP = "HEIC pictures need pillow-heif; run `pip install leam-xai[heic]`"


@cache
def _formats() -> tuple[str, ...]:
    """The formats that the installed Pillow reads."""
    Image.init()
    try:
        import pillow_heif  # noqa: PLC0415  an extra
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def _as_image_errors(path: Path, member: str) -> Iterator[None]:
    where = f"{path}: {member}" if member else f"{path}"
    try:
        yield
    except ImageError as error:
        # Raised below, where neither the path nor the member is known.
        text = str(error)
        raise ImageError(text if text.startswith(f"{path}") else f"{where}: {text}") from None
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder, not a picture") from None
    except PermissionError:
        raise ImageError(f"{path}: permission denied") from None
    except UnidentifiedImageError:
        raise ImageError(f"{where}: not a picture that can be read") from None
    except Exception as error:  # noqa: BLE001  decoders of hostile files raise nearly anything
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
        raise ImageError(f"{where}: damaged picture ({first_line(error)})") from None


def _read_all(stream: BinaryIO) -> bytes:
    size = os.fstat(stream.fileno()).st_size
    if size > _MAX_BYTES:
        raise ImageError(f"{size} bytes are too many for a picture")
    return stream.read(_MAX_BYTES)


def _frame(path: Path, member: str) -> tuple[Picture, str]:
    number = member.removeprefix("frame=")
    if not (number.isascii() and number.isdigit()):
        raise ImageError("no such member")
    picture = read_frame(path, int(number))
    _check_size(picture.shape[1], picture.shape[0])
    return picture, hashlib.sha256(picture.data).hexdigest()


def _decode(data: bytes) -> tuple[Picture, str]:
    try:
        opened = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        if data.startswith(_TIFF):
            return _decode_tiff(data)
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise ImageError(_HEIC_HELP) from None
        raise
    with opened:
        _check_size(*opened.size)
        if opened.format in {"JPEG", "MPO"}:
            _check_scans(data)
        if _is_deep_colour(opened, data):
            return _decode_deep(data, opened.getexif().get(_ORIENTATION, 1))
        opened.load()
        return _to_rgb(ImageOps.exif_transpose(opened), opened.format)


def _is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether a picture has more than 8 bits in several channels, of which Pillow keeps the upper 8."""
    if image.mode in _GREY_MODES or image.mode == "CMYK":
        return False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return bool(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8)  # noqa: PLR2004
    # A PNG's depth is the byte after its size.
    return image.format == "PNG" and data[24] == 16  # noqa: PLR2004


def _decode_tiff(data: bytes) -> tuple[Picture, str]:
    """A TIFF that Pillow does not identify, such as one of floats in three channels."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    directory.load(_at(data, directory.next))
    _check_size(directory[_WIDTH], directory[_HEIGHT])
    return _decode_deep(data, directory.get(_ORIENTATION, 1))


def _at(data: bytes, offset: int) -> io.BytesIO:
    stream = io.BytesIO(data)
    stream.seek(offset)
    return stream


def _decode_deep(data: bytes, orientation: int) -> tuple[Picture, str]:
    """Decode through OpenCV, which keeps all bits."""
    import cv2  # noqa: PLC0415  slow to import

    values: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise UnidentifiedImageError
    if values.ndim == 2:  # noqa: PLR2004
        values = np.repeat(values[:, :, None], 3, axis=2)
    colours, note = to_eight_bits(values[:, :, 2::-1])
    image = Image.fromarray(colours)
    if values.shape[2] > 3:  # noqa: PLR2004
        image.putalpha(Image.fromarray(to_eight_bits(values[:, :, 3])[0]))
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    picture, second = _to_rgb(image, None)
    return picture, _joined(note, second)


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG with very many scans."""
    scans = data.count(_SCAN)
    if scans > _MAX_SCANS:
        raise ImageError(f"damaged picture (a JPEG of {scans} scans)")


def _check_size(width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise ImageError(f"{width}x{height} pixels are too many")
    if min(width, height) < _MIN_SIDE:
        raise ImageError(f"{width}x{height} pixels are too few for a face")


def _to_rgb(image: Image.Image, form: str | None) -> tuple[Picture, str]:
    """A picture as RGB, and what was changed."""
    if image.mode in _GREY_MODES:
        values = np.asarray(image)
        if form == "PPM" and image.mode == "I":
            # Pillow has scaled the values to 16 bits by the largest value that the file states.
            values = ((values + 128) // 257).astype(np.uint8)
        grey, note = to_eight_bits(values)
        return np.repeat(grey[:, :, None], 3, axis=2), note
    note = ""
    if image.mode in _LAYERED_MODES or "transparency" in image.info:
        layered = image.convert("RGBA")
        if np.asarray(layered.getchannel("A")).min() < 255:  # noqa: PLR2004
            note = "transparent pixels are shown on white"
        white = Image.new("RGBA", layered.size, "white")
        image = Image.alpha_composite(white, layered)
    elif image.mode == "CMYK":
        note = "CMYK is converted without a colour profile"
    elif image.mode == "1":
        note = "1-bit values are scaled to 8 bits"
    return np.array(image.convert("RGB"), dtype=np.uint8), note


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
