"""What tests of backends share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from leam.explain.backends import _operations


@pytest.fixture(params=["kernel", "torch"])
def either(request, monkeypatch) -> Iterator[None]:
    """On one thread with the kernel, for any number of faces, and without it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(_operations, "LEAST_NUMBERS", 1)
    monkeypatch.setattr(_operations, "LEAST_FACES", 1)
    if request.param == "torch":
        monkeypatch.setattr(_operations, "_compiled", lambda: None)
    yield
    torch.set_num_threads(before)
