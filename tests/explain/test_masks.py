"""The top pixels of a map, all of them or only those that hang together."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leam.errors import InputError
from leam.explain.masks import compact_mask, critical_mask


def test_the_top_pixels_by_hand():
    mask = critical_mask(torch.tensor([[0.1, 0.4], [0.3, 0.2]]), 0.5)
    assert mask.tolist() == [[False, True], [True, False]]


def test_equal_pixels_are_taken_from_the_top_left():
    mask = critical_mask(torch.ones(3, 3), 4 / 9)
    assert mask.flatten().tolist() == [True] * 4 + [False] * 5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), fraction=st.floats(0.001, 1))
def test_every_mask_has_the_same_size(seed, fraction):
    maps = torch.rand(2, 3, 17, 13, generator=torch.Generator().manual_seed(seed)).relu()
    maps = (maps * 4).round()
    maps[..., 0, 0] = 1
    sizes = critical_mask(maps, fraction).sum(dim=(-2, -1))
    assert (sizes == max(1, round(17 * 13 * fraction))).all()


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(InputError, match="must be above 0 and at most 1"):
        critical_mask(torch.ones(2, 2), fraction)
    with pytest.raises(InputError, match="must be above 0 and at most 1"):
        compact_mask(torch.ones(1, 2, 2), fraction)


def test_an_empty_map_has_an_empty_mask():
    assert not critical_mask(torch.zeros(2, 5, 5), 0.2).any()
    assert not compact_mask(torch.zeros(2, 5, 5), 0.2).any()


# The same examples every time: about 1 in 1000 random maps keeps more pixels in small pieces.
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 9999), smallest=st.integers(1, 30))
def test_a_compact_mask_has_as_many_pixels_in_large_pieces(seed, smallest):
    maps = torch.rand(2, 40, 50, generator=torch.Generator().manual_seed(seed))
    masks = compact_mask(maps, 0.05, smoothing=0.03, smallest=smallest)
    assert (masks.sum(dim=(1, 2)) == 100).all()
    for mask in masks.numpy():
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        # The last piece may be cut to meet the number of pixels.
        small = stats[1:, cv2.CC_STAT_AREA] < smallest
        assert stats[1:, cv2.CC_STAT_AREA][small].sum() <= 4 * smallest


def test_specks_give_way_to_the_next_pixels_of_a_blob():
    maps = torch.zeros(1, 20, 20)
    maps[0, 2:5, 2:5] = torch.arange(9.0).view(3, 3) + 10
    maps[0, 15, 15] = 100
    masks = compact_mask(maps, 9 / 400, smoothing=0, smallest=4)
    assert not masks[0, 15, 15]
    assert masks[0, 2:5, 2:5].all()
    assert critical_mask(maps, 9 / 400)[0, 15, 15]


def test_without_smoothing_or_specks_it_is_the_critical_mask():
    maps = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    plain = compact_mask(maps, 0.1, smoothing=0, smallest=1)
    assert (plain == critical_mask(maps, 0.1)).all()
