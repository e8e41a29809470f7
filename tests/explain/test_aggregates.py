"""Every aggregate by hand, and what all of them keep."""

import pytest
import torch
from torch.nn import functional

from leam.errors import InputError
from leam.explain.aggregates import AGGREGATES, binomial, distribution, distributions, upsample

SIZE = (8, 6)
GENERATOR = torch.Generator().manual_seed(0)
LAYERS = [
    distribution(torch.rand(2, *size, generator=GENERATOR)) for size in ((8, 6), (4, 3), (4, 3))
]
ENLARGED = torch.stack([upsample(layer, SIZE) for layer in LAYERS])


def test_enlarging_keeps_mass_and_the_value_of_a_flat_map():
    flat = torch.full((1, 4, 3), 1 / 12)
    torch.testing.assert_close(upsample(flat, SIZE), torch.full((1, 8, 6), 1 / 48))
    plain = functional.interpolate(LAYERS[1][:, None], size=SIZE, mode="bilinear")[:, 0]
    torch.testing.assert_close(upsample(LAYERS[1], SIZE), plain / 4)
    assert upsample(LAYERS[0], SIZE) is LAYERS[0]


def test_what_is_no_map_becomes_an_empty_one():
    maps = torch.rand(3, 4, 4)
    maps[1] = 0
    maps[2, 0, 0] = torch.nan
    found = distribution(maps)
    assert found.sum(dim=(1, 2)).tolist() == pytest.approx([1, 0, 0])


@pytest.mark.parametrize(
    ("name", "weights"),
    [("mean", [1, 1, 1]), ("late", [1, 2, 3]), ("last", [0, 0, 1]), ("sizes", [2, 1, 1])],
)
def test_weighted_means(name, weights):
    share = torch.tensor(weights).float().view(3, 1, 1, 1) / sum(weights)
    found = distribution(AGGREGATES[name](LAYERS, SIZE))
    torch.testing.assert_close(found, distribution((ENLARGED * share).sum(dim=0)))


def test_the_largest_and_the_geometric_mean():
    torch.testing.assert_close(AGGREGATES["max"](LAYERS, SIZE), ENLARGED.amax(dim=0))
    wanted = (ENLARGED * 48 + 0.01).log().mean(dim=0).exp()
    torch.testing.assert_close(AGGREGATES["product"](LAYERS, SIZE), wanted)


@pytest.mark.parametrize("size", [(8, 6), (7, 7), (3, 3), (1, 2)])
def test_the_binomial_filter_keeps_mass(size):
    maps = torch.rand(2, *size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(binomial(maps).sum(dim=(1, 2)), maps.sum(dim=(1, 2)))


def test_the_binomial_filter_removes_a_lattice_of_two_cells_and_spreads_a_point():
    rows, columns = torch.arange(8)[:, None] % 2, torch.arange(6) % 2
    for lattice in (rows + 0 * columns, 0 * rows + columns, rows ^ columns):
        inner = binomial(lattice[None].float())[0, 1:-1, 1:-1]
        torch.testing.assert_close(inner, torch.full((6, 4), 0.5))
    point = torch.zeros(1, 5, 5)
    point[0, 2, 2] = 16
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    torch.testing.assert_close(binomial(point)[0, 1:-1, 1:-1], expected)


def test_smooth_filters_each_layer_on_its_own_grid():
    wanted = AGGREGATES["sizes"]([binomial(layer) for layer in LAYERS], SIZE)
    torch.testing.assert_close(AGGREGATES["smooth"](LAYERS, SIZE), wanted)


def test_smooth_leaves_layers_of_one_grid_size_as_they_are():
    layers = [LAYERS[0], LAYERS[0].flip(1)]
    torch.testing.assert_close(
        AGGREGATES["smooth"](layers, SIZE), AGGREGATES["sizes"](layers, SIZE)
    )


@pytest.mark.parametrize("name", AGGREGATES)
def test_maps_stay_non_negative_and_faces_apart(name):
    found = AGGREGATES[name](LAYERS, SIZE)
    assert found.shape == (2, *SIZE)
    assert (found >= 0).all()
    alone = AGGREGATES[name]([layer[1:] for layer in LAYERS], SIZE)
    torch.testing.assert_close(alone[0], found[1])


@pytest.mark.parametrize("name", AGGREGATES)
def test_an_empty_layer_does_not_empty_the_rest(name):
    layers = [torch.zeros_like(LAYERS[0]), *LAYERS[1:]]
    assert (AGGREGATES[name](layers, SIZE).sum(dim=(1, 2)) > 0).all()
    nothing = [torch.zeros_like(layer) for layer in LAYERS]
    assert not AGGREGATES[name](nothing, SIZE).any()


def test_an_unknown_aggregate_is_named():
    with pytest.raises(InputError, match="magic: no such aggregate; available: mean"):
        AGGREGATES["magic"]


def test_a_map_of_rounding_errors_counts_as_empty():
    large, small = torch.rand(2, 4, 4), torch.rand(2, 4, 4)
    small[1] *= 1e-8
    (_, second), empty = distributions([large, small])
    assert empty.tolist() == [[False, False], [False, True]]
    assert second.sum(dim=(1, 2)).tolist() == [pytest.approx(1), 0]
