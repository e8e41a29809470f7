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
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from leam.contained import PICTURE_MEMORY, ContainedError, contained
from leam.errors import ImageError, first_line
from leam.faces.depth import to_eight_bits
from leam.faces.videos import is_video, read_frame
from leam.files import open_regular, sha256_of

Picture = NDArray[np.uint8]
"""An RGB picture: ``(height, width, 3)``, uint8, 0-255."""

_MIN_SIDE = 20
# Reading a picture takes at most 600 MB. Pillow needs 4 bytes for a pixel and the result 3, besides the file itself and
# what a decoder holds. Larger pictures are decoded at reduced size where the format allows it.
_MAX_DECODED = 40_000_000
_MAX_PIXELS = 150_000_000
_MAX_BYTES = 128_000_000
# Of the file, the decoder and Pillow's pixels, in this process.
_MAX_MEMORY = 530_000_000
# Decoding old pickles and other text takes several copies.
_MAX_TEXT = 32_000_000
# The decoders of these formats need what the header says, and print nothing; the others run in a helper process.
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_DECODED_HERE = (_JPEG, _PNG, b"BM")
# Pillow keeps each segment of a JPEG and each chunk of a PNG as an object, and joins some of them again and again.
# Files with more of them than cameras write are decoded in the helper process. The pixels of a PNG are in chunks of
# 8 kB.
_MOST_SEGMENTS, _MOST_CHUNKS = 500, 20_000
_REDUCIBLE = frozenset({"JPEG", "MPO", "JPEG2000"})
# Pillow needs 25 bytes for a pixel of a WebP, since it decodes every one as an animation; OpenCV needs 10.
_MAX_WEBP = 12_000_000
# OpenJPEG needs 30.
_MAX_JPEG_2000 = 12_000_000
_ROWS = 256
# Some formats, such as PPMs of odd depths, are decoded in Python, which takes a microsecond for a pixel.
_SECONDS = 15.0
# What cameras and browsers write. Pillow supports forty more formats, some of them slow, and one that runs
# Ghostscript on the file. HEIF is there if pillow-heif is installed.
_FORMATS = (
    "AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip
# A progressive JPEG has about ten scans. Decoding each takes time for every pixel, however few bytes the scan has, so
# that a small file with thousands of scans would take hours.
_MAX_SCANS = 100
_SCAN = b"\xff\xda"
_END = b"\xff\xd9"
_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}
_RECORDS = b"\x0a\x23\xd7\xce"
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
# A JPEG of several pictures has other sizes or depths of the same one.
_ANIMATED = frozenset({"AVIF", "GIF", "PNG", "WEBP"})
_GREY_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
_LAYERED_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_TIFF = (b"II*\0", b"MM\0*")
_ORIENTATION, _WIDTH, _HEIGHT, _BITS_PER_SAMPLE = 274, 256, 257, 258
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_MODE_NOTES = {
    "CMYK": "CMYK is converted without a colour profile",
    "1": "1-bit values are scaled to 8 bits",
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
        ImageError: The file is missing, is not a picture, is damaged, is larger than 128 MB, has a side under 20
            pixels, has more than 40 million pixels (JPEG and JPEG 2000, which are then decoded at reduced size: 150
            million), or would take more than 600 MB to decode.
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
        if not member.startswith("frame="):
            data = read_bytes(path, member)
            if _is_decoded_here(data):
                digest = hashlib.sha256(data).hexdigest()
                picture, note = _decode(data)
                return picture, PictureFile(path, digest, checksum(picture), member, note)
            del data
        return _read_in_helper(path, member)


def _is_decoded_here(data: bytes) -> bool:
    # Containers such as AVIF are recognised by bytes 4 to 8, and PNGs of 16 bits are decoded by OpenCV.
    if not data.startswith(_DECODED_HERE) or data[4:8] == b"ftyp" or _is_deep_png(data):
        return False
    if data.startswith(_JPEG):
        return _has_few(_segments(data), _MOST_SEGMENTS)
    if data.startswith(_PNG):
        kinds = list(islice(_chunks(data), _MOST_CHUNKS + 1))
        others = len(kinds) - kinds.count(b"IDAT")
        return len(kinds) <= _MOST_CHUNKS and others <= _MOST_SEGMENTS
    return True


def _has_few(parts: Iterator[object], most: int) -> bool:
    return next(islice(parts, most, None), None) is None


def _segments(data: bytes) -> Iterator[int]:
    """The markers of a JPEG before its first scan."""
    place = 2
    while len(data) > place + 3 and data[place] == 0xFF and data[place + 1] != _SCAN[1]:  # noqa: PLR2004
        yield data[place + 1]
        # A marker may be preceded by any number of these bytes, and some have no length.
        alone = data[place + 1] in {0x01, 0xFF, *range(0xD0, 0xD9)}
        length = 0 if alone else int.from_bytes(data[place + 2 : place + 4], "big")
        place += (1 if data[place + 1] == 0xFF else 2) + length  # noqa: PLR2004


def _chunks(data: bytes) -> Iterator[bytes]:
    """The types of a PNG's chunks."""
    place = len(_PNG)
    while len(data) >= place + 8:
        yield data[place + 4 : place + 8]
        place += int.from_bytes(data[place : place + 4], "big") + 12


def _read_in_helper(path: Path, member: str) -> tuple[Picture, PictureFile]:
    try:
        facts, pixels = contained(
            "leam.faces.reading:read_for_parent",
            str(path),
            member,
            limit=PICTURE_MEMORY,
            seconds=_SECONDS,
        )
    except ContainedError as error:
        raise ImageError(f"cannot be decoded ({error}); save it as JPEG, or smaller") from None
    shape, digest, note = facts
    picture = np.frombuffer(pixels, np.uint8).reshape(shape)
    return picture, PictureFile(path, digest, checksum(picture), member, note)


def read_for_parent(path: str, member: str) -> tuple[tuple[tuple[int, ...], str, str], Picture]:
    """What :func:`read_picture_file` does in the helper process: shape, SHA-256 and note; and the picture.

    Raises:
        ImageError: As for :func:`read_picture_file`.
    """
    with _as_image_errors(Path(path), member):
        if member.startswith("frame="):
            picture, digest, note = *_frame(Path(path), member), ""
        else:
            data = read_bytes(Path(path), member)
            digest = hashlib.sha256(data).hexdigest()
            picture, note = _decode(data)
    return (picture.shape, digest, note), np.ascontiguousarray(picture)


def hash_picture(path: Path, member: str = "") -> str:
    """The SHA-256 that :func:`read_picture_file` gives, without decoding a picture.

    Raises:
        ImageError: The file or its member cannot be read.
    """
    with _as_image_errors(path, member):
        if not member:
            return sha256_of(path)
        if member.startswith("frame="):
            return _read_in_helper(path, member)[1].sha256
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
        most = _MAX_BYTES if matched[1] == "bytes" else _MAX_TEXT
        if sum(length for _, length in ranges) > most:
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
    """Why a file is not a picture, judged by its first bytes alone; empty if it seems to be one."""
    try:
        with open_regular(path) as stream:
            head = stream.read(32)
    except OSError as error:
        return str(error.strerror)
    if any(_accepts(form, head) for form in _formats()):
        return ""
    kinds = {
        _HEIC_HELP: head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS,
        "a video; give it a suffix such as .mp4": is_video(head),
        "records of MXNet; name the file itself to read it": head.startswith(_RECORDS),
        "empty file": not head,
    }
    return next((reason for reason, found in kinds.items() if found), "not a picture")


def _accepts(form: str, head: bytes) -> bool:
    """Whether a file begins as pictures of a format do."""
    # Pillow takes texts that begin with Py or BM for pictures.
    if form == "PPM":
        return bool(re.match(rb"P[1-6][\s#]", head))
    if form == "BMP":
        return head.startswith(b"BM") and head[14:18] in _BMP_HEADERS
    accept = Image.OPEN[form][1]
    return accept is not None and accept(head[:16]) is True


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
    except MemoryError:
        raise
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
    except Image.DecompressionBombError:
        raise ImageError(f"{where}: too many pixels; make it smaller") from None
    except Exception as error:  # noqa: BLE001  decoders of hostile files raise nearly anything
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
        raise ImageError(f"{where}: damaged picture ({first_line(error)})") from None


def _read_all(stream: BinaryIO) -> bytes:
    size = os.fstat(stream.fileno()).st_size
    if size > _MAX_BYTES:
        raise ImageError(f"{size} bytes are too many for a picture; save it as JPEG")
    return stream.read(_MAX_BYTES)


def _frame(path: Path, member: str) -> tuple[Picture, str]:
    number = member.removeprefix("frame=")
    if not (number.isascii() and number.isdigit()):
        raise ImageError("no such member")
    picture = read_frame(path, int(number))
    _check_size(picture.shape[1], picture.shape[0])
    return picture, hashlib.sha256(picture.data).hexdigest()


def _decode(data: bytes) -> tuple[Picture, str]:
    with warnings.catch_warnings():
        # Pillow warns above 89 million pixels; the limit here is explicit instead.
        warnings.simplefilter("ignore")
        return _decode_known(data)


def _decode_known(data: bytes) -> tuple[Picture, str]:
    if not data:
        raise ImageError("is empty, not a picture")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        # Before Pillow opens it and takes memory for the canvas.
        _check_size(*_webp_size(data))
    stream = io.BytesIO(data)
    try:
        opened = Image.open(stream, formats=_formats())
    except UnidentifiedImageError:
        if data.startswith(_TIFF):
            return _decode_tiff(data)
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise ImageError(_HEIC_HELP) from None
        raise
    _check_size(*opened.size, reducible=opened.format in _REDUCIBLE)
    if _is_deep_colour(opened, data) or (
        opened.format == "WEBP" and opened.width * opened.height > _MAX_WEBP
    ):
        orientation = opened.getexif().get(_ORIENTATION, 1)
        note = _joined(_first_of(opened), _profile_note(opened))
        # What Pillow holds would take memory while OpenCV decodes.
        del opened
        picture, other = _decode_deep(data, orientation)
        return picture, _joined(note, other)
    size, start = opened.size, stream.tell()
    note = _reduce(opened)
    if opened.format in {"JPEG", "MPO"}:
        _check_jpeg(opened, size, data, start)
    opened.load()
    # TIFFs are turned by Pillow as they are loaded, and then say so.
    orientation = opened.getexif().get(_ORIENTATION, 1)
    picture, other = _to_rgb(opened, opened.format)
    first, profile = _first_of(opened), _profile_note(opened)
    del opened
    return _turned(picture, orientation), _joined(first, note, other, profile)


def _first_of(image: Image.Image) -> str:
    """A note if a file has several pictures, of which the first is read."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return "the first of several pages is used" if image.tag_v2.next else ""
    try:
        several = image.format in _ANIMATED and getattr(image, "is_animated", False)
    except Exception:  # noqa: BLE001  the first frame is sound, the second is damaged
        several = True
    return "the first frame of an animation is used" if several else ""


def _profile_note(image: Image.Image) -> str:
    """A note if a picture has a colour profile that is not called sRGB (in ASCII or UTF-16): none is applied."""
    profile = image.info.get("icc_profile") or b""
    applied = not profile or b"sRGB" in profile or b"s\0R\0G\0B" in profile
    # CMYK has a note of its own.
    return "" if applied or image.mode == "CMYK" else "the colour profile is not applied"


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP: of the canvas, of a lossless, or of a lossy picture."""
    kind, head = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return tuple(int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8))  # type: ignore[return-value]


def _reduce(image: Image.Image) -> str:
    """Have a picture decoded at a half, a quarter or an eighth of its size if it is large; return a note."""
    width, height = image.size
    most = _MAX_JPEG_2000 if image.format == "JPEG2000" else _MAX_DECODED
    power = next(n for n in range(4) if (width >> n) * (height >> n) <= most)
    if not power:
        return ""
    if image.format == "JPEG2000":
        image.reduce = power  # type: ignore[assignment,method-assign]
    else:
        image.draft(None, (width >> power, height >> power))
    return f"{width}x{height} pixels are decoded at 1/{2**power} of their size"


def _turned(picture: Picture, orientation: int) -> Picture:
    """A picture turned as its EXIF orientation says."""
    if orientation in {5, 6, 7, 8}:
        picture = picture.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        picture = picture[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether a picture has more than 8 bits in several channels, of which Pillow keeps the upper 8."""
    if image.mode in _GREY_MODES or image.mode == "CMYK":
        return False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return bool(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8)  # noqa: PLR2004
    return image.format == "PNG" and _is_deep_png(data)


def _is_deep_png(data: bytes) -> bool:
    # A PNG's depth is the byte after its size.
    return data.startswith(b"\x89PNG") and data[24:25] == b"\x10"


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

    try:
        values: NDArray[Any] | None = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
        )
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise
    if values is None:
        raise UnidentifiedImageError
    if values.ndim == 2:  # noqa: PLR2004
        values = values[:, :, None]
    colours, note = to_eight_bits(values[:, :, 2::-1])
    opacity = to_eight_bits(values[:, :, 3])[0] if values.shape[2] > 3 else None  # noqa: PLR2004
    del values
    picture, second = np.empty((*colours.shape[:2], 3), np.uint8), ""
    picture[:] = colours
    del colours
    if opacity is not None:
        image = Image.fromarray(picture)
        image.putalpha(Image.fromarray(np.ascontiguousarray(opacity)))
        picture, second = _to_rgb(image, None)
    return _turned(picture, orientation), _joined(note, second)


def _check_jpeg(image: Image.Image, size: tuple[int, int], data: bytes, start: int) -> None:
    """Refuse a JPEG with very many scans, or with several whose coefficients do not fit into memory.

    Args:
        image: The opened picture, with the size at which it is decoded.
        size: Its full width and height.
        data: The file.
        start: Where the first scan starts.
    """
    scans = data.count(_SCAN)
    if scans > _MAX_SCANS:
        raise ImageError(f"damaged picture (a JPEG of {scans} scans)")
    end = data.find(_END, start)
    if not image.info.get("progressive") and data.find(_SCAN, start, end) < 0:
        return
    # The decoder keeps two bytes for each coefficient, at full size.
    layers = image.layer  # type: ignore[attr-defined]
    most = max(h for _, h, _, _ in layers) * max(v for _, _, v, _ in layers)
    width, height = size
    coefficients = 2 * width * height * sum(h * v for _, h, v, _ in layers) / most
    if coefficients + len(data) + 4 * image.width * image.height > _MAX_MEMORY:
        raise ImageError(
            f"{width}x{height} pixels are too many for a progressive JPEG; make it smaller"
        )


def _check_size(width: int, height: int, *, reducible: bool = False) -> None:
    if width * height > (_MAX_PIXELS if reducible else _MAX_DECODED):
        way_out = "make it smaller" if reducible else "save it as JPEG, or smaller"
        raise ImageError(f"{width}x{height} pixels are too many; {way_out}")
    if min(width, height) < _MIN_SIDE:
        raise ImageError(f"{width}x{height} pixels are too few for a face")


def _to_rgb(image: Image.Image, form: str | None) -> tuple[Picture, str]:
    """A picture as RGB, and what was changed."""
    if image.mode in _GREY_MODES:
        values = np.asarray(image)
        if form == "PPM" and image.mode == "I":
            # Pillow has scaled the values to 16 bits by the largest value that the file states.
            values = np.concatenate([_from_16_bits(values[t : t + _ROWS]) for t in _tops(image)])
        grey, note = to_eight_bits(values)
        if _is_negative(image):
            grey = 255 - grey
        return np.repeat(grey[:, :, None], 3, axis=2), note
    picture = np.empty((image.height, image.width, 3), np.uint8)
    layered = image.mode in _LAYERED_MODES or "transparency" in image.info
    transparent = False
    # In blocks of rows, since further copies of a large picture would take too much memory.
    for top in _tops(image):
        block = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        if layered:
            block = block.convert("RGBA")
            transparent |= block.getchannel("A").getextrema()[0] < 255  # type: ignore[operator]  # noqa: PLR2004
            block = Image.alpha_composite(Image.new("RGBA", block.size, "white"), block)
        picture[top : top + _ROWS] = np.asarray(block.convert("RGB"))
    note = "transparent pixels are shown on white" if transparent else ""
    if not layered:
        note = _MODE_NOTES.get(image.mode, "")
    return picture, note


def _is_negative(image: Image.Image) -> bool:
    """Whether 0 is white in a TIFF, which Pillow regards for values of up to 8 bits."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _tops(image: Image.Image) -> range:
    return range(0, image.height, _ROWS)


def _from_16_bits(values: NDArray[Any]) -> Picture:
    return ((values + 128) // 257).astype(np.uint8)


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
