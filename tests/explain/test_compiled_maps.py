"""Scaled and enlarged maps are those of torch's steps."""

import pytest
import torch

from leam.explain.aggregates import distributions, upsample
from leam.explain.backends import kernels as compiled_maps
from leam.explain.backends import kernels as loops

SIZE = (12, 10)


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch):
    monkeypatch.setattr(loops, "LEAST_FACES", 1)


def maps(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


def test_scaled_maps_and_those_that_cannot_be(monkeypatch):
    layers = maps((12, 10), (5, 4), (5, 4))
    layers[0][1] = 0
    layers[1][0, 2, 2] = torch.nan
    layers[1][2, 0, 0] = torch.inf
    layers[2][1] = 1e-40
    found, empty = compiled_maps.scaled(layers)
    monkeypatch.setattr(loops, "INSTALLED", False)
    wanted, none = distributions(layers)
    assert empty.tolist() == none.tolist()
    assert empty.tolist() == [[False, True, False], [True, False, True], [False, True, False]]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "sizes",
    [
        [(12, 10)],
        [(6, 5), (3, 2), (1, 1)],
        [(3, 2), (12, 10), (3, 2), (6, 5), (12, 10), (3, 2)],
        [(24, 20), (7, 9)],
    ],
    ids=["the input's", "smaller", "mixed", "larger"],
)
def test_an_enlarged_sum(sizes):
    layers, weights = maps(*sizes), [0.5 + place for place in range(len(sizes))]
    found = compiled_maps.enlarged(layers, weights, SIZE)
    wanted = sum(w * upsample(layer, SIZE) for layer, w in zip(layers, weights, strict=True))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous()


@pytest.mark.parametrize(
    "other",
    [
        maps((5, 4))[0].double(),
        maps((5, 4))[0].mT,
        maps((5, 4))[0].to("meta"),
        maps((5, 4))[0][:, None],
        maps((5, 4))[0][:0],
    ],
    ids=["double", "layout", "device", "four axes", "no faces"],
)
def test_what_does_not_fit_is_left_to_torch(other):
    assert compiled_maps.scaled([other]) is None
    assert compiled_maps.enlarged([other], [1.0], SIZE) is None


def test_layers_of_other_faces_are_left_to_torch():
    one, other = maps((5, 4), (5, 4))
    assert compiled_maps.enlarged([one, other[:2]], [1.0, 1.0], SIZE) is None
