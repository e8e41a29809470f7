"""Agreement of models' maps, and models joined by it."""

import numpy as np
import pytest
import torch

from leam.metrics.overlap import bhattacharyya, cluster, map_agreement, rank_agreement
from leam.metrics.statistics import spearman

MAPS = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(0))


def test_agreement_is_face_by_face():
    found, ranks = map_agreement(MAPS), rank_agreement(MAPS)
    assert found.shape == ranks.shape == (2, 3, 3)
    for face in range(2):
        for a in range(3):
            for b in range(3):
                first, second = MAPS[a, face], MAPS[b, face]
                wanted = bhattacharyya(first[None], second[None]).item()
                assert found[face, a, b].item() == pytest.approx(wanted, abs=1e-6)
                wanted = spearman(first.flatten().numpy(), second.flatten().numpy())
                assert ranks[face, a, b].item() == pytest.approx(wanted, abs=1e-6)


def test_a_constant_map_ranks_nothing():
    maps = MAPS.clone()
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
