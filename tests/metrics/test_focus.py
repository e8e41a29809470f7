"""Entropy and centre of mass of maps."""

import pytest
import torch

from leam.metrics.overlap import centre_of_mass, spread


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
