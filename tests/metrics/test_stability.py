"""Maps under noise and mirroring, on maps whose answer is known."""

import pytest
import torch

from leam.metrics.robustness import flip_consistency, max_sensitivity

CHIPS = torch.randint(0, 256, (3, 12, 10, 3), generator=torch.Generator().manual_seed(0))


def brightness(chips):
    return chips.sum(dim=3)


def test_a_fixed_map_does_not_move():
    found = max_sensitivity(CHIPS, lambda chips: torch.ones(3, 12, 10), seed=0)
    assert (found == 0).all()


def test_a_linear_map_moves_by_the_noise():
    found = max_sensitivity(CHIPS, brightness, seed=0, draws=20)
    one = max_sensitivity(CHIPS, brightness, seed=0, draws=1)
    bound = 0.02 * 255 * 3 * (120**0.5) / brightness(CHIPS.float()).flatten(1).norm(dim=1)
    assert (found >= one).all()
    assert (found < bound).all()
    assert (found > bound / 10).all()
    assert torch.equal(found, max_sensitivity(CHIPS, brightness, seed=0, draws=20))


def test_the_noise_stays_within_its_radius():
    seen = []

    def explain(chips):
        seen.append(chips)
        return brightness(chips)

    max_sensitivity(CHIPS, explain, seed=0, radius=0.02, draws=3)
    assert max((chips - seen[0]).abs().max() for chips in seen) <= 0.02 * 255


def test_an_empty_map_has_no_sensitivity():
    assert max_sensitivity(CHIPS, lambda chips: torch.zeros(3, 12, 10), seed=0).isnan().all()


def test_mirroring():
    assert flip_consistency(CHIPS, brightness).tolist() == pytest.approx([1, 1, 1])
    ramp = torch.arange(10.0).expand(3, 12, 10)
    assert flip_consistency(CHIPS, lambda chips: ramp).tolist() == pytest.approx([-1, -1, -1])
