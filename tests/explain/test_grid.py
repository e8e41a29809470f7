"""Rows, columns and channels are followed from the picture, whatever the shape of an output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import layouts
from layouts import CORNERS, NETWORKS, SIZE, Corner, Normalised, Vit, mass, network
from leam.explain.choice import choose_layers
from leam.explain.explainer import Explainer
from leam.explain.grid import GridTrace
from leam.explain.layers import grid_in
from leam.explain.layouts import Layout, find_layout
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from plain import assert_same

PICTURE = torch.zeros(1, 3, 8, 12)
CARD = Card(name="layouts", input_size=SIZE)


def layout(change, picture: torch.Tensor = PICTURE) -> tuple[str, tuple[int, int]] | None:
    """The layout and size of what a function makes of a picture."""
    given = picture * 1
    trace = GridTrace(given)
    with trace:
        output = change(given)
    mark = trace.mark(output)
    found = find_layout(mark.places, output.shape) if mark else None
    return found and (str(found[0]), found[1])


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def with_tokens(before: int, after: int):
    def change(x):
        x = tokens(x)
        return torch.cat([torch.ones(1, before, 3), x, torch.zeros(1, after, 3)], dim=1)

    return change


def conv(channels: int, out: int, **settings):
    torch.manual_seed(0)
    return nn.Conv2d(channels, out, **settings)


def attended(x, windows: bool = False):
    q, k, v = (x @ torch.randn(x.shape[-1], 4) for _ in range(3))
    return x @ torch.randn(x.shape[-1], 4) + (q @ k.mT).softmax(-1) @ v


def sampled(x, matrix):
    """The picture under an affine map, as a spatial transformer samples it."""
    grid = functional.affine_grid(torch.tensor([matrix]), x.shape, align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def interpolation(old: int, new: int) -> torch.Tensor:
    """The matrix that resizes an axis."""
    return functional.interpolate(torch.eye(old)[None], new, mode="linear")[0]


def windowed(x):
    x = x.permute(0, 2, 3, 1).roll((-2, -2), (1, 2)).reshape(1, 2, 4, 3, 4, 3)
    x = attended(x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 3))
    x = x.view(1, 2, 3, 4, 4, 4).permute(0, 1, 3, 2, 4, 5).reshape(1, 8, 12, 4)
    return x.roll((2, 2), (1, 2))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x, ("BCHW", (8, 12))),
        (lambda x: x.permute(0, 2, 3, 1), ("BHWC", (8, 12))),
        (lambda x: x.transpose(2, 3), ("BCWH", (8, 12))),
        (lambda x: x.permute(2, 3, 0, 1), ("HWBC", (8, 12))),
        (tokens, ("BNC", (8, 12))),
        (lambda x: x.flatten(2), ("BCN", (8, 12))),
        (lambda x: tokens(x).transpose(0, 1), ("NBC", (8, 12))),
        (lambda x: x.flatten(2)[..., None], ("BCNC", (8, 12))),
        (lambda x: x.flip(3), ("BCHw", (8, 12))),
        (lambda x: sampled(x, [[-1.0, 0, 0], [0, 1, 0]]), ("BCHw", (8, 12))),
        (lambda x: sampled(x, [[0.8, 0, 0.1], [0, 0.5, -0.2]]), ("BCHW", (8, 12))),
        (lambda x: conv(75, 6, kernel_size=1)(functional.unfold(x, 5, 1, 2, 4)[..., None]), ("BCNC", (2, 3))),
        (lambda x: tokens(x.flip(3)), ("BnC", (8, 12))),
        (with_tokens(1, 0), ("BNC+1", (8, 12))),
        (with_tokens(2, 3), ("BNC+2-3", (8, 12))),
        (lambda x: with_tokens(1, 0)(x) + torch.ones(1, 97, 3), ("BNC+1", (8, 12))),
        (lambda x: attended(with_tokens(1, 0)(x)), ("BNC+1", (8, 12))),
        (lambda x: functional.scaled_dot_product_attention(*[tokens(x)[:, None].contiguous()] * 3), ("BCNC", (8, 12))),
        (lambda x: nn.Linear(3, 5)(x.permute(0, 2, 3, 1)), ("BHWC", (8, 12))),
        (lambda x: torch.einsum("bchw,dc->bhwd", x, torch.ones(5, 3)), ("BHWC", (8, 12))),
        (lambda x: tokens(conv(3, 6, kernel_size=2, stride=2)(x)), ("BNC", (4, 6))),
        (conv(3, 6, kernel_size=3, stride=2, padding=1), ("BCHW", (4, 6))),
        (lambda x: functional.max_pool2d(x, 3, 1, 1), ("BCHW", (8, 12))),
        (lambda x: functional.avg_pool2d(x, 2), ("BCHW", (4, 6))),
        (lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"), ("BCHW", (16, 24))),
        (lambda x: x @ interpolation(12, 6), ("BCHW", (8, 6))),
        (lambda x: nn.functional.linear(x, interpolation(12, 24).T), ("BCHW", (8, 24))),
        (lambda x: interpolation(8, 16).T @ x, ("BCHW", (16, 12))),
        (lambda x: functional.pad(x, (1, 2, 0, 3)), ("BCHW", (11, 15))),
        (lambda x: torch.cat([x, torch.zeros_like(x)], dim=1), ("BCHW", (8, 12))),
        (lambda x: x * torch.sigmoid(x.mean(dim=(2, 3), keepdim=True)), ("BCHW", (8, 12))),
        (lambda x: x * x.mean(dim=3, keepdim=True) * x.mean(dim=2, keepdim=True), ("BCHW", (8, 12))),
        (lambda x: conv(12, 6, kernel_size=1)(functional.pixel_unshuffle(x, 2)), ("BCHW", (4, 6))),
        (windowed, ("BHWC", (8, 12))),
        (lambda x: x.mul_(2).permute(0, 2, 3, 1), ("BHWC", (8, 12))),
        (lambda x: tokens(x) + attended(tokens(x)).mean(dim=1, keepdim=True)[..., :3], ("BNC", (8, 12))),
    ],
)  # fmt: skip
def test_layouts_are_followed(change, expected):
    assert layout(change) == expected


SQUARE = torch.zeros(1, 3, 8, 8)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.mean(dim=(2, 3)),
        lambda x: x.mean(dim=(2, 3), keepdim=True),
        lambda x: x + x.transpose(2, 3),
        lambda x: x.reshape(1, 3, 2, 4, 8).transpose(2, 3).reshape(1, 3, 8, 8),
        lambda x: x.transpose(2, 3).flatten(2),
        lambda x: sampled(x, [[0.6, -0.6, 0], [0.6, 0.6, 0]]),
        lambda x: torch.zeros_like(x).index_copy(2, torch.arange(7, -1, -1), x),
        lambda x: torch.zeros_like(x).masked_scatter(torch.ones(8, 8) > 0, x),
        lambda x: tokens(x)[:, torch.randperm(64)],
        lambda x: tokens(x)[:, :20],
        lambda x: torch.fft.fft2(x).real,
        lambda x: x.sort(dim=3).values,
        lambda x: x.roll(2, 3),
        lambda x: torch.cat([x, x.flip(3)]),
        lambda x: nn.Linear(64, 64)(x.flatten(2)),
        lambda x: torch.ones(1, 3, 8, 8),
    ],
)
def test_what_is_no_grid_has_no_layout(change):
    torch.manual_seed(0)
    assert layout(change, SQUARE) is None


def test_of_tensors_that_meet_the_one_that_was_averaged_least_counts():
    mix = conv(3, 3, kernel_size=3, padding=1)
    assert layout(lambda x: x + mix(x.transpose(2, 3)), SQUARE) == ("BCHW", (8, 8))
    assert layout(lambda x: mix(x.transpose(2, 3)) + x, SQUARE) == ("BCHW", (8, 8))


def test_outputs_are_arranged_on_the_grid():
    grid = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    flat = grid.flatten(2).transpose(1, 2)
    forms = {
        "BCHW": grid,
        "BHWC": grid.permute(0, 2, 3, 1),
        "WBCH": grid.permute(3, 0, 1, 2),
        "BChw": grid.flip(2, 3),
        "BNC": flat,
        "NBC": flat.transpose(0, 1),
        "BNC+1": functional.pad(flat, (0, 0, 1, 0)),
        "BNC+2-3": functional.pad(flat, (0, 0, 2, 3)),
        "BnC": grid.flip(3).flatten(2).transpose(1, 2),
    }
    for text, output in forms.items():
        found = Layout.parse(text)
        assert str(found) == text
        assert found.size(output.shape, 4 / 5) == (4, 5)
        assert torch.equal(found.arranged(output, (4, 5)), grid)


@pytest.mark.parametrize(
    "text", ["", "BHW+1", "BHHWC", "HWC", "BNHC", "BC", "bhwc", "BXHW", "BNC+", "BNC-1+1"]
)
def test_what_is_no_layout_is_not_read(text):
    assert Layout.parse(text) is None


@pytest.fixture(scope="module")
def chips():
    return np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("corner", CORNERS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_planted_evidence_is_found_in_every_corner(chips, name, corner):
    recognizer = Recognizer(network(name, corner), CARD)
    faces = recognizer.preprocess(chips).requires_grad_()
    (gradient,) = torch.autograd.grad(recognizer.forward(faces).square().sum(), faces)
    assert (mass(gradient.abs().sum(dim=1), corner) >= 0.7).all()  # the evidence is there
    maps = Explainer(recognizer).explain(chips)
    assert (mass(maps.overall, corner) >= 0.7).all()
    if name.startswith(("vit", "swin", "davit")):
        assert len(maps.layers) >= 4
        assert not maps.empty.any()
        for each in maps.at_input_size():
            assert (mass(each, corner) >= 0.7).all()
    assert_same(maps, Explainer(recognizer, backend="plain").explain(chips))


@pytest.mark.parametrize(
    "name",
    [
        "vit", "vit, class token", "swin (B,N,C)", "swin (B,H,W,C)", "davit", "convnext", "convnext (B,H,W,C)",
        "edgenext",
    ],
)  # fmt: skip
def test_planted_evidence_is_found_before_a_normalisation(chips, name, monkeypatch):
    """With attention of its usual strength, as in published transformers."""
    monkeypatch.setattr(layouts, "SCALE", 1.0)
    for corner in CORNERS:
        module = network(name, corner)
        module.head = Normalised(module.head)
        explainer = Explainer(Recognizer(module, CARD))
        assert explainer.weighting == "absolute"
        maps = explainer.explain(chips)
        assert not maps.empty.any()
        assert (mass(maps.overall, corner) >= 0.7).all()


@pytest.mark.parametrize("last", [False, True])
def test_blocks_of_a_convolutional_network_can_be_named(chips, last):
    name = "convnext (B,H,W,C)" if last else "convnext"
    for corner in CORNERS:
        explainer = Explainer(Recognizer(network(name, corner), CARD), layers=["blocks.?"])
        assert [str(layer.layout) for layer in explainer.layers] == ["BHWC" if last else "BCHW"] * 2
        assert (mass(explainer.explain(chips).overall, corner) >= 0.7).all()


def test_blocks_end_after_the_perceptron_that_follows_attention():
    def names(name):
        return [
            (layer.name, str(layer.layout))
            for layer in choose_layers(network(name, (True, True)), torch.zeros(1, 3, *SIZE))
        ]

    blocks = [f"blocks.{index}" for index in range(3)]
    assert names("vit, class token") == [
        ("patch_embed", "BCHW"),
        *((block, "BNC+1") for block in blocks),
    ]
    swin = ["layers.0.0", "layers.0.1", "layers.1.1", "layers.1.2"]
    for form in ("BNC", "BHWC"):
        shape = f"({','.join(form)})"
        assert names(f"swin {shape}") == [
            ("patch_embed", "BCHW"),
            *((block, form) for block in swin),
        ]
    convolutions = ["stem", "stages.0.conv_dw", "stages.1", "stages.2.conv_dw", "stages.3.conv"]
    assert names("edgenext") == [(name, "BCHW") for name in convolutions]


def test_convolutions_inside_attention_are_not_layers_and_their_blocks_are():
    def names(name, wanted="convolutions"):
        found = choose_layers(network(name, (True, True)), torch.zeros(1, 3, *SIZE), wanted)
        return [layer.name for layer in found]

    assert names("cvt") == ["stem", "stages.0", "stages.1", "stages.2"]
    assert names("cvt", "*conv_k.0") == ["stages.0.attn.conv_k.0", "stages.2.attn.conv_k.0"]
    # A perceptron of convolutions is left to them, so that the attention alone is a block.
    blocks = [f"blocks.{i}.{name}" for i in range(3) for name in ("norm2:input", "fc1", "fc2")]
    assert names("hybrid") == ["stem.0", "stem.2", *blocks]
    # The ReLU after the sum has no module of its own.
    assert names("botnet") == ["stem.0", "stem.2", "blocks.0", "blocks.1", "blocks.2"]


class Shuffled(Vit):
    """A vision transformer that computes with its tokens in another order."""

    def __init__(self, shuffled: bool = True) -> None:
        super().__init__((True, True))
        count = self.pos_embed.shape[1]
        generator = torch.Generator().manual_seed(0)
        self.order = torch.randperm(count, generator=generator) if shuffled else torch.arange(count)

    def forward(self, x):
        x = (self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed)[:, self.order]
        x = self.blocks(x)[:, self.order.argsort()].transpose(1, 2)
        return self.head(x.reshape(len(x), 24, *self.grid))


def test_a_transformer_whose_blocks_have_no_grid_is_a_warning(caplog):
    picture = torch.zeros(1, 3, *SIZE)
    layers = choose_layers(Shuffled().eval(), picture)
    assert [layer.name for layer in layers] == ["patch_embed"]
    (message,) = caplog.messages
    assert message.startswith("3 blocks of the network are not explained, ")
    caplog.clear()
    assert len(choose_layers(Shuffled(shuffled=False).eval(), picture)) == 4
    assert not caplog.messages


class Inner(nn.Module):
    """A block of a convolutional network, with a sum and an attention in one branch."""

    def __init__(self, relu: bool) -> None:
        super().__init__()
        self.first, self.qkv = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 12, 1)
        self.proj, self.relu = nn.Conv2d(4, 4, 1), relu

    def forward(self, x):
        x = self.first(x)
        q, k, v = self.qkv(x).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + self.proj(y)
        return (x.relu() if self.relu else x).mean(dim=(2, 3))


def test_convolutions_of_a_block_without_a_layer_stay():
    layers = choose_layers(Inner(relu=True), torch.zeros(1, 3, 16, 16))
    assert [layer.name for layer in layers] == ["first", "qkv", "proj"]


def test_layers_that_return_tuples_can_be_named(chips):
    recognizer = Recognizer(network("vit, tuples", (True, True)), CARD)
    named = Explainer(recognizer, layers=["layers.?"])
    assert [layer.name for layer in named.layers] == ["layers.0", "layers.1", "layers.2"]
    inner = Explainer(recognizer, layers=["layers.?.block"])
    for one, two in zip(
        named.explain(chips).layer_maps, inner.explain(chips).layer_maps, strict=True
    ):
        torch.testing.assert_close(one, two)


class Found(NamedTuple):
    tensor: torch.Tensor


@pytest.mark.parametrize(
    "made",
    [
        lambda x: (None, x),
        lambda x: [x.mean(), x],
        lambda x: {"mean": x.mean(dim=(2, 3)), "map": x},
        lambda x: torch.return_types.max((x, x.long())),
        Found,
    ],
    ids=["tuple", "list", "mapping", "struct", "named"],
)
def test_the_grid_in_a_container_is_its_first_tensor_with_a_grid(made):
    x = torch.rand(1, 2, 3, 4)
    output = made(x)
    tensor, rebuilt = grid_in(output)
    assert tensor is x
    changed = rebuilt(x + 1)
    assert type(changed) is type(output)
    assert torch.equal(grid_in(changed)[0], x + 1)
    assert grid_in(output)[0] is x


class Branch(nn.Module):
    def __init__(self, norm: nn.Module, change: nn.Module) -> None:
        super().__init__()
        self.norm, self.change = norm, change

    def forward(self, x):
        return self.change(self.norm(x))


class Listed(nn.Module):
    """A transformer without modules for its blocks, and without a convolution."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        vit = Vit((True, False))
        self.inplace, self.embed = inplace, nn.Linear(3 * 64, 24)
        self.layers = nn.ModuleList(
            nn.ModuleList([Branch(b.norm1, b.attn), Branch(b.norm2, b.mlp)]) for b in vit.blocks
        )
        self.norm, self.head = nn.Identity(), Corner(24, (True, False))

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.view(b, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 3 * 64)
        x = self.embed(x)
        for attention, perceptron in self.layers:
            if self.inplace:
                x = x.clone()
                x += attention(x)
                x += perceptron(x)
            else:
                x = attention(x) + x
                x = perceptron(x) + x
        x = self.norm(x)
        return self.head(x.transpose(1, 2).reshape(b, 24, h // 8, w // 8))


def test_blocks_without_modules_are_taken_where_a_module_reads_them(chips):
    explainer = Explainer(Recognizer(Listed(), CARD))
    assert [layer.name for layer in explainer.layers] == [
        "layers.1.0:input",
        "layers.2.0:input",
        "norm",
    ]
    maps = explainer.explain(chips)
    assert (mass(maps.overall, (True, False)) >= 0.7).all()
    assert_same(maps, Explainer(explainer.recognizer, backend="plain").explain(chips))
    named = Explainer(explainer.recognizer, layers=["layers.1.0:input"])
    assert torch.equal(named.explain(chips).layer_maps[0], maps.layer_maps[0])


def test_an_input_that_is_overwritten_is_not_a_layer(chips):
    explainer = Explainer(Recognizer(Listed(inplace=True), CARD))
    assert [layer.name for layer in explainer.layers] == ["norm"]


class OnePatch(nn.Module):
    """Tokens ``(4 B, 1, C)``: each place of a 2x2 patch beside the faces, as in MobileViT's last stage."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.tokens, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.conv(x)
        x = self.tokens(x.permute(0, 2, 3, 1).reshape(-1, 1, 8))
        return self.fc(x.reshape(-1, 4, 8).mean(dim=1))


def test_places_beside_the_faces_are_not_tokens():
    layers = choose_layers(OnePatch(), torch.zeros(1, 3, 8, 8), "*")
    assert [layer.name for layer in layers] == ["conv"]


def test_tokens_before_the_faces_are_tokens():
    class Before(OnePatch):
        def forward(self, x):
            x = self.tokens(self.conv(x).flatten(2).permute(2, 0, 1))
            return self.fc(x.mean(dim=0))

    layers = choose_layers(Before(), torch.zeros(1, 3, 8, 8), "*")
    assert [(layer.name, str(layer.layout)) for layer in layers] == [
        ("conv", "BCHW"),
        ("tokens", "NBC"),
    ]
