"""BiSeNet face parsers from public checkpoints (Yu et al., BiSeNet, ECCV 2018).

Reads the layouts of yakhyo/face-parsing (ResNet-18 and ResNet-34, ``.pt`` and ``.onnx``) and of
zllrunning/face-parsing.PyTorch (ResNet-18, ``.pth``). All were trained on 512-pixel frames of CelebAMask-HQ, a data set
for non-commercial research.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.errors import ModelError, WeightsError, first_line
from leam.files import sha256_of
from leam.parsers import PARSERS
from leam.parsers.network import HeadParser, Network, weights_of
from leam.parsers.regions import ORDERS, translate
from leam.weights.checkpoints import fill, read_state, without_prefix

_SIDE = 512
_CLASSES = len(ORDERS["bisenet"])
# ResNet-18. The checksum is the one that other public projects pin. The .pt file beside it would not need an extra, but
# its checksum is not known.
_URL = "https://github.com/yakhyo/face-parsing/releases/download/weights/resnet18.onnx"
_SHA256 = "0d9bd318e46987c3bdbfacae9e2c0f461cae1c6ac6ea6d43bbe541a91727e33f"
# Blocks in each of the four stages. Only the deeper network has the key below.
_RESNET_18, _RESNET_34 = (2, 2, 2, 2), (3, 4, 6, 3)
_ONLY_IN_34 = "fpn.backbone.layer1.2.conv1.weight"
# A key that both layouts have.
_IN_BOTH = "ffm.conv1.weight"
# Heads that are used in training only, and the ImageNet classifier.
_UNUSED = re.compile(r"conv_out16\.|conv_out32\.|fpn\.backbone\.fc\.")
# From zllrunning's names to yakhyo's, applied in this order.
_RENAMES = (
    (r"^cp\.resnet\.", "fpn.backbone."),
    (r"^cp\.", "fpn."),
    (r"(arm\d+|conv_out\w*)\.conv\.(?=conv\.|bn\.)", r"\1.conv_block."),
    (r"\.convblk\.", ".conv_block."),
    (r"\.conv_atten\.", ".attention.0."),
    (r"\.bn_atten\.", ".attention.1."),
    (r"^(conv_out\w*)\.conv_out\.", r"\1.conv."),
    (r"\.bn\.", ".norm."),
)


@PARSERS("bisenet")
def bisenet() -> HeadParser:
    """Nineteen classes, from the BiSeNet file that ``LEAM_BISENET`` names or the public ONNX file.

    Raises:
        WeightsError: The file is missing, damaged, or has another layout.
        ModelError: An ONNX file needs ``onnxruntime``, which is not installed.
    """
    return read_bisenet(weights_of("bisenet", _URL, _SHA256))


def read_bisenet(path: Path) -> HeadParser:
    """The parser from a checkpoint (any suffix) or an ONNX graph (``.onnx``).

    Raises:
        WeightsError: The file is damaged or has another layout.
        ModelError: An ONNX file needs ``onnxruntime``, which is not installed.
    """
    network = _onnx_network(path) if path.suffix == ".onnx" else _torch_network(path)
    labels = translate(ORDERS["bisenet"])
    return HeadParser("bisenet", labels, _SIDE, network, sha256=sha256_of(path))


def _torch_network(path: Path) -> Network:
    state = canonical(without_prefix(read_state(path), _IN_BOTH))
    network = BiSeNet(_RESNET_34 if _ONLY_IN_34 in state else _RESNET_18)
    fill(network, state, path)
    return network


def canonical(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of either layout under yakhyo's names, without the tensors that are used in training only."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901  renames are chained
        if not _UNUSED.match(name):
            renamed[name] = value
    return renamed


def _onnx_network(path: Path) -> Network:
    try:
        import onnxruntime  # noqa: PLC0415  an extra
    except ImportError:
        raise ModelError(f"{path}: needs onnxruntime; `pip install leam-xai[scrfd]`") from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
    except Exception as error:  # noqa: BLE001  the errors of onnxruntime have no common base
        raise WeightsError(
            f"{path}: not an ONNX graph that can run ({first_line(error)})"
        ) from None

    def network(pictures: Tensor) -> Tensor:
        (scores,) = session.run([target], {source: normalised(pictures).numpy()})
        return torch.from_numpy(scores)

    return network


def normalised(pictures: Tensor) -> Tensor:
    """RGB 0-255, normalised with the mean and standard deviation of ImageNet."""
    mean = pictures.new_tensor([0.485, 0.456, 0.406])[:, None, None] * 255
    deviation = pictures.new_tensor([0.229, 0.224, 0.225])[:, None, None] * 255
    return (pictures - mean) / deviation


class BiSeNet(nn.Module):
    """Scores of 19 classes; submodules are named as in yakhyo's checkpoints."""

    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.fpn = _ContextPath(blocks)
        self.ffm = _Fusion(256)
        self.conv_out = _Output(256, _CLASSES)

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores ``(n, 19, h, w)`` of RGB pictures ``(n, 3, h, w)``, 0-255."""
        fine, context = self.fpn(normalised(pictures))
        scores = self.conv_out(self.ffm(torch.cat([fine, context], dim=1)))
        return functional.interpolate(
            scores, pictures.shape[2:], mode="bilinear", align_corners=True
        )


class _Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


class _Output(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.conv_block = _Conv(width, width, 3)
        self.conv = nn.Conv2d(width, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv(self.conv_block(x))
        return scores


class _Refinement(nn.Module):
    """A convolution with channel attention: channels are weighted by their own averages."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_block = _Conv(inputs, outputs, 3)
        self.attention = nn.Sequential(
            nn.Conv2d(outputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_block(x)
        return x * self.attention(_average(x))  # type: ignore[no-any-return]


class _Fusion(nn.Module):
    """Fuses fine and context features, with channel attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = _Conv(width, width, 1)
        self.conv1 = nn.Conv2d(width, width // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(width // 4, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_block(x)
        return x + x * torch.sigmoid(self.conv2(torch.relu(self.conv1(_average(x)))))


class _ContextPath(nn.Module):
    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone = _ResNet(blocks)
        self.arm16 = _Refinement(256, 128)
        self.arm32 = _Refinement(512, 128)
        self.conv_head32 = _Conv(128, 128, 3)
        self.conv_head16 = _Conv(128, 128, 3)
        self.conv_avg = _Conv(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        eighth, sixteenth, coarsest = self.backbone(x)
        coarse = self.arm32(coarsest) + self.conv_avg(_average(coarsest))
        coarse = self.conv_head32(functional.interpolate(coarse, sixteenth.shape[2:]))
        context = self.arm16(sixteenth) + coarse
        return eighth, self.conv_head16(functional.interpolate(context, eighth.shape[2:]))


class _ResNet(nn.Module):
    """ResNet-18 or -34 (He et al., CVPR 2016) without its classifier: features at 1/8 to 1/32."""

    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, blocks[0], stride=1)
        self.layer2 = _stage(64, 128, blocks[1], stride=2)
        self.layer3 = _stage(128, 256, blocks[2], stride=2)
        self.layer4 = _stage(256, 512, blocks[3], stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


def _stage(inputs: int, outputs: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(residual + self.downsample(x))


def _average(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)
