"""Weights from the variable, from the cache, and from a server."""

import importlib

import pytest

from leam.errors import WeightsError
from leam.parsers import load_parser
from leam.parsers.network import weights_of
from serving import DATA, SHA, serving


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))
    for parser in ("BISENET", "FACER", "MEDIAPIPE"):
        monkeypatch.delenv(f"LEAM_{parser}", raising=False)
    return tmp_path / "cache"


def test_the_public_file_is_fetched_once_and_checked_each_time(cache):
    with serving() as server:
        path = weights_of("facer", server.url, SHA)
        url = server.url
    assert path == cache / "facer" / "model.bin"
    assert path.read_bytes() == DATA
    assert weights_of("facer", url, SHA) == path
    path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=rf"facer: .*model\.bin has sha256 \w+, not {SHA}"):
        weights_of("facer", url, SHA)


def test_a_named_file_comes_first(tmp_path, monkeypatch):
    (tmp_path / "mine.pt").write_bytes(b"mine")
    monkeypatch.setenv("LEAM_FACER", str(tmp_path / "mine.pt"))
    assert weights_of("facer", "http://127.0.0.1:1/model.bin", SHA) == tmp_path / "mine.pt"


@pytest.mark.parametrize("parser", ["bisenet", "facer", "mediapipe"])
def test_offline_says_which_file_to_put_where_or_which_variable_to_set(parser, cache, monkeypatch):
    if parser == "mediapipe":
        pytest.importorskip("mediapipe")
    module = importlib.import_module(f"leam.parsers.{parser}")
    monkeypatch.setattr(module, "_URL", "http://127.0.0.1:1/released.bin")
    with pytest.raises(WeightsError) as raised:
        load_parser(parser)
    message = str(raised.value)
    assert message.startswith(f"{parser}: http://127.0.0.1:1/released.bin: cannot be reached")
    assert message.endswith(
        f"put it at {cache / parser / 'released.bin'}; or name your file in LEAM_{parser.upper()}"
    )
