"""The Bhattacharyya coefficient of maps and masks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leam.metrics.overlap import bhattacharyya


def test_by_hand():
    first = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]])
    second = torch.tensor([[[0.2, 0.8]]])
    wanted = [0.1**0.5 + 0.4**0.5, 0.2**0.5]
    assert bhattacharyya(first, second)[:, 0].tolist() == pytest.approx(wanted)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(1, 40))
def test_of_masks_of_one_size_it_is_the_part_they_share(seed, count):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(3, 64, dtype=torch.bool)
    for mask in masks:
        mask[torch.randperm(64, generator=generator)[:count]] = True
    shared = (masks[:, None] & masks).sum(dim=2) / count
    found = bhattacharyya(masks.view(3, 8, 8), masks.view(3, 8, 8))
    torch.testing.assert_close(found, shared)


def test_scale_does_not_matter_and_an_empty_map_shares_nothing():
    maps = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bhattacharyya(maps, maps * 9), bhattacharyya(maps, maps))
    torch.testing.assert_close(bhattacharyya(maps, maps).diagonal(), torch.ones(2))
    assert (bhattacharyya(maps, torch.zeros(1, 4, 4)) == 0).all()
