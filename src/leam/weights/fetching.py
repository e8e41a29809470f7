"""Download files once into the user's cache: resumable, verified, and safe under concurrent calls."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Timer
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request

import platformdirs
from filelock import FileLock

from leam.errors import WeightsError, first_line
from leam.files import sha256_of
from leam.progress import Progress, silent
from leam.weights.addresses import ALLOW_LOCAL_VARIABLE, Connections, check_address, shown

CACHE_VARIABLE = "LEAM_CACHE"
OFFLINE_VARIABLE = "LEAM_OFFLINE"
_OFFLINE_OTHERS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

# File systems allow 255 bytes, some of which ``.part`` and ``.lock`` need.
_MAX_NAME = 120
_BLOCK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 30.0
# Fewer bytes in as many seconds are a stall, also if a few arrive now and then.
_LEAST_BYTES = 1 << 12
_TOTAL_SECONDS = 2 * 60 * 60.0
# Of a file whose card does not say how large it is.
_MAX_BYTES = 1 << 34
# Give up after this many interruptions in a row that gained no data.
_MAX_TRIES = 3
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def offline() -> bool:
    """Whether ``LEAM_OFFLINE`` forbids every network contact."""
    return os.environ.get(OFFLINE_VARIABLE, "0").casefold() not in {"", "0", "false", "no", "off"}


def pass_offline_on() -> None:
    """If ``LEAM_OFFLINE`` forbids it, also keep other packages from the network: here and in processes started later.

    The packages of Hugging Face read their variables when they are imported.
    """
    if offline():
        os.environ.update(_OFFLINE_OTHERS)


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
        raise WeightsError(f"{model}: the url {shown(url)} names no file")
    return cache_folder() / model / name


def fetch(
    url: str,
    target: Path,
    sha256: str | None = None,
    progress: Progress = silent,
    *,
    size: int | None = None,
    allow_local: bool = False,
) -> None:
    """Download a file unless it exists.

    The download is written to ``NAME.part``, which an interrupted call leaves for the next one to resume, and is
    renamed once it is complete and matches the checksum. Concurrent calls for one file, also from other processes,
    wait for the first.

    Args:
        url: An ``https`` address; also ``http`` if there is a checksum. Redirects must lead to such an address. A name
            and password before the host are sent to that host, and no part of the address that may be a secret is
            printed.
        target: Where the file goes; missing folders are created.
        sha256: The expected checksum. Without one, an interrupted download starts over, since nothing could tell
            whether its pieces belong together.
        progress: Called with the bytes downloaded so far.
        size: The file's size in bytes, if it is known.
        allow_local: Also download from private addresses and this machine, as does ``LEAM_ALLOW_LOCAL=1``.

    Raises:
        WeightsError: The file cannot be downloaded, takes too long, or has another checksum or size; or
            ``LEAM_OFFLINE`` forbids it.
    """
    check_address(url, hashed=bool(sha256))
    by_hand = f"download it by other means and put it at {target}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                if offline():
                    raise WeightsError(
                        f"{shown(url)}: {OFFLINE_VARIABLE} forbids downloads; {by_hand}"
                    )
                local = allow_local or os.environ.get(ALLOW_LOCAL_VARIABLE, "0") not in {"", "0"}
                source = _Source(url, sha256, size, Connections(local=local, hashed=bool(sha256)))
                _download(source, target, progress)
    except HTTPError as error:
        error.close()
        raise WeightsError(f"{shown(url)}: the server answers {error.code}; {by_hand}") from None
    except (
        URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ValueError,
    ) as error:
        reason = _reason(error)
        raise WeightsError(f"{shown(url)}: cannot be reached ({reason}); {by_hand}") from None
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error})") from None


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.InvalidURL):
        # Its text repeats the address.
        return "not a valid address"
    return str(getattr(error, "reason", None) or first_line(error))


@dataclass(frozen=True)
class _Source:
    """What is downloaded, and what is known of it."""

    url: str
    sha256: str | None
    size: int | None
    connections: Connections

    def check_size(self, found: int, *, complete: bool) -> None:
        """Refuse more bytes than the file may have, or fewer once it is complete."""
        most = self.size or _MAX_BYTES
        if found > most or (complete and self.size and found < self.size):
            expected = f"{self.size} as its card says" if self.size else f"at most {_MAX_BYTES}"
            which = f"{found}" if complete else f"{found} or more"
            raise _WrongSizeError(
                f"{shown(self.url)}: has {which} bytes, not {expected}; the download was deleted"
            )


class _WrongSizeError(WeightsError):
    """The download has another size than the card says."""


def _download(source: _Source, target: Path, progress: Progress) -> None:
    part = target.with_name(f"{target.name}.part")
    if not source.sha256:
        part.unlink(missing_ok=True)
    tries, before, deadline = 0, _size(part), time.monotonic() + _TOTAL_SECONDS
    try:
        while not _download_rest(source, part, progress, deadline):
            tries = 0 if _size(part) > before else tries + 1
            before = _size(part)
            if tries == _MAX_TRIES or time.monotonic() > deadline:
                raise WeightsError(
                    f"{shown(source.url)}: interrupted after {before} bytes; repeat the command to resume"
                )
            if not source.sha256:
                part.unlink(missing_ok=True)
        source.check_size(_size(part), complete=True)
    except _WrongSizeError:
        part.unlink(missing_ok=True)
        raise
    if source.sha256 and (found := sha256_of(part)) != source.sha256:
        part.unlink()
        raise WeightsError(
            f"{shown(source.url)}: has sha256 {found}, not {source.sha256}; the download was deleted"
        )
    part.replace(target)


def _download_rest(source: _Source, part: Path, progress: Progress, deadline: float) -> bool:
    """Append what is missing to the partial file; return whether it is complete."""
    what = f"downloading {part.stem}"
    start = _size(part)
    request = Request(source.url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    # The timeout of a socket is for each packet: headers that arrive byte by byte would never end.
    late = Timer(_TIMEOUT_SECONDS, source.connections.cut)
    late.daemon = True
    late.start()
    try:
        response = source.connections.open(request, _TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:
            error.close()
            return _is_complete(error.headers.get("Content-Range", ""), part)
        raise
    finally:
        late.cancel()
    with response:
        resumed = response.status == _PARTIAL_CONTENT
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else None
        source.check_size(total or 0, complete=False)
        with part.open("ab" if resumed else "wb") as stream:

            def report(done: int) -> None:
                source.check_size(start + done, complete=False)
                progress(what, start + done, total)

            ended = _copy(response, stream.write, report, deadline)
            stream.flush()
            os.fsync(stream.fileno())
    return ended and (total is None or _size(part) == total)


def _copy(
    response: Any,  # noqa: ANN401  urllib's answers have no common type
    write: Callable[[bytes], int],
    report: Callable[[int], None],
    deadline: float,
) -> bool:
    """Copy a response block by block; an interruption keeps what has arrived, and the next request resumes.

    Returns:
        Whether the response ended by itself.
    """
    done, counted, since = 0, 0, time.monotonic()
    try:
        while block := response.read1(_BLOCK_BYTES):
            write(block)
            done += len(block)
            report(done)
            now = time.monotonic()
            if now > deadline:
                return False
            if now - since > _TIMEOUT_SECONDS:
                if done - counted < _LEAST_BYTES:
                    return False
                counted, since = done, now
    except (http.client.IncompleteRead, ConnectionError, TimeoutError):
        return False
    return True


def _is_complete(content_range: str, part: Path) -> bool:
    """Whether the partial file has the size in ``bytes */SIZE``; a file that is too long is deleted."""
    if content_range.rpartition("/")[2] == str(_size(part)):
        return True
    part.unlink()
    return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
