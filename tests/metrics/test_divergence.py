"""Distances between maps, against SciPy and at their ends."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from leam.metrics.overlap import hellinger, jensen_shannon

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
