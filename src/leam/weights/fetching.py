"""Download files once into the user's cache: resumable, verified, and safe under concurrent calls."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import platformdirs
from filelock import FileLock

from leam.errors import WeightsError, first_line
from leam.files import sha256_of
from leam.progress import Progress, silent

CACHE_VARIABLE = "LEAM_CACHE"

# File systems allow 255 bytes, some of which ``.part`` and ``.lock`` need.
_MAX_NAME = 120
_BLOCK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 30.0
# Give up after this many interruptions in a row that gained no data.
_MAX_TRIES = 3
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def cache_folder() -> Path:
    """The folder for downloaded weights: LEAM_CACHE, or ``leam`` in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    return platformdirs.user_cache_path("leam", appauthor=False)


def cached_path(model: str, url: str) -> Path:
    """Where the file at a URL is cached.

    Args:
        model: The recognizer or parser that the file belongs to.
        url: Its last part is the file's name.

    Raises:
        WeightsError: The URL does not end in a valid file name.
    """
    try:
        name = PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:
        name = ""
    if name in {"", ".", ".."} or "\\" in name or not name.isprintable() or len(name) > _MAX_NAME:
        raise WeightsError(f"{model}: the url {url} names no file")
    return cache_folder() / model / name


def fetch(url: str, target: Path, sha256: str | None = None, progress: Progress = silent) -> None:
    """Download a file unless it exists.

    The download is written to ``NAME.part``, which an interrupted call leaves for the next one to resume, and is
    renamed once it is complete and matches the checksum. Concurrent calls for one file, also from other processes,
    wait for the first.

    Args:
        url: ``https`` or ``http``.
        target: Where the file goes; missing folders are created.
        sha256: The expected checksum. Without one, an interrupted download starts over, since nothing could tell
            whether its pieces belong together.
        progress: Called with the bytes downloaded so far.

    Raises:
        WeightsError: The file cannot be downloaded or has another checksum.
    """
    if not _is_address(url):
        raise WeightsError(f"{url}: not an https address")
    by_hand = f"download it by other means and put it at {target}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                _download(url, target, sha256, progress)
    except HTTPError as error:
        raise WeightsError(f"{url}: the server answers {error.code}; {by_hand}") from None
    except (
        URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ValueError,
    ) as error:
        reason = getattr(error, "reason", None) or first_line(error)
        raise WeightsError(f"{url}: cannot be reached ({reason}); {by_hand}") from None
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error})") from None


def _is_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"https", "http"}
    except ValueError:
        return False


def _download(url: str, target: Path, sha256: str | None, progress: Progress) -> None:
    part = target.with_name(f"{target.name}.part")
    if not sha256:
        part.unlink(missing_ok=True)
    tries, before = 0, _size(part)
    while not _download_rest(url, part, progress):
        tries = 0 if _size(part) > before else tries + 1
        before = _size(part)
        if tries == _MAX_TRIES:
            raise WeightsError(
                f"{url}: interrupted after {before} bytes; repeat the command to resume"
            )
        if not sha256:
            part.unlink(missing_ok=True)
    if sha256 and (found := sha256_of(part)) != sha256:
        part.unlink()
        raise WeightsError(f"{url}: has sha256 {found}, not {sha256}; the download was deleted")
    part.replace(target)


def _download_rest(url: str, part: Path, progress: Progress) -> bool:
    """Append what is missing to the partial file; return whether it is complete."""
    what = f"downloading {part.stem}"
    start = _size(part)
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    try:
        response = urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310  fetch checks the scheme
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:
            return _is_complete(error.headers.get("Content-Range", ""), part)
        raise
    with response:
        resumed = response.status == _PARTIAL_CONTENT
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as stream:
            _copy(response, stream.write, lambda done: progress(what, start + done, total))
            stream.flush()
            os.fsync(stream.fileno())
    return total is None or _size(part) == total


def _copy(
    response: http.client.HTTPResponse,
    write: Callable[[bytes], int],
    report: Callable[[int], None],
) -> None:
    """Copy a response block by block; an interruption keeps what has arrived, and the next request resumes."""
    done = 0
    try:
        while block := response.read(_BLOCK_BYTES):
            write(block)
            done += len(block)
            report(done)
    except (http.client.IncompleteRead, ConnectionError, TimeoutError):
        return


def _is_complete(content_range: str, part: Path) -> bool:
    """Whether the partial file has the size in ``bytes */SIZE``; a file that is too long is deleted."""
    if content_range.rpartition("/")[2] == str(_size(part)):
        return True
    part.unlink()
    return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
