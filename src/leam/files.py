"""Files on disk: open regular files only, write private files, read JSON and TOML, find packaged files, and hash."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from leam.errors import InputError
from leam.limits import memory_limit, readable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Opening a pipe that has no writer returns at once with this flag, on systems that have it.
_NONBLOCKING = getattr(os, "O_NONBLOCK", 0)
_NO_FILE = "a pipe or a device, not a file"
_BLOCK_BYTES = 1 << 18
# Pictures of faces and all that is computed from them are for the user alone, whatever the umask is.
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
# Prefix of temporary files, which a kill during writing leaves behind.
PART = ".part-"
# Cards and presets have a few kilobytes. The time of a key grows with the square of its dots.
_MOST_TOML_BYTES = 1 << 20
_MOST_DOTS = 200
# The memory of a value of a JSON text and of its place in a list or dictionary, beside its characters.
_JSON_VALUE_BYTES = 120


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading bytes.

    Raises:
        OSError: The path is missing, is a folder, pipe, device or socket, cannot be opened, or is not a valid file
            name.
    """
    try:
        stream = open(path, "rb", opener=_open_nonblocking)  # noqa: SIM115  the caller closes it
    except ValueError:
        # The name contains a null byte or half a surrogate pair.
        raise OSError(errno.EINVAL, "not a valid file name", str(path)) from None
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        # A socket cannot be opened.
        raise OSError(errno.EINVAL, _NO_FILE, str(path)) from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return stream


def _open_nonblocking(name: str, flags: int) -> int:
    return os.open(name, flags | _NONBLOCKING)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder. A name that an untrusted file states may be too long for any."""
    try:
        return path.exists()
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """The SHA-256 of a regular file, in hexadecimal.

    Raises:
        OSError: As for :func:`open_regular`.
    """
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def private_folder(path: Path) -> None:
    """Create a folder that only the user can open, and the folders above it that are missing.

    Raises:
        OSError: The folder cannot be created.
    """
    for folder in reversed([one for one in (path, *path.parents) if not one.exists()]):
        folder.mkdir(exist_ok=True)
        folder.chmod(_FOLDER_MODE)
    # A file at this path is an error.
    path.mkdir(exist_ok=True)


def open_private(path: str, flags: int) -> int:
    """Open a file that only the user can read, for ``opener`` of :func:`open`; an existing file becomes private."""
    descriptor = os.open(path, flags, _FILE_MODE)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, _FILE_MODE)
    return descriptor


@contextmanager
def replacing(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file that only the user can read. It replaces ``path`` when the block ends without an error.

    Yields:
        The file, open for writing bytes, and its path.

    Raises:
        OSError: It cannot be written.
    """
    private_folder(path.parent)
    # A random name, since two machines that share the folder may have the same process ids and host names.
    temporary = path.with_name(f"{PART}{secrets.token_hex(8)}-{path.name}")
    try:
        with open(temporary, "xb", opener=open_private) as stream:
            yield stream, temporary
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only the user can read, atomically. Missing folders are created, private as well.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as (stream, _):
        stream.write(data)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of at most 1 MiB and 200 dots per line.

    Raises:
        OSError: As for :func:`open_regular`.
        ValueError: The file is too large, nested too deeply, not UTF-8, or not TOML.
    """
    with open_regular(path) as stream:
        content = stream.read(_MOST_TOML_BYTES + 1)
    if len(content) > _MOST_TOML_BYTES:
        raise ValueError(f"more than {_MOST_TOML_BYTES} bytes")
    if any(line.count(b".") > _MOST_DOTS for line in content.splitlines()):
        raise ValueError(f"a line with more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(content.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:  # noqa: ANN401  any JSON value
    """Read a JSON file whose values fit into :func:`leam.limits.memory_limit`.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: As for :func:`open_regular`.
        ValueError: The file is nested too deeply, or not JSON.
        InputError: It needs too much memory.
    """
    limit = memory_limit()
    with open_regular(path) as stream:
        content = stream.read(limit + 1)
    values = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if 3 * len(content) + _JSON_VALUE_BYTES * values > limit:
        raise InputError(
            f"{path}: needs more than {readable(limit)} of memory; a larger --memory-limit allows it"
        )
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def package_folder(package: str) -> Path | None:
    """The folder of an installed top-level package; None if it is not installed.

    The package is located but not imported, since its import may fail or run code.
    """
    # The parent of a dotted name would be imported.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((Path(folder) for folder in folders), None)


def packaged_file(package: str, inside: str) -> Path | None:
    """The path of a file inside an installed package; None if the package or the file is missing."""
    folder = package_folder(package)
    path = folder / inside if folder else None
    return path if path and path.is_file() else None
