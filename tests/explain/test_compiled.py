"""Compiled loops give what torch's steps give."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from leam.explain.backends import kernels as compiled
from leam.explain.backends import kernels as loops
from leam.explain.backends.operations import Limits, Slopes

SHAPES = [(2, 6, 5, 4), (3, 1, 8, 8), (4, 64, 40, 40)]
"""Channels that fill no vector, one channel, and many."""


@pytest.fixture(autouse=True)
def _small_is_enough(monkeypatch):
    monkeypatch.setattr(compiled, "_LEAST", 1)
    monkeypatch.setattr(loops, "LEAST_FACES", 1)


def faces(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last)


def affine(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    gain, shift = torch.randn(2, channels, generator=torch.Generator().manual_seed(5))
    return gain, shift


def by_channel(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, 1, 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "activation",
    [
        Slopes(torch.tensor([-0.3])),
        Limits.of(nn.ReLU()),
        Limits.of(nn.ReLU6()),
        Limits.of(nn.Hardtanh(-0.5, 0.7)),
    ],
    ids=["PReLU", "ReLU", "ReLU6", "Hardtanh"],
)
def test_activations_after_a_gain_and_a_shift(shape, activation):
    x, gradient = faces(shape, 1), faces(shape, 2)
    gain, shift = affine(shape[1])
    normalised = x * by_channel(gain) + by_channel(shift)
    found = activation.after(x, (gain, shift))
    torch.testing.assert_close(found, activation.forward(normalised))
    assert found.is_contiguous(memory_format=torch.channels_last)
    # Gradients come in any layout.
    back, sums = activation.after_backward(gradient.contiguous(), x, (gain, shift))
    wanted = activation.backward(gradient, normalised) * by_channel(gain)
    sure = (normalised.abs() > 1e-5) & ((normalised - 0.7).abs() > 1e-5)
    torch.testing.assert_close(back[sure], wanted[sure])
    # They are left as they were, unless nobody else needs them.
    again, _ = activation.after_backward(gradient, x, (gain, shift))
    torch.testing.assert_close(gradient, faces(shape, 2), rtol=0, atol=0)
    written, _ = activation.after_backward(gradient, x, (gain, shift), owned=True)
    assert written is gradient
    torch.testing.assert_close(written, again, rtol=0, atol=0)
    assert sure.float().mean() > 0.99
    torch.testing.assert_close(sums, (back.relu() * x).sum(dim=1).relu())


def test_each_channel_has_its_slope():
    x = faces((2, 5, 3, 3), 3)
    slopes, (gain, shift) = torch.linspace(-1, 2, 5), affine(5)
    found = compiled.slopes(x, slopes, (gain, shift))
    wanted = functional.prelu(x * by_channel(gain) + by_channel(shift), slopes)
    torch.testing.assert_close(found, wanted)


def test_a_frozen_normalisation_is_rounded_as_torch_does():
    x = faces((2, 16, 14, 14), 4)
    norm = nn.BatchNorm2d(16).eval()
    norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    norm.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
    gain = torch.rsqrt(norm.running_var + norm.eps)
    shift = (-norm.running_mean.double() * gain.double()).float()
    with torch.no_grad():
        wanted = functional.relu(norm(x))
    found = compiled.limits(x, 0.0, float("inf"), (gain, shift))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_positive_contributions_are_summed_over_channels(shape):
    activations, gradients = faces(shape, 1), faces(shape, 2)
    found = compiled.positive(activations, gradients)
    torch.testing.assert_close(found, (gradients.relu() * activations).sum(dim=1).relu())


@pytest.mark.parametrize(
    "other",
    [
        faces((2, 6, 5, 4), 1).contiguous(),
        faces((2, 6, 5, 4), 1).double(),
        faces((2, 6, 5, 4), 1)[0],
        faces((2, 6, 5, 4), 1).to("meta"),
    ],
    ids=["layout", "double", "three axes", "device"],
)
def test_what_does_not_fit_is_left_to_torch(other):
    assert compiled.positive(other, other) is None
    assert compiled.slopes(other, torch.ones(1), affine(6)) is None
    assert compiled.limits(other, 0.0, 1.0, affine(6)) is None


def test_gradients_of_another_shape_are_left_to_torch():
    x = faces((2, 6, 5, 4), 1)
    assert compiled.positive(x, x[:1]) is None
    assert compiled.positive(x, x[:, :3].contiguous(memory_format=torch.channels_last)) is None


@pytest.mark.parametrize("odd", ["double", "strided", "one"])
def test_constants_are_read_as_what_they_are(odd):
    x = faces((2, 6, 5, 4), 3)
    gain = {
        "double": torch.linspace(-1, 2, 6, dtype=torch.float64),
        "strided": torch.linspace(-1, 2, 12)[::2],
        "one": torch.tensor([0.7]),
    }[odd]
    found = compiled.limits(x, -0.5, 0.7, (gain, torch.zeros(1)))
    torch.testing.assert_close(found, (x * by_channel(gain).float()).clamp(-0.5, 0.7))
    with pytest.raises(RuntimeError):
        compiled.limits(x, -0.5, 0.7, (torch.ones(4), torch.zeros(1)))


def test_few_numbers_are_left_to_torch(monkeypatch):
    x = faces((2, 6, 5, 4), 1)
    monkeypatch.setattr(compiled, "_LEAST", x.numel() + 1)
    assert compiled.positive(x, x) is None


def test_without_numba_all_is_left_to_torch(monkeypatch):
    monkeypatch.setattr(loops, "INSTALLED", False)
    x = faces((2, 6, 5, 4), 1)
    assert compiled.positive(x, x) is None
