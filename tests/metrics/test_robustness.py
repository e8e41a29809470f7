"""Randomised layers change maps and are restored; maps under noise and mirroring."""

import numpy as np
import pytest
import torch
from torch import nn

from leam.metrics.robustness import cascade, flip_consistency, max_sensitivity, ssim


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.Flatten(),
        nn.Linear(8 * 16 * 16, 4),
    )  # fmt: skip


INPUTS = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def maps_of(module: nn.Module) -> torch.Tensor:
    inputs = INPUTS.clone().requires_grad_()
    gradient = torch.autograd.grad(module(inputs).square().sum(), inputs)[0]
    return (gradient * inputs).sum(dim=1).abs().detach()


def test_layers_go_top_down_and_come_back():
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = cascade(module, lambda: maps_of(module), seed=0, steps=3)
    assert [step.layers for step in found] == [("4",), ("4", "2"), ("4", "2", "0")]
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(step.rank.shape == step.ssim.shape == (2,) for step in found)
    assert (found[-1].rank < 0.6).all()
    again = cascade(module, lambda: maps_of(module), seed=0, steps=3)
    np.testing.assert_array_equal(found[-1].rank, again[-1].rank)


def test_a_map_that_ignores_the_network_is_found_out():
    found = cascade(network(), lambda: INPUTS.sum(dim=1), seed=0)
    assert all((step.rank == pytest.approx(1)) and (step.ssim > 0.999).all() for step in found)


def test_weights_come_back_after_an_error():
    module = network()
    before = module[0].weight.detach().clone()
    calls = iter([INPUTS.sum(dim=1)])
    with pytest.raises(StopIteration):
        cascade(module, lambda: next(calls), seed=0, steps=1)
    assert torch.equal(module[0].weight, before)


def test_another_process_that_shares_the_weights_sees_no_change():
    # The processes of a study are given recognizers whose parameters lie in shared memory.
    module = network()
    shared = [parameter.data for parameter in module.parameters()]
    before = [value.clone() for value in shared]
    seen = []

    def explain() -> torch.Tensor:
        seen.append(all(map(torch.equal, shared, before)))
        return maps_of(module)

    found = cascade(module, explain, seed=0, steps=2)
    assert (found[-1].rank < 0.9).all()
    assert seen == [True] * 3
    assert all(
        now.data_ptr() == then.data_ptr()
        for now, then in zip(module.parameters(), shared, strict=True)
    )


def test_structural_similarity_at_its_ends():
    maps = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ssim(maps, maps * 7), torch.ones(2))
    other = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(1))
    assert (ssim(maps, other).abs() < 0.3).all()
    torch.testing.assert_close(ssim(maps, other), ssim(other, maps))


def test_structural_similarity_of_one_window_by_hand():
    x, y = torch.rand(2, 1, 11, 11, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    line = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(line, line) / line.sum() ** 2
    a, b = (value[0].numpy() / value.max().item() for value in (x, y))
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
    both = (window * a * b).sum() - mean_a * mean_b
    wanted = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
    wanted /= (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
    assert ssim(x, y).item() == pytest.approx(wanted, abs=1e-5)


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
