"""Small networks in the layouts of timm's, whose embedding is read from one corner of the picture.

Branches with attention have a small scale, so that almost nothing comes from elsewhere. There is no normalisation
before the head unless :class:`Normalised` adds one: products of activations and gradients before one cancel in each
token.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

SCALE = 0.1
CORNERS = [(top, left) for top in (True, False) for left in (True, False)]
SIZE = (112, 96)


class Corner(nn.Module):
    """An embedding of one quadrant of ``(B, C, h, w)``."""

    def __init__(self, channels: int, corner: tuple[bool, bool]) -> None:
        super().__init__()
        self.corner, self.fc = corner, nn.Linear(channels, 16)

    def forward(self, x):
        top, left = self.corner
        h, w = x.shape[2] // 2, x.shape[3] // 2
        x = x[:, :, :h] if top else x[:, :, -h:]
        x = x[:, :, :, :w] if left else x[:, :, :, -w:]
        return self.fc(x.mean(dim=(2, 3)))


class Normalised(nn.Module):
    """A layer normalisation of ``(B, C, h, w)`` before a head."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(head.fc.in_features), head

    def forward(self, x):
        return self.head(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class Attention(nn.Module):
    """Multi-head attention over tokens ``(B, N, C)``."""

    def __init__(self, dim: int, heads: int = 2, fused: bool = True) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.fused:
            x = functional.scaled_dot_product_attention(q, k, v)
        else:
            x = (q * (c // self.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return SCALE * self.proj(x.transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim: int, fused: bool = True) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, fused=fused)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Tokens ``(B, N, C)``; class and register tokens before the patches, or after them."""

    def __init__(self, corner, before: int = 0, after: int = 0, fused: bool = True) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.patch_embed = nn.Conv2d(3, 24, 8, 8)
        self.grid = (SIZE[0] // 8, SIZE[1] // 8)
        self.tokens = nn.Parameter(torch.randn(1, before + after, 24))
        self.pos_embed = nn.Parameter(
            torch.randn(1, before + self.grid[0] * self.grid[1] + after, 24)
        )
        self.blocks = nn.Sequential(*(Block(24, fused) for _ in range(3)))
        self.head = Corner(24, corner)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        extra = self.tokens.expand(len(x), -1, -1)
        if self.before + self.after:
            x = torch.cat([extra[:, : self.before], x, extra[:, self.before :]], dim=1)
        x = self.blocks(x + self.pos_embed)
        x = x[:, self.before : x.shape[1] - self.after].transpose(1, 2)
        return self.head(x.reshape(len(x), 24, *self.grid))


class SwinBlock(nn.Module):
    """Attention in windows of 4, shifted by 2 in every second block; ``(B, H, W, C)`` or ``(B, N, C)``."""

    def __init__(self, dim: int, shift: int, grid: tuple[int, int], flat: bool) -> None:
        super().__init__()
        self.shift, self.grid, self.flat = shift, grid, flat
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, fused=False)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim)

    def windows(self, x):
        b, h, w, c = x.shape
        down, right = -h % 4, -w % 4
        x = functional.pad(x, (0, 0, 0, right, 0, down))
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        rows, columns = (h + down) // 4, (w + right) // 4
        x = x.view(b, rows, 4, columns, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        x = self.attn(x).view(-1, rows, columns, 4, 4, c)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h + down, w + right, c)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :h, :w].contiguous()

    def forward(self, x):
        shape = x.shape
        x = x.view(len(x), *self.grid, shape[-1])
        x = x + self.windows(self.norm1(x))
        x = x.reshape(shape[0], -1, shape[-1])
        x = x + self.mlp(self.norm2(x))
        return x.view(shape)


class PatchMerging(nn.Module):
    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid, self.norm = grid, nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x):
        flat, x = x.ndim == 3, x.view(len(x), *self.grid, x.shape[-1])
        parts = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = self.reduction(self.norm(torch.cat(parts, -1)))
        return x.flatten(1, 2) if flat else x


class Swin(nn.Module):
    def __init__(self, corner, flat: bool) -> None:
        super().__init__()
        h, w = SIZE[0] // 4, SIZE[1] // 4
        self.flat, self.patch_embed = flat, nn.Conv2d(3, 12, 4, 4)
        self.layers = nn.Sequential(
            nn.Sequential(*(SwinBlock(12, shift, (h, w), flat) for shift in (0, 2))),
            nn.Sequential(
                PatchMerging(12, (h, w)),
                *(SwinBlock(24, shift, (h // 2, w // 2), flat) for shift in (0, 2)),
            ),
        )
        self.grid, self.head = (h // 2, w // 2), Corner(24, corner)

    def forward(self, x):
        x = self.patch_embed(x).permute(0, 2, 3, 1)
        x = x.flatten(1, 2) if self.flat else x
        x = self.layers(x).view(len(x), *self.grid, 24)
        return self.head(x.permute(0, 3, 1, 2))


class ConvNextBlock(nn.Module):
    """``(B, C, h, w)`` outside and ``(B, h, w, C)`` inside; or ``(B, h, w, C)`` all the way."""

    def __init__(self, dim: int, last: bool = False) -> None:
        super().__init__()
        self.last, self.conv_dw = last, nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm, self.mlp = nn.LayerNorm(dim), Mlp(dim)
        self.gamma = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, x):
        y = self.conv_dw(x.permute(0, 3, 1, 2) if self.last else x).permute(0, 2, 3, 1)
        y = self.mlp(self.norm(y)) * self.gamma
        return x + (y if self.last else y.permute(0, 3, 1, 2))


class ConvNext(nn.Module):
    def __init__(self, corner, last: bool = False) -> None:
        super().__init__()
        self.last, self.stem = last, nn.Conv2d(3, 12, 8, 8)
        self.blocks = nn.Sequential(*(ConvNextBlock(12, last) for _ in range(2)))
        self.head = Corner(12, corner)

    def forward(self, x):
        x = self.stem(x)
        x = self.blocks(x.permute(0, 2, 3, 1) if self.last else x)
        return self.head(x.permute(0, 3, 1, 2) if self.last else x)


class CrossCovariance(nn.Module):
    """Attention between channels, over tokens ``(B, N, C)``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 4, 1).unbind(0)
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        x = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return SCALE * self.proj(x.permute(0, 3, 1, 2).reshape(b, n, c))


class SplitTransposeBlock(nn.Module):
    """EdgeNeXt's block with attention between channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim // 2, dim // 2, 3, padding=1, groups=dim // 2)
        self.norm_xca, self.xca = nn.LayerNorm(dim), CrossCovariance(dim)
        self.norm, self.mlp = nn.LayerNorm(dim), Mlp(dim)

    def forward(self, x):
        b, c, h, w = x.shape
        one, two = x.chunk(2, dim=1)
        y = torch.cat([self.conv(one), two], dim=1).reshape(b, c, h * w).permute(0, 2, 1)
        y = y + self.xca(self.norm_xca(y))
        y = self.mlp(self.norm(y.reshape(b, h, w, c))).permute(0, 3, 1, 2)
        return x + y


class EdgeNext(nn.Module):
    def __init__(self, corner) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, 4)
        self.stages = nn.Sequential(
            ConvNextBlock(12), nn.Conv2d(12, 16, 2, 2), ConvNextBlock(16), SplitTransposeBlock(16)
        )
        self.head = Corner(16, corner)

    def forward(self, x):
        return self.head(self.stages(self.stem(x)))


class ChannelBlock(nn.Module):
    """DaViT's block with attention between channels; ``(B, C, h, w)`` outside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.cpe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1, self.attn = nn.LayerNorm(dim), CrossCovariance(dim)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim)

    def forward(self, x):
        shape = x.shape
        x = (x + self.cpe(x)).flatten(2).transpose(1, 2)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x.transpose(1, 2).view(shape)


class Davit(nn.Module):
    def __init__(self, corner) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.Sequential(ChannelBlock(16), ChannelBlock(16))
        self.head = Corner(16, corner)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


class ConvolutionalAttention(nn.Module):
    """CvT's attention, whose queries, keys and values are made by convolutions; tokens ``(B, N, C)``."""

    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.conv_q, self.conv_k, self.conv_v = (
            nn.Sequential(
                nn.Conv2d(dim, dim, 3, stride, 1, groups=dim, bias=False), nn.BatchNorm2d(dim)
            )
            for stride in (1, 2, 2)
        )
        self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x):
        b, n, c = x.shape
        x = x.transpose(1, 2).reshape(b, c, *self.grid)
        q, k, v = (
            linear(conv(x).flatten(2).transpose(1, 2)).reshape(b, -1, 2, c // 2).transpose(1, 2)
            for conv, linear in (
                (self.conv_q, self.q), (self.conv_k, self.k), (self.conv_v, self.v)
            )
        )  # fmt: skip
        x = functional.scaled_dot_product_attention(q, k, v)
        return SCALE * self.proj(x.transpose(1, 2).reshape(b, n, c))


class CvtBlock(Block):
    """Blocks of CvT; ``(B, C, h, w)`` outside."""

    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__(dim)
        self.attn = ConvolutionalAttention(dim, grid)

    def forward(self, x):
        return super().forward(x.flatten(2).transpose(1, 2)).transpose(1, 2).view(x.shape)


class Cvt(nn.Module):
    def __init__(self, corner) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, 4, 3)
        grid = SIZE[0] // 4, SIZE[1] // 4
        self.stages = nn.Sequential(
            CvtBlock(16, grid), nn.Conv2d(16, 24, 2, 2), CvtBlock(24, (grid[0] // 2, grid[1] // 2))
        )
        self.head = Corner(24, corner)

    def forward(self, x):
        return self.head(self.stages(self.stem(x)))


class PointwiseBlock(nn.Module):
    """Attention and a perceptron of 1x1 convolutions, as in hybrid networks; ``(B, C, h, w)``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(dim), nn.BatchNorm2d(dim)
        self.qkv, self.proj = nn.Conv2d(dim, 3 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.fc1, self.fc2 = nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(2 * dim, dim, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, 3, 2, c // 2, h * w).transpose(3, 4).unbind(1)
        y = (q * (c // 2) ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        x = x + SCALE * self.proj(y.transpose(2, 3).reshape(b, c, h, w))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Hybrid(nn.Module):
    """A convolutional stem and blocks with attention."""

    def __init__(self, corner) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 4, 4), nn.ReLU(), nn.Conv2d(12, 16, 2, 2))
        self.blocks = nn.Sequential(*(PointwiseBlock(16) for _ in range(3)))
        self.head = Corner(16, corner)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


class Listing(nn.Module):
    """A block that returns its tokens in a tuple, as those of transformers do, with a summary before them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.block = Block(dim)

    def forward(self, x):
        x = self.block(x)
        return x.mean(dim=(1, 2)), x


class Tupled(Vit):
    """A vision transformer whose blocks return tuples."""

    def __init__(self, corner) -> None:
        super().__init__(corner)
        self.layers = nn.ModuleList(Listing(24) for _ in range(3))
        self.blocks = nn.Identity()

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        for layer in self.layers:
            _, x = layer(x)
        return self.head(x.transpose(1, 2).reshape(len(x), 24, *self.grid))


class BottleneckBlock(nn.Module):
    """A bottleneck with attention between its convolutions, and a ReLU without a module after its sum; as BoTNet's."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduce, self.attn, self.expand = (
            nn.Conv2d(dim, 8, 1),
            Attention(8),
            nn.Conv2d(8, dim, 1),
        )
        self.norm1, self.norm2, self.norm3 = (
            nn.BatchNorm2d(8),
            nn.BatchNorm2d(8),
            nn.BatchNorm2d(dim),
        )

    def forward(self, x):
        y = functional.relu(self.norm1(self.reduce(x)))
        b, c, h, w = y.shape
        y = self.attn(y.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(b, c, h, w)
        y = self.norm3(self.expand(functional.relu(self.norm2(y))))
        return functional.relu(x + y)


class BotNet(nn.Module):
    def __init__(self, corner) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 4, 4), nn.ReLU(), nn.Conv2d(12, 16, 2, 2))
        self.blocks = nn.Sequential(*(BottleneckBlock(16) for _ in range(3)))
        self.head = Corner(16, corner)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


class Unfolding(nn.Module):
    """Attention between the pixels at one place of 2x2 patches, around it convolutions; as MobileViT's block."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.local, self.project = nn.Conv2d(dim, dim, 3, 1, 1), nn.Conv2d(dim, 24, 1)
        self.transformer = nn.Sequential(Block(24, fused=False), Block(24, fused=False))
        self.back, self.fuse = nn.Conv2d(24, dim, 1), nn.Conv2d(2 * dim, dim, 3, 1, 1)

    def forward(self, x):
        y = self.project(functional.silu(self.local(x)))
        b, c, h, w = y.shape
        y = y.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 2, 4, 1)
        y = self.transformer(y.reshape(b * 4, h * w // 4, c))
        y = y.reshape(b, 2, 2, h // 2, w // 2, c).permute(0, 5, 3, 1, 4, 2).reshape(b, c, h, w)
        return self.fuse(torch.cat([x, functional.silu(self.back(y))], dim=1))


class MobileVit(nn.Module):
    """Its grid is fine, so that convolutions bring little from beyond the quadrant."""

    def __init__(self, corner) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 2, 2), nn.SiLU(), nn.Conv2d(12, 16, 2, 2))
        self.blocks = nn.Sequential(Unfolding(16), Unfolding(16))
        self.head = Corner(16, corner)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


NETWORKS = {
    "vit": Vit,
    "vit, class token": lambda corner: Vit(corner, before=1, fused=False),
    "vit, registers": lambda corner: Vit(corner, before=5),
    "vit, registers after": lambda corner: Vit(corner, before=1, after=4),
    "swin (B,N,C)": lambda corner: Swin(corner, flat=True),
    "swin (B,H,W,C)": lambda corner: Swin(corner, flat=False),
    "convnext": ConvNext,
    "convnext (B,H,W,C)": lambda corner: ConvNext(corner, last=True),
    "edgenext": EdgeNext,
    "davit": Davit,
    "cvt": Cvt,
    "hybrid": Hybrid,
    "botnet": BotNet,
    "mobilevit": MobileVit,
    "vit, tuples": Tupled,
}


def network(name: str, corner: tuple[bool, bool]) -> nn.Module:
    """A network of :data:`NETWORKS` with the same weights for every corner."""
    torch.manual_seed(0)
    return NETWORKS[name](corner).eval()


def mass(overall: torch.Tensor, corner: tuple[bool, bool]) -> torch.Tensor:
    """The share of maps ``(B, h, w)`` in a quadrant."""
    top, left = corner
    h, w = overall.shape[1] // 2, overall.shape[2] // 2
    rows, columns = slice(None, h) if top else slice(h, None), slice(None, w) if left else slice(w, None)  # fmt: skip
    return overall[:, rows, columns].sum(dim=(1, 2)) / overall.sum(dim=(1, 2))
