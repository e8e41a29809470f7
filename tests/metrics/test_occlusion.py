"""Similarity drops and their curves, by hand on a recognizer that averages pixels."""

import numpy as np
import pytest
import torch

from leam.metrics.occlusion import (
    FRACTIONS,
    hide,
    occlusion_curve,
    pieces,
    pixel_energy,
    similarity_drop,
    transfer_drops,
)

RANDOM = np.random.default_rng(0)
CHIPS = RANDOM.integers(1, 256, (3, 20, 20, 3), dtype=np.uint8)


def embed(chips):
    """Left half and right half: two dimensions."""
    values = torch.from_numpy(chips.astype(np.float32))
    return torch.stack([values[:, :, :10].mean((1, 2, 3)), values[:, :, 10:].mean((1, 2, 3))], 1)


def test_the_drop_is_in_units_of_the_similarity():
    clean, occluded = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    mate = torch.tensor([[2.0, 0.0]])
    assert similarity_drop(clean, occluded, mate, "cosine").item() == pytest.approx(
        1 - 1 / np.sqrt(2)
    )
    assert similarity_drop(clean, occluded, mate, "euclidean").item() == pytest.approx(
        np.sqrt(2) - 1
    )


def test_the_energy_is_the_mean_squared_change():
    masks = np.zeros((2, 3, 20, 20), dtype=bool)
    masks[0, :, :5] = True
    hidden = np.stack([hide(CHIPS, one) for one in masks])
    energy = pixel_energy(CHIPS, hidden)
    # Black changes a value by itself.
    expected = (CHIPS[:, :5].astype(float) / 255) ** 2
    np.testing.assert_allclose(energy[0], expected.sum(axis=(1, 2, 3)) / (20 * 20 * 3), rtol=1e-5)
    np.testing.assert_array_equal(energy[1], 0)


def test_pieces_touch_at_corners():
    mask = np.zeros((6, 6), dtype=bool)
    assert pieces(mask) == (0, 0)
    mask[0, 0] = mask[1, 1] = mask[2, 1] = True
    mask[5, 5] = True
    assert pieces(mask) == (2, 3)
    assert pieces(np.ones((6, 6), dtype=bool)) == (1, 36)


def test_hiding_is_chip_by_chip():
    masks = RANDOM.random((3, 20, 20)) < 0.5
    hidden = hide(CHIPS, masks)
    assert (hidden[masks] == 0).all()
    assert (hidden[~masks] == CHIPS[~masks]).all()


def test_a_curve_hides_the_top_pixels_of_each_fraction():
    maps = torch.zeros(3, 20, 20)
    maps[:, :, :10] = torch.rand(3, 20, 10) + 0.1
    maps[2] = 0
    mates = embed(CHIPS)
    curve = occlusion_curve(CHIPS, maps, mates, embed, "cosine")
    assert curve.shape == (len(FRACTIONS), 3)
    assert curve[:, 2].isnan().all()
    assert (curve[1:, :2] > curve[:-1, :2]).all()
    for row, fraction in enumerate(FRACTIONS):
        count = round(400 * fraction)
        order = maps[0].flatten().argsort(descending=True)[:count]
        chip = CHIPS[0].reshape(400, 3).copy()
        chip[order.numpy()] = 0
        after = embed(chip.reshape(1, 20, 20, 3))
        wanted = similarity_drop(mates[:1], after, mates[:1], "cosine").item()
        assert curve[row, 0].item() == pytest.approx(wanted, abs=1e-6)


SMALL = RANDOM.integers(1, 256, (3, 8, 8, 3), dtype=np.uint8)


def flatten(chips):
    return torch.from_numpy(chips.astype(np.float32)).mean(dim=3).flatten(1)


def test_a_row_holds_each_sources_drops():
    masks = RANDOM.random((2, 3, 8, 8)) < 0.3
    masks[1, 2] = False
    clean = flatten(SMALL)
    mates = clean.roll(1, dims=0)
    found = transfer_drops(SMALL, masks, mates, flatten, "euclidean")
    for source in range(2):
        wanted = similarity_drop(clean, flatten(hide(SMALL, masks[source])), mates, "euclidean")
        torch.testing.assert_close(found[source][:2], wanted[:2])
    assert found[1, 2].isnan()
