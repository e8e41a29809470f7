"""Progress of long work: one signature for all callbacks."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and the total (None if unknown)."""


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Report nothing."""
