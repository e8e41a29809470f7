"""Checkpoints: nested, prefixed, incomplete, hostile."""

import argparse
import collections
import datetime as dt
import decimal
import fractions
import logging
import pathlib
import pickle
import re
import sys
import types
import uuid

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from leam.errors import WeightsError
from leam.weights.checkpoints import (
    fill,
    find_weights,
    read_state,
    without_prefix,
    without_traces,
)


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
    with pytest.raises(WeightsError, match=r"contains \w*io.open, which is .* could run code"):
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


@pytest.mark.parametrize(
    "name", ["_orig_mod.stem.{}", "stem._orig_mod.{}", "net._fsdp_wrapped_module.stem._checkpoint_wrapped_module.{}"]
)  # fmt: skip
def test_names_of_wrappers_are_removed_wherever_they_stand(tmp_path, name):
    state = {name.format(part): torch.ones(2) for part in ("weight", "bias")}
    torch.save(state, tmp_path / "c.pth")
    found = find_weights(tmp_path / "c.pth", ("stem.weight",))
    assert list(found.tensors) == ["stem.weight", "stem.bias"]
    assert found.prefix == ("net." if name.startswith("net") else "")


def test_what_the_file_has_of_a_missing_tensors_layer_is_named_first(tmp_path):
    names = [f"layer{i}.weight" for i in range(9)] + ["fc.parametrizations.weight.original0"]
    torch.save(dict.fromkeys(names, torch.ones(2)), tmp_path / "c.pth")
    found = find_weights(tmp_path / "c.pth", ("layer0.weight",))
    with pytest.raises(
        WeightsError, match=r"missing fc.weight; it contains fc.parametrizations.weight.original0, "
    ):
        found.shape("fc.weight")


def test_other_bytes_are_refused_in_words(tmp_path):
    path = tmp_path / "c.pth"
    path.write_bytes(b"\0" * 8 + b"model/conv1")
    with pytest.raises(
        WeightsError, match=r"not a readable checkpoint; expected a whole file that"
    ):
        read_state(path)


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


class Lightning(types.ModuleType):
    """A package that is not installed here, whose classes are pickled by name."""

    def __init__(self, module, *names):
        super().__init__(module)
        for name in names:
            base = dict if name.endswith("Dict") else object
            setattr(self, name, type(name, (base,), {"__module__": module}))


EXTRAS = {
    "numpy": {
        "best": np.float64(0.97), "epoch": np.int64(3), "done": np.bool_(True), "name": np.str_("r"),
        "curve": np.arange(6.0).reshape(2, 3), "fortran": np.asfortranarray(np.ones((2, 3))),
        "big": np.arange(3, dtype=">i4"), "objects": np.array([{"a": 1}, None], dtype=object),
        "kind": np.dtype("f4"),
    },
    "namespaces": {
        "args": argparse.Namespace(lr=0.1, net=argparse.Namespace(depth=50)),
        "more": types.SimpleNamespace(a=1),
    },
    "containers": {
        "default": collections.defaultdict(list, {"a": [1]}), "deque": collections.deque([1, 2]),
        "counter": collections.Counter("aab"), "set": {1}, "frozen": frozenset({2}),
        "slice": slice(1, 2), "range": range(3), "complex": 1j,
    },
    "paths and dates": {
        "path": pathlib.Path("/a/b"), "pure": pathlib.PureWindowsPath("c:/d"),
        "when": dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.timezone.utc), "day": dt.date(2026, 1, 2),
        "took": dt.timedelta(hours=3),
    },
    "numbers and generators": {
        "exact": decimal.Decimal("1.5"), "part": fractions.Fraction(1, 3), "run": uuid.UUID(int=5),
        "pattern": re.compile("a+"), "bytes": bytearray(b"ab"), "kind": np.float32, "none": object,
        "generator": np.random.default_rng(0), "old": np.random.RandomState(0), "rest": ...,
    },
    "torch": {"dtype": torch.float16, "size": torch.Size([1, 2]), "device": torch.device("cpu")},
}  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    state = Net().state_dict()
    state["conv.weight"][0] = value
    with pytest.raises(WeightsError, match=r"numbers that are not finite, in net\.conv\.weight"):
        fill(Net(), state, tmp_path, prefix="net.")


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_plain_data_beside_the_weights_is_read(tmp_path, extra, old):
    state = Net().state_dict()
    path = tmp_path / "c.pth"
    torch.save({"state_dict": state, **extra}, path, _use_new_zipfile_serialization=not old)
    found = read_state(path)
    assert set(found) == set(state) - {"bn.num_batches_tracked"}
    assert torch.equal(found["conv.weight"], state["conv.weight"])


def test_what_lightning_writes_is_read_without_lightning(tmp_path, monkeypatch):
    """Hyperparameters are a dictionary of its own, and a callback's state has the class as its key."""
    parsing = Lightning("pytorch_lightning.utilities.parsing", "AttributeDict")
    callbacks = Lightning("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    parents = ("pytorch_lightning", "pytorch_lightning.utilities", "pytorch_lightning.callbacks")
    for module in (parsing, callbacks, *map(types.ModuleType, parents)):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    extra = {
        "hyper_parameters": parsing.AttributeDict(lr=0.1, head="adaface"),
        "callbacks": {callbacks.ModelCheckpoint: {"best_model_score": torch.tensor(0.9)}},
    }
    state = {f"model.{name}": value for name, value in Net().state_dict().items()}
    torch.save({"state_dict": state, **extra}, tmp_path / "c.ckpt")
    monkeypatch.undo()
    assert "model.conv.weight" in read_state(tmp_path / "c.ckpt")
    assert "pytorch_lightning" not in sys.modules


@pytest.mark.parametrize("wrap", [
    lambda state: [state], lambda state: (3, [0, {"x": (state, None)}]),
    lambda state: argparse.Namespace(model=state),
])  # fmt: skip
def test_weights_are_found_in_lists_tuples_and_namespaces(tmp_path, wrap):
    torch.save(wrap(Net().state_dict()), tmp_path / "c.pth")
    assert "conv.weight" in read_state(tmp_path / "c.pth")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.dtype(">f4")])
def test_numpy_arrays_are_weights(tmp_path, kind):
    arrays = {name: value.numpy().astype(kind) for name, value in Net().state_dict().items()}
    arrays["conv.weight"] = np.asfortranarray(arrays["conv.weight"])
    torch.save(arrays, tmp_path / "c.pth")
    target = Net()
    fill(target, read_state(tmp_path / "c.pth"), tmp_path)
    np.testing.assert_array_equal(target.conv.weight.detach().numpy(), arrays["conv.weight"])


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")
def test_quantised_tensors_are_dequantised(tmp_path):
    """As torch's dynamic and static quantisation save them: packed linear layers, scales of activations."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 3))
    weight, bias = network[0].weight.detach(), network[0].bias.detach()
    scales = weight.abs().amax((1, 2, 3)) / 127
    packed = torch.quantize_per_tensor(network[1].weight.detach(), 0.01, 0, torch.qint8)
    saved = {
        "0.weight": torch.quantize_per_channel(weight, scales, torch.zeros(4), 0, torch.qint8),
        "0.bias": bias,
        "0.scale": torch.tensor(0.1),
        "0.zero_point": torch.tensor(64),
        "1.scale": 0.3,
        "1.zero_point": 7,
        "1._packed_params.dtype": torch.qint8,
        "1._packed_params._packed_params": (packed, network[1].bias),
        "quant.scale": torch.tensor([0.1]),
        "quant.zero_point": torch.tensor([64]),
    }
    torch.save({"state_dict": saved}, tmp_path / "c.pth")
    target = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 3))
    fill(target, read_state(tmp_path / "c.pth"), tmp_path)
    assert (target[0].weight - weight).abs().max() <= scales.max() / 2 + 1e-7
    assert (target[0].weight != weight).any()
    torch.testing.assert_close(target[1].weight.detach(), packed.dequantize())
    assert torch.equal(target[1].bias, network[1].bias)


def test_scales_are_kept_where_nothing_is_quantised(tmp_path):
    torch.save({"norm.scale": torch.ones(2), "quant.scale": torch.ones(1)}, tmp_path / "c.pth")
    assert set(read_state(tmp_path / "c.pth")) == {"norm.scale", "quant.scale"}


def several(tmp_path):
    """A file with four sets of weights, told apart by the value of a bias."""
    nets = [{name: value + i for name, value in Net().state_dict().items()} for i in range(4)]
    for i, net in enumerate(nets):
        net["conv.bias"] = torch.full((2,), float(i))
    flat = {f"teacher.{n}": v for n, v in nets[2].items()} | {
        f"student.{n}": v for n, v in nets[3].items()
    }
    head = {f"w{i}": torch.ones(1) for i in range(99)}
    content = {"head": head, "net": {"live": nets[0], "ema": nets[1]}, "pair": flat}
    torch.save(content, tmp_path / "c.pth")
    return tmp_path / "c.pth"


@pytest.mark.parametrize(
    ("wanted", "number"),
    [(None, 0), ("ema", 1), ("net.ema", 1), ("net", 0), ("teacher", 2), ("pair.student", 3)],
)
def test_one_of_several_sets_of_weights_is_taken_and_said(tmp_path, caplog, wanted, number):
    """The largest set that is this network; the first in the file among equals; or the one that the card names."""
    with caplog.at_level(logging.WARNING, "leam"):
        found = find_weights(several(tmp_path), ("conv.weight",), wanted)
    assert found.tensors["conv.bias"].tolist() == [number, number]
    assert set(found.tensors) == set(Net().state_dict()) - {"bn.num_batches_tracked"}
    said = " ".join(caplog.messages)
    if wanted is None:
        assert "takes the weights in net.live" in said
        assert (
            'write options.weights = "net.ema" in the card (or pair.teacher, pair.student)' in said
        )
    else:
        assert not said


def test_a_set_that_is_not_there_lists_the_available(tmp_path):
    with pytest.raises(
        WeightsError,
        match=r"no set of weights called emma; available: net.live, net.ema, pair.teacher, pair.student",
    ):
        find_weights(several(tmp_path), ("conv.weight",), "emma")


def test_a_layer_inside_the_network_is_no_network(tmp_path, caplog):
    """Many layers are called like the first one of the network; what is below them is no set of weights."""
    state = {f"net.{name}": value for name, value in Net().state_dict().items()}
    state |= {f"net.block.{name}": value for name, value in Net().state_dict().items()}
    torch.save(state, tmp_path / "c.pth")
    assert find_weights(tmp_path / "c.pth", ("conv.weight",)).prefix == "net."
    assert not caplog.messages
    with pytest.raises(WeightsError, match=r"no set of weights called block; available: net$"):
        find_weights(tmp_path / "c.pth", ("conv.weight",), "block")


def test_a_set_with_more_tensors_is_taken_without_a_word(tmp_path, caplog):
    torch.save({"a": {"conv.weight": torch.ones(1)}, "b": Net().state_dict()}, tmp_path / "c.pth")
    assert len(find_weights(tmp_path / "c.pth", ("conv.weight",)).tensors) == 6
    assert not caplog.messages


def test_names_in_errors_are_the_files_own(tmp_path):
    state = {name.replace("conv", "c0"): value for name, value in Net().state_dict().items()}
    fill(Net(), state, tmp_path, names=lambda name: name.replace("conv", "c0"))
    del state["c0.bias"]
    with pytest.raises(WeightsError, match=r"missing module.c0.bias; unexpected module.more$"):
        fill(
            Net(),
            state | {"more": torch.ones(1)},
            tmp_path,
            names=lambda name: name.replace("conv", "c0"),
            prefix="module.",
        )


def test_a_trailing_size_of_one_does_not_count(tmp_path):
    state = nn.Linear(4, 2).state_dict()
    target = nn.Conv2d(4, 2, 1)
    fill(target, state, tmp_path)
    assert torch.equal(target.weight[:, :, 0, 0], state["weight"])
    with pytest.raises(WeightsError, match=r"weight has shape \(2, 4\), not \(4, 2\)"):
        fill(nn.Linear(2, 4), {"weight": state["weight"], "bias": torch.ones(4)}, tmp_path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(WeightsError, match=r"c.pth: cannot be read \(No such file"):
        read_state(tmp_path / "c.pth")
