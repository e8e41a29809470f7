"""Explainers of one recognizer in many threads do not disturb one another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from leam.explain.explainer import Explainer
from leam.recognizers.recognizer import Recognizer
from plain import assert_same
from tiny import wrap

THREADS, CALLS = 8, 200


def recognizer() -> Recognizer:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.PReLU(6),
        nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3, padding=1), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(256, 5),
    )  # fmt: skip
    # In training mode, so that every call must change the mode and change it back.
    return wrap(net.train())


@pytest.mark.parametrize("other", ["plain", "fused"])
def test_two_explainers_in_eight_threads(chips, other):
    shared = recognizer()
    explainers = [
        Explainer(shared, backend="fused", layers=["0", "3", "6"]),
        # The outputs of these layers are overwritten in place, or lie within what the other explainer fuses.
        Explainer(shared, backend=other, layers=["1", "3", "6"], weighting="signed"),
    ]
    expected = [explainer.explain(chips) for explainer in explainers]
    embeddings = shared.embed(chips)
    before = {name: value.clone() for name, value in shared.module.state_dict().items()}

    def call(number: int) -> None:
        assert_same(explainers[number % 2].explain(chips), expected[number % 2])
        torch.testing.assert_close(shared.embed(chips), embeddings)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(call, number) for number in range(CALLS)]:
            done.result()
    assert all(module.training for module in shared.module.modules())
    assert all(parameter.requires_grad for parameter in shared.module.parameters())
    assert not any(module._forward_hooks for module in shared.module.modules())
    assert not any("forward" in vars(module) for module in shared.module.modules())
    for name, value in shared.module.state_dict().items():
        assert torch.equal(value, before[name])
