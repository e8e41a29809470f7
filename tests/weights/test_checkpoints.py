"""Checkpoints: nested, prefixed, incomplete, hostile."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from leam.errors import WeightsError
from leam.weights.checkpoints import fill, read_state, without_prefix, without_traces


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)


def test_state_is_found_in_a_nest_and_counters_are_left_out(tmp_path):
    state = Net().state_dict()
    checkpoint = {
        "epoch": 7,
        "optimizer": {"lr": 0.1, "moment": torch.ones(1)},
        "wrapped": {"net": state},
    }
    torch.save(checkpoint, tmp_path / "c.pth")
    assert set(read_state(tmp_path / "c.pth")) == set(state) - {"bn.num_batches_tracked"}


def test_safetensors_are_read(tmp_path):
    save_file({"w": torch.arange(3.0)}, tmp_path / "c.safetensors")
    assert torch.equal(read_state(tmp_path / "c.safetensors")["w"], torch.arange(3.0))


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_no_code_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Net().state_dict(), "args": Bomb()}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=r"opening it could run code"):
        read_state(tmp_path / "c.pth")
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError):
        read_state(tmp_path / "p.pkl")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 half a zip", b"\x80\x02}q\x00."])
@pytest.mark.parametrize("name", ["c.pth", "c.safetensors"])
def test_damage_is_one_line(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_file_without_tensors_is_said_so(tmp_path):
    torch.save({"epoch": 7}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=r"contains no state dict"):
        read_state(tmp_path / "c.pth")


def test_prefix_and_what_lies_beside_the_network_are_removed():
    ones = torch.ones(1)
    state = {"module.net.conv.w": ones, "module.net.block.conv.w": ones, "module.conv2.w": ones}
    assert list(without_prefix(state, "conv.w")) == ["conv.w", "block.conv.w"]
    assert list(without_prefix({"conv.w": ones, "head.w": ones}, "conv.w")) == ["conv.w", "head.w"]


def test_missing_and_unexpected_names_are_named(tmp_path):
    state = Net().state_dict()
    state["extra.weight"] = state.pop("conv.bias")
    with pytest.raises(
        WeightsError, match=r"not a checkpoint of Net: missing conv.bias; unexpected extra.weight$"
    ):
        fill(Net(), state, tmp_path)


def test_heads_are_left_out_only_where_they_are_known(tmp_path):
    state = Net().state_dict() | {"head.weight": torch.ones(9)}
    fill(Net(), state, tmp_path, heads=("head",))
    with pytest.raises(WeightsError, match=r"unexpected head.weight"):
        fill(Net(), state, tmp_path)


def test_wrong_shape_is_named(tmp_path):
    state = Net().state_dict() | {"conv.bias": torch.ones(5)}
    with pytest.raises(WeightsError, match=r"conv.bias has shape \(5,\), not \(2,\)"):
        fill(Net(), state, tmp_path)


def test_a_filled_network_has_the_values_and_is_ready_for_use(tmp_path):
    source, target = Net(), Net()
    fill(target, source.state_dict(), tmp_path)
    assert torch.equal(source.conv.weight, target.conv.weight)
    assert not target.training


def test_traces_are_dropped_but_not_from_variances():
    state = without_traces(
        {"a.weight": torch.tensor([1e-38, 1e-3]), "bn.running_var": torch.tensor([1e-38])}
    )
    assert torch.equal(state["a.weight"], torch.tensor([0, 1e-3]))
    assert state["bn.running_var"] == torch.tensor([1e-38])
