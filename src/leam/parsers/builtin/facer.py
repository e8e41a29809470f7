"""FaRL face parsers (Zheng et al., CVPR 2022) as TorchScript, from FacePerceiver/facer's releases.

The file is all that is needed; the package ``pyfacer`` is not. The model ``celebm`` was trained on
CelebAMask-HQ, which is for non-commercial research.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leam.errors import WeightsError
from leam.faces.alignment import Matrix, similarity_transform
from leam.faces.face import Points
from leam.parsers import PARSERS
from leam.parsers.network import HeadParser, weights_of
from leam.parsers.regions import ORDERS, translate

_SIDE = 448
_URL = (
    "https://github.com/FacePerceiver/facer/releases/download/models-v1/"
    "face_parsing.farl.celebm.main_ema_181500_jit.pt"
)
# As other public projects pin it; the file could not be fetched here.
_SHA256 = "bbc1f0e9f68c80eb83a0b23f33850d1e10f2ec1eda96884112d111c2c1f15c79"


@PARSERS("facer")
def facer() -> HeadParser:
    """Nineteen classes from the TorchScript file that ``LEAM_FACER`` names, else the public one.

    TorchScript is code: name only a file that you trust. The public one has 647 MB.

    Raises:
        WeightsError: The file cannot be had, or is not TorchScript.
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
        line = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: not a TorchScript file ({line})") from None

    def network(pictures: Tensor) -> Tensor:
        # The script normalises pictures of 0-1 itself, and returns features beside the scores.
        scores: Tensor = script(pictures / 255)[0]
        return scores

    labels = translate(ORDERS["farl_celebm"])
    return HeadParser("facer", labels, _SIDE, network, view=celeba_hq_frame)


def celeba_hq_frame(five_points: Points, side: int) -> Matrix:
    """The map from picture pixels to CelebA-HQ's frame of a face, ``(2, 3)``.

    The frame is a square, upright between eyes and mouth; twice the distance of the eyes, or 1.8
    times that from eyes to mouth, reaches from its centre to its sides (Karras et al., ICLR 2018,
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
    # Corners are outer edges, half a pixel beyond the centres of the first and last pixels.
    target = np.array([[0, 0], [side, 0], [side, side]]) - 0.5
    return similarity_transform(corners, target)
