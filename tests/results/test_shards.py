"""Arrays with types and axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from numpy.typing import NDArray

from leam.results.shards import Shard, axes, joined, specs
from leam.study.stage import STAGES


@dataclass(frozen=True)
class Example(Shard):
    name: Annotated[NDArray[np.str_], axes("layer", doc="Names.")]
    value: Annotated[NDArray[np.float32], axes("face", "layer", doc="Values.")]
    point: Annotated[NDArray[np.int64], axes("face", 2, doc="Points.")]
    total: Annotated[NDArray[np.float64], axes("layer", doc="Sums.", summed=True)]


def example(faces: int = 3, **changed: np.ndarray) -> Example:
    fields = {
        "name": np.array(["a", "bc"]),
        "value": np.arange(2.0 * faces, dtype=np.float32).reshape(faces, 2),
        "point": np.zeros((faces, 2), dtype=np.int64),
        "total": np.array([1.0, faces]),
    }
    return Example(**{**fields, **changed})


def test_fields_say_name_type_axes_and_meaning():
    found = {
        spec.name: (spec.dtype.kind, spec.axes.names, spec.axes.doc) for spec in specs(Example)
    }
    assert found == {
        "name": ("U", ("layer",), "Names."),
        "value": ("f", ("face", "layer"), "Values."),
        "point": ("i", ("face", 2), "Points."),
        "total": ("f", ("layer",), "Sums."),
    }


def test_arrays_come_back():
    again = Example.of(example().arrays())
    for name, array in example().arrays().items():
        np.testing.assert_array_equal(getattr(again, name), array)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"value": np.zeros((3, 2))}, "Example.value: dtype is float64, expected float32"),
        (
            {"value": np.zeros((3, 3), dtype=np.float32)},
            "Example.value: length 3 along axis layer, expected 2",
        ),
        ({"value": np.zeros(3, dtype=np.float32)}, "Example.value: has 1 axes, expected 2"),
        (
            {"point": np.zeros((3, 3), dtype=np.int64)},
            "Example.point: length 3 along axis 2, expected 2",
        ),
        (
            {"point": np.zeros((2, 2), dtype=np.int64)},
            "Example.point: length 2 along axis face, expected 3",
        ),
        ({"name": np.zeros(2)}, "Example.name: dtype is float64, expected <U0"),
    ],
)
def test_other_types_and_shapes_are_refused_on_writing_and_on_reading(changed, why):
    with pytest.raises(ValueError, match=why):
        example(**changed).arrays()
    with pytest.raises(ValueError, match=why):
        Example.of({**example().arrays(), **changed})


def test_a_missing_array_is_named():
    arrays = example().arrays()
    del arrays["point"]
    with pytest.raises(ValueError, match="the array point is missing"):
        Example.of(arrays)


def test_fields_that_were_not_read_cannot_be_used():
    part = Example.of(example().arrays(), ["value"])
    assert part.value.shape == (3, 2)
    with pytest.raises(AttributeError):
        part.point  # noqa: B018


def test_parts_are_joined_along_faces_and_sums_are_added():
    whole = joined([example(3), example(1)])
    assert whole.value.shape == (4, 2)
    np.testing.assert_array_equal(whole.value[3], [0, 1])
    np.testing.assert_array_equal(whole.total, [2, 4])
    assert whole.name.tolist() == ["a", "bc"]


def test_a_field_without_axes_is_a_mistake_of_the_programmer():
    @dataclass(frozen=True)
    class Wrong(Shard):
        value: NDArray[np.float32]

    with pytest.raises(TypeError, match=r"value: annotate it"):
        specs(Wrong)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_describes_what_it_stores(name):
    stage = STAGES[name]
    assert stage.name == name
    assert stage.title
    assert stage.__doc__
    for spec in specs(stage.shard) if stage.shard else ():
        assert spec.axes.doc.endswith(".")
