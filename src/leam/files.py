"""Files on disk: open regular files only, read TOML, find files inside installed packages, and hash them."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Opening a pipe that has no writer returns at once with this flag, on systems that have it.
_NONBLOCKING = getattr(os, "O_NONBLOCK", 0)
_BLOCK_BYTES = 1 << 18
# Cards and presets have a few kilobytes.
_MOST_TOML_BYTES = 1 << 20


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
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "a pipe or a device, not a file", str(path))
    return stream


def _open_nonblocking(name: str, flags: int) -> int:
    return os.open(name, flags | _NONBLOCKING)


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


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of at most 1 MiB.

    Raises:
        OSError: As for :func:`open_regular`.
        ValueError: The file is too large, not UTF-8, or not TOML.
    """
    with open_regular(path) as stream:
        content = stream.read(_MOST_TOML_BYTES + 1)
    if len(content) > _MOST_TOML_BYTES:
        raise ValueError(f"more than {_MOST_TOML_BYTES} bytes")
    try:
        return tomllib.loads(content.decode())
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
