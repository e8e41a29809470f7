"""Drops under masks from other models."""

import numpy as np
import torch

from leam.metrics.occlusion import drop, hide, transfer_drops

RANDOM = np.random.default_rng(0)
CHIPS = RANDOM.integers(1, 256, (3, 8, 8, 3), dtype=np.uint8)


def embed(chips):
    return torch.from_numpy(chips.astype(np.float32)).mean(dim=3).flatten(1)


def test_a_row_holds_each_sources_drops():
    masks = RANDOM.random((2, 3, 8, 8)) < 0.3
    masks[1, 2] = False
    clean = embed(CHIPS)
    mates = clean.roll(1, dims=0)
    found = transfer_drops(CHIPS, masks, mates, embed, "euclidean")
    for source in range(2):
        wanted = drop(clean, embed(hide(CHIPS, masks[source])), mates, "euclidean")
        torch.testing.assert_close(found[source][:2], wanted[:2])
    assert found[1, 2].isnan()
