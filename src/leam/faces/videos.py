"""Frames of videos, read through OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leam.contained import PICTURE_MEMORY, ContainedError, contained
from leam.errors import ImageError
from leam.files import open_regular

FRAMES = 8
"""Number of frames that are sampled from a video."""

# The first bytes of MPEG-4 and QuickTime (at offset 4), AVI (at offset 8), Matroska, MPEG, Flash and Windows Media.
_MAGIC = (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"\x30\x26\xb2\x75")
_STILL_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc")


def is_video(head: bytes) -> bool:
    """Whether a file with these first bytes is a video."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _STILL_BRANDS
    return head[4:8] == b"moov" or head[:4] + head[8:12] == b"RIFFAVI " or head.startswith(_MAGIC)


def sampled_frames(path: Path, count: int = FRAMES) -> list[int]:
    """Numbers of frames spread evenly over a video: the middles of ``count`` parts of equal length.

    Raises:
        ImageError: The video cannot be opened, or does not say how many frames it has.
    """
    try:
        total, _ = contained("leam.faces.videos:count_frames", str(path), limit=PICTURE_MEMORY)
    except ContainedError as error:
        raise ImageError(f"{path}: cannot be decoded ({error}); convert it to .mp4") from None
    if total <= 0:
        raise ImageError(f"{path}: a video without a number of frames; convert it to .mp4")
    return sorted({int((part + 0.5) * total / count) for part in range(count)})


def count_frames(path: str) -> tuple[int, bytes]:
    """The number of frames that a video states, and no data: called in the helper process.

    Raises:
        ImageError: The video cannot be opened.
    """
    import cv2  # noqa: PLC0415  slow to import

    with _opened(Path(path)) as capture:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), b""


def frame_name(video: str, number: int) -> str:
    """The name of a frame in outputs."""
    return f"{video}#frame{number:06d}"


def read_frame(path: Path, number: int) -> NDArray[np.uint8]:
    """One frame of a video, RGB ``(H, W, 3)`` uint8, turned as the video says; called in the helper process.

    Raises:
        ImageError: The video cannot be opened, or has no such frame.
    """
    import cv2  # noqa: PLC0415  slow to import

    with _opened(path) as capture:
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        decoded, frame = capture.read()
    if not decoded or frame is None:
        raise ImageError(f"{path}: frame {number} cannot be read")
    return np.ascontiguousarray(frame[:, :, ::-1], dtype=np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import cv2  # noqa: PLC0415  slow to import

    # OpenCV would also open addresses, cameras and playlists: only regular files that are videos are given to it.
    with open_regular(path) as stream:
        head = stream.read(32)
    if not is_video(head):
        raise ImageError(f"{path}: not a video that can be read")
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise ImageError(f"{path}: damaged video, or of an unknown codec")
        yield capture
    finally:
        capture.release()
