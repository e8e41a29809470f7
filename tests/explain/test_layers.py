from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leam.errors import LayerError
from leam.explain.choice import choose_layers
from leam.explain.layers import recording
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
    assert str(block.layout) == "BNC+1"
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


class Grids(nn.Module):
    """Blocks ``(B, H, W, C)``, and an operation that nothing is known of before the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.fc = nn.Conv2d(3, 6, 2, stride=2), nn.Linear(6, 4)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.last = Block()

    def forward(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        x = torch.fft.ifft2(torch.fft.fft2(x, dim=(1, 2)), dim=(1, 2)).real
        return self.fc(self.last(x).mean(dim=(1, 2)))


WIDE = torch.zeros(1, 3, 8, 12)


def test_channels_last_blocks_are_read_as_such():
    layers = choose_layers(Grids().eval(), WIDE)
    assert [(layer.name, str(layer.layout)) for layer in layers] == [
        ("patch", "BCHW"),
        ("blocks.0", "BHWC"),
        ("blocks.1", "BHWC"),
    ]
    block = layers[1]
    assert (block.channels, block.size, block.note) == (6, (4, 6), "layout BHWC")
    output = torch.arange(4 * 6 * 6.0).view(1, 4, 6, 6)
    assert torch.equal(block.on_grid(output), output.permute(0, 3, 1, 2))


def test_a_layout_that_is_not_clear_is_an_error_that_says_how_to_name_it():
    message = (
        r"^layer last: which axes of its output \(1, 4, 6, 6\) .*such as last@BHWC or last@BNC\+1"
    )
    with pytest.raises(LayerError, match=message):
        choose_layers(Grids().eval(), WIDE, ["last"])
    (layer,) = choose_layers(Grids().eval(), WIDE, ["last@BHWC"])
    assert (layer.name, layer.module, str(layer.layout), layer.size, layer.channels) == (
        "last@BHWC", "last", "BHWC", (4, 6), 6
    )  # fmt: skip
    found = choose_layers(Grids().eval(), WIDE, ["blocks.?@BCWH", "patch"])
    assert [(layer.name, layer.size, layer.channels) for layer in found] == [
        ("blocks.0@BCWH", (6, 6), 4),
        ("blocks.1@BCWH", (6, 6), 4),
        ("patch", (4, 6), 6),
    ]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("last@HWC", "HWC is no layout; write a letter for each axis: B faces"),
        ("last@BNC", r"an output of shape \(1, 4, 6, 6\) has not the layout BNC"),
        ("last@HBWC", r"an output of shape \(1, 4, 6, 6\) has not the layout HBWC"),
        ("lost@BHWC", "no such layer"),
    ],
)
def test_a_layout_that_does_not_fit_is_an_error(wanted, message):
    with pytest.raises(LayerError, match=message):
        choose_layers(Grids().eval(), WIDE, [wanted])


def test_tokens_whose_layout_is_named_get_the_aspect_of_the_picture():
    (layer,) = choose_layers(TinyVit().eval(), WIDE, ["blocks.0@BNC+1"])
    assert layer.size == (4, 6)
    with pytest.raises(LayerError, match=r"has not the layout BNC"):
        choose_layers(TinyVit().eval(), WIDE, ["blocks.0@BNC"])


def test_a_glob_leaves_out_what_does_not_reach_the_embedding():
    assert "stray" not in names(Sidetracked(), ["*"])
    assert "conv1" in names(Sidetracked(), ["*"])


class Without(nn.Module):
    """A part without gradients."""

    def __init__(self, without) -> None:
        super().__init__()
        self.without, self.first = without, nn.Conv2d(3, 4, 3)
        self.second, self.fc = nn.Conv2d(4, 4, 3), nn.Linear(4, 4)

    def forward(self, x):
        x = self.without(self.first, x)
        return self.fc(self.second(x.clone()).mean(dim=(2, 3)))


def no_grad(module, x):
    with torch.no_grad():
        return module(x)


def inference(module, x):
    with torch.inference_mode():
        return module(x)


def recomputed(module, x):
    return checkpoint(module, x, use_reentrant=True)


@pytest.mark.filterwarnings("ignore:torch.utils.checkpoint")
@pytest.mark.parametrize(
    ("without", "message"),
    [
        (no_grad, r"^layer first: has no gradient; the forward pass runs in torch.no_grad; remove"),
        (
            inference,
            r"^layer first: has no gradient; the forward pass runs in torch.inference_mode",
        ),
        (recomputed, r"^layer first: has no gradient; the module recomputes .*use_reentrant=False"),
        (lambda m, x: m(x).detach(), r"^layer second: has no gradient; .* detaches its tensors"),
    ],
)
@pytest.mark.parametrize("wanted", ["convolutions", ["*"]], ids=str)
def test_a_part_without_gradients_is_an_error_that_names_the_cause(without, message, wanted):
    with pytest.raises(LayerError, match=message):
        choose_layers(Without(without).eval(), INPUT, wanted)


def test_checkpoints_that_are_not_reentrant_are_supported():
    def recomputed(module, x):
        return checkpoint(module, x, use_reentrant=False)

    assert names(Without(recomputed), "convolutions") == ["first", "second"]


def test_an_embedding_without_gradients_is_an_error():
    class Detached(TinyNet):
        def forward(self, x):
            return super().forward(x).detach()

    with pytest.raises(LayerError, match=r"^the embedding has no gradient; .* detaches"):
        choose_layers(Detached().eval(), INPUT)


@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")
@pytest.mark.filterwarnings("ignore:quantized..linear_dynamic")
def test_operations_without_gradients_are_named_as_the_cause():
    module = torch.ao.quantization.quantize_dynamic(TinyNet().eval(), {nn.Linear})
    with pytest.raises(LayerError, match=r"no gradient .* reaches layer conv1 .* give the float"):
        choose_layers(module, INPUT)


def test_an_exported_program_is_called_that():
    program = torch.export.export(TinyNet().eval(), (INPUT,)).module()
    with pytest.raises(LayerError, match=r"^the module runs no submodules, as an exported program"):
        choose_layers(program, INPUT)


def test_a_batch_of_several_views_of_a_face_is_an_error():
    class Views(TinyNet):
        def forward(self, x):
            return super().forward(torch.cat([x, x.flip(3)])).view(2, len(x), -1).sum(dim=0)

    with pytest.raises(LayerError, match=r"^layer conv1: which axes of its output \(2, 4, 8, 8\)"):
        choose_layers(Views().eval(), INPUT)


def test_a_mirrored_view_is_mirrored_back():
    class Views(TinyNet):
        def forward(self, x):
            return super().forward(x) + super().forward(x.flip(3))

    layers = choose_layers(Views().eval(), INPUT, ["conv1"])
    assert [(layer.name, str(layer.layout)) for layer in layers] == [
        ("conv1:0", "BCHW"),
        ("conv1:1", "BCHw"),
    ]
