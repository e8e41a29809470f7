"""Checkpoints that are damaged, or that would run code."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import resource
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from hostile import FUZZ, damaged, endures
from leam.errors import WeightsError
from leam.limits import VARIABLE
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


EMPTY_DICT, EMPTY_LIST = b"\x80\x02}q\x00.", b"\x80\x02]q\x00."


def instructions(*parts: bytes) -> bytes:
    """A file in torch's older format whose objects are these pickle instructions."""
    stream = io.BytesIO()
    torch.save({}, stream, _use_new_zipfile_serialization=False)
    # Its last two objects are an empty dictionary and an empty list of storages.
    return (
        stream.getvalue().removesuffix(EMPTY_DICT + EMPTY_LIST)
        + b"\x80\x02"
        + b"".join(parts)
        + b"."
        + EMPTY_LIST
    )


@pytest.mark.parametrize("code", [b"\x8e", b"\x96", b"\x8d"], ids=["bytes", "bytearray", "text"])
def test_no_memory_is_filled_for_a_size_that_a_file_only_states(tmp_path, code):
    path = tmp_path / "size.pth"
    path.write_bytes(instructions(code + (2**34).to_bytes(8, "little"), b"abc"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with endures(), pytest.raises(WeightsError):
        read_state(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**20


STATES = {
    "of a class": b"cargparse\nNamespace\n}X\x01\0\0\0a K\x01sb".replace(b" ", b""),
    "of a function": b"c_codecs\nencode\nN}X\x0c\0\0\0__defaults__NRs\x86b".replace(b"R", b""),
    "of torch's function": b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\0\0\0__defaults__Ns\x86b",
}


@pytest.mark.parametrize("build", STATES.values(), ids=STATES)
def test_no_class_or_function_is_changed(tmp_path, build):
    """A pickle may set attributes of what it names, which would change it for the whole process."""
    before = torch._utils._rebuild_tensor_v2.__defaults__
    path = tmp_path / "state.pth"
    path.write_bytes(instructions(build))
    with pytest.raises(WeightsError, match=r"contains the state of \w+, which is no plain data"):
        read_state(path)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before
    assert before is not None


def test_an_array_of_objects_is_not_made_of_raw_memory(tmp_path):
    """numpy's own unpickling trusts a type's flags; bytes would become pointers."""
    build = (
        b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
        b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\0\0\0O8\x89\x88\x87R"
        b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
        b"\x89C\x08AAAAAAAAtb"
    )
    path = tmp_path / "objects.pth"
    path.write_bytes(instructions(build))
    with pytest.raises(WeightsError, match="contains no state dict"):
        read_state(path)


def test_shared_dictionaries_are_searched_once(tmp_path):
    """Three hundred levels, each containing the next one twice: 2**300 paths to the weights."""
    nested: dict[str, object] = Small().state_dict()
    for _ in range(300):
        nested = {"a": nested, "b": nested}
    path = tmp_path / "share.pth"
    torch.save({"deep": nested, "net": [Small().state_dict()]}, path)
    with endures(5):
        assert set(read_state(path)) == set(Small().state_dict())
    itself: dict[str, object] = {"conv.weight": torch.ones(1)}
    itself["again"] = [itself]
    torch.save(itself, path)
    assert set(read_state(path)) == {"conv.weight"}


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
        patch.setattr("leam.weights.fetching.Connections", lambda *_, **__: 1 / 0)
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


@pytest.mark.parametrize("compressed", [True, False])
def test_an_archive_is_counted_before_it_is_unpacked(tmp_path, monkeypatch, compressed):
    """40 MB of zeros, which are 40 kB of a deflated archive."""
    plain, path = tmp_path / "plain.pth", tmp_path / "zeros.pth"
    torch.save({"conv.weight": torch.zeros(10_000_000)}, plain)
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", kind) as target:
        for member in source.namelist():
            target.writestr(member, source.read(member))
    assert read_state(path)["conv.weight"].numel() == 10_000_000
    monkeypatch.setenv(VARIABLE, "30MB")
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(
        WeightsError, match=r"tensors need more than 30 MB of memory.*--memory-limit"
    ):
        read_state(path)


def test_tensors_that_share_their_numbers_are_counted(tmp_path, monkeypatch):
    """A network of these would need a thousand times what the file has."""
    monkeypatch.setenv(VARIABLE, "30MB")
    shared = torch.zeros(10_000)
    torch.save({f"w{number}": shared.view(100, 100) for number in range(1000)}, tmp_path / "s.pth")
    with pytest.raises(WeightsError, match="tensors need more than 30 MB of memory"):
        read_state(tmp_path / "s.pth")


def text(value: bytes) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value


# A long list is number 0 of the memo; then copies of it.
LONG = b"](" + b"K\x01" * 50_000 + b"eq\x000"
BOMBS = {
    "range": (b"cbuiltins\nlist\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R", "not a readable checkpoint"),
    "a text that doubles": (
        b"cpathlib\nPosixPath\nq\x010" + text(b"a" * 1000) + b"q\x000"
        + b"h\x01h\x00h\x00\x86Rq\x000" * 60 + b"h\x00",
        "no state dict",
    ),
    "copies of a list": (LONG + b"](" + b"cbuiltins\nlist\nh\x00\x85R" * 2000 + b"e", "objects need"),
    "copies of a list by type": (
        LONG + b"](" + b"cbuiltins\ntuple\nh\x00\x85\x81" * 2000 + b"e", "objects need"
    ),
    "copies of a text": (
        text(b"a" * 100_000) + b"q\x000](" + b"c_codecs\nencode\nh\x00\x85R" * 2000 + b"e",
        "objects need",
    ),
    "a key that takes for ever": (
        b")q\x000" + b"h\x00h\x00\x86q\x000" * 100 + b"}h\x00K\x01s", "key of a dictionary"
    ),
    "keys in pairs": (
        b")q\x000" + b"h\x00h\x00\x86q\x000" * 100
        + b"ccollections\nOrderedDict\n]h\x00K\x01\x86a\x85R",
        "key of a dictionary",
    ),
    "a set that takes for ever": (
        b")q\x000" + b"h\x00h\x00\x86q\x000" * 100 + b"\x8f(h\x00\x90", "key of a dictionary"
    ),
    "a tensor of nothing": (b"ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R", "a call of torch.Tensor"),
    "a new tensor of nothing": (b"ctorch\nTensor\nJ\xff\xff\xff\x7f\x85\x81", "a call of torch"),
}  # fmt: skip


@pytest.mark.parametrize(("bomb", "reason"), BOMBS.values(), ids=BOMBS)
def test_instructions_that_multiply_are_refused(tmp_path, monkeypatch, bomb, reason):
    monkeypatch.setenv(VARIABLE, "100MB")
    path = tmp_path / "bomb.pth"
    path.write_bytes(instructions(bomb))
    with endures(), pytest.raises(WeightsError, match=reason):
        read_state(path)
