"""A layer ends after the frozen affine operations that follow it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from leam.explain.choice import choose_layers
from leam.explain.explainer import Explainer
from leam.explain.layers import Layer
from plain import assert_same, plain
from tiny import wrap

GAIN = torch.tensor([0.5, -2.0, 1.5, 3.0])
SHIFT = torch.tensor([1.0, 0.0, -1.0, 0.3])


class Net(nn.Module):
    """A convolution and what follows it."""

    def __init__(self, follows) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.follows = nn.Conv2d(3, 4, 3, padding=1), follows
        self.relu = nn.ReLU(inplace=True)
        self.bn, self.drop, self.fc = nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Linear(256, 5)
        nn.init.normal_(self.bn.weight)
        nn.init.normal_(self.bn.bias)
        self.bn.running_mean.normal_()
        self.bn.running_var.uniform_(0.5, 2)

    def forward(self, x):
        self.picture = x
        return self.fc(functional.relu(self.follows(self, self.conv(x))).flatten(1))


def layer(follows) -> Layer:
    (found,) = choose_layers(Net(follows).eval(), torch.zeros(1, 3, 8, 8))
    assert found.name == "conv"
    return found


def gated(_, x):
    return x * torch.sigmoid(x.mean(dim=(2, 3), keepdim=True))


def gated_without_gradient(_, x):
    return x * x.detach().abs().mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("follows", "module"),
    [
        (lambda net, x: net.bn(x), "bn"),
        (lambda net, x: net.bn(net.drop(x)), "bn"),
        (lambda net, x: net.drop(net.bn(x)), "bn"),
        (lambda net, x: net.bn(functional.relu(x)), "conv"),
        (lambda net, x: net.bn(functional.hardtanh(x, -900, 900)), "conv"),
        (lambda net, x: net.bn(x) + x, "conv"),
        (lambda net, x: net.bn(x).add_(net.bn.bias[:, None, None]), "bn"),
        (lambda net, x: net.bn(functional.pad(x, (0, 1))[..., :8]), "conv"),
    ],
)
def test_a_layer_is_taken_at_the_last_module_that_can_be_merged(follows, module):
    assert layer(follows).module == module


@pytest.mark.parametrize(
    ("follows", "scale", "shift"),
    [
        (lambda _, x: x * GAIN[:, None, None] + SHIFT[:, None, None], GAIN, SHIFT),
        (lambda _, x: (x + SHIFT[:, None, None]) / 2, torch.full((4,), 0.5), SHIFT / 2),
        (lambda _, x: 1 - x, -torch.ones(4), torch.ones(4)),
        (lambda net, x: net.relu(x * 3), torch.full((4,), 3.0), torch.zeros(4)),
        (lambda _, x: x.mul_(3).sub_(1), torch.full((4,), 3.0), -torch.ones(4)),
        (lambda _, x: torch.addcmul(SHIFT[:, None, None], x, GAIN[:, None, None]), GAIN, SHIFT),
        (lambda _, x: x * GAIN[:, None, None].expand_as(x), GAIN, torch.zeros(4)),
        (lambda _, x: x * GAIN.double()[:, None, None].to(x), GAIN, torch.zeros(4)),
        (lambda _, x: torch.zeros_like(x) + x * 3, torch.full((4,), 3.0), torch.zeros(4)),
        (lambda _, x: x * x.new_tensor([3.0]), torch.full((4,), 3.0), torch.zeros(4)),
    ],
)
def test_functions_are_merged_too(follows, scale, shift):
    found = layer(follows)
    assert found.module == "conv"
    assert found.affine is not None
    torch.testing.assert_close(found.affine.scale, scale)
    torch.testing.assert_close(found.affine.shift, shift)


def gated_by_assignment(net, x):
    factor = torch.zeros(1)
    factor[:] = net.picture.detach().abs().mean()
    return x * factor


def gated_through_a_copy(net, x):
    factor = torch.zeros_like(x)
    factor.add_(net.picture.detach().abs().mean())
    return x * factor


def joined_by_assignment(net, x):
    both = torch.zeros(len(x), 8, 8, 8)
    both[:, :4], both[:, 4:] = x, net.bn(x)
    return both[:, :4] + both[:, 4:]


def overwritten(_, x):
    doubled = x * 2
    x[:, :2] = 0
    return doubled + x


@pytest.mark.parametrize(
    "follows",
    [
        gated,
        gated_without_gradient,
        gated_by_assignment,
        gated_through_a_copy,
        joined_by_assignment,
        overwritten,
        lambda net, x: x * net.picture.detach().abs().mean(dim=(2, 3), keepdim=True)[:, :1],
        lambda _, x: x + torch.arange(8.0),
        lambda _, x: x * x,
        lambda _, x: functional.leaky_relu(x),
        lambda _, x: functional.prelu(x, torch.tensor([1.0, 0.5, 1.0, 1.0])),
        lambda _, x: functional.instance_norm(x),
        lambda _, x: x.softmax(dim=1),
        lambda _, x: torch.cat([x[:, 2:], x[:, :2]], dim=1),
    ],
)
def test_what_depends_on_the_picture_or_bends_or_mixes_is_not_merged(follows):
    found = layer(follows)
    assert (found.module, found.affine) == ("conv", None)


def scaled(_, x):
    return x * GAIN[:, None, None] + SHIFT[:, None, None]


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("weighting", ["positive", "signed", "absolute"])
def test_maps_are_those_of_the_merged_convolution(chips, backend, weighting):
    net, merged = Net(scaled), Net(lambda _, x: x)
    with torch.no_grad():
        merged.conv.weight.copy_(net.conv.weight * GAIN[:, None, None, None])
        merged.conv.bias.copy_(net.conv.bias * GAIN + SHIFT)
    settings = {"backend": backend, "weighting": weighting}
    found = Explainer(wrap(net), **settings).explain(chips)
    assert_same(found, Explainer(wrap(merged), **settings).explain(chips))


class Written(nn.Module):
    """A normalisation's output into which a sum is written."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.other, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 5)

    def forward(self, x):
        y = self.bn(self.conv(x))
        y += self.other(x)
        return self.fc(y.flatten(1))


def test_a_merged_layer_may_be_overwritten(chips):
    explainer = Explainer(wrap(Written()))
    maps = explainer.explain(chips)
    assert maps.backend == "fused"
    assert_same(maps, plain(explainer, chips))
