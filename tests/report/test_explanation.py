"""The picture of all layers says what it shows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from leam.explain.explainer import Maps
from leam.explain.layers import Layer
from leam.report.explanation import _layer_strip


def test_every_layer_has_its_name_its_grid_and_whether_it_is_empty():
    layers = (
        Layer("stem", "stem", 0, 32, (4, 4)),
        Layer("a.very.long.name.of.a.convolution", "x", 0, 64, (2, 2)),
    )
    maps = Maps(
        layers,
        (torch.full((1, 4, 4), 1 / 16), torch.zeros(1, 2, 2)),
        torch.full((1, 8, 8), 1 / 64),
        torch.zeros(1, 5),
        torch.zeros(1),
        torch.tensor([[False], [True]]),
    )
    chip = SimpleNamespace(image=np.full((8, 8, 3), 90, dtype=np.uint8))
    figure = _layer_strip(SimpleNamespace(maps=maps, chip=chip))
    assert [axis.get_title() for axis in figure.axes] == [
        "stem\n32 x 4x4",
        "a.very.lo….convolution\n64 x 2x2, empty",
        "overall",
    ]
