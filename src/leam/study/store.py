"""The run folder, which holds everything a study writes. Finished work survives a kill at any moment."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import numpy as np
import polars as pl
from filelock import FileLock, Timeout
from polars.io.plugins import register_io_source
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from leam.errors import StudyError, printable
from leam.files import (
    PART,
    open_private,
    open_regular,
    private_folder,
    read_json,
    replacing,
    sha256_of,
    write_private,
)
from leam.results.figures import SCHEMA_VERSION
from leam.results.shards import Arrays, S, Shard, digest
from leam.results.tables import read_parquet
from leam.study.plan import Plan, PlannedImage
from leam.version import __version__

_PLAN = "run.json"
_MANIFEST = "manifest.json"
_DEVICES = "devices.json"
_KEPT = "kept.json"
_LOST = "lost.json"
_PICTURES = "choice of pictures"
CHANGED = "changed since the study was planned"
# The SHA-256 of every file that the study wrote, except the log and shards, which hold their own.
_WRITTEN = "written.json"
# Where the study writes files, and their kinds.
_FOLDERS = ("shards", "tables", "figures")
_SUFFIXES = {".json", ".html", ".npz", ".parquet", ".svg", ".pdf", ".png"}
_LOCK, _WRITTEN_LOCK, _LOG = ".lock", ".written.lock", "log.txt"
_PART = re.compile(rf"{re.escape(PART)}[0-9a-f]{{16}}-.+")
_NO_IMAGES = b'\n "images": []'
_PLANS, _IMAGES = TypeAdapter(Plan), TypeAdapter(tuple[PlannedImage, ...])
_IMAGES_AT_ONCE = 1000
# The array that names a shard's stage, slice and study, and the SHA-256 of its other arrays.
_OF = "of"
# Rows of a table that are compressed together. Fixed here so that the bytes of a file depend only on its rows.
_ROW_GROUP = 2**18
# Stages whose shards depend on the pictures of their own slice only, and work that depends on single pictures.
_OF_SLICE, _OF_PICTURE = {"explain", "templates"}, {"detect", "parse"}


@dataclass(frozen=True)
class LostPicture:
    """A picture that was usable when the study was planned, but has vanished or changed since.

    Attributes:
        position: Its position in the plan.
        reason: What happened to it.
    """

    position: int
    reason: str


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

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def start(self, plan: Plan, *, restart: bool = False, exclude_changed: bool = False) -> Plan:
        """Start a study in this folder, or resume it if the plan is the same.

        Args:
            plan: The plan of the study.
            restart: Discard the work of another study in this folder; see :meth:`clear`.
            exclude_changed: Exclude pictures of the study that have changed or vanished since it began.

        Returns:
            The plan of the study in the folder. A study that is resumed keeps its plan, also if other files have come
            into the folder of faces: shards name its hash.

        Raises:
            StudyError: The folder holds a study with another plan, or whose pictures have changed.
        """
        self.clear_parts()
        self.forget()
        if (self.path / _PLAN).is_file():
            if restart:
                self.clear()
            elif (kept := self.kept()) is not None:
                raise StudyError(
                    f"{self.path}: finished, and of each face {GONE[kept]}; there is nothing to resume. "
                    "`leam report` still works; --restart runs the study again"
                )
            else:
                old = self.plan()
                difference = self._difference(old, plan, exclude_changed=exclude_changed)
                if difference is not None:
                    raise StudyError(f"{self.path}: {difference}")
                return old
        with self._replacing(self.path / _PLAN) as stream:
            stream.writelines(_plan_parts(plan))
        self.forget()
        return plan

    def plan(self) -> Plan:
        """The plan of the study in this folder.

        Raises:
            StudyError: There is no plan, it cannot be read, or another version of LEAM wrote it.
        """
        path = self.path / _PLAN
        try:
            found = read_json(path)
            versions, schema = found["versions"], found.get("schema_version", 1)
            wrote = str(versions["leam"]) if versions else __version__
        except FileNotFoundError:
            raise StudyError(f"{self.path}: holds no study ({_PLAN} is missing)") from None
        except OSError as error:
            raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise StudyError(
                f"{path}: damaged, or not a file of LEAM; nothing in this folder was changed; choose another folder"
            ) from None
        try:
            if schema == SCHEMA_VERSION:
                return Plan.model_validate(found)
        except ValidationError:
            if wrote == __version__:
                raise StudyError(
                    f"{path}: damaged; restore it from a copy, or choose another folder"
                ) from None
        raise StudyError(
            f"{self.path}: written by LEAM {wrote} (format {schema}), but this is LEAM {__version__}, which reads "
            f"format {SCHEMA_VERSION}; install LEAM {wrote} to read it, or run the study again with another --out"
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes. Only the user can open it from then on.

        Raises:
            StudyError: Another process is working on the study, or the folder holds files that are not a study.
        """
        self._refuse_foreign()
        # Files that are opened in place, not replaced.
        for name in (_LOCK, _WRITTEN_LOCK, _LOG):
            self._refuse_links(self.path / name, opened=True)
        try:
            private_folder(self.path)
            with suppress(PermissionError):
                # A folder of somebody else, who lets this user write in it.
                self.path.chmod(0o700)
            lock = FileLock(self.path / _LOCK, timeout=0, mode=0o600)
            lock.acquire()
        except Timeout:
            raise StudyError(f"{self.path}: another process is at work on this study") from None
        except OSError as error:
            raise StudyError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release()

    def clear_parts(self) -> None:
        """Remove what a process that was killed while it wrote left; no process may be writing."""
        folders = (path for top in _FOLDERS for path in self._files(top))
        for path in (*self.path.glob("*"), *folders):
            if _PART.fullmatch(path.name) and not path.is_symlink():
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the work of the study: the files that it wrote, if they are still as it wrote them.

        Other files stay. A file of the user, or a changed file, at a place where the next study may write is renamed to
        ``NAME.kept``. The log goes on. The plan stays until another one replaces it, so that a study that is killed
        while its folder is cleared can still be recognised.

        Raises:
            StudyError: The folder holds no study of this version, or a file cannot be removed.
        """
        self.plan()
        written = self._written()
        if _hash(self.path / _PLAN) not in written.get(_PLAN, []):
            raise StudyError(
                f"{self.path}: run.json is not the one that LEAM wrote there; choose another --out"
            )
        try:
            for name, digests in written.items():
                if name != _PLAN:
                    self._remove(self.path / name, ours=_hash(self.path / name) in digests)
            for path in self._files("shards"):
                self._remove(path, ours=self._is_own_shard(path))
            for path in (*self._files("tables"), *self._files("figures")):
                self._remove(path, ours=False)
            for top in _FOLDERS:
                _remove_empty_folders(self.path / top)
            self.write_text(_WRITTEN, json.dumps({_PLAN: written[_PLAN]}))
        except OSError as error:
            raise StudyError(
                f"{self.path}: cannot be cleared ({error.strerror}); choose another --out"
            ) from None
        self.log("restarted: the work of the study before was removed")
        self._added.clear()

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
        self._write_arrays(stage, index, {} if shard is None else shard.arrays())

    def strip_shard(self, stage: str, index: int, names: Collection[str]) -> None:
        """Remove the arrays with other names from a shard; the whole shard if none is left, or if it is damaged."""
        path = self.shard(stage, index)
        try:
            with open_regular(path) as stream, np.load(stream, allow_pickle=False) as arrays:
                left = {name: arrays[name] for name in arrays.files if name in names}
        except Exception:  # noqa: BLE001  a damaged or hostile archive raises nearly anything
            left = {}
        if left:
            self._write_arrays(stage, index, left)
        else:
            path.unlink(missing_ok=True)

    def _write_arrays(self, stage: str, index: int, arrays: Arrays) -> None:
        # The name reveals a shard that was copied from elsewhere, and the hashes one that was changed.
        known = {name: digest(array) for name, array in arrays.items()}
        of = json.dumps({"shard": self._shard_name(stage, index), "sha256": known})
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **{_OF: np.array(of)}, **arrays)
        path = self.shard(stage, index)
        self._refuse_links(path)
        try:
            write_private(path, stream.getvalue())
        except OSError as error:
            raise _unwritable(path, error) from None

    def _read(
        self, kind: type[S], stage: str, index: int, only: Collection[str] | None
    ) -> S | Literal["empty"] | None:
        try:
            # The file is opened here, since np.load leaves a damaged one open.
            with (
                open_regular(self.shard(stage, index)) as stream,
                np.load(stream, allow_pickle=False) as arrays,
            ):
                of = json.loads(str(arrays[_OF]))
                if of["shard"] != self._shard_name(stage, index):
                    return None
                known = of["sha256"]
                if known.keys() != set(arrays.files) - {_OF}:
                    return None
                if not known:
                    return "empty"
                wanted = {name: arrays[name] for name in known if only is None or name in only}
                if any(digest(array) != known[name] for name, array in wanted.items()):
                    return None
                return kind.of(wanted, only)
        except Exception:  # noqa: BLE001  a damaged or hostile archive raises nearly anything
            return None

    def _shard_name(self, stage: str, index: int) -> str:
        """What a shard's file says of itself, so that a copy from another place or study is not taken for it.

        The name changes if a picture is lost that may have gone into the shard.
        """
        name, top = f"{stage}/{index}/{self._plan_digest}", stage.split("/", maxsplit=1)[0]
        lost = [] if top in _OF_PICTURE else sorted(self._lost.items())
        if top in _OF_SLICE:
            lost = [one for one in lost if one[1]["slice"] in {None, index}]
        return "/".join([name, *(str(position) for position, _ in lost)])

    @cached_property
    def _plan_digest(self) -> str:
        """SHA-256 of ``run.json``; empty without one."""
        try:
            return sha256_of(self.path / _PLAN)
        except OSError:
            return ""

    def lost(self) -> list[LostPicture]:
        """The pictures that vanished or changed after the study began, in the order of the plan."""
        return [
            LostPicture(position, str(one["reason"]))
            for position, one in sorted(self._lost.items())
        ]

    def add_lost(self, plan: Plan, pictures: Iterable[LostPicture]) -> None:
        """Exclude pictures from now on. The shards that they may have gone into count as missing."""
        slices = {p: index for index, part in enumerate(plan.slices) for p in part}
        # With this target, the maps of other people depend on the picture.
        everywhere = plan.settings.target == "contrast"
        added = {
            one.position: {
                "image": plan.images[one.position].image,
                "slice": None if everywhere else slices[one.position],
                "reason": one.reason,
            }
            for one in pictures
        }
        self.write_text(_LOST, json.dumps({**added, **self._lost}, indent=1) + "\n")
        self.forget()

    @cached_property
    def _lost(self) -> dict[int, dict[str, str | int | None]]:
        try:
            found = read_json(self.path / _LOST)
            return {
                int(position): {
                    "image": one["image"],
                    "slice": one["slice"],
                    "reason": one["reason"],
                }
                for position, one in found.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            raise StudyError(f"{self.path / _LOST}: damaged; restore it from a copy") from None

    def forget(self) -> None:
        """Read anew what is kept in memory of the plan and of lost pictures."""
        for name in ("_plan_digest", "_lost"):
            vars(self).pop(name, None)

    def log(self, line: str) -> None:
        """Append a line with the time to ``log.txt``."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            with open(
                self.path / _LOG,
                "a",
                encoding="utf-8",
                opener=open_private,
            ) as stream:
                stream.write(f"{now} {printable(' '.join(line.split()))}\n")
        except OSError as error:
            raise StudyError(
                f"{self.path}/log.txt: cannot be written ({error.strerror}); finished work is kept"
            ) from None

    def devices(self) -> dict[str, list[str]]:
        """The devices that computed the shards of each recognizer, by name."""
        try:
            found = read_json(self.path / _DEVICES)
            return {str(name): list(map(str, devices)) for name, devices in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

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
            found = read_json(path)["keep"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError):
            found = None
        if not isinstance(found, str) or found not in GONE:
            raise StudyError(
                f"{path}: damaged; expected what was kept: {', '.join(GONE)}; restore it from a copy"
            )
        return cast("Keep", found)

    def keep(self, what: Keep) -> None:
        """Record what of each face is kept."""
        self.write_text(_KEPT, json.dumps({"keep": what}) + "\n")

    def write_manifest(self) -> None:
        """Write ``manifest.json``: the SHA-256 of the plan, the summary and every table, when all are finished."""
        files = [_PLAN, "summary.json", *self.written("tables")]
        found = {name: sha256_of(self.path / name) for name in files}
        self.write_text(_MANIFEST, json.dumps(found, indent=1) + "\n")

    def is_unchanged(self, name: str) -> bool:
        """Whether a file is as the study wrote it last."""
        return self._written().get(name, [])[-1:] == [_hash(self.path / name)]

    def discard(self, name: str) -> None:
        """Remove a file that the study wrote, if it exists; one that was changed since is renamed to ``NAME.kept``.

        Raises:
            StudyError: The file cannot be removed.
        """
        path = self.path / name
        try:
            if path.exists():
                self._remove(path, ours=self.is_unchanged(name))
        except OSError as error:
            raise _unwritable(path, error) from None

    def foreign(self) -> list[str]:
        """The files in the folder that the study did not write, or that were changed since; links are not followed."""
        ours = {_LOCK, _WRITTEN, _WRITTEN_LOCK, _LOG}
        written = self._written()
        found = []
        for folder, folders, names in os.walk(self.path):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in (*names, *links)):
                name = path.relative_to(self.path).as_posix()
                known = name in ours or _hash(path) in written.get(name, [])
                if not known and not (name.startswith("shards/") and self._is_own_shard(path)):
                    found.append(name)
        return sorted(found)

    def verify(self) -> list[str]:
        """Check the plan, the summary and the tables against the manifest.

        Returns:
            Their names.

        Raises:
            StudyError: The study is not finished, or one of them is missing or has changed since.
        """
        again = "run the study again with the same `leam study` command"
        try:
            listed = read_json(self.path / _MANIFEST)
            known = {name: listed[name] for name in [_PLAN, "summary.json", *listed]}
        except (OSError, ValueError, TypeError, LookupError):
            raise StudyError(f"{self.path}: the study is not finished; {again}") from None
        for name in dict.fromkeys([*known, *self.written("tables")]):
            try:
                same = sha256_of(self.path / name) == known.get(name)
            except OSError:
                same = False
            if not same:
                raise StudyError(
                    f"{self.path / name}: missing, or changed since the study finished; {again}"
                )
        return list(known)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file atomically."""
        with self._replacing(self.path / name) as stream:
            stream.write(data)

    def written(self, top: str) -> list[str]:
        """The files that the study wrote into one of its folders and that exist."""
        names = sorted(name for name in self._written() if name.startswith(f"{top}/"))
        return [name for name in names if (self.path / name).exists()]

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
            return read_parquet(self._table(name), columns, where)
        except OSError:
            raise StudyError(
                f"{self._table(name)}: missing or damaged; run the study again"
            ) from None

    def _table(self, name: str) -> Path:
        return self.path / "tables" / f"{name}.parquet"

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[BinaryIO]:
        """A temporary file that replaces another one when it is complete."""
        self._refuse_links(path)
        try:
            with replacing(path) as (stream, temporary):
                yield stream
                stream.flush()
                if path.name != _WRITTEN:
                    self._list(path.relative_to(self.path).as_posix(), sha256_of(temporary))
        except OSError as error:
            raise _unwritable(path, error) from None

    def _refuse_links(self, path: Path, *, opened: bool = False) -> None:
        """Refuse to write through a link in the folder, which may lead to files of others.

        Args:
            path: A file, which may itself be a link if it is replaced.
            opened: It is opened instead.
        """
        inside = path.relative_to(self.path)
        for part in (*([inside] if opened else []), *inside.parents):
            if part.name and (self.path / part).is_symlink():
                raise StudyError(
                    f"{self.path / part}: a link, which leads out of the study; remove it, or choose another --out"
                )

    def _list(self, name: str, digest: str) -> None:
        """List a file in ``written.json`` before it is in place, with its new hash and the last one."""
        with FileLock(self.path / _WRITTEN_LOCK, mode=0o600):
            written = self._written()
            if digest not in (before := written.get(name, [])):
                written[name] = [*before[-1:], digest]
                self.write_text(_WRITTEN, json.dumps(written, indent=1, sort_keys=True) + "\n")

    def _written(self) -> dict[str, list[str]]:
        """The hashes of the files that the study wrote, by name; of each file the last two."""
        try:
            found = read_json(self.path / _WRITTEN)
        except (OSError, ValueError):
            return {}
        sound = isinstance(found, dict) and all(
            isinstance(digests, list) and not {"", ".."} & set(name.split("/"))
            for name, digests in found.items()
        )
        return found if sound else {}

    def _refuse_foreign(self) -> None:
        """Refuse a folder with files but without a study. What a kill at the very start leaves is fine."""
        if not self.path.exists() or (self.path / _PLAN).is_file():
            return
        begun = {_LOCK, _WRITTEN, _WRITTEN_LOCK}
        if not self.path.is_dir() or any(
            entry.name not in begun and not _PART.fullmatch(entry.name)
            for entry in self.path.iterdir()
        ):
            raise StudyError(f"{self.path}: exists but holds no study; choose another --out")

    def _files(self, top: str) -> Iterator[Path]:
        """The files in a folder of the run and below; none if the folder is a link to somewhere else."""
        if (self.path / top).is_symlink():
            return
        for folder, _, names in os.walk(self.path / top):
            yield from (Path(folder, name) for name in names)

    def _remove(self, path: Path, *, ours: bool) -> None:
        """Remove a file of the study. Move other files aside if the next study may write there."""
        if ours:
            path.unlink()
        elif path.suffix in _SUFFIXES and path.is_file():
            kept = path.with_name(f"{path.name}.kept")
            while kept.exists():
                kept = kept.with_name(f"{kept.name}.kept")
            path.rename(kept)
            self.log(
                f"{path.relative_to(self.path)}: not as the study wrote it; kept as {kept.name}"
            )

    def _is_own_shard(self, path: Path) -> bool:
        """Whether a file is a shard of this study with unchanged arrays, also one from before a picture was lost."""
        stage, index = path.relative_to(self.path / "shards").parent.as_posix(), path.stem
        try:
            with open_regular(path) as stream, np.load(stream, allow_pickle=False) as arrays:
                of = json.loads(str(arrays[_OF]))
                own = f"{stage}/{int(index)}/{self._plan_digest}"
                return (
                    f"{of['shard']}/".startswith(f"{own}/")
                    and of["sha256"].keys() == set(arrays.files) - {_OF}
                    and all(digest(arrays[name]) == known for name, known in of["sha256"].items())
                )
        except Exception:  # noqa: BLE001  a damaged or hostile archive raises nearly anything
            return False

    def _difference(self, old: Plan, new: Plan, *, exclude_changed: bool) -> str | None:
        """What keeps a study from being resumed with a plan; None if nothing does."""
        if (difference := _difference(old, new)) is None:
            return None
        if difference == _PICTURES and (changed := _changed(old, new)) is not None:
            known = {one.position for one in self.lost()}
            changed = [one for one in changed if one.position not in known]
            if exclude_changed and changed:
                self.add_lost(old, changed)
                return None
            if not changed:
                return None
            first = changed[0]
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            return (
                f"the picture {old.images[first.position].image}{more} {first.reason}; restore it, exclude it with "
                "--exclude-changed, or discard the work of this study with --restart"
            )
        return (
            f"holds a study with another {difference}; "
            "choose another --out, or discard its work with --restart"
        )


def _plan_parts(plan: Plan) -> Iterator[bytes]:
    """The text of a plan, part by part: all of it would take half a gigabyte for 100,000 people."""
    rest = _json(_PLANS, plan.model_copy(update={"images": ()}))
    # Quotes inside of texts are escaped, and only names of the top level are indented by one.
    head, tail = rest.split(_NO_IMAGES) if plan.images else (rest, b"")
    yield head
    for start in range(0, len(plan.images), _IMAGES_AT_ONCE):
        some = plan.images[start : start + _IMAGES_AT_ONCE]
        text = _json(_IMAGES, some).removeprefix(b"[").removesuffix(b"\n]")
        yield (b"," if start else _NO_IMAGES[:-1]) + text.replace(b"\n", b"\n ")
    yield b"\n ]" + tail if plan.images else tail


def _json(kind: TypeAdapter[Any], value: object) -> bytes:
    try:
        return kind.dump_json(value, indent=1)
    except PydanticSerializationError:
        # Pydantic's own text cannot hold a path that is not UTF-8.
        return json.dumps(kind.dump_python(value, mode="json"), indent=1).encode()


def _unwritable(path: Path, error: OSError) -> StudyError:
    return StudyError(f"{path}: cannot be written ({error.strerror}); finished work is kept")


def _hash(path: Path) -> str | None:
    """The SHA-256 of a file; None if it cannot be read."""
    try:
        return None if path.is_symlink() else sha256_of(path)
    except OSError:
        return None


def _remove_empty_folders(top: Path) -> None:
    """Remove a folder and those inside it, as far as they are empty."""
    if not top.is_symlink():
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def _changed(old: Plan, new: Plan) -> list[LostPicture] | None:
    """The pictures of a plan that have changed or vanished; None if the new plan has other pictures.

    In the place of those that vanished, others may have been drawn.
    """
    now = {image.image: image for image in new.images}
    others = not now.keys() <= {image.image for image in old.images}
    if others and len({one.person for one in old.images}) != len(
        {one.person for one in now.values()}
    ):
        return None
    found, gone = [], False
    for position, image in enumerate(old.images):
        other = now.get(image.image)
        here = other is not None or Path(image.path).exists()
        gone |= not here
        if other is None and here and not others:
            return None
        if other is not None and _place(other) != _place(image):
            return None
        if not here or (other is not None and other.sha256 is None):
            if image.sha256 is not None or other is None:
                found.append(LostPicture(position, "vanished, or can no longer be read"))
        elif other is not None and other.sha256 != image.sha256:
            found.append(LostPicture(position, CHANGED))
    return None if others and not gone else found


def _place(image: PlannedImage) -> tuple[str, str, str, Mapping[str, str]]:
    return image.person, image.path, image.member, image.groups


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
        return _PICTURES
    return None
