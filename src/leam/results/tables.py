"""Read tables of a run folder that may be damaged or hostile, in the helper process.

Damage to a Parquet file makes polars panic, abort or ask for any amount of memory, none of which is an exception.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from leam.contained import ContainedError, contained
from leam.files import open_regular
from leam.limits import memory_limit

# Also large tables of honest studies must be readable.
_SECONDS = 600.0


def read_parquet(
    path: Path, columns: Sequence[str] | None = None, where: pl.Expr | None = None
) -> pl.DataFrame:
    """Read a Parquet file. Columns and rows that are not selected take no memory.

    Args:
        path: The file.
        columns: Columns to read; all by default.
        where: Condition that selects the rows; all by default.

    Raises:
        OSError: The file is missing, damaged, or needs more memory than :func:`leam.limits.memory_limit`.
    """
    condition = None if where is None else base64.b64encode(where.meta.serialize()).decode()
    names = None if columns is None else list(columns)
    try:
        _, data = contained(
            "leam.results.tables:read_for_parent",
            str(path),
            names,
            condition,
            limit=memory_limit(),
            seconds=_SECONDS,
        )
    except ContainedError as error:
        raise OSError(str(error)) from None
    return pl.read_ipc_stream(io.BytesIO(data))


def read_for_parent(
    path: str, columns: list[str] | None, condition: str | None
) -> tuple[None, memoryview]:
    """The rows in the format of Arrow's streams: called in the helper process."""
    with open_regular(Path(path)) as table:
        # Polars takes no path that is not UTF-8.
        readable = path.encode(errors="replace").decode() == path
        rows = pl.scan_parquet(path if readable else f"/dev/fd/{table.fileno()}", glob=False)
        if condition is not None:
            rows = rows.filter(pl.Expr.deserialize(base64.b64decode(condition)))
        if columns is not None:
            rows = rows.select(columns)
        stream = io.BytesIO()
        rows.collect(engine="streaming").write_ipc_stream(stream)
    return None, stream.getbuffer()
