"""Typed arrays: what a stage of a study stores for a slice of faces."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

Arrays = dict[str, NDArray[Any]]
"""Arrays by name, as stored in a file."""

S = TypeVar("S", bound="Shard")

Reveals = Literal["nothing", "number", "map", "text", "appearance", "embedding"]
"""What an array reveals about the people of a study."""

REVEALS: Final[Mapping[Reveals, str]] = {
    "nothing": "nothing about a person",
    "number": "numbers measured on a picture; they identify it only to those who have the picture",
    "map": "where a recognizer looks; maps of one person are more alike than maps of two people",
    "text": "why a picture was excluded; may contain the person's name",
    "appearance": "the look or shape of a face: landmarks, regions, alignment, sums of few pictures",
    "embedding": "who the person is, to anyone with the recognizer and a picture of the person",
}
"""The same in words."""

# Arrays along these axes have an entry per picture, person or person map.
_PEOPLE = ("face", "probe", "person", "map")


@dataclass(frozen=True)
class Axes:
    """The axes of an array.

    Attributes:
        names: One entry per axis: a name, which stands for the same length in all arrays of a shard, or a fixed
            length.
        doc: Description of the array, with its unit or range.
        summed: The array is a sum over faces: the parts of a slice are added, not concatenated.
        reveals: What the array reveals about people.
    """

    names: tuple[str | int, ...]
    doc: str
    summed: bool = False
    reveals: Reveals = "nothing"


def axes(*names: str | int, doc: str, summed: bool = False, reveals: Reveals | None = None) -> Axes:
    """Describe the array of a shard's field, as part of the field's annotation.

    By default, an array with an entry per picture or person reveals ``number``, and any other one ``nothing``.
    """
    default: Reveals = "number" if names[:1] and names[0] in _PEOPLE else "nothing"
    return Axes(names, doc, summed, reveals or default)


@dataclass(frozen=True)
class Spec:
    """Name, dtype and axes of one array of a shard."""

    name: str
    dtype: np.dtype[Any]
    axes: Axes


class Shard:
    """The arrays that one stage stores for one slice. Subclasses are frozen dataclasses with annotated arrays.

    Example:
        >>> @dataclass(frozen=True)
        ... class Brightness(Shard):
        ...     position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
        ...     mean: Annotated[NDArray[np.float32], axes("face", doc="Mean brightness, 0-255.")]
    """

    def arrays(self) -> Arrays:
        """The arrays by name, after checking them.

        Raises:
            ValueError: The dtype or shape of an array does not match its field.
        """
        found = {spec.name: np.asarray(getattr(self, spec.name)) for spec in specs(type(self))}
        _check(type(self), found)
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], only: Collection[str] | None = None) -> Self:
        """Create a shard from arrays read from a file.

        Args:
            arrays: Arrays by name.
            only: Fields to read; all by default. Accessing any other field of the result raises an AttributeError.

        Raises:
            ValueError: An array is missing, or its dtype or shape does not match its field.
        """
        names = [spec.name for spec in specs(cls) if only is None or spec.name in only]
        for name in names:
            if name not in arrays:
                raise ValueError(f"{cls.__name__}: the array {name} is missing")
        found = {name: arrays[name] for name in names}
        _check(cls, found)
        shard = object.__new__(cls)
        for name, array in found.items():
            object.__setattr__(shard, name, array)
        return shard


# Reading annotations takes longer than reading a small shard.
_SPECS: dict[type[Shard], tuple[Spec, ...]] = {}


def joined(parts: Sequence[S]) -> S:
    """Join shards of one type: concatenated along the face axis, or added if the field is a sum."""
    kind = type(parts[0])
    found: Arrays = {}
    for spec in specs(kind):
        values = [getattr(part, spec.name) for part in parts]
        found[spec.name] = (
            np.sum(values, axis=0) if spec.axes.summed else _concatenated(spec, values)
        )
    return kind.of(found)


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of an array: of its dtype, its shape and its values."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    found.update(np.ascontiguousarray(array).data if array.size else b"")
    return found.hexdigest()


def specs(kind: type[Shard]) -> tuple[Spec, ...]:
    """The arrays of a shard type, in the order of its fields.

    Raises:
        TypeError: A field is not annotated as an array with axes.
    """
    if kind not in _SPECS:
        _SPECS[kind] = tuple(_specs(kind))
    return _SPECS[kind]


def _specs(kind: type[Shard]) -> Iterator[Spec]:
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(cast("Any", kind)):
        hint = hints[field.name]
        described = [extra for extra in get_args(hint)[1:] if isinstance(extra, Axes)]
        if get_origin(hint) is not Annotated or not described:
            raise TypeError(f"{kind.__name__}.{field.name}: annotate it as an array with axes(...)")
        scalar = get_args(get_args(get_args(hint)[0])[1])[0]
        yield Spec(field.name, np.dtype(scalar), described[0])


def _concatenated(spec: Spec, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    # Arrays without a face axis, such as layer names, are the same in all parts.
    return np.concatenate(values) if spec.axes.names[:1] == ("face",) else values[0]


def _check(kind: type[Shard], arrays: Mapping[str, NDArray[Any]]) -> None:
    lengths: dict[str | int, int] = {}
    for spec in specs(kind):
        if spec.name not in arrays:
            continue
        array, where = arrays[spec.name], f"{kind.__name__}.{spec.name}"
        same = array.dtype.kind == "U" if spec.dtype.kind == "U" else array.dtype == spec.dtype
        if not same:
            raise ValueError(f"{where}: dtype is {array.dtype}, expected {spec.dtype}")
        if array.ndim != len(spec.axes.names):
            raise ValueError(f"{where}: has {array.ndim} axes, expected {len(spec.axes.names)}")
        for axis, length in zip(spec.axes.names, array.shape, strict=True):
            expected = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
            if length != expected:
                raise ValueError(f"{where}: length {length} along axis {axis}, expected {expected}")
