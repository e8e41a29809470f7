"""FaRL face parsers (Zheng et al., CVPR 2022) as TorchScript, from FacePerceiver/facer's releases.

The package ``pyfacer`` is not needed. The model ``celebm`` was trained on CelebAMask-HQ, a data set for non-commercial
research.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from leam.errors import WeightsError, first_line
from leam.faces.alignment import Matrix, similarity_transform
from leam.faces.face import Points
from leam.files import sha256_of
from leam.parsers import PARSERS
from leam.parsers.network import HeadParser, weights_of
from leam.parsers.regions import ORDERS, translate

_SIDE = 448
_URL = (
    "https://github.com/FacePerceiver/facer/releases/download/models-v1/"
    "face_parsing.farl.celebm.main_ema_181500_jit.pt"
)
# The checksum is the one that other public projects pin.
_SHA256 = "bbc1f0e9f68c80eb83a0b23f33850d1e10f2ec1eda96884112d111c2c1f15c79"


@PARSERS("facer")
def facer() -> HeadParser:
    """Nineteen classes, from the TorchScript file that ``LEAM_FACER`` names or the public one of 647 MB.

    TorchScript is code: name only a file that you trust.

    Raises:
        WeightsError: The file is missing or is not TorchScript.
    """
    return read_facer(weights_of("facer", _URL, _SHA256))


def read_facer(path: Path) -> HeadParser:
    """The parser from a TorchScript file.

    Raises:
        WeightsError: The file is not TorchScript.
    """
    try:
        script = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise WeightsError(f"{path}: not a TorchScript file ({first_line(error)})") from None

    labels = translate(ORDERS["farl_celebm"])
    network = _Network(script)
    return HeadParser("facer", labels, _SIDE, network, view=celeba_hq_frame, sha256=sha256_of(path))


class _Network(nn.Module):
    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores ``(n, 19, h, w)`` of RGB pictures ``(n, 3, h, w)``, 0-255."""
        # The script takes pictures in [0, 1], normalises them itself, and returns features beside the scores.
        scores: Tensor = self.script(pictures / 255)[0]
        return scores


def celeba_hq_frame(five_points: Points, side: int) -> Matrix:
    """The affine map from picture pixels to CelebA-HQ's frame of a face, ``(2, 3)``.

    The frame is a square, aligned with the axis from eyes to mouth. From its centre to its sides it is twice the
    distance between the eyes, or 1.8 times the distance from eyes to mouth if that is larger (Karras et al., ICLR 2018,
    appendix C).

    Args:
        five_points: Eyes, nose tip and mouth corners, ``(5, 2)`` pixels.
        side: Height and width of the frame.
    """
    eyes, mouth = five_points[:2].mean(axis=0), five_points[3:].mean(axis=0)
    across, down = five_points[1] - five_points[0], mouth - eyes
    right = across + np.array([down[1], -down[0]])
    right /= np.linalg.norm(right)
    right *= max(2.0 * np.linalg.norm(across), 1.8 * np.linalg.norm(down))
    below = np.array([-right[1], right[0]])
    centre = eyes + 0.1 * down
    corners = np.stack([centre - right - below, centre + right - below, centre + right + below])
    # The frame ends at the outer edges of its pixels, half a pixel beyond their centres.
    target = np.array([[0, 0], [side, 0], [side, side]]) - 0.5
    return similarity_transform(corners, target)
