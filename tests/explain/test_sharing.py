"""Whoever changes a network for a while has it alone, also where two recognizers share a part of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from leam.explain.explainer import Explainer
from leam.metrics.robustness import cascade
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from tiny import TinyNet, wrap

CHIPS = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


class Half(nn.Module):
    """A network that is part of another recognizer, too."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)[:, :3]


def beside(work: Callable[[], object], other: Callable[[], object], calls: int = 60) -> list:
    """What calls give while another thread does something else all the time."""
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(lambda: [other() for _ in range(calls)]) for _ in range(2)]
        found = list(pool.map(lambda _: work(), range(calls)))
        for one in running:
            one.result()
    return found


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("what", ["cascade", "forward", "shared"])
def test_maps_do_not_depend_on_other_threads(backend, what):
    torch.manual_seed(0)
    recognizer = wrap(TinyNet(16), 16)
    explainer = Explainer(recognizer, backend=backend)
    wider = Recognizer(Half(recognizer.module), Card(name="half", input_size=(16, 16)))
    other = Explainer(wider, backend=backend)
    before = recognizer.sha256
    expected = explainer.explain(CHIPS).overall
    inputs = recognizer.preprocess(CHIPS)
    work = {
        "cascade": lambda: cascade(
            recognizer.module, lambda: explainer.explain(CHIPS).overall, inputs, 0
        ),
        "forward": lambda: recognizer.forward(inputs.clone()),
        "shared": lambda: (other.explain(CHIPS), wider.embed(CHIPS)),
    }[what]
    calls = 10 if what == "cascade" else 60
    found = beside(lambda: explainer.explain(CHIPS).overall, work, calls)
    for maps in found:
        torch.testing.assert_close(maps, expected, rtol=0, atol=1e-6)
    assert recognizer.sha256 == before
