"""Fetch a file once into the user's cache: resumed after a break, checked, shared by processes that want it at once."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from leam.errors import WeightsError
from leam.files import open_regular

CACHE_VARIABLE = "LEAM_CACHE"

# File systems take 255 bytes, some of which ``.part`` and ``.lock`` need.
_LONGEST = 120


def cache_folder() -> Path:
    """The folder for fetched weights: LEAM_CACHE, or ``leam`` in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "leam"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "leam"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leam"


def cached_path(model: str, url: str) -> Path:
    """Where the file that a ``url`` names is kept.

    Args:
        model: The recognizer or parser it belongs to.
        url: Its last part names the file.

    Raises:
        WeightsError: The ``url`` names no file, or a name that no file should have.
    """
    try:
        name = PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:
        name = ""
    if name in {"", ".", ".."} or "\\" in name or not name.isprintable() or len(name) > _LONGEST:
        raise WeightsError(f"{model}: the url {url} names no file")
    return cache_folder() / model / name


Tell = Callable[[int, int | None], None]
"""Called with the bytes there so far, and all bytes where the server says how many."""

_BLOCK = 1 << 18
_TIMEOUT = 30.0
# A connection that breaks is taken up again this often in a row without a single byte gained.
_TRIES = 3
_PARTIAL = 206
_RANGE_WRONG = 416


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
    """
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fetch(url: str, target: Path, sha256: str | None = None, tell: Tell | None = None) -> None:
    """Fetch a file, unless it is there.

    It appears under its name only when whole and, where a checksum is given, right; until then it
    is ``NAME.part`` beside it, and the next call goes on from there. A second process waits for the
    first and uses its file.

    Args:
        url: ``https`` or ``http``.
        target: Where the file goes; its folder is made.
        sha256: What its checksum must be. Without one nothing can tell whether pieces of two tries
            fit, so a break starts over.
        tell: Told about progress.

    Raises:
        WeightsError: It cannot be fetched or is not the right file; the message says what to do.
    """
    if not _is_address(url):
        raise WeightsError(f"{url}: not an https address")
    by_hand = f"fetch it by other means and put it at {target}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                _fetch_whole(url, target, sha256, tell or (lambda *_: None))
    except HTTPError as error:
        raise WeightsError(f"{url}: the server answers {error.code}; {by_hand}") from None
    except (
        URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ValueError,
    ) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(f"{url}: cannot be reached ({reason}); {by_hand}") from None
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error})") from None


def _is_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"https", "http"}
    except ValueError:
        return False


def _fetch_whole(url: str, target: Path, sha256: str | None, tell: Tell) -> None:
    part = target.with_name(f"{target.name}.part")
    if not sha256:
        part.unlink(missing_ok=True)
    tries, before = 0, _size(part)
    while not _fetch_more(url, part, tell):
        tries = 0 if _size(part) > before else tries + 1
        before = _size(part)
        if tries == _TRIES:
            raise WeightsError(f"{url}: breaks off after {before} bytes; the same command goes on")
        if not sha256:
            part.unlink(missing_ok=True)
    if sha256 and (found := sha256_of(part)) != sha256:
        part.unlink()
        raise WeightsError(f"{url}: has sha256 {found}, not {sha256}; nothing is kept")
    part.replace(target)


def _fetch_more(url: str, part: Path, tell: Tell) -> bool:
    """Append what is missing to the part; whether it is whole now."""
    start = _size(part)
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    try:
        response = urlopen(request, timeout=_TIMEOUT)  # noqa: S310  the scheme is checked above
    except HTTPError as error:
        if error.code == _RANGE_WRONG:
            return _all_there(error.headers.get("Content-Range", ""), part)
        raise
    with response:
        resumed = response.status == _PARTIAL
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as stream:
            _copy(response, stream.write, lambda done: tell(start + done, total))
            stream.flush()
            os.fsync(stream.fileno())
    return total is None or _size(part) == total


def _copy(
    response: http.client.HTTPResponse, write: Callable[[bytes], int], tell: Callable[[int], None]
) -> None:
    done = 0
    try:
        while block := response.read(_BLOCK):
            write(block)
            done += len(block)
            tell(done)
    except (http.client.IncompleteRead, ConnectionError, TimeoutError):
        # What came is kept; the next try goes on from there.
        return


def _all_there(content_range: str, part: Path) -> bool:
    """Whether the server has nothing more, as ``bytes */SIZE`` says; a part too long is dropped."""
    if content_range.rpartition("/")[2] == str(_size(part)):
        return True
    part.unlink()
    return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
