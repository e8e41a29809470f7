"""The kernel gives what torch's operations give, and runs only where it is allowed to."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from leam.explain.backends import _operations
from leam.explain.backends._operations import KERNEL, FusedOperation, kernel
from leam.explain.weightings import positive
from leam.recognizers.onnx.layers import Clamp

SHAPES = [(2, 6, 5, 4), (3, 1, 8, 8), (4, 64, 40, 40)]
"""Channels that do not fill a vector register, one channel, and many."""


@pytest.fixture
def _allowed(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(_operations, "LEAST_NUMBERS", 1)
    monkeypatch.setattr(_operations, "LEAST_FACES", 1)
    yield
    torch.set_num_threads(before)


def faces(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last)


def modules(channels: int, activation: nn.Module | None, norms: int) -> list[nn.Module]:
    """A convolution, normalisations with gains of both signs, and an activation."""
    torch.manual_seed(0)
    found: list[nn.Module] = [nn.Conv2d(3, channels, 1)]
    for _ in range(norms):
        norm = nn.BatchNorm2d(channels)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        found.append(norm)
    return [module.eval() for module in [*found, *([activation] if activation else [])]]


ACTIVATIONS = [
    None, nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-0.5, 0.7), Clamp(-0.2, 0.9), nn.PReLU(init=-0.3),
]  # fmt: skip


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize("norms", [0, 1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weighting", KERNEL, ids=lambda weighting: weighting.__name__)
def test_gradients_and_weighting(weighting, shape, activation, norms, monkeypatch):
    x, gradient = faces((shape[0], 3, *shape[2:]), 1), faces(shape, 2)
    chain, called = modules(shape[1], activation, norms), []

    def run() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        def hook(activations, gradients, sums):
            # The backward pass may write into them afterwards.
            called.append((activations.clone(), gradients.clone(), sums))

        operation = FusedOperation(chain, hook, weighting=weighting, copy=False)
        with torch.no_grad():
            _, needed = operation.forward(x)
            below = operation.backward(gradient, needed)
        return below, *called.pop()

    below, explained, _, sums = run()
    assert sums is not None
    # Only the operation's own gradient may be overwritten.
    assert torch.equal(gradient, faces(shape, 2))
    monkeypatch.setattr(_operations, "_compiled", lambda: None)
    expected, _, at, none = run()
    assert none is None
    torch.testing.assert_close(sums, weighting(explained, at))
    # At a kink the last digit decides.
    same = torch.isclose(below, expected, rtol=1e-5, atol=1e-6)
    assert same.float().mean() > 0.9999


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize("activation", ACTIVATIONS[1:], ids=lambda a: type(a).__name__)
def test_gradients_at_the_limits_are_the_modules(activation):
    identity = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(identity.weight)
    values = torch.tensor([-0.5, -0.2, 0.0, 0.7, 0.9, 6.0, -9.0, 9.0]).view(1, 1, 2, 4)
    x, told = values.clone().requires_grad_(), []
    (expected,) = torch.autograd.grad(activation(x).sum(), x)
    chain = [identity, activation]
    operation = FusedOperation(
        chain, lambda *given: told.append(given), weighting=positive, copy=False
    )
    with torch.no_grad():
        found = operation.backward(torch.ones_like(values), operation.forward(values)[1])
    assert told.pop()[2] is not None
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("_allowed")
def test_each_channel_has_its_slope(monkeypatch):
    activation = nn.PReLU(5)
    with torch.no_grad():
        activation.weight.copy_(torch.linspace(-1, 2, 5))
    test_gradients_and_weighting(positive, (2, 5, 3, 3), activation, 1, monkeypatch)


@pytest.mark.usefixtures("_allowed")
def test_what_the_kernel_cannot_read_is_left_to_torch():
    fit = faces((2, 6, 5, 4), 1)
    assert kernel(fit) is not None
    for other in (fit.contiguous(), fit.double(), fit[0], fit.to("meta")):
        assert kernel(other) is None


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize(
    ("name", "value"),
    [("LEAST_NUMBERS", 241), ("LEAST_FACES", 3), ("_compiled", lambda: None)],
)
def test_small_batches_and_a_missing_compiler_are_left_to_torch(monkeypatch, name, value):
    monkeypatch.setattr(_operations, name, value)
    assert kernel(faces((2, 6, 5, 4), 1)) is None


@pytest.mark.usefixtures("_allowed")
def test_several_threads_use_torch():
    torch.set_num_threads(2)
    assert kernel(faces((2, 6, 5, 4), 1)) is None


SCRIPT = """
import sys
{before}
import torch
from leam.explain.backends import _operations
from leam.explain.explainer import Explainer
from tiny import TinyNet, wrap
torch.set_num_threads(1)
explainer = Explainer(wrap(TinyNet(32), 32))
chips = torch.zeros(4, 32, 32, 3, dtype=torch.uint8)
explainer.explain(chips[:3])
assert "numba" not in sys.modules or sys.modules["numba"] is None, "loaded for nothing"
explainer.explain(chips)
print(sys.modules.get("numba") is not None, _operations._compiled() is not None)
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "True True"),
        ("sys.modules['numba'] = None", "False False"),
        ("import os; os.environ['NUMBA_DISABLE_JIT'] = '1'", "True False"),
    ],
    ids=["numba", "no numba", "disabled"],
)
def test_numba_is_loaded_when_the_kernel_first_runs(before, expected):
    command = [sys.executable, "-c", SCRIPT.format(before=before)]
    done = subprocess.run(command, cwd="tests", check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == expected
