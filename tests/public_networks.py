"""Networks with the names and the computation of public repositories, written anew from their published structure.

They share no code with the package, so that a layer that is wired or named differently there gives other embeddings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTHS = {
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3),
    152: (3, 8, 36, 3), 200: (6, 26, 60, 6),
}  # fmt: skip


def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic random values, of a size that keeps activations alive in deep networks."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(value, low, high):
        value.copy_(torch.rand(value.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.ndim > 1:
                spread = (3 / value[0].numel()) ** 0.5
                uniform(value, -spread, spread)
            elif name.endswith(("running_var", "weight")):
                uniform(value, 0.5, 1.2)
            elif value.is_floating_point():
                uniform(value, -0.2, 0.2)
    return module.eval()


def conv_bn(inputs, outputs, kernel=1, stride=1, padding=0, groups=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Added(nn.Module):
    """x + f(x), where f is the sequence in the attribute ``conv``."""

    def __init__(self, *layers, residual):
        super().__init__()
        self.conv, self.residual = nn.Sequential(*layers), residual

    def forward(self, x):
        return self.conv(x) + x if self.residual else self.conv(x)


class Foamliu(nn.Module):
    """foamliu/MobileFaceNet, mobilefacenet.py."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(*conv_bn(3, 64, 3, 2, 1), nn.ReLU6())
        self.dw_conv = nn.Module()
        self.dw_conv.depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False)
        self.dw_conv.pointwise = nn.Conv2d(64, 64, 1, bias=False)
        self.dw_conv.bn1, self.dw_conv.bn2 = nn.BatchNorm2d(64), nn.BatchNorm2d(64)
        blocks, width = [], 64
        for factor, outputs, number, first in (
            (2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1),
        ):  # fmt: skip
            for i in range(number):
                stride, inner = first if i == 0 else 1, width * factor
                blocks.append(
                    Added(
                        nn.Sequential(*conv_bn(width, inner), nn.ReLU6()),
                        nn.Sequential(*conv_bn(inner, inner, 3, stride, 1, inner), nn.ReLU6()),
                        *conv_bn(inner, outputs),
                        residual=stride == 1 and width == outputs,
                    )
                )
                width = outputs
        self.features = nn.Sequential(*blocks)
        self.conv2 = nn.Sequential(*conv_bn(128, 512), nn.ReLU6())
        self.gdconv = nn.Module()
        self.gdconv.depthwise = nn.Conv2d(512, 512, 7, groups=512, bias=False)
        self.gdconv.bn = nn.BatchNorm2d(512)
        self.conv3, self.bn = nn.Conv2d(512, 128, 1), nn.BatchNorm2d(128)

    def forward(self, x):
        part = self.dw_conv
        x = part.bn1(part.depthwise(self.conv1(x))).relu()
        x = part.bn2(part.pointwise(x)).relu()
        x = self.gdconv.bn(self.gdconv.depthwise(self.conv2(self.features(x))))
        return self.bn(self.conv3(x)).flatten(1)


class Excited(nn.Module):
    """InsightFace_Pytorch's SEModule."""

    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(width // 16, width, 1, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(
            self.fc2(functional.relu(self.fc1(functional.adaptive_avg_pool2d(x, 1))))
        )


class FlatBlock(nn.Module):
    """A block of InsightFace_Pytorch, AdaFace or CVLface."""

    def __init__(self, inputs, width, stride, kind, excited):
        super().__init__()
        self.shortcut_layer = nn.MaxPool2d(1, stride)
        if inputs != width:
            self.shortcut_layer = nn.Sequential(*conv_bn(inputs, width, 1, stride))
        if kind == "bottleneck":
            inner = width // 4
            layers = [
                nn.BatchNorm2d(inputs), *conv_bn(inputs, inner), nn.PReLU(inner),
                *conv_bn(inner, inner, 3, 1, 1), nn.PReLU(inner), *conv_bn(inner, width, 1, stride),
            ]  # fmt: skip
        else:
            first = conv_bn(inputs, width, 3, 1, 1)
            layers = [
                nn.BatchNorm2d(inputs), *(first[:1] if kind == "bare" else first), nn.PReLU(width),
                *conv_bn(width, width, 3, stride, 1),
            ]  # fmt: skip
        self.res_layer = nn.Sequential(*layers)
        if excited == "numbered":
            self.res_layer.append(Excited(width))
        elif excited == "named":
            self.res_layer.add_module("se_block", Excited(width))

    def forward(self, x):
        return self.res_layer(x) + self.shortcut_layer(x)


class Flat(nn.Module):
    """The Backbone of InsightFace_Pytorch (kind ``bare``), AdaFace and CVLface (``basic``, ``bottleneck``)."""

    def __init__(self, depth, kind, excited=None, *, affine=True):
        super().__init__()
        self.input_layer = nn.Sequential(*conv_bn(3, 64, 3, 1, 1), nn.PReLU(64))
        factor, blocks, width = 4 if kind == "bottleneck" else 1, [], 64
        for base, number in zip((64, 128, 256, 512), DEPTHS[depth], strict=True):
            for i in range(number):
                blocks.append(FlatBlock(width, base * factor, 1 if i else 2, kind, excited))
                width = base * factor
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width), nn.Dropout(0.4), nn.Flatten(), nn.Linear(width * 49, 512),
            nn.BatchNorm1d(512, affine=affine),
        )  # fmt: skip

    def forward(self, x):
        return functional.normalize(self.output_layer(self.body(self.input_layer(x))))


class StagedBlock(nn.Module):
    """IBasicBlock of arcface_torch."""

    def __init__(self, inputs, width, stride, eps):
        super().__init__()
        self.bn1, self.conv1 = (
            nn.BatchNorm2d(inputs, eps),
            nn.Conv2d(inputs, width, 3, 1, 1, bias=False),
        )
        self.bn2, self.prelu = nn.BatchNorm2d(width, eps), nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps)
        self.downsample = None
        if stride != 1:
            conv = nn.Conv2d(inputs, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width, eps))

    def forward(self, x):
        y = x
        for layer in (self.bn1, self.conv1, self.bn2, self.prelu, self.conv2, self.bn3):
            y = layer(y)
        return y + (self.downsample(x) if self.downsample else x)


class Staged(nn.Module):
    """IResNet of arcface_torch (eps 1e-5) and MagFace (2e-5)."""

    def __init__(self, depth, eps=1e-5):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1, self.prelu, width = nn.BatchNorm2d(64, eps), nn.PReLU(64), 64
        for stage, (outputs, number) in enumerate(
            zip((64, 128, 256, 512), DEPTHS[depth], strict=True), 1
        ):
            blocks = [
                StagedBlock(outputs if i else width, outputs, 1 if i else 2, eps)
                for i in range(number)
            ]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            width = outputs
        self.bn2 = nn.BatchNorm2d(512, eps)
        self.fc, self.features = nn.Linear(512 * 49, 512), nn.BatchNorm1d(512, eps)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return self.features(self.fc(torch.flatten(x, 1)))


class Layered(nn.Module):
    """A module whose only attribute is a sequence called ``layers``, as in arcface_torch's MobileFaceNet."""

    def __init__(self, *layers, residual=False):
        super().__init__()
        self.layers, self.residual = nn.Sequential(*layers), residual

    def forward(self, x):
        return self.layers(x) + x if self.residual else self.layers(x)


def arcface_torch_mobilefacenet(blocks=(1, 4, 6, 2), scale=2):
    """arcface_torch's mbf (scale 2) and mbf_large (scale 4, blocks (2, 8, 12, 4))."""

    def unit(inputs, outputs, kernel=1, stride=1, padding=0, groups=1):
        return Layered(
            *conv_bn(inputs, outputs, kernel, stride, padding, groups), nn.PReLU(outputs)
        )

    def block(inputs, inner, outputs, stride, residual=False):
        return Layered(
            unit(inputs, inner), unit(inner, inner, 3, stride, 1, inner),
            Layered(*conv_bn(inner, outputs)), residual=residual,
        )  # fmt: skip

    def group(width, inner, number):
        return Layered(*(block(width, inner, width, 1, residual=True) for _ in range(number)))

    low, high = 64 * scale, 128 * scale
    second = unit(low, low, 3, 1, 1, 64) if blocks[0] == 1 else group(low, 128, blocks[0])
    network = nn.Module()
    network.layers = nn.ModuleList(
        [
            unit(3, low, 3, 2, 1), second, block(low, 128, low, 2), group(low, 128, blocks[1]),
            block(low, 256, high, 2), group(high, 256, blocks[2]), block(high, 512, high, 2),
            group(high, 256, blocks[3]),
        ]
    )  # fmt: skip
    network.conv_sep = unit(high, 512)
    network.features = Layered(
        Layered(*conv_bn(512, 512, 7, groups=512)), nn.Flatten(), nn.Linear(512, 512, bias=False),
        nn.BatchNorm1d(512),
    )  # fmt: skip
    network.forward = lambda x: network.features(
        network.conv_sep(nn.Sequential(*network.layers)(x))
    )
    return network


class TokenBatchNorm(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        self.bn = nn.BatchNorm1d(tokens)

    def forward(self, x):
        return self.bn(x)


class Transformer(nn.Module):
    """VisionTransformer of arcface_torch and CVLface; attention through torch's own function."""

    def __init__(self, patch, width, depth, heads, ratio, *, norm="ln", mask=True, bias=False):
        super().__init__()
        tokens = (112 // patch) ** 2
        self.heads = heads
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        if mask:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, width))

        def norm_layer():
            return nn.LayerNorm(width) if norm == "ln" else TokenBatchNorm(tokens)

        self.blocks = nn.ModuleList()
        for _ in range(depth):
            block = nn.Module()
            block.norm1, block.norm2 = norm_layer(), norm_layer()
            block.attn, block.mlp = nn.Module(), nn.Module()
            block.attn.qkv = nn.Linear(width, 3 * width, bias=bias)
            block.attn.proj = nn.Linear(width, width)
            block.mlp.fc1 = nn.Linear(width, int(ratio * width))
            block.mlp.fc2 = nn.Linear(int(ratio * width), width)
            self.blocks.append(block)
        self.norm = norm_layer()
        self.feature = nn.Sequential(
            nn.Linear(width * tokens, width, bias=False), nn.BatchNorm1d(width, eps=2e-5),
            nn.Linear(width, 512, bias=False), nn.BatchNorm1d(512, eps=2e-5),
        )  # fmt: skip

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).mT + self.pos_embed
        for block in self.blocks:
            parts = block.attn.qkv(block.norm1(x)).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
            mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = x + block.attn.proj(mixed)
            x = x + block.mlp.fc2(functional.relu6(block.mlp.fc1(block.norm2(x))))
        return self.feature(self.norm(x).flatten(1))


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's padding of square maps: a step that is left over goes to the right and the bottom."""
    side = x.shape[-1]
    left_over = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    before, after = left_over // 2, left_over - left_over // 2
    return functional.pad(x, (before, after, before, after))


class KerasUnit(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, active=True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.prelu = nn.PReLU(outputs) if active else None

    def forward(self, x):
        y = self.bn(self.conv(same(x, self.conv.kernel_size[0], self.conv.stride[0])))
        return self.prelu(y) if self.prelu else y


class KerasGhost(nn.Module):
    def __init__(self, inputs, outputs, active):
        super().__init__()
        half = outputs // 2
        self.primary = KerasUnit(inputs, half, 1, active=active)
        self.cheap = KerasUnit(half, half, 3, groups=half, active=active)

    def forward(self, x):
        first = self.primary(x)
        return torch.cat((first, self.cheap(first)), 1)


class KerasGate(nn.Module):
    def __init__(self, width, reduced):
        super().__init__()
        self.reduce, self.prelu = nn.Conv2d(width, reduced, 1), nn.PReLU(reduced)
        self.expand = nn.Conv2d(reduced, width, 1)

    def forward(self, x):
        gate = self.expand(self.prelu(self.reduce(functional.adaptive_avg_pool2d(x, 1))))
        return x * torch.clamp(0.2 * gate + 0.5, 0.0, 1.0)


class KerasBottleneck(nn.Module):
    def __init__(self, inputs, kernel, stride, inner, outputs, reduced):
        super().__init__()
        self.ghost_1 = KerasGhost(inputs, inner, active=True)
        self.downsample = (
            KerasUnit(inner, inner, kernel, stride, inner, active=False) if stride > 1 else None
        )
        self.se = KerasGate(inner, reduced) if reduced else None
        self.ghost_2 = KerasGhost(inner, outputs, active=False)
        self.shortcut = None
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                KerasUnit(inputs, inputs, kernel, stride, inputs, active=False),
                KerasUnit(inputs, outputs, 1, active=False),
            )

    def forward(self, x):
        y = self.ghost_1(x)
        for layer in (self.downsample, self.se, self.ghost_2):
            y = layer(y) if layer else y
        return y + (self.shortcut(x) if self.shortcut else x)


class DeepfaceGhost(nn.Module):
    """deepface's GhostFaceNetV1."""

    def __init__(self):
        super().__init__()
        self.stem = KerasUnit(3, 20, 3)
        rows = [
            (3, 1, 20, 20, 0), (3, 2, 64, 32, 0), (3, 1, 92, 32, 0), (5, 2, 92, 52, 24),
            (5, 1, 156, 52, 40), (3, 2, 312, 104, 0), (3, 1, 260, 104, 0), (3, 1, 240, 104, 0),
            (3, 1, 240, 104, 0), (3, 1, 624, 144, 156), (3, 1, 872, 144, 220), (5, 2, 872, 208, 220),
            (5, 1, 1248, 208, 0), (5, 1, 1248, 208, 312), (5, 1, 1248, 208, 0), (5, 1, 664, 208, 168),
        ]  # fmt: skip
        blocks, width = [], 20
        for kernel, stride, inner, outputs, reduced in rows:
            blocks.append(KerasBottleneck(width, kernel, stride, inner, outputs, reduced))
            width = outputs
        self.bottlenecks = nn.Sequential(*blocks)
        self.tail = KerasUnit(208, 664, 1)
        self.gdc_dw = nn.Conv2d(664, 664, 7, groups=664, bias=False)
        self.gdc_bn = nn.BatchNorm2d(664, eps=0.001)
        self.gdc_conv, self.pre_embedding = nn.Conv2d(664, 512, 1), nn.BatchNorm1d(512, eps=0.001)

    def forward(self, x):
        x = self.gdc_bn(self.gdc_dw(self.tail(self.bottlenecks(self.stem(x)))))
        return self.pre_embedding(self.gdc_conv(x).flatten(1))


def four(value: float) -> int:
    """The next multiple of 4 that is not more than a tenth smaller."""
    rounded = max(4, int(value + 2) // 4 * 4)
    return rounded + 4 if rounded < 0.9 * value else rounded


class EllzafGhost(nn.Module):
    def __init__(self, inputs, outputs, active, gated):
        super().__init__()
        half = outputs // 2

        def act():
            return nn.PReLU() if active else nn.Sequential()

        self.primary_conv = nn.Sequential(*conv_bn(inputs, half), act())
        self.cheap_operation = nn.Sequential(*conv_bn(half, half, 3, 1, 1, half), act())
        self.short_conv = None
        if gated:
            self.short_conv = nn.Sequential(
                *conv_bn(inputs, outputs),
                *conv_bn(outputs, outputs, (1, 5), 1, (0, 2), outputs),
                *conv_bn(outputs, outputs, (5, 1), 1, (2, 0), outputs),
            )

    def forward(self, x):
        first = self.primary_conv(x)
        y = torch.cat((first, self.cheap_operation(first)), 1)
        if self.short_conv is None:
            return y
        gate = torch.sigmoid(self.short_conv(functional.avg_pool2d(x, 2)))
        return y * functional.interpolate(gate, size=y.shape[2:], mode="nearest")


class EllzafBottleneck(nn.Module):
    def __init__(self, inputs, kernel, inner, outputs, ratio, stride, gated):
        super().__init__()
        self.ghost1 = EllzafGhost(inputs, inner, active=True, gated=gated)
        if stride > 1:
            self.conv_dw, self.bn_dw = conv_bn(inner, inner, kernel, stride, kernel // 2, inner)
        self.se = None
        if ratio:
            self.se = nn.Module()
            self.se.conv_reduce, self.se.act1 = nn.Conv2d(inner, four(inner * ratio), 1), nn.PReLU()
            self.se.conv_expand = nn.Conv2d(four(inner * ratio), inner, 1)
        self.ghost2 = EllzafGhost(inner, outputs, active=False, gated=False)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                *conv_bn(inputs, inputs, kernel, stride, kernel // 2, inputs),
                *conv_bn(inputs, outputs),
            )

    def forward(self, x):
        y = self.ghost1(x)
        if hasattr(self, "conv_dw"):
            y = self.bn_dw(self.conv_dw(y))
        if self.se:
            gate = self.se.conv_expand(
                self.se.act1(self.se.conv_reduce(y.mean((2, 3), keepdim=True)))
            )
            y = y * (functional.relu6(gate + 3) / 6)
        return self.ghost2(y) + self.shortcut(x)


class Ellzaf(nn.Module):
    """ellzaf_ml's GhostFaceNetsV1 and V2 for inputs of 112 pixels, with or without a classifier."""

    STAGES = (
        ((3, 16, 16, 0, 1),), ((3, 48, 24, 0, 2),), ((3, 72, 24, 0, 1),), ((5, 72, 40, 0.25, 2),),
        ((5, 120, 40, 0.25, 1),), ((3, 240, 80, 0, 2),),
        ((3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 0.25, 1),
         (3, 672, 112, 0.25, 1)),
        ((5, 672, 160, 0.25, 2),),
        ((5, 960, 160, 0, 1), (5, 960, 160, 0.25, 1), (5, 960, 160, 0, 1), (5, 960, 160, 0.25, 1)),
    )  # fmt: skip

    def __init__(self, version, width=1.0, kernel=4, classes=0):
        super().__init__()
        channels = four(16 * width)
        self.conv_stem, self.bn1 = conv_bn(3, channels, 3, 2, 1)
        self.act1, stages, number = nn.PReLU(), [], 0
        for rows in self.STAGES:
            blocks = []
            for size, inner, outputs, ratio, stride in rows:
                sizes = four(inner * width), four(outputs * width)
                gated = version == 2 and number > 1
                blocks.append(EllzafBottleneck(channels, size, *sizes, ratio, stride, gated))
                channels, number = sizes[1], number + 1
            stages.append(nn.Sequential(*blocks))
        tail = nn.Module()
        last = four(960 * width)
        tail.conv, tail.bn1 = conv_bn(channels, last)
        tail.act1 = nn.PReLU()
        tail.forward = lambda x: tail.act1(tail.bn1(tail.conv(x)))
        self.blocks = nn.Sequential(*stages, nn.Sequential(tail))
        self.classifier = nn.Module()
        self.classifier.conv_dw, self.classifier.bn1 = conv_bn(last, last, kernel, groups=last)
        self.classifier.conv = nn.Conv2d(last, 512, 1, bias=False)
        features = 512 * (5 - kernel) ** 2
        self.classifier.bn2 = nn.BatchNorm1d(features)
        if classes:
            self.classifier.linear = nn.Linear(features, classes)

    def forward(self, x):
        x, end = self.blocks(self.act1(self.bn1(self.conv_stem(x)))), self.classifier
        return end.bn2(end.conv(end.bn1(end.conv_dw(x))).flatten(1))
