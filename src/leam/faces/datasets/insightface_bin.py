"""InsightFace's verification sets, such as lfw.bin: a pickle of encoded pictures and of booleans.

Pictures 2i and 2i + 1 form pair i. The pickle is read by a machine of its own that knows bytes, lists, tuples, booleans
and NumPy arrays of these, in all protocols of Python 2 and 3, and nothing else: no code of the file runs. Pictures are
not loaded but located. The names of people are not in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from leam.errors import ImageError, InputError, first_line
from leam.faces.datasets import DATASETS, Layout
from leam.faces.people import Dataset, Pair, Sample, linked_people
from leam.faces.reading import hash_picture, read_bytes
from leam.files import open_regular
from leam.progress import Progress

# A picture as text takes up to four times its bytes. Names are shorter than both limits.
_MAX_LINE = 1 << 26
_MAX_NAME = 200
# Twenty for each of half a million pairs. More take minutes, and memory for each value.
_MOST_INSTRUCTIONS = 10_000_000
_REPORT_EVERY = 1000
_ARRAYS = ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
_KNOWN = {
    f"{package}.{name}": name.rpartition(".")[2]
    for package in ("numpy.core", "numpy._core")
    for name in _ARRAYS
} | {
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "_codecs.encode": "encode",
    "builtins.bytearray": "bytearray",
    "__builtin__.bytearray": "bytearray",
}


class _NotPlainError(Exception):
    """The file contains something else than pictures and booleans, or ends too early."""


@dataclass(frozen=True)
class _Located:
    """A string of the file that was passed over."""

    encoding: str
    offset: int
    length: int

    @property
    def member(self) -> str:
        return f"{self.encoding}={self.offset}+{self.length}"


@dataclass(frozen=True)
class _Function:
    """A function or class that the file names, by the name that is known here."""

    name: str


@dataclass
class _Array:
    """A NumPy array or number, and the letter of its type."""

    kind: str = ""
    data: object = None


@dataclass(frozen=True)
class _DType:
    kind: str


class _Machine:
    """Interprets a pickle; see the module. The instructions are documented in Python's ``pickletools``."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = stream.seek(0, 2)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        stream.seek(0)

    def run(self) -> object:
        done = 0
        while (code := self.read(1)) != b".":
            done += 1
            if done > _MOST_INSTRUCTIONS:
                raise _NotPlainError("has too many values for pictures")
            action = _ACTIONS.get(code)
            if action is None:
                raise _NotPlainError(f"contains the instruction {code!r}")
            action(self)
        return self.stack.pop()

    def read(self, length: int) -> bytes:
        data = self.stream.read(length)
        if len(data) < length:
            raise _NotPlainError("ends within a value")
        return data

    def number(self, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.read(length), "little", signed=signed)

    def line(self) -> bytes:
        line = self.stream.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise _NotPlainError("ends within a line")
        return line[:-1]

    def locate(self, length: int, encoding: str) -> None:
        offset = self.stream.tell()
        if length > self.size - offset:
            raise _NotPlainError("ends within a picture")
        self.stream.seek(length, 1)
        self.stack.append(_Located(encoding, offset, length))

    def locate_line(self, encoding: str, quotes: int) -> None:
        offset = self.stream.tell() + quotes
        self.stack.append(_Located(encoding, offset, len(self.line()) - 2 * quotes))

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def extend(self, items: Sequence[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise _NotPlainError("contains an object with items")
        self.stack[-1].extend(items)

    def integer(self) -> None:
        text = self.line()
        self.stack.append({b"01": True, b"00": False}.get(text, 0) if len(text) == 2 else int(text))  # noqa: PLR2004

    def text(self, value: object) -> str:
        """A short string that was passed over."""
        if not isinstance(value, _Located) or value.length > _MAX_NAME:
            raise _NotPlainError("contains no name where one is due")
        here = self.stream.tell()
        self.stream.seek(value.offset)
        data = self.read(value.length)
        self.stream.seek(here)
        return data.decode()

    def name(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in _KNOWN:
            raise _NotPlainError(f"contains {full}")
        self.stack.append(_Function(_KNOWN[full]))

    def name_of_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(self.text(module), self.text(name))

    def call(self) -> None:
        values, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Function):
            raise _NotPlainError("contains a call of a value")
        self.stack.append(self.result(function.name, values))

    def result(self, function: str, values: Sequence[Any]) -> object:
        if function == "bytearray" and len(values) == 1:
            return values[0]
        if function in {"encode", "bytearray"}:
            # Python 3 writes bytes as text in old protocols.
            return replace(values[0], encoding={"name": "text"}.get(values[0].encoding, "raw"))
        if function == "dtype":
            return _DType(self.text(values[0]).lstrip("|<>="))
        if function == "scalar":
            return _Array(values[0].kind, values[1])
        if function == "_frombuffer":
            return _Array(values[1].kind, values[0])
        return _Array()

    def build(self) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if isinstance(value, _Array):
            value.kind, value.data = state[2].kind, state[4]
        elif not isinstance(value, _DType):
            raise _NotPlainError("contains an object with a state")


_ACTIONS: dict[bytes, Callable[[_Machine], object]] = {
    # The protocol, and how much to read ahead.
    b"\x80": lambda m: m.read(1),
    b"\x95": lambda m: m.read(8),
    # Bytes of Python 3, and strings of Python 2.
    b"B": lambda m: m.locate(m.number(4), "bytes"),
    b"C": lambda m: m.locate(m.number(1), "bytes"),
    b"\x8e": lambda m: m.locate(m.number(8), "bytes"),
    b"\x96": lambda m: m.locate(m.number(8), "bytes"),
    b"T": lambda m: m.locate(m.number(4), "bytes"),
    b"U": lambda m: m.locate(m.number(1), "bytes"),
    b"S": lambda m: m.locate_line("repr", 1),
    # Text, which is a name unless it is encoded.
    b"X": lambda m: m.locate(m.number(4), "name"),
    b"\x8c": lambda m: m.locate(m.number(1), "name"),
    b"\x8d": lambda m: m.locate(m.number(8), "name"),
    b"V": lambda m: m.locate_line("raw", 0),
    # Numbers.
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"I": _Machine.integer,
    b"K": lambda m: m.stack.append(m.number(1)),
    b"M": lambda m: m.stack.append(m.number(2)),
    b"J": lambda m: m.stack.append(m.number(4, signed=True)),
    b"L": lambda m: m.stack.append(int(m.line().rstrip(b"L"))),
    b"\x8a": lambda m: m.stack.append(m.number(m.number(1), signed=True)),
    # Lists and tuples.
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"]": lambda m: m.stack.append([]),
    b")": lambda m: m.stack.append(()),
    b"l": lambda m: m.stack.append(m.since_mark()),
    b"t": lambda m: m.stack.append(tuple(m.since_mark())),
    b"\x85": lambda m: m.last(1),
    b"\x86": lambda m: m.last(2),
    b"\x87": lambda m: m.last(3),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.since_mark()),
    # The memo.
    b"p": lambda m: m.memo.update({int(m.line()): m.stack[-1]}),
    b"q": lambda m: m.memo.update({m.number(1): m.stack[-1]}),
    b"r": lambda m: m.memo.update({m.number(4): m.stack[-1]}),
    b"\x94": lambda m: m.memo.update({len(m.memo): m.stack[-1]}),
    b"g": lambda m: m.stack.append(m.memo[int(m.line())]),
    b"h": lambda m: m.stack.append(m.memo[m.number(1)]),
    b"j": lambda m: m.stack.append(m.memo[m.number(4)]),
    # The functions of NumPy that are known.
    b"c": lambda m: m.name(m.line().decode(), m.line().decode()),
    b"\x93": _Machine.name_of_stack,
    b"R": _Machine.call,
    b"b": _Machine.build,
}


def read_bin(source: Path, _: Path | None, progress: Progress) -> Dataset:
    """Read a verification set. Pictures with the same bytes are one picture.

    Raises:
        InputError: The file is damaged, or contains more than pictures and booleans.
    """
    try:
        members, same = _contents(source)
        firsts = list(_firsts(source, members, progress))
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None
    except (_NotPlainError, ImageError) as error:
        raise InputError(
            f"{source}: not a verification set; it {first_line(error)}; expected a pickle of a list of encoded "
            "pictures and a list of booleans, one for each two"
        ) from None
    digits = max(6, len(str(len(members))))
    names = [f"{source.name}#{first:0{digits}d}" for first in firsts]
    pairs = [Pair(names[2 * i], names[2 * i + 1], flag) for i, flag in enumerate(same)]
    people = linked_people(dict.fromkeys(names), pairs)
    samples = [
        Sample(source, name, people[name], member=members[place])
        for place, name in enumerate(names)
        if firsts[place] == place
    ]
    note = (
        f"layout: {len(pairs)} pairs without names of people; pictures joined by genuine pairs are one person, so that "
        "a person may appear under several names"
    )
    return Dataset.of(samples, pairs=pairs, notes=(note,))


def _firsts(source: Path, members: Sequence[str], progress: Progress) -> Iterator[int]:
    """For each picture, the place of the first one with the same bytes."""
    seen: dict[str, int] = {}
    for place, member in enumerate(members):
        yield seen.setdefault(hash_picture(source, member), place)
        if place % _REPORT_EVERY == 0:
            progress("reading pictures", place, len(members))


def _contents(source: Path) -> tuple[list[str], list[bool]]:
    """The members of a file, and whether each two are of one person."""
    with open_regular(source) as stream:
        try:
            value = _Machine(stream).run()
        except (IndexError, KeyError, AttributeError, TypeError, ValueError) as error:
            # A value is missing, or of another type than its use.
            raise _NotPlainError(f"is damaged ({first_line(error)})") from None
    if not isinstance(value, (list, tuple)) or len(value) != 2:  # noqa: PLR2004
        raise _NotPlainError("is not a pair of lists")
    members = [_member(one) for one in _items(value[0])]
    same = list(_booleans(source, value[1]))
    if not same or len(members) != 2 * len(same):
        raise _NotPlainError(f"has {len(members)} pictures for {len(same)} pairs")
    return members, same


def _items(value: object) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise _NotPlainError("is not a pair of lists")
    return value


def _member(value: object) -> str:
    located = value.data if isinstance(value, _Array) and value.kind == "u1" else value
    if not isinstance(located, _Located) or located.encoding == "name":
        raise _NotPlainError("contains something else than the bytes of a picture")
    return located.member


def _booleans(source: Path, value: object) -> Iterator[bool]:
    if isinstance(value, _Array):
        if value.kind not in {"b1", "?"} or not isinstance(value.data, _Located):
            raise _NotPlainError("contains something else than booleans")
        yield from map(bool, read_bytes(source, value.data.member))
        return
    for one in _items(value):
        if isinstance(one, _Array):
            yield from _booleans(source, one)
        elif isinstance(one, int) and one in {0, 1}:
            yield bool(one)
        else:
            raise _NotPlainError("contains something else than booleans")


def _is_bin(source: Path) -> bool:
    """Whether a file begins as a pickle of a tuple or a list does."""
    if not source.is_file():
        return False
    try:
        with open_regular(source) as stream:
            head = stream.read(2)
    except OSError:
        return False
    return (head[:1] == b"\x80" and head[1:] <= b"\x05") or head in {b"((", b"(]"}


DATASETS("insightface_bin")(
    Layout(what="a verification set of InsightFace (.bin)", recognises=_is_bin, read=read_bin)
)
