"""Cards as nobody would write them."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import FUZZ, damaged, endures
from leam.errors import CardError
from leam.recognizers.card import Card, read_card
from leam.recognizers.catalogue import load_recognizer

pytestmark = pytest.mark.slow

CARD = (
    'name = "a"\narchitecture = "onnx"\nfile = "m.onnx"\ninput_size = [16, 16]\nchannels = "BGR"\n'
    "mean = [0.0, 1.0, 2.0]\nstd = [1.0, 1.0, 1.0]\nwindow = [1, 2, 50, 60]\nthreshold = 0.4\n"
)
VALUES = st.one_of(
    st.sampled_from(["nan", "inf", "-inf", "-1", "0", "true", "1e400", str(10**30), "9" * 5000]),
    st.sampled_from(['""', '"../../x"', '"/dev/zero"', '"a\\u0000b"', "[]", "{}", "1979-05-27"]),
    st.just(f'"{"x" * 5000}"'),
    st.lists(st.integers(-(10**12), 10**12), max_size=4).map(str),
    st.lists(st.floats(width=32), max_size=4).map(str),
)
FIELDS = st.sampled_from([*Card.model_fields, "nothing"])


@FUZZ
@given(fields=st.dictionaries(FIELDS, VALUES, max_size=4), data=st.data())
def test_wild_values(tmp_path_factory, fields, data):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "wild.toml"
    kept = [line for line in CARD.splitlines() if line.split(" ")[0] not in fields]
    text = "\n".join([*kept, *(f"{name} = {value}" for name, value in fields.items())])
    path.write_bytes(data.draw(st.just(text.encode()) | damaged(text.encode())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAM_CACHE", str(folder / "cache"))
        patch.setattr(
            "leam.weights.addresses.Connections.open",
            lambda *_, **__: (_ for _ in ()).throw(OSError("no network")),
        )
        with endures():
            load_recognizer(str(path))


DEEP = st.recursive(
    st.sampled_from(["1", "x", "[", "]", "{", "}", "=", ".", '"', "[[", "]]", ", ", "a = 1"]),
    lambda inner: st.builds(
        lambda text, around, times: around[0] * times + text + around[1] * times,
        inner,
        st.sampled_from([("[", "]"), ("{a = ", "}"), ("a.", ""), ("[[", "]]"), (", ")]),
        st.sampled_from([1, 3, 50, 500, 5000, 100_000]),
    ),
    max_leaves=3,
)


@FUZZ
@given(head=st.sampled_from(["inputs = ", "a = ", "[", "inputs.", ""]), text=DEEP)
def test_deep_toml(tmp_path_factory, head, text):
    path = tmp_path_factory.getbasetemp() / "deep.toml"
    path.write_text(f"{CARD}{head}{text}")
    with endures():
        read_card(path)


@pytest.mark.parametrize(
    "content", ["a = " + "[" * 100_000, "bytes = " + "1" * 5000, CARD.replace("[1, 2, 50, 60]", "[200, 200, 9, 9]"),
                CARD.replace("[1, 2, 50, 60]", "[100, 100, 100, 100]"), CARD.replace("[16, 16]", "[1000000000000, 16]"),
                CARD.replace("std = [1.0", "std = [inf")],
    ids=["nested", "digits", "outside", "over the edge", "huge", "infinite"],
)  # fmt: skip
def test_nonsense_is_refused_when_it_is_read(tmp_path, content):
    (tmp_path / "card.toml").write_text(content)
    with endures(), pytest.raises(CardError):
        read_card(tmp_path / "card.toml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "card.toml")
    signal.alarm(0)
    with endures(5), pytest.raises(CardError):
        read_card(tmp_path / "card.toml")
