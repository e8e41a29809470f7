"""How much memory the content of a file from others may take.

A few kilobytes of a model or a picture can describe terabytes. What reads such files computes first what they need, and
refuses those that need more than :func:`memory_limit`.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from leam.errors import InputError

VARIABLE = "LEAM_MEMORY_LIMIT"
"""The environment variable with the limit, which worker processes inherit."""
_SHARE = 4
_VALUES, _GROWTH = 10**9, 8
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?)(I?)B?", re.IGNORECASE)
# The limit of a container, in version 2 and 1 of Linux's control groups.
_CONTAINER = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

_MANY_MODULES = 2000
# mallopt's number of the size from which on a block has pages of its own, that size, and glibc's largest one.
_MMAP_THRESHOLD, _OWN_PAGES, _LARGEST = -3, 64 << 10, 32 << 20


def memory_limit() -> int:
    """The bytes that one file may need: ``LEAM_MEMORY_LIMIT``, by default a quarter of this machine's memory.

    In a container with less memory than the machine, it is a quarter of the container's.

    Raises:
        InputError: The variable is not a size.
    """
    given = os.environ.get(VARIABLE)
    return parse_size(given, VARIABLE) if given else _total_memory() // _SHARE


def values_limit(stored: int = 0) -> int:
    """The bytes that a network's values for the pictures that run at once may take, beside its weights.

    It is what :func:`memory_limit` leaves. By default it is also at most 1 GB and eight times the weights. The values
    of the largest networks for faces take 50 MB a face; weights of 8 bits become four times as large, and a batch of
    two faces is planned for.

    Args:
        stored: The bytes of the weights.

    Raises:
        InputError: The variable is not a size.
    """
    room = memory_limit() - stored
    return room if os.environ.get(VARIABLE) else min(room, _VALUES + _GROWTH * stored)


def set_memory_limit(size: int | str) -> None:
    """Set the limit for this process and those that it starts.

    Args:
        size: Bytes, or a text such as ``2GB``, ``500MB`` or ``1.5GiB``.

    Raises:
        InputError: It is not a size.
    """
    os.environ[VARIABLE] = str(parse_size(str(size), "memory limit"))


def parse_size(text: str, what: str) -> int:
    """Bytes from a text such as ``2GB`` (10^9 bytes each), ``1.5GiB`` (2^30 bytes each) or ``4096``.

    Args:
        text: The text.
        what: What it is called in the message.

    Raises:
        InputError: It is not a size above zero.
    """
    found = _SIZE.fullmatch(text.strip())
    size = 0
    if found:
        number, unit, binary = found.groups()
        size = int(float(number) * (1024 if binary else 1000) ** _UNITS[unit.upper()])
    if size < 1:
        raise InputError(f"{what}: {text!r} is not a size; write for example 2GB or 500MB")
    return size


def readable(size: float) -> str:
    """Bytes for people: ``1.5 GB``, ``200 MB``."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":  # noqa: PLR2004
            break
        size /= 1000
    return f"{size:.3g} {unit}"


@contextmanager
def own_pages(modules: Iterable[object]) -> Iterator[None]:
    """Let glibc give back the memory of a tensor as soon as it is freed, if a network has very many modules.

    Between the tensors of a traced pass lie small objects that stay. With 10,000 modules they split the freed memory
    so that 290 MB became 1 to 2 GB. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or sum(1 for _ in modules) < _MANY_MODULES:
        yield
        return
    mallopt(_MMAP_THRESHOLD, _OWN_PAGES)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, _LARGEST)


def _total_memory() -> int:
    sizes = [psutil.virtual_memory().total]
    for path in _CONTAINER:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
    return min(sizes)
