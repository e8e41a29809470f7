"""Devices by name, and what torch is told about its products."""

import pytest
import torch

from leam.devices import check_precision, description, devices_of, full_float32, resolve
from leam.errors import InputError


@pytest.fixture
def machine(monkeypatch):
    """A machine with a number of GPUs, and perhaps Apple's."""

    def make(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


@pytest.mark.parametrize(
    ("has", "name", "expected"),
    [
        ({}, "auto", ["cpu"]),
        ({}, "cpu", ["cpu"]),
        ({"cuda": 2}, "auto", ["cuda:0", "cuda:1"]),
        ({"cuda": 2}, "cuda", ["cuda:0", "cuda:1"]),
        ({"cuda": 2}, "cuda:1", ["cuda:1"]),
        ({"cuda": 2}, "cpu", ["cpu"]),
        ({"mps": True}, "auto", ["mps"]),
        ({"cuda": 1, "mps": True}, "mps", ["mps"]),
    ],
)
def test_a_name_stands_for_devices(machine, has, name, expected):
    machine(**has)
    assert [str(device) for device in devices_of(name)] == expected
    assert str(resolve(name)) == expected[0]


@pytest.mark.parametrize("name", ["cuda", "cuda:2", "mps", "gpu", "", "cuda:", "cuda:x"])
def test_what_is_not_there_is_refused_with_what_is(machine, name):
    machine(cuda=2 if name.startswith("cuda:") else 0)
    with pytest.raises(InputError, match=f"device {name}: not available; this machine has .*cpu"):
        resolve(name)


def test_a_torch_device_is_kept():
    assert resolve(torch.device("meta")) == torch.device("meta")


def test_descriptions_name_the_model(machine):
    machine(cuda=2)
    assert description(torch.device("cpu")) == "cpu"
    assert description(torch.device("cuda:1")) == "cuda:1 (GPU 1)"
    assert description(torch.device("mps")).startswith("mps (")


def test_precisions():
    assert check_precision("bfloat16") == "bfloat16"
    with pytest.raises(InputError, match=r"precision half: .*available: float32, bfloat16"):
        check_precision("half")


def test_products_are_full_inside_and_as_before_outside(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with full_float32():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
