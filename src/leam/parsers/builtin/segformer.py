"""SegFormer face parsers (Xie et al., NeurIPS 2021); needs the extra ``segformer``.

The public model ``jonathandinu/face-parsing`` was trained on CelebAMask-HQ, a data set for non-commercial research.
"""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor, nn

from leam.errors import ModelError, WeightsError, first_line
from leam.parsers import PARSERS
from leam.parsers.builtin.bisenet import normalised
from leam.parsers.network import HeadParser
from leam.parsers.regions import translate

VARIABLE = "LEAM_SEGFORMER"
"""Environment variable that names a folder with ``config.json`` and weights, or a model on the Hugging Face hub."""

_PUBLIC = "jonathandinu/face-parsing"
_SIDE = 512


@PARSERS("segformer")
def segformer() -> HeadParser:
    """The classes in the model's own ``id2label``.

    Raises:
        ModelError: ``transformers`` is not installed, or a class has an unknown name.
        WeightsError: The model is not on this machine and cannot be downloaded.
    """
    return read_segformer(os.environ.get(VARIABLE, _PUBLIC))


def read_segformer(source: str) -> HeadParser:
    """The parser from a folder or from a model on the hub; errors as for :func:`segformer`."""
    try:
        from transformers import SegformerForSemanticSegmentation  # noqa: PLC0415  an extra
    except ImportError:
        raise ModelError(
            "segformer: needs transformers; `pip install leam-xai[segformer]`"
        ) from None
    try:
        model: Any = SegformerForSemanticSegmentation.from_pretrained(source)
    except Exception as error:  # noqa: BLE001  the errors of the hub's client have no common base
        raise WeightsError(
            f"segformer: {source} cannot be loaded; set {VARIABLE} to a folder with it ({first_line(error)})"
        ) from None
    names = model.config.id2label
    labels = translate([names[index] for index in range(len(names))])
    return HeadParser("segformer", labels, _SIDE, _Network(model.eval()))


class _Network(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores ``(n, classes, h / 4, w / 4)`` of RGB pictures ``(n, 3, h, w)``, 0-255."""
        scores: Tensor = self.model(normalised(pictures)).logits
        return scores
