"""A region exchanged between two faces, and a map that should find it."""

import numpy as np
import pytest
import torch

from leam.metrics.swap import difference_target, like_posed, swap_ranking, swap_region
from leam.recognizers.recognizer import similarity

RANDOM = np.random.default_rng(0)


def test_the_face_most_alike_in_pose_is_another_persons():
    pose = np.array([0.0, 0.1, 5.0, 5.2, 0.3])
    landmarks = np.zeros((5, 68, 2)) + pose[:, None, None]
    found = like_posed(landmarks, np.array([0, 0, 1, 2, 2]))
    np.testing.assert_array_equal(found, [4, 4, 3, 2, 1])


def test_only_the_region_is_exchanged():
    chip, donor = RANDOM.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    region = RANDOM.random((6, 5)) < 0.4
    swapped = swap_region(chip, donor, region)
    assert swapped.dtype == np.uint8
    assert (swapped[region] == donor[region]).all()
    assert (swapped[~region] == chip[~region]).all()


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_the_target_is_what_parts_the_two(kind):
    first, second = torch.rand(2, 3, 4)
    score = difference_target(second, kind)(first)
    torch.testing.assert_close(score, -similarity(first, second, kind))


def test_a_map_is_ranked_by_where_it_is_high():
    regions = torch.zeros(3, 4, 4, dtype=torch.bool)
    regions[:2, 1:3, 1:3] = True
    maps = torch.stack([regions[0].float(), torch.ones(4, 4), torch.rand(4, 4)])
    found = swap_ranking(maps, regions)
    assert found[:2].tolist() == [1.0, 0.5]
    assert found[2].isnan()
