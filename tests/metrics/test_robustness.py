"""Randomised layers change maps and are restored; maps under noise and mirroring."""

import numpy as np
import pytest
import torch
from torch import nn

from leam.metrics.robustness import (
    cascade,
    fault_of,
    flip_consistency,
    max_sensitivity,
    randomised,
    ssim,
)
from leam.recognizers.onnx.layers import Shift


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
    found = cascade(module, lambda: maps_of(module), INPUTS, seed=0, steps=3)
    assert [step.layers for step in found] == [("4",), ("4", "2"), ("4", "2", "0")]
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(step.rank.shape == step.ssim.shape == (2,) for step in found)
    assert (found[-1].rank < 0.6).all()
    again = cascade(module, lambda: maps_of(module), INPUTS, seed=0, steps=3)
    np.testing.assert_array_equal(found[-1].rank, again[-1].rank)


def test_a_map_that_ignores_the_network_is_found_out():
    found = cascade(network(), lambda: INPUTS.sum(dim=1), INPUTS, seed=0)
    assert all((step.rank == pytest.approx(1)) and (step.ssim > 0.999).all() for step in found)


def test_weights_come_back_after_an_error():
    module = network()
    before = module[0].weight.detach().clone()
    calls = iter([INPUTS.sum(dim=1)])
    with pytest.raises(StopIteration):
        cascade(module, lambda: next(calls), INPUTS, seed=0, steps=1)
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

    found = cascade(module, explain, INPUTS, seed=0, steps=2)
    assert (found[-1].rank < 0.9).all()
    assert seen == [True] * 3
    assert all(
        now.data_ptr() == then.data_ptr()
        for now, then in zip(module.parameters(), shared, strict=True)
    )


FACES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def deep(form: str = "normalised", depth: int = 40) -> nn.Sequential:
    """A deep network with the statistics of its own activations.

    They are in normalisations, ``folded`` into the convolutions, or folded with a ``separate`` bias.
    """
    torch.manual_seed(3)
    layers: list[nn.Module] = []
    for channels in (3, *[8] * (depth - 1)):
        layers += [nn.Conv2d(channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8)]
        nn.init.normal_(layers[-3].weight, 0.02, 0.1)
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16 * 16, 16))
    for layer in layers[1::3]:
        layer.momentum = 1.0
    with torch.no_grad():
        module(FACES)
    module.eval()
    if form == "normalised":
        return module
    fused = [
        torch.nn.utils.fusion.fuse_conv_bn_eval(*layers[i : i + 2]) for i in range(0, 3 * depth, 3)
    ]
    shifts = [Shift(8) for _ in fused]
    if form == "separate":
        for shift, layer in zip(shifts, fused, strict=True):
            shift.bias, layer.bias = layer.bias.detach(), None
    pairs = [one for three in zip(fused, shifts, layers[2::3], strict=True) for one in three]
    return nn.Sequential(*pairs, *module[-2:]).eval()


def largest(module: nn.Module) -> list[float]:
    """The largest activation of each layer."""
    values, found = FACES, []
    with torch.no_grad():
        for layer in module:
            values = layer(values)
            found.append(values.abs().max().item())
    return found


@pytest.mark.parametrize("form", ["normalised", "folded", "separate"])
def test_activations_of_randomised_deep_networks_keep_their_scale(form):
    module = deep(form)
    before, learnt = largest(module), {n: v.clone() for n, v in module.state_dict().items()}
    with randomised(module, FACES, seed=0):
        inside = largest(module)
        drawn = module(FACES).detach()
        assert not torch.equal(module[0].weight, learnt["0.weight"])
    assert all(0.1 < now / then < 10 for now, then in zip(inside, before, strict=True))
    assert all(torch.equal(value, learnt[name]) for name, value in module.state_dict().items())
    assert largest(module) == before
    similarity = torch.cosine_similarity(drawn, module(FACES).detach(), dim=1)
    assert similarity.abs().max() < 0.9
    assert fault_of(drawn, torch.rand(2, 4, 4)) == ""
    with randomised(module, FACES, seed=0):
        assert torch.equal(module(FACES), drawn)


@pytest.mark.parametrize("form", ["normalised", "folded", "separate"])
def test_the_cascade_of_a_deep_network_is_valid_and_its_activations_stay_small(form):
    module, seen = deep(form), []

    def explain() -> torch.Tensor:
        seen.append(largest(module))
        with torch.no_grad():
            means.append(module(FACES).mean(dim=0).abs().max().item())
        return maps_of(module)

    means: list[float] = []
    found = cascade(module, explain, FACES, seed=0)
    for activations in seen[1:]:
        assert all(0.1 < now / then < 10 for now, then in zip(activations, seen[0], strict=True))
    # Calibrating a layer once more changes nothing.
    assert means[1:] == pytest.approx([means[0]] * 5, rel=1e-3)
    assert [step.fault for step in found] == [""] * 5
    assert np.isfinite(found[-1].rank).all()


def test_layers_below_the_randomised_ones_stay_as_they_are():
    module = deep()
    learnt = {name: value.clone() for name, value in module.state_dict().items()}
    changed = []

    def explain() -> torch.Tensor:
        now = module.state_dict()
        changed.append({n for n in learnt if not torch.allclose(now[n], learnt[n], atol=1e-5)})
        return maps_of(module)

    found = cascade(module, explain, FACES, seed=0, steps=3)
    below = {name for name in learnt if name.rsplit(".", 1)[0] not in found[0].layers}
    assert not changed[1] & below
    assert {"117.weight", "121.weight"} <= changed[1]


@pytest.mark.parametrize(("factor", "fault"), [(torch.inf, "not finite"), (0.0, "the same")])
def test_a_step_without_activations_is_invalid_and_has_no_similarity(factor, fault):
    """A function behind the layers, which no calibration reaches, spoils the embeddings of a randomised network."""

    class Spoilt(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            learnt = torch.equal(self[0].weight, network()[0].weight)
            return super().forward(x) * (1.0 if learnt else factor)

    (step,) = cascade(Spoilt(*network()), lambda: INPUTS.sum(dim=1), FACES, seed=0, steps=1)
    assert fault in step.fault
    assert np.isnan(step.rank).all()
    assert np.isnan(step.ssim).all()


def test_what_makes_a_randomised_network_useless():
    some, maps = torch.rand(3, 4), torch.rand(2, 5, 5)
    assert fault_of(some, maps) == ""
    assert fault_of(some / 0, maps) == "embeddings are not finite"
    assert fault_of(some, maps * torch.inf) == "maps are not finite"
    assert fault_of(torch.ones(3, 4), maps) == "all faces have the same embedding"
    assert fault_of(some, torch.ones(2, 5, 5)) == "all maps are constant"


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


class Keywords(nn.Module):
    """A weight that is computed, and a normalisation that is called with a keyword."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
        self.bn, self.fc = nn.BatchNorm2d(4), nn.Linear(144, 5)

    def forward(self, x):
        return self.fc(self.bn(input=self.conv(x)).flatten(1))


def test_what_cannot_be_calibrated_is_randomised_without_an_exception():
    net, faces = Keywords().eval(), torch.rand(4, 3, 8, 8)
    before = net(faces)
    with randomised(net, faces, 0):
        assert (net(faces) - before).abs().max() > 0.01
    torch.testing.assert_close(net(faces), before)
