"""Vision transformers of arcface_torch (also TransFace, LVFace) and CVLface.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; An et al., "Killing Two Birds with One Stone" (Partial
FC), CVPR 2022. There is no class token: the embedding comes from all tokens. Widths, depth and patch size are read from
the file; the number of heads does not appear in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from leam.errors import CardError, WeightsError
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import Weights, fill, find_weights, fitting

_MARKER = "patch_embed.proj.weight"
# Heads of the published networks, by width, depth and width inside the perceptron:
# arcface_torch's vit_t, vit_s, vit_b and vit_l; CVLface's small and base.
_HEADS = {
    (256, 12, 1024): 8,
    (512, 12, 2048): 8,
    (512, 24, 2048): 8,
    (768, 24, 3072): 8,
    (512, 12, 2560): 8,
    (512, 24, 1536): 16,
}
_FEATURE_EPS = 2e-5
# Used in training only.
_MASK = "mask_token"


@dataclass(frozen=True)
class Form:
    """The sizes of a transformer.

    Attributes:
        patch: Height and width of a patch in pixels.
        grid: Height and width of the picture in patches.
        width: Channels of a token.
        depth: Number of blocks.
        inner: Channels inside a block's perceptron.
        heads: Number of attention heads.
        embedding_size: Length of the embedding.
        by_token: Batch normalisation over tokens instead of layer normalisation.
        biased: Queries, keys and values have a bias.
    """

    patch: tuple[int, int]
    grid: tuple[int, int]
    width: int
    depth: int
    inner: int
    heads: int
    embedding_size: int = 512
    by_token: bool = False
    biased: bool = False

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.grid[0] * self.grid[1]

    def norm(self) -> nn.Module:
        """A normalisation of tokens ``(B, N, C)``."""
        return TokenNorm(self.tokens) if self.by_token else nn.LayerNorm(self.width)


class TokenNorm(nn.Module):
    """Batch normalisation with one mean and variance for each token."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(tokens)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, C)`` to the same shape."""
        out: Tensor = self.bn(x)
        return out


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.heads = form.heads
        self.qkv = nn.Linear(form.width, 3 * form.width, bias=form.biased)
        self.proj = nn.Linear(form.width, form.width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, N, C)`` to the same shape."""
        batch, tokens, width = x.shape
        parts = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        shares = (queries @ keys.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(dim=-1)
        out: Tensor = self.proj((shares @ values).transpose(1, 2).reshape(batch, tokens, width))
        return out


class Perceptron(nn.Module):
    """Two linear layers with ReLU6 between them."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.fc1 = nn.Linear(form.width, form.inner)
        self.fc2 = nn.Linear(form.inner, form.width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, N, C)`` to the same shape."""
        out: Tensor = self.fc2(functional.relu6(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and perceptron, each after a normalisation and with a shortcut."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.norm1, self.norm2 = form.norm(), form.norm()
        self.attn = Attention(form)
        self.mlp = Perceptron(form)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, N, C)`` to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchEmbedding(nn.Module):
    """``(B, 3, h, w)`` to tokens ``(B, N, C)``, row by row; a rest at the right and bottom edge is not used."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, form.width, form.patch, form.patch)

    def forward(self, x: Tensor) -> Tensor:
        """The tokens."""
        out: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return out


class VisionTransformer(nn.Module):
    """``(B, 3, h, w)`` to embeddings ``(B, D)``, not normalised."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(form)
        self.pos_embed = nn.Parameter(
            self.patch_embed.proj.weight.new_zeros(1, form.tokens, form.width)
        )
        self.blocks = nn.Sequential(*(Block(form) for _ in range(form.depth)))
        self.norm = form.norm()
        self.feature = nn.Sequential(
            nn.Linear(form.width * form.tokens, form.width, bias=False),
            nn.BatchNorm1d(form.width, _FEATURE_EPS),
            nn.Linear(form.width, form.embedding_size, bias=False),
            nn.BatchNorm1d(form.embedding_size, _FEATURE_EPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        tokens = self.norm(self.blocks(self.patch_embed(x) + self.pos_embed))
        embeddings: Tensor = self.feature(tokens.flatten(1))
        return embeddings


@architecture("vit", options=("heads", "weights"))
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a public checkpoint.

    Card options: ``heads``, the number of attention heads, for sizes that were not published, and ``weights``, one of
    several sets of weights in the file.

    Raises:
        CardError: The number of heads is not known, or is no divisor of the width.
        WeightsError: The file does not hold this network, or one for another input size.
    """
    weights = find_weights(path, (_MARKER,), card.options.get("weights"), network="ViT")
    if relative := [name for name in weights.tensors if "rpe_" in name or "keypoint" in name]:
        raise WeightsError(
            f"{path}: has relative positions ({weights.prefix}{relative[0]}), which need the "
            "face's key points at each call; KP-RPE and iRPE networks are not supported"
        )
    with fitting(path):
        module = VisionTransformer(_form(card, weights))
    fill(module, weights.tensors, path, heads=(_MASK,), prefix=weights.prefix)
    return module


def _form(card: Card, weights: Weights) -> Form:
    """The sizes of the network in a file."""
    width, _, *patch = weights.shape(_MARKER)
    grid = (card.input_size[0] // patch[0], card.input_size[1] // patch[1])
    tokens = weights.shape("pos_embed")[1]
    if grid[0] * grid[1] != tokens:
        raise WeightsError(
            f"{weights.path}: {weights.prefix}pos_embed has {tokens} tokens, but an input of "
            f"{card.input_size[0]}x{card.input_size[1]} pixels has {grid[0]}x{grid[1]} patches; "
            "correct input_size in the card"
        )
    blocks = {match[1] for name in weights.tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    inner = weights.shape("blocks.0.mlp.fc1.weight")[0]
    heads = card.options.get("heads", _HEADS.get((width, len(blocks), inner)))
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1 or width % heads:
        raise CardError(
            f"{card.name}: the number of attention heads of a network with {width} channels and "
            f"{len(blocks)} blocks is not known; write it in options.heads (a divisor of {width})"
        )
    return Form(
        patch=(patch[0], patch[1]),
        grid=grid,
        width=width,
        depth=len(blocks),
        inner=inner,
        heads=heads,
        embedding_size=weights.shape("feature.2.weight")[0],
        by_token="norm.bn.weight" in weights.tensors,
        biased="blocks.0.attn.qkv.bias" in weights.tensors,
    )
