"""Region shares, areas and densities by hand."""

import pytest
import torch

from leam.parsers.shares import region_areas, region_densities, region_shares

REGIONS = torch.tensor([[[0, 0, 1], [1, 1, 1]]])


def test_shares_of_masks_and_maps():
    masks = torch.tensor([[[True, False, True], [True, False, False]]])
    torch.testing.assert_close(region_shares(masks, REGIONS, 3), torch.tensor([[1 / 3, 2 / 3, 0]]))
    maps = torch.tensor([[[[1.0, 3.0, 0.0], [4.0, 0.0, 2.0]]], [[[0.0] * 3] * 2]])
    found = region_shares(maps, REGIONS, 3)
    torch.testing.assert_close(found, torch.tensor([[[0.4, 0.6, 0.0]], [[0.0, 0.0, 0.0]]]))


def test_a_density_is_a_share_in_units_of_chance():
    areas = region_areas(REGIONS, 3)
    assert areas[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    densities = region_densities(torch.tensor([[0.5, 0.5, 0.0]]), areas)
    assert densities[0, :2].tolist() == pytest.approx([1.5, 0.75])
    assert densities[0, 2].isnan()
