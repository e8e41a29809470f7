"""Checkpoints that are damaged, or that would run code."""

from __future__ import annotations

import builtins
import io
import os
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from hostile import FUZZ, damaged, endures
from leam.errors import WeightsError
from leam.weights.checkpoints import fill, read_state, without_prefix
from leam.weights.fetching import cached_path, fetch

pytestmark = pytest.mark.slow


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 2, 3)
        self.fc = nn.Linear(2, 4)


def saved(**options: object) -> bytes:
    stream = io.BytesIO()
    torch.save({"state_dict": Small().state_dict(), "epoch": 3}, stream, **options)
    return stream.getvalue()


WHOLE = {
    ".pth": saved(),
    ".old.pth": saved(_use_new_zipfile_serialization=False),
    ".safetensors": save(Small().state_dict()),
}


def use(path) -> None:
    with endures():
        fill(Small(), without_prefix(read_state(path), "conv.weight"), path)


@pytest.mark.parametrize("suffix", WHOLE)
@FUZZ
@given(data=st.data())
def test_damage(tmp_path_factory, suffix, data):
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(data.draw(damaged(WHOLE[suffix])))
    use(path)


class Evil:
    """Unpickling it calls a function."""

    def __init__(self, call, *arguments) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


CALLS = [
    (os.system, "touch ran"),
    (builtins.exec, "open('ran', 'w')"),
    (builtins.open, "ran", "w"),
    (builtins.getattr, os, "system"),
    (torch.load, "other.pth"),
    (torch.hub.load, "somebody/something", "model"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0].__name__)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".pkl", ".bin", ".safetensors"])
def test_no_pickle_is_run(tmp_path, monkeypatch, call, zipped, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil{suffix}"
    try:
        torch.save(
            {"state_dict": Small().state_dict(), "x": Evil(*call)},
            path,
            _use_new_zipfile_serialization=zipped,
        )
    except (TypeError, pickle.PicklingError):
        path.write_bytes(pickle.dumps(Evil(exec, "open('ran', 'w')")))
    with pytest.raises(WeightsError):
        read_state(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


ODD = {
    "sparse": torch.eye(4).to_sparse(),
    "complex": torch.ones(4, dtype=torch.complex64),
    "nowhere": torch.ones(4, device="meta"),
    "endless": torch.ones(1).expand(1 << 40),
    "other shape": torch.ones(2, 2),
    "no tensor": 7,
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_tensors_that_fit_no_network(tmp_path, value):
    torch.save(Small().state_dict() | {"fc.bias": value}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"fc\.bias|not a readable checkpoint"):
        fill(Small(), read_state(tmp_path / "odd.pth"), tmp_path / "odd.pth")


@FUZZ
@given(url=st.text(max_size=40) | st.sampled_from(["http://[", "https://a/%00", "file:///etc/x"]))
def test_addresses(tmp_path_factory, url):
    """None of these is reached: they name no file, or no https address."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAM_CACHE", str(folder / "cache"))
        patch.setattr("leam.weights.fetching.urlopen", lambda *_, **__: 1 / 0)
        with endures():
            path = cached_path("model", url)
            assert path.parent == folder / "cache" / "model"
        if not url.lower().startswith("http"):
            with pytest.raises(WeightsError, match="not an https address"):
                fetch(url, folder / "file")


@pytest.mark.parametrize(
    "url", ["https://a/" + "x" * 300, "https://a/b%00c", "http://[", "https://a/.."]
)
def test_names_that_no_file_should_have(url):
    with pytest.raises(WeightsError, match="names no file"):
        cached_path("model", url)
