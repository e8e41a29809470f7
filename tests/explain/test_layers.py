from __future__ import annotations

import pytest
import torch
from torch import nn

from leam.errors import LayerError
from leam.explain.layers import choose_layers, recording
from tiny import TinyNet

INPUT = torch.zeros(1, 3, 8, 8)


def names(module: nn.Module, wanted, inputs: torch.Tensor = INPUT) -> list[str]:
    return [layer.name for layer in choose_layers(module.eval(), inputs, wanted)]


def test_automatic_choices():
    assert names(TinyNet(), "convolutions") == ["conv1", "conv2"]
    deep = nn.Sequential(
        *(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 3, 1),
        nn.Flatten(),
    )
    assert names(deep, "stages") == ["2", "4"]


def test_names_globs_and_their_order():
    assert names(TinyNet(), ["relu*", "conv1"]) == ["relu1", "relu2", "conv1"]
    assert names(TinyNet(), "conv*") == ["conv1", "conv2"]
    assert names(TinyNet(), ["conv1", "conv*"]) == ["conv1", "conv2"]


class Sidetracked(TinyNet):
    def __init__(self) -> None:
        super().__init__()
        self.stray = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        self.stray(x)
        return super().forward(x)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("fc", "layer fc: has no spatial extent"),
        ("conv9", "layer conv9: no such layer"),
        ("stray", "layer stray: does not reach the embedding"),
    ],
)
def test_a_layer_that_cannot_be_explained_is_named(wanted, message):
    with pytest.raises(LayerError, match=message):
        names(Sidetracked(), wanted)


def test_automatic_choice_leaves_out_what_does_not_reach_the_embedding():
    assert names(Sidetracked(), "convolutions") == ["conv1", "conv2"]


def test_a_network_without_a_grid_says_so():
    with pytest.raises(LayerError, match="no convolution or transformer block"):
        names(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), "convolutions")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.mlp = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.mlp(self.norm(x))


class TinyVit(nn.Module):
    """Patches of 2, a class token, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, 6))
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.mean(dim=1)


def test_tokens_are_laid_back_onto_their_grid_and_it_is_said():
    inputs = torch.zeros(1, 3, 8, 12)
    layers = choose_layers(TinyVit().eval(), inputs, "convolutions")
    assert [layer.name for layer in layers] == ["patch", "blocks.0", "blocks.1"]
    block = layers[1]
    assert (block.size, block.extra_tokens, block.channels) == ((4, 6), 1, 6)
    assert "4x6 grid, 1 class or register tokens dropped" in block.note
    tokens = torch.arange(25 * 6.0).view(1, 25, 6)
    on_grid = block.on_grid(tokens)
    assert on_grid.shape == (1, 6, 4, 6)
    assert torch.equal(on_grid[0, :, 0, 0], tokens[0, 1])
    assert torch.equal(on_grid[0, :, 3, 5], tokens[0, 24])


def test_recording_removes_its_hooks_after_an_exception():
    net = TinyNet().eval()
    layers = choose_layers(net, INPUT, "conv*")
    with pytest.raises(RuntimeError, match="stop"), recording(net, layers):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks for module in net.modules())
