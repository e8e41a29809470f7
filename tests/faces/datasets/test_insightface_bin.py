"""Verification sets of InsightFace, in every protocol of Python 2 and 3."""

import hashlib
import os
import pickle
import struct

import numpy as np
import pytest

from encoded import encoded, picture
from leam.errors import InputError
from leam.faces.datasets.insightface_bin import _booleans
from leam.faces.people import Pair, read_dataset
from leam.faces.reading import read_picture_file

# Pictures 0 and 6 are the same.
PICTURES = [encoded(n % 6) for n in range(8)]
SAME = [True, True, False, True]


def check(path):
    found = read_dataset(path)
    name = f"{path.name}#{{:06d}}".format
    assert found.pairs == [
        Pair(name(0), name(1), True), Pair(name(2), name(3), True),
        Pair(name(4), name(5), False), Pair(name(0), name(1), True),
    ]  # fmt: skip
    assert list(found.people) == [name(0), name(2), name(4), name(5)]
    assert len(found.samples) == 6
    for number, sample in enumerate(found.samples):
        pixels, file = read_picture_file(sample.path, sample.member)
        np.testing.assert_array_equal(pixels, picture(number))
        assert file.sha256 == hashlib.sha256(PICTURES[number]).hexdigest()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["bytes", "bytearrays", "arrays", "numbers"])
def test_what_python_3_writes(tmp_path, protocol, kind):
    contents = {
        "bytes": (PICTURES, SAME),
        "bytearrays": ([bytearray(one) for one in PICTURES], SAME),
        "arrays": ([np.frombuffer(one, np.uint8) for one in PICTURES], np.array(SAME)),
        "numbers": (tuple(PICTURES), [np.bool_(one) for one in SAME]),
    }[kind]
    path = tmp_path / "set.bin"
    path.write_bytes(pickle.dumps(contents, protocol))
    check(path)


def test_what_python_2_writes(tmp_path):
    path = tmp_path / "set.bin"
    strings = b"".join(
        b"U" + bytes([len(one)]) + one
        if len(one) < 256
        else b"T" + struct.pack("<i", len(one)) + one
        for one in PICTURES
    )
    flags = b"".join(b"\x88" if one else b"\x89" for one in SAME)
    path.write_bytes(b"\x80\x02](" + strings + b"eq\x01](" + flags + b"e\x86q\x02.")
    check(path)
    text = "".join(f"S{repr(one)[1:]}\np{n}\na" for n, one in enumerate(PICTURES, 2))
    flags = "".join("I01\na" if one else "I00\na" for one in SAME)
    path.write_bytes(f"((lp1\n{text}(lp99\n{flags}tp100\n.".encode())
    check(path)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch /tmp/hostile",)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (([Hostile(), b"a"], [True]), "it contains (posix|nt).system"),
        ((PICTURES, SAME[:3]), "it has 8 pictures for 3 pairs"),
        ((PICTURES, ["yes"] * 4), "it contains something else than booleans"),
        ((PICTURES, np.array([1, 1, 0, 1])), "it contains something else than booleans"),
        ((PICTURES, [2] * 4), "it contains something else than booleans"),
        ((PICTURES, [[True]] * 4), "it contains something else than booleans|has 8"),
        ((["text"] * 8, SAME), "it contains something else than the bytes of a picture"),
        (({}, SAME), "it contains the instruction b'}'"),
        (PICTURES, "it is not a pair of lists"),
        (([], []), "it has 0 pictures for 0 pairs"),
        ((np.zeros(8), SAME), "it is not a pair of lists"),
    ],
)
def test_nothing_else_is_restored(tmp_path, contents, message):
    path = tmp_path / "set.bin"
    path.write_bytes(pickle.dumps(contents, 4))
    with pytest.raises(
        InputError, match=rf"set\.bin: not a verification set; {message}.*; expected"
    ):
        read_dataset(path)


def test_a_file_that_was_cut(tmp_path):
    path, whole = tmp_path / "set.bin", pickle.dumps((PICTURES, SAME), 4)
    for length in range(4, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"not a verification set; it (ends|is damaged)"):
            read_dataset(path)


def test_pictures_are_not_loaded(tmp_path, monkeypatch):
    path = tmp_path / "set.bin"
    path.write_bytes(pickle.dumps((PICTURES, np.array(SAME)), 4))
    read = []
    from leam.faces.datasets import insightface_bin as module

    plain = module._Machine.read
    monkeypatch.setattr(module._Machine, "read", lambda m, n: read.append(n) or plain(m, n))
    module._contents(path)
    assert max(read) < 50
    assert list(_booleans(path, [True, 0])) == [True, False]


def test_a_file_of_very_many_values_ends_soon(tmp_path, monkeypatch):
    path = tmp_path / "set.bin"
    path.write_bytes(b"\x80\x04" + b"N" * 2000 + b".")
    monkeypatch.setattr("leam.faces.datasets.insightface_bin._MOST_INSTRUCTIONS", 1000)
    with pytest.raises(InputError, match="it has too many values for pictures"):
        read_dataset(path)
