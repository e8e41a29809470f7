"""The small maps of layers that a study stores for pages of people."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from leam.study.scene import MapBatch
from leam.study.stages.layer_maps import SIDE, LayerMaps, LayerMapStage
from planned import planned


def batch_of(*layers: torch.Tensor) -> MapBatch:
    maps = SimpleNamespace(layer_maps=layers)
    return MapBatch(maps, None, None, [None, None], [], None)


def test_a_map_is_averaged_in_cells_and_divided_by_the_largest_one():
    fine, coarse = torch.zeros(2, 28, 28), torch.zeros(2, 7, 7)
    # Two of four pixels of the first cell, and four of the last one, whose mean is twice as large.
    fine[0, 0, :2] = 3
    fine[0, 26:, 26:] = 3
    fine[1, 2:4, 4:6] = 0.5
    coarse[0, 3] = 9
    found = LayerMapStage().of_maps(batch_of(fine, coarse)).maps
    assert found.shape == (2, 2, SIDE, SIDE)
    assert found.dtype == np.uint8
    assert found[0, 0, 0, 0] == 128
    assert found[0, 0, 13, 13] == 255
    assert np.count_nonzero(found[0, 0]) == 2
    assert found[1, 0, 1, 2] == 255
    assert found[0, 1].max(axis=1).argmax() in {6, 7}
    assert not found[1, 1].any()


def test_layers_keep_their_order():
    layers = [torch.zeros(2, side, side) for side in (14, 7, 14)]
    for place, layer in enumerate(layers):
        layer[:, place] = 1
    found = LayerMapStage().of_maps(batch_of(*layers)).maps
    assert found[0].max(axis=2).argmax(axis=1).tolist() == [0, 2, 2]


def test_a_method_without_layers_stores_none():
    assert LayerMapStage().applies(planned("aa"))
    assert not LayerMapStage().applies(planned("aa", method="grad-cam"))
    assert LayerMapStage().of_maps(batch_of()).maps.shape == (2, 0, SIDE, SIDE)


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected 14"):
        LayerMaps(np.zeros((2, 3, 7, 7), dtype=np.uint8)).arrays()
