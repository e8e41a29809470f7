"""How alike maps are: Bhattacharyya coefficient, divergences, rank agreement, clusters; their spread."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from leam.errors import InputError
from leam.metrics.overlap import (
    bhattacharyya,
    bhattacharyya_matrix,
    centre_of_mass,
    cluster,
    hellinger,
    jensen_shannon,
    map_agreement,
    rank_agreement,
    spread,
)
from leam.metrics.statistics import spearman


def test_by_hand():
    first = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]])
    second = torch.tensor([[[0.2, 0.8]]])
    wanted = [0.1**0.5 + 0.4**0.5, 0.2**0.5]
    assert bhattacharyya_matrix(first, second)[:, 0].tolist() == pytest.approx(wanted)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(1, 40))
def test_of_masks_of_one_size_it_is_the_part_they_share(seed, count):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(3, 64, dtype=torch.bool)
    for mask in masks:
        mask[torch.randperm(64, generator=generator)[:count]] = True
    shared = (masks[:, None] & masks).sum(dim=2) / count
    found = bhattacharyya_matrix(masks.view(3, 8, 8), masks.view(3, 8, 8))
    torch.testing.assert_close(found, shared)


def test_scale_does_not_matter_and_an_empty_map_shares_nothing():
    maps = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        bhattacharyya_matrix(maps, maps * 9), bhattacharyya_matrix(maps, maps)
    )
    torch.testing.assert_close(bhattacharyya_matrix(maps, maps).diagonal(), torch.ones(2))
    assert (bhattacharyya_matrix(maps, torch.zeros(1, 4, 4)) == 0).all()


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_the_coefficient_of_two_maps_is_a_number(kind):
    first, second = np.array([[0.5, 0.5], [0, 0]]), np.array([[2, 8], [0, 0]]) / 3
    found = bhattacharyya(kind(first), kind(second))
    assert isinstance(found, float)
    assert found == pytest.approx(0.1**0.5 + 0.4**0.5)
    assert bhattacharyya(kind(first > 0), kind(second > 1)) == pytest.approx(0.5**0.5)
    assert bhattacharyya(kind(first[0]), kind(first[0])) == pytest.approx(1)


_MAP = np.ones((4, 5))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (_MAP, _MAP[:2], r"maps of shapes \(4, 5\) and \(2, 5\)"),
        (_MAP[None], _MAP[None], "bhattacharyya_matrix compares sets of maps"),
        (1.0, 1.0, "expected two maps"),
        (_MAP, _MAP * np.nan, "second map: has values that are not finite"),
        (_MAP, _MAP * np.inf, "second map: has values that are not finite"),
        (_MAP - 2, _MAP, "first map: has negative values"),
        (_MAP, _MAP * 0, "second map: all zero"),
        ("abc", _MAP, "first map: not an array of numbers"),
        (_MAP * 1j, _MAP, "first map: complex"),
        ([[1, 2], [3]], _MAP, "first map: not an array of numbers"),
    ],
)
def test_maps_that_cannot_be_compared_are_named_in_one_line(first, second, message):
    with pytest.raises(InputError, match=message) as caught:
        bhattacharyya(first, second)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (_MAP[0], _MAP, "bhattacharyya compares two maps"),
        (_MAP[None], _MAP[None, :2], r"\(1, 4, 5\) and \(1, 2, 5\)"),
        (_MAP[None], -_MAP[None], "second map: has negative values"),
        (_MAP[None] * np.nan, _MAP[None], "first map: has values that are not finite"),
    ],
)
def test_sets_of_maps_that_do_not_fit_are_named(first, second, message):
    with pytest.raises(InputError, match=message):
        bhattacharyya_matrix(first, second)


def test_spread_from_a_pixel_to_the_whole():
    maps = torch.zeros(4, 4, 4)
    maps[0, 1, 2] = 3
    maps[1] = 0.1
    maps[2, :2, :2] = 5
    assert spread(maps)[:3].tolist() == pytest.approx([0, 1, 0.5])
    assert spread(maps)[3].isnan()


def test_the_centre_of_mass_does_not_depend_on_the_resolution():
    small = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(8, dim=-1).repeat_interleave(8, dim=-2)
    torch.testing.assert_close(centre_of_mass(small), centre_of_mass(large))


def test_the_centre_of_a_pixel_is_its_middle():
    maps = torch.zeros(2, 2, 5)
    maps[0, 1, 0] = 2
    assert centre_of_mass(maps)[0].tolist() == pytest.approx([0.1, 0.75])
    assert centre_of_mass(maps)[1].isnan().all()


MAPS = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0))


def test_jensen_shannon_is_scipys_squared():
    found = jensen_shannon(MAPS, MAPS[:3])
    flat = MAPS.flatten(1).numpy()
    wanted = [[jensenshannon(a, b, base=2) ** 2 for b in flat[:3]] for a in flat]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


def test_the_ends_of_the_scales():
    apart = torch.zeros(2, 4, 4)
    apart[0, 0], apart[1, 3] = 1, 1
    torch.testing.assert_close(jensen_shannon(apart, apart), 1 - torch.eye(2))
    torch.testing.assert_close(hellinger(apart, apart), 1 - torch.eye(2))


def test_hellinger_by_hand():
    first, second = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.9, 0.1]]])
    wanted = np.sqrt(1 - (np.sqrt(0.45) + np.sqrt(0.05)))
    assert hellinger(first, second).item() == pytest.approx(wanted, abs=1e-6)


def test_an_empty_map_has_no_divergence():
    empty = torch.zeros(1, 5, 6)
    assert jensen_shannon(MAPS, empty).isnan().all()
    assert (hellinger(MAPS, empty) == 1).all()


MODELS = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(0))


def test_agreement_is_face_by_face():
    found, ranks = map_agreement(MODELS), rank_agreement(MODELS)
    assert found.shape == ranks.shape == (2, 3, 3)
    for face in range(2):
        for a in range(3):
            for b in range(3):
                first, second = MODELS[a, face], MODELS[b, face]
                wanted = bhattacharyya_matrix(first[None], second[None]).item()
                assert found[face, a, b].item() == pytest.approx(wanted, abs=1e-6)
                wanted = spearman(first.flatten().numpy(), second.flatten().numpy())
                assert ranks[face, a, b].item() == pytest.approx(wanted, abs=1e-6)


def test_a_constant_map_ranks_nothing():
    maps = MODELS.clone()
    maps[1, 0] = 0
    found = rank_agreement(maps)
    assert found[0, 1].isnan().all()
    assert found[1].isfinite().all()


def test_like_models_stand_together():
    agreement = np.array(
        [
            [1.0, 0.2, 0.9, 0.1],
            [0.2, 1.0, 0.3, 0.8],
            [0.9, 0.3, 1.0, 0.2],
            [0.1, 0.8, 0.2, 1.0],
        ]
    )
    found = cluster(agreement)
    assert found.merges.shape == (3, 4)
    assert set(found.merges[0, :2]) == {0, 2}
    assert found.merges[0, 2] == pytest.approx(0.1)
    # Mean linkage: the mean of the four distances between the two pairs.
    assert found.merges[2, 2] == pytest.approx(1 - (0.2 + 0.1 + 0.3 + 0.2) / 4)
    places = {model: place for place, model in enumerate(found.order)}
    assert abs(places[0] - places[2]) == abs(places[1] - places[3]) == 1


def test_one_model_needs_no_joining():
    assert cluster(np.ones((1, 1))).order == (0,)
