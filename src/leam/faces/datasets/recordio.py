"""MXNet's RecordIO, in which InsightFace publishes its training sets: train.rec and train.idx.

A record is a magic number, a word of 3 bits (0 whole, 1 first, 2 middle, 3 last part) and 29 bits (length), the bytes,
and zeros up to a multiple of four. A record whose bytes contain the magic number at a multiple of four is split there.
Its bytes begin with the header flag (uint32), label (float32) and two identifiers (uint64); flag > 0 is the number of
float32 labels that follow. The index has a line KEY OFFSET for each record. See mxnet/recordio.py and
dmlc-core/recordio.h.

In InsightFace's files, record 0 has no picture but two labels, the first and the last key (exclusive) of records that
stand for people, and each of these has the first and the last key of the person's pictures. Only these are read
before people are drawn. In other files, the header of every record is read.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from leam.errors import InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.people import Dataset, Sample
from leam.files import open_regular
from leam.progress import Progress

Keys = range | NDArray[np.int64]
"""The keys of a person's records."""

_MAGIC = 0xCED7230A
_HEAD = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH_BITS = 29
_WHOLE, _FIRST, _LAST = 0, 1, 3
# float32 holds integers up to this one exactly; more labels than this are not those of a picture.
_EXACT, _MOST_LABELS = 1 << 24, 1 << 16
_REPORT_EVERY = 10_000


@dataclass(frozen=True)
class _Record:
    """A record's labels, and the ranges of the file that hold its picture as (offset, length)."""

    labels: tuple[float, ...]
    ranges: tuple[tuple[int, int], ...]

    @property
    def is_empty(self) -> bool:
        return not sum(length for _, length in self.ranges)

    @property
    def member(self) -> str:
        return "bytes=" + ",".join(f"{offset}+{length}" for offset, length in self.ranges)


@dataclass(frozen=True)
class _Index:
    """The offset of each record by its key.

    Attributes:
        path: The file of records.
        keys: The keys in rising order, int64; a range if they are consecutive.
        offsets: The offsets, int64.
    """

    path: Path
    keys: Keys
    offsets: NDArray[np.int64]

    def offset(self, key: int) -> int:
        keys = self.keys
        place = key - keys.start if isinstance(keys, range) else int(np.searchsorted(keys, key))
        if not 0 <= place < len(keys) or keys[place] != key:
            raise InputError(f"{self.path}: its index has no record {key}")
        return int(self.offsets[place])


class _Pictures(Sequence[Sample]):
    """A person's pictures; their records are read when they are drawn."""

    __slots__ = ("_index", "_keys", "_person")

    def __init__(self, index: _Index, person: str, keys: Keys) -> None:
        self._index, self._person, self._keys = index, person, keys

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(place, slice):
            return _Pictures(self._index, self._person, self._keys[place])
        key, path = int(self._keys[place]), self._index.path
        with open_regular(path) as stream:
            record = _read_record(stream, path, self._index.offset(key))
        digits = max(6, len(str(int(self._index.keys[-1]))))
        name = f"{path.name}#{key:0{digits}d}"
        return Sample(path, name, self._person, member=record.member)


def read_records(source: Path, _: Path | None, progress: Progress) -> Dataset:
    """Read a file of records, or the folder that it is in.

    Raises:
        InputError: The records or the index are damaged.
    """
    path = _records_of(source) or source
    index = _read_index(path, progress)
    with open_regular(path) as stream:
        first = _read_record(stream, path, int(index.offsets[0]))
        indexed = len(first.labels) > 1 and first.is_empty
        ranges = _indexed(stream, index, first) if indexed else _scanned(stream, index, progress)
        people = {person: _Pictures(index, person, keys) for person, keys in ranges}
        unlisted = _unlisted(stream, index)
    pictures = sum(map(len, people.values()))
    notes = [f"layout: {path.name}, {len(people)} people, {pictures} pictures"]
    if unlisted:
        notes.append(f"the index does not list the last {unlisted} bytes of the records")
    stated = _property(path.parent)
    if stated and stated != len(people):
        notes.append(f"the file property states {stated} people")
    return Dataset(dict(sorted(people.items())), _others(source, path), notes=tuple(notes))


def _indexed(stream: BinaryIO, index: _Index, first: _Record) -> Iterator[tuple[str, Keys]]:
    """Each person's number and keys, from the records that stand for people."""
    if not 0 < first.labels[0] <= first.labels[1] <= _EXACT:
        raise InputError(f"{index.path}: record 0 has no range of people")
    start, stop = map(int, first.labels[:2])
    bounds: list[tuple[int, int]] = []
    for key in range(start, stop):
        labels = _read_record(stream, index.path, index.offset(key)).labels
        if len(labels) < 2 or not 0 < labels[0] <= labels[1] <= _EXACT:  # noqa: PLR2004
            raise InputError(f"{index.path}: record {key} is not that of a person")
        bounds.append((int(labels[0]), int(labels[1])))
    for (_, end), (begin, _) in pairwise(sorted(one for one in bounds if one[0] < one[1])):
        if begin < end:
            raise InputError(f"{index.path}: record {begin} is stated to be of two people")
    for number, one in enumerate(bounds):
        if keys := range(*one):
            yield str(number), keys


def _scanned(stream: BinaryIO, index: _Index, progress: Progress) -> Iterator[tuple[str, Keys]]:
    """Each label and its keys, from the header of every record."""
    labels = np.empty(len(index.keys), np.float32)
    for place, offset in enumerate(index.offsets.tolist()):
        found = _read_record(stream, index.path, offset).labels
        labels[place] = found[0] if found else np.nan
        if place % _REPORT_EVERY == 0:
            progress("reading records", place, len(labels))
    if not np.isfinite(labels).all():
        raise InputError(f"{index.path}: a record has no label")
    keys, order = np.asarray(index.keys), np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order], prepend=np.nan) != 0)
    for part in np.split(order, bounds[1:]):
        # Nine digits tell all numbers of 32 bits apart.
        yield f"{labels[part[0]]:.9g}", keys[part]


def _read_record(stream: BinaryIO, path: Path, offset: int) -> _Record:
    """A record's labels and the place of its picture, which is not read."""
    parts = _parts(stream, path, offset)
    # The magic number between two parts is that of the second one.
    ranges = [(parts[0][0], parts[0][1])]
    for start, length in parts[1:]:
        ranges += [(start - _HEAD.size, 4), (start, length)]
    stream.seek(parts[0][0])
    head = stream.read(min(_HEADER.size, parts[0][1]))
    if len(head) < _HEADER.size:
        raise InputError(f"{path}: the record at byte {offset} has no header")
    flag, label, _, _ = _HEADER.unpack(head)
    size = _HEADER.size + 4 * flag
    if flag > _MOST_LABELS or size > parts[0][1]:
        raise InputError(f"{path}: the record at byte {offset} has a damaged header")
    data = stream.read(4 * flag)
    if len(data) < 4 * flag:
        raise InputError(f"{path}: the record at byte {offset} ends within its header")
    labels = struct.unpack(f"<{flag}f", data) if flag else (label,)
    ranges[0] = (parts[0][0] + size, parts[0][1] - size)
    return _Record(labels, tuple(ranges))


def _parts(stream: BinaryIO, path: Path, offset: int) -> list[tuple[int, int]]:
    """The offset and length of each part of a record."""
    parts: list[tuple[int, int]] = []
    while True:
        stream.seek(offset)
        head = stream.read(_HEAD.size)
        magic, word = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
        kind, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
        if magic != _MAGIC or (kind in {_WHOLE, _FIRST}) != (not parts):
            raise InputError(
                f"{path}: no record at byte {offset}; the index may be of another file"
            )
        parts.append((offset + _HEAD.size, length))
        if kind in {_WHOLE, _LAST}:
            return parts
        # Records are split at multiples of four, so that only the last part is padded.
        offset += _HEAD.size + length


def _read_index(path: Path, progress: Progress) -> _Index:
    """The index of a file of records, or that of all its records in order if there is none."""
    beside = path.with_suffix(".idx")
    if not beside.is_file():
        offsets = np.fromiter(_offsets(path, progress), np.int64)
        return _checked(path, _Index(path, range(len(offsets)), offsets))
    try:
        with open_regular(beside) as stream, warnings.catch_warnings():
            # NumPy warns where a file is not made of numbers.
            warnings.simplefilter("error")
            numbers = np.fromfile(stream, np.int64, sep=" ").reshape(-1, 2)
    except (OSError, ValueError, DeprecationWarning):
        raise InputError(f"{beside}: not an index; expected lines of a key and an offset") from None
    if not _rising(numbers[:, 0]):
        numbers = numbers[np.argsort(numbers[:, 0], kind="stable")]
        if not _rising(numbers[:, 0]):
            raise InputError(f"{beside}: not an index; it has a key twice")
    keys = numbers[:, 0]
    if len(keys) and keys[-1] - keys[0] == len(keys) - 1:
        # An index of millions of records takes half the memory without its keys.
        return _checked(
            path, _Index(path, range(int(keys[0]), int(keys[-1]) + 1), numbers[:, 1].copy())
        )
    return _checked(path, _Index(path, keys.copy(), numbers[:, 1].copy()))


def _rising(keys: NDArray[np.int64]) -> bool:
    return bool((keys[1:] > keys[:-1]).all())


def _checked(path: Path, index: _Index) -> _Index:
    size = path.stat().st_size
    if not len(index.keys) or index.offsets.min() < 0 or index.offsets.max() >= size:
        raise InputError(f"{path}: has no records, or its index is of another file")
    return index


def _offsets(path: Path, progress: Progress) -> Iterator[int]:
    """The offsets of all records, one after the other."""
    size, offset, done = path.stat().st_size, 0, 0
    with open_regular(path) as stream:
        while offset < size:
            yield offset
            start, length = _parts(stream, path, offset)[-1]
            offset = start + (length + 3) // 4 * 4
            done += 1
            if done % _REPORT_EVERY == 0:
                progress("reading records", done, None)


def _unlisted(stream: BinaryIO, index: _Index) -> int:
    """How many bytes follow the last record of the index, where it may have been cut."""
    start, length = _parts(stream, index.path, int(index.offsets.max()))[-1]
    return max(index.path.stat().st_size - (start + (length + 3) // 4 * 4), 0)


def _property(folder: Path) -> int | None:
    """The number of people that the file property states: PEOPLE,HEIGHT,WIDTH."""
    try:
        with open_regular(folder / "property") as stream:
            first = stream.read(100).split(b",")[0].strip()
    except OSError:
        return None
    return int(first) if first.isdigit() else None


def _others(source: Path, path: Path) -> dict[str, str]:
    """The other files of a folder of records."""
    if source == path:
        return {}
    ours = {path.name, path.with_suffix(".idx").name, "property"}
    others = sorted(name for name in os.listdir(source) if name not in ours)  # noqa: PTH208
    return dict.fromkeys(others, "not part of the records; name the file itself to read it")


def _records_of(source: Path) -> Path | None:
    """The file of records that a source is, or the only one in a folder; None if there is none."""
    found = [source] if source.is_file() else sorted(source.glob("*.rec"))
    if len(found) != 1:
        return None
    try:
        with open_regular(found[0]) as stream:
            return found[0] if stream.read(4) == _MAGIC.to_bytes(4, "little") else None
    except OSError:
        return None


DATASETS("recordio")(
    Layout(
        what="MXNet's or InsightFace's .rec with .idx, or the folder of one",
        recognises=lambda source: _records_of(source) is not None,
        read=read_records,
    )
)
