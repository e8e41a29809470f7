"""hf:// addresses: read, found in the hub's cache, downloaded from a hub of our own, and offline."""

import hashlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from leam.errors import WeightsError
from leam.recognizers.card import Card
from leam.recognizers.catalogue import find, locate
from leam.weights import hub
from leam.weights.hub import HubFile, commit_of, hub_cached, hub_fetch, hub_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA = b"weights" * 1000


@pytest.mark.parametrize(
    ("url", "file"),
    [
        (f"hf://o/n/m.onnx@{COMMIT}", HubFile("o/n", "m.onnx", COMMIT)),
        ("hf://o-1/n.v2/a/b c/m.onnx@refs/pr/3", HubFile("o-1/n.v2", "a/b c/m.onnx", "refs/pr/3")),
        ("hf://o/n/m.onnx", HubFile("o/n", "m.onnx")),
        ("https://example.org/o/n/m.onnx", None),
    ],
)
def test_an_address_is_read(url, file):
    assert hub_file(url) == file


@pytest.mark.parametrize(
    "url",
    [
        "hf://",
        "hf://o/n",
        "hf://o/n/",
        "hf://n.onnx",
        "hf://o/n/../x",
        "hf://o/n/m@",
        "hf://o/n/m@a@b",
    ],
)
def test_an_incomplete_address_is_said_so(url):
    with pytest.raises(WeightsError, match="expected hf://owner/name/file@revision"):
        hub_file(url)


@contextmanager
def serving():
    """A hub with one file; what was asked for is in ``asked``."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, *, body):
            asked.append((self.command, self.path))
            known = self.path.split("?")[0] in {
                f"/o/n/resolve/{r}/a/m.onnx" for r in (COMMIT, "main")
            }
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(DATA) if known else 0))
            if known:
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(DATA).hexdigest()}"')
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if body and known:
                self.wfile.write(DATA)

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", asked=asked)
    finally:
        server.shutdown()
        server.server_close()


# The hub's settings are read from the environment when its package is imported.
LOCATE = """
import json, logging, sys
logging.basicConfig(format="%(message)s", stream=sys.stderr)
from leam.errors import WeightsError
from leam.recognizers.card import Card
from leam.recognizers.catalogue import find, locate
size = int(sys.argv[3]) if sys.argv[3:] else None
card = Card(name="mine", url=sys.argv[1], sha256=sys.argv[2] or None, bytes=size)
before = find(card)
try:
    said = str(locate(card))
except WeightsError as error:
    said = f"error: {error}"
print(json.dumps([before and str(before), said]))
"""


def located(tmp_path, endpoint, url, sha256="", size=(), **environment):
    pytest.importorskip("huggingface_hub")
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), **environment}
    run = subprocess.run(
        [sys.executable, "-c", LOCATE, url, sha256, *map(str, size)],
        env=settings | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return *json.loads(run.stdout.splitlines()[-1]), run.stderr


@pytest.mark.slow
def test_a_file_comes_from_the_hub_once_and_is_checked(tmp_path):
    url, sha256 = f"hf://o/n/a/m.onnx@{COMMIT}", hashlib.sha256(DATA).hexdigest()
    with serving() as server:
        before, path, said = located(tmp_path, server.url, url, sha256)
        assert before is None
        assert path.startswith(str(tmp_path / "hf"))
        assert path.endswith(f"snapshots/{COMMIT}/a/m.onnx")
        assert hub.Path(path).read_bytes() == DATA
        assert "takes commit" not in said
        asked = len(server.asked)
        assert located(tmp_path, server.url, url, sha256)[:2] == (path, path)
        assert len(server.asked) == asked
        wrong = located(tmp_path, server.url, url, "0" * 64)[1]
        assert wrong.startswith("error: mine: ")
        assert "has sha256" in wrong
    assert located(tmp_path, server.url, url, HF_HUB_OFFLINE="1")[:2] == (path, path)


@pytest.mark.slow
def test_a_file_without_a_commit_says_which_one_was_taken(tmp_path):
    with serving() as server:
        _, path, said = located(tmp_path, server.url, "hf://o/n/a/m.onnx")
        assert commit_of(hub.Path(path)) == COMMIT
        assert f"takes commit {COMMIT}; to keep it, write @{COMMIT} in the url" in said


@pytest.mark.slow
def test_missing_files_and_no_network_are_one_line(tmp_path):
    with serving() as server:
        said = located(tmp_path, server.url, "hf://o/n/none.onnx@main")[1]
        assert said.startswith("error: hf://o/n/none.onnx: cannot be downloaded (")
        assert said.endswith("download it by other means and name it as `file` in the card")
    said = located(tmp_path, server.url, "hf://o/n/a/m.onnx@main", HF_HUB_OFFLINE="1")[1]
    assert "cannot be downloaded (" in said
    assert "\n" not in said


@pytest.mark.slow
def test_a_file_of_another_size_is_not_downloaded(tmp_path):
    with serving() as server:
        said = located(tmp_path, server.url, f"hf://o/n/a/m.onnx@{COMMIT}", size=[len(DATA) - 1])[1]
        assert f"has {len(DATA)} bytes, not {len(DATA) - 1} as its card says" in said
        assert {command for command, path in server.asked if "/o/n/" in path} == {"HEAD"}
        path = located(tmp_path, server.url, f"hf://o/n/a/m.onnx@{COMMIT}", size=[len(DATA)])[1]
        assert path.endswith("m.onnx")


@pytest.mark.slow
def test_leam_offline_silences_the_hub(tmp_path):
    with serving() as server:
        said = located(tmp_path, server.url, "hf://o/n/a/m.onnx@main", LEAM_OFFLINE="1")[1]
        assert "LEAM_OFFLINE forbids downloads" in said
        assert not server.asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1", "https://hub.invalid", "http://192.0.2.1"]
)
def test_without_a_network_it_fails_within_seconds(tmp_path, endpoint):
    start = time.monotonic()
    said = located(tmp_path, endpoint, "hf://o/n/a/m.onnx@main")[1]
    assert time.monotonic() - start < 20
    assert "cannot be downloaded (" in said
    assert "\n" not in said


def test_a_hub_that_does_not_answer_is_one_line_within_seconds(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        said = located(tmp_path, endpoint, "hf://o/n/a/m.onnx@main")[1]
    assert time.monotonic() - start < 20  # 5 s, and the start of a process
    assert "cannot be downloaded (timed out)" in said
    assert "\n" not in said


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert hub_cached(HubFile("o/n", "m.onnx")) is None
    card = Card(name="mine", url="hf://o/n/m.onnx@main")
    assert find(card) is None
    with pytest.raises(WeightsError, match=r"needs huggingface_hub; `pip install leam-xai\[hf\]`"):
        locate(card)


def test_the_revision_is_passed_on(monkeypatch, tmp_path, caplog):
    asked = []

    def download(repo, name, revision):
        asked.append((repo, name, revision))
        return str(tmp_path / "snapshots" / COMMIT / name)

    monkeypatch.setattr(hub, "_package", lambda: SimpleNamespace(hf_hub_download=download))
    monkeypatch.setattr(hub, "_check_connection", lambda: None)
    with caplog.at_level(logging.WARNING, "leam"):
        hub_fetch(HubFile("o/n", "m.onnx", COMMIT))
        assert not caplog.messages
        hub_fetch(HubFile("o/n", "m.onnx", "main"))
    assert asked == [("o/n", "m.onnx", COMMIT), ("o/n", "m.onnx", "main")]
    assert COMMIT in caplog.messages[0]
