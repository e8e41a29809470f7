"""The run folder, which holds everything a study writes. Finished work survives a kill at any moment."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

import numpy as np
import polars as pl
from filelock import FileLock, Timeout
from polars.io.plugins import register_io_source
from pydantic import ValidationError

from leam.errors import StudyError
from leam.files import open_regular, sha256_of
from leam.results.shards import S, Shard
from leam.study.plan import Plan

_PLAN = "run.json"
_MANIFEST = "manifest.json"
_DEVICES = "devices.json"
_KEPT = "kept.json"
# Prefix of temporary files, which a kill during writing leaves behind.
_PART = ".part-"
# The array that names the stage and the slice of a shard.
_OF = "of"
# Rows of a table that are compressed together. Fixed here so that the bytes of a file depend only on its rows.
_ROW_GROUP = 2**18
# In the order of deletion: shards without a plan would be taken for those of the next study.
_OURS = (
    "shards",
    "tables",
    _MANIFEST,
    "summary.json",
    "summary.schema.json",
    "report.html",
    "log.txt",
    _DEVICES,
    _KEPT,
    _PLAN,
    ".lock",
)


Keep = Literal["maps", "embeddings", "nothing"]
"""What of each face may be kept after a study, instead of everything."""

GONE: Final[Mapping[Keep, str]] = {
    "maps": "only the maps were kept: embeddings, landmarks and parsings are gone",
    "embeddings": "only the embeddings were kept: maps, landmarks and parsings are gone",
    "nothing": "nothing was kept: shards, names and file names are gone",
}
"""What is no longer there."""


class RunFolder:
    """A study's folder.

    It holds ``run.json`` (the plan), ``shards/`` (finished pieces of work), ``tables/``, ``summary.json`` and
    ``report.html``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._added: set[tuple[str, str]] = set()

    def start(self, plan: Plan, *, restart: bool = False) -> None:
        """Start a study in this folder, or resume it if the plan is the same.

        Args:
            plan: The plan of the study.
            restart: Discard the work of another study in this folder.

        Raises:
            StudyError: The folder holds a study with another plan.
        """
        for leftover in self.path.rglob(f"{_PART}*"):
            leftover.unlink(missing_ok=True)
        vars(self).pop("_plan_digest", None)
        if (self.path / _PLAN).is_file():
            if restart:
                self._clear()
                self._added.clear()
            elif (kept := self.kept()) is not None:
                raise StudyError(
                    f"{self.path}: finished, and of each face {GONE[kept]}; there is nothing to resume. "
                    "`leam report` still works; --restart runs the study again"
                )
            elif (difference := _difference(self.plan(), plan)) is not None:
                raise StudyError(
                    f"{self.path}: holds a study with another {difference}; "
                    "choose another --out, or discard its work with --restart"
                )
            else:
                # The plan stays as it is, also if other files have come into the folder of faces: shards name its hash.
                return
        self.write_text(_PLAN, plan.model_dump_json(indent=1))

    def plan(self) -> Plan:
        """The plan of the study in this folder.

        Raises:
            StudyError: There is no plan, or it cannot be read.
        """
        path = self.path / _PLAN
        try:
            return Plan.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise StudyError(f"{self.path}: holds no study ({_PLAN} is missing)") from None
        except (OSError, ValidationError):
            raise StudyError(
                f"{path}: not a plan of this version; use --restart, or another --out"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes.

        Raises:
            StudyError: Another process is working on the study, or the folder holds files that are not a study.
        """
        self._refuse_foreign()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise StudyError(f"{self.path}: another process is at work on this study") from None
        except OSError as error:
            raise StudyError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release()

    def shard(self, stage: str, index: int) -> Path:
        """The path of a shard.

        Args:
            stage: The stage and its recognizer, such as ``occlusion/dlib_resnet``.
            index: The slice.
        """
        return self.path / "shards" / stage / f"{index:05d}.npz"

    def read_shard(
        self, kind: type[S], stage: str, index: int, only: Collection[str] | None = None
    ) -> S | None:
        """Read a finished shard; None if it is missing or damaged, or if its slice has no usable face.

        Args:
            kind: Type of the shard.
            stage: As for :meth:`shard`.
            index: The slice.
            only: Fields to read; all by default.
        """
        found = self._read(kind, stage, index, only)
        return found if isinstance(found, kind) else None

    def has_shard(self, kind: type[Shard], stage: str, index: int) -> bool:
        """Whether a shard is complete; also True if its slice has no usable face."""
        return self._read(kind, stage, index, None) is not None

    def write_shard(self, stage: str, index: int, shard: Shard | None) -> None:
        """Write a shard atomically; None for a slice without a usable face."""
        arrays = {} if shard is None else shard.arrays()
        stream, name = io.BytesIO(), self._shard_name(stage, index)
        # The name stored in the file reveals a shard that was copied to another name.
        np.savez(stream, allow_pickle=False, **{_OF: np.array(name)}, **arrays)
        self._write(self.shard(stage, index), stream.getvalue())

    def _read(
        self, kind: type[S], stage: str, index: int, only: Collection[str] | None
    ) -> S | Literal["empty"] | None:
        try:
            # The file is opened here, since np.load leaves a damaged one open.
            with (
                open_regular(self.shard(stage, index)) as stream,
                np.load(stream, allow_pickle=False) as arrays,
            ):
                if str(arrays[_OF]) != self._shard_name(stage, index):
                    return None
                names = [name for name in arrays.files if name != _OF]
                if not names:
                    return "empty"
                wanted = {name: arrays[name] for name in names if only is None or name in only}
                return kind.of(wanted, only)
        except Exception:  # noqa: BLE001  a damaged or hostile archive raises nearly anything
            return None

    def _shard_name(self, stage: str, index: int) -> str:
        """What a shard's file says of itself, so that a copy from another place or study is not taken for it."""
        return f"{stage}/{index}/{self._plan_digest}"

    @cached_property
    def _plan_digest(self) -> str:
        """SHA-256 of ``run.json``; empty without one."""
        try:
            return sha256_of(self.path / _PLAN)
        except OSError:
            return ""

    def log(self, line: str) -> None:
        """Append a line with the time to ``log.txt``."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            with (self.path / "log.txt").open("a", encoding="utf-8") as stream:
                stream.write(f"{now} {' '.join(line.split())}\n")
        except OSError as error:
            raise StudyError(
                f"{self.path}/log.txt: cannot be written ({error.strerror}); finished work is kept"
            ) from None

    def devices(self) -> dict[str, list[str]]:
        """The devices that computed the shards of each recognizer, by name."""
        try:
            found: dict[str, list[str]] = json.loads((self.path / _DEVICES).read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def add_device(self, recognizer: str, device: str) -> None:
        """Record that a device computed shards of a recognizer."""
        if (recognizer, device) not in self._added:
            found = self.devices()
            found[recognizer] = sorted({*found.get(recognizer, []), device})
            self.write_text(_DEVICES, json.dumps(found, indent=1, sort_keys=True) + "\n")
            self._added.add((recognizer, device))

    def kept(self) -> Keep | None:
        """What of each face was kept after the study; None if everything was.

        Raises:
            StudyError: The file that says so is damaged.
        """
        path = self.path / _KEPT
        try:
            found = json.loads(path.read_bytes())["keep"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError):
            found = None
        if found not in GONE:
            raise StudyError(f"{path}: damaged; expected what was kept: {', '.join(GONE)}")
        return cast("Keep", found)

    def keep(self, what: Keep) -> None:
        """Record what of each face is kept."""
        self.write_text(_KEPT, json.dumps({"keep": what}) + "\n")

    def write_manifest(self) -> None:
        """Write ``manifest.json``: the SHA-256 of the plan, the summary and every table, when all are finished."""
        files = [_PLAN, "summary.json", *self._tables()]
        found = {name: sha256_of(self.path / name) for name in files}
        self.write_text(_MANIFEST, json.dumps(found, indent=1) + "\n")

    def verify(self) -> None:
        """Check the plan, the summary and the tables against the manifest.

        Raises:
            StudyError: The study is not finished, or one of them is missing or has changed since.
        """
        again = "run the study again with the same `leam study` command"
        try:
            listed = json.loads((self.path / _MANIFEST).read_bytes())
            known = {name: listed[name] for name in [_PLAN, "summary.json", *listed]}
        except (OSError, ValueError, TypeError, LookupError):
            raise StudyError(f"{self.path}: the study is not finished; {again}") from None
        for name in dict.fromkeys([*known, *self._tables()]):
            try:
                same = sha256_of(self.path / name) == known.get(name)
            except OSError:
                same = False
            if not same:
                raise StudyError(
                    f"{self.path / name}: missing, or changed since the study finished; {again}"
                )

    def _tables(self) -> list[str]:
        paths = sorted((self.path / "tables").rglob("*.parquet"))
        return [path.relative_to(self.path).as_posix() for path in paths]

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        self._write(self.path / name, text.encode())

    def write_table(self, name: str, frames: Iterable[pl.DataFrame]) -> None:
        """Write ``tables/NAME.parquet`` atomically.

        Args:
            name: Name of the table.
            frames: One or more parts of its rows, with the same columns. Only some are in memory at a time.

        Raises:
            StudyError: The table cannot be written, or there are no parts.
        """
        path = self._table(name)
        parts = iter(frames)
        first = next(parts, None)
        if first is None:
            raise StudyError(f"{path}: its shards disappeared; run the study again")
        with self._replacing(path) as stream:
            _sink(first, parts, stream)

    def read_table(
        self, name: str, columns: Sequence[str] | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Read ``tables/NAME.parquet``. Columns and rows that are not selected take no memory.

        Args:
            name: Name of the table.
            columns: Columns to read; all by default.
            where: Condition that selects the rows; all by default.

        Raises:
            StudyError: The table is missing or damaged.
        """
        try:
            rows = pl.scan_parquet(self._table(name), glob=False)
            if where is not None:
                rows = rows.filter(where)
            if columns is not None:
                rows = rows.select(columns)
            return rows.collect(engine="streaming")
        except (OSError, pl.exceptions.PolarsError):
            raise StudyError(
                f"{self._table(name)}: missing or damaged; run the study again"
            ) from None

    def _table(self, name: str) -> Path:
        return self.path / "tables" / f"{name}.parquet"

    def _write(self, path: Path, data: bytes) -> None:
        with self._replacing(path) as stream:
            stream.write(data)

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[BinaryIO]:
        """A temporary file that replaces another one when it is complete."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A random name, since two machines that share the folder may have the same process ids and host names.
            temporary = path.with_name(f"{_PART}{secrets.token_hex(8)}-{path.name}")
            try:
                with temporary.open("wb") as stream:
                    yield stream
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StudyError(
                f"{path}: cannot be written ({error.strerror}); finished work is kept"
            ) from None

    def _refuse_foreign(self) -> None:
        if not self.path.exists() or (self.path / _PLAN).is_file():
            return
        if not self.path.is_dir() or any(
            entry.name not in _OURS and not entry.name.startswith(_PART)
            for entry in self.path.iterdir()
        ):
            raise StudyError(f"{self.path}: exists but holds no study; choose another --out")

    def _clear(self) -> None:
        for name in _OURS:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif name != ".lock":
                path.unlink(missing_ok=True)


def _sink(first: pl.DataFrame, parts: Iterator[pl.DataFrame], stream: BinaryIO) -> None:
    """Write frames to a Parquet file as they come.

    Raises:
        OSError: The file cannot be written.
    """

    def source(*_asked: object) -> Iterator[pl.DataFrame]:
        yield first
        yield from parts

    try:
        register_io_source(source, schema=first.schema, validate_schema=True).sink_parquet(
            stream, row_group_size=_ROW_GROUP
        )
    except pl.exceptions.ComputeError as error:
        # Polars keeps only the text of a system error.
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise


def _difference(old: Plan, new: Plan) -> str | None:
    """Description of the first difference between two plans; None if they are the same."""
    for what, before, now in (
        ("version of", old.versions, new.versions),
        ("version of the plug-in for", old.plugins, new.plugins),
    ):
        for name in {**before, **now}:
            if before.get(name) != now.get(name):
                return f"{what} {name} ({before.get(name)}, now {now.get(name)})"
    for name in type(new.settings).model_fields:
        before, now = getattr(old.settings, name), getattr(new.settings, name)
        if before != now:
            return f"{name} ({before}, now {now})"
    if old.models != new.models:
        return "choice of recognizers, or changed weights, cards or precision"
    if old.images != new.images or old.people_per_slice != new.people_per_slice:
        return "choice of pictures, or changed pictures"
    return None
