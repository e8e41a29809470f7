"""Files on disk: opened only where they have an end, located inside packages, and identified by their hash."""

from __future__ import annotations

import errno
import importlib.util
import os
import stat
from pathlib import Path
from typing import BinaryIO

# Opening a pipe that nobody writes to returns at once with this flag, where there is one.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading bytes, and nothing but a file.

    Raises:
        OSError: It is missing, a folder, a pipe, a device or a socket, or cannot be opened; also
            where its name is none that a file can have.
    """
    try:
        stream = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  handed on open
    except ValueError:
        # A null byte or half a surrogate pair, neither of which a file's name can hold.
        raise OSError(errno.EINVAL, "not a name that a file can have", str(path)) from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "a pipe or a device, not a file", str(path))
    return stream


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | _AT_ONCE)


def packaged_file(package: str, inside: str) -> Path | None:
    """The path of a file inside an installed package; None where either is missing.

    The package is located, never imported: an import may run code, or fail for reasons of its own.
    """
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = (spec.submodule_search_locations or []) if spec else []
    paths = (Path(folder) / inside for folder in folders)
    return next((path for path in paths if path.is_file()), None)
