"""Downloads from a server that breaks off, sends wrong files, or cannot be reached; where files are cached."""

import http.server
import logging
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager

import platformdirs
import pytest

from leam.errors import WeightsError
from leam.weights import fetching
from leam.weights.addresses import Connections
from leam.weights.fetching import cache_folder, cached_path, fetch, offline
from serving import DATA, SHA, Handler, serving


@pytest.fixture(autouse=True)
def _local_servers(monkeypatch):
    """The servers of these tests are on this machine."""
    monkeypatch.setenv("LEAM_ALLOW_LOCAL", "1")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "model.bin"


def left_beside(target):
    return {path.name for path in target.parent.iterdir()} - {"model.bin", "model.bin.lock"}


def test_file_arrives_whole_and_progress_is_reported(target):
    reports = []
    with serving() as server:
        fetch(server.url, target, SHA, lambda *report: reports.append(report))
    assert target.read_bytes() == DATA
    assert reports[-1] == ("downloading model.bin", len(DATA), len(DATA))
    assert not left_beside(target)


def test_truncated_body_is_taken_up_where_it_broke_off(target):
    with serving(300_000, 300_000) as server:
        fetch(server.url, target, SHA)
        assert server.asked == [None, "bytes=300000-", "bytes=600000-"]
    assert target.read_bytes() == DATA


def test_next_call_goes_on_after_giving_up(target):
    with serving(1000, 0, 0, 0) as server:
        with pytest.raises(
            WeightsError, match="interrupted after 1000 bytes; repeat the command to resume"
        ):
            fetch(server.url, target, SHA)
        assert not target.exists()
        fetch(server.url, target, SHA)
        assert server.asked[-1] == "bytes=1000-"
    assert target.read_bytes() == DATA


def test_server_without_ranges_starts_over(target):
    with serving(300_000, ranges=False) as server:
        fetch(server.url, target, SHA)
    assert target.read_bytes() == DATA


def test_without_checksum_pieces_of_two_tries_are_never_joined(target, monkeypatch):
    monkeypatch.setattr(fetching, "check_address", lambda *_, **__: None)
    with serving(300_000) as server:
        fetch(server.url, target)
        assert server.asked == [None, None]
    assert target.read_bytes() == DATA


def test_part_that_is_already_whole_is_used(target):
    target.parent.mkdir()
    target.with_name("model.bin.part").write_bytes(DATA)
    with serving() as server:
        fetch(server.url, target, SHA)
    assert target.read_bytes() == DATA


def test_wrong_file_is_not_kept(target):
    with (
        serving(data=b"something else") as server,
        pytest.raises(WeightsError, match="the download was deleted"),
    ):
        fetch(server.url, target, SHA)
    assert not target.exists()
    assert not left_beside(target)


def test_away_says_which_file_to_put_where(target):
    with serving() as server:
        url = server.url
    with pytest.raises(WeightsError) as caught:
        fetch(url, target, SHA)
    assert str(caught.value).startswith(url)
    assert str(caught.value).endswith(f"download it by other means and put it at {target}")


def test_not_found_says_so(target, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.send_error(404))
    with (
        serving() as server,
        pytest.raises(WeightsError, match="the server answers 404; download it by other means"),
    ):
        fetch(server.url, target, SHA)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/x", "model.bin"])
def test_only_web_addresses(target, url):
    with pytest.raises(WeightsError, match="not an https address"):
        fetch(url, target)


def test_folder_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch("http://127.0.0.1:1/model.bin", tmp_path / "cache" / "model.bin", SHA)


def test_two_processes_at_once_fetch_it_once(target):
    context = multiprocessing.get_context("spawn")
    with serving() as server:
        workers = [context.Process(target=fetch, args=(server.url, target, SHA)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert server.asked == [None]
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/",
        "https://example.org/a/%2e%2e",
        "https://x/a%2F..%2F",
        "https://x/a%5C..%5Cb",
    ],
)
def test_a_url_never_names_a_file_outside_the_cache(url):
    with pytest.raises(WeightsError, match=r"mine: the url .* names no file"):
        cached_path("mine", url)


def test_the_cache_is_the_systems_own_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("LEAM_CACHE")
    assert cache_folder() == platformdirs.user_cache_path("leam", appauthor=False)
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "leam"


@pytest.mark.parametrize(("size", "says"), [(len(DATA) - 1, "or more bytes"), (len(DATA) + 1, "")])
def test_a_file_of_another_size_is_not_kept(target, size, says):
    with serving() as server, pytest.raises(WeightsError, match=f"{says}.* not {size} as its card"):
        fetch(server.url, target, SHA, size=size)
    assert not target.exists()
    assert not left_beside(target)
    with serving() as server:
        fetch(server.url, target, SHA, size=len(DATA))
    assert target.read_bytes() == DATA


def test_an_endless_file_ends_at_the_size_of_the_card(target, monkeypatch):
    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            return

    monkeypatch.setattr(Handler, "do_GET", endless)
    with serving() as server, pytest.raises(WeightsError, match="not 1000000 as its card says"):
        fetch(server.url, target, SHA, size=1_000_000)
    assert not left_beside(target)


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize(
    "limits", [{"_TIMEOUT_SECONDS": 0.5}, {"_TOTAL_SECONDS": 0.5, "_LEAST_BYTES": 0}]
)
def test_a_server_that_sends_a_byte_now_and_then_is_left(target, monkeypatch, headers, limits):
    """Each byte arrives before the timeout of a socket."""

    def drip(self):
        if headers:
            self.send_response(200)
            self.end_headers()
        else:
            self.wfile.write(b"HTTP/1.0 200 ok\r\nX: ")
        try:
            while True:
                time.sleep(0.05)
                self.wfile.write(b"x")
        except OSError:
            return

    monkeypatch.setattr(Handler, "do_GET", drip)
    monkeypatch.setattr(fetching, "_MAX_TRIES", 1)
    monkeypatch.setattr(fetching, "_TIMEOUT_SECONDS", 0.8)
    for name, value in limits.items():
        monkeypatch.setattr(fetching, name, value)
    start = time.monotonic()
    with serving() as server, pytest.raises(WeightsError, match=r"interrupted|cannot be reached"):
        fetch(server.url, target, SHA)
    assert time.monotonic() - start < 10


@contextmanager
def redirecting(to):
    """A server that sends everybody elsewhere; the headers of who came are in ``asked``."""
    asked = []

    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(dict(self.headers))
            self.send_response(302)
            self.send_header("Location", to)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield (
            f"http://user:s3cret@127.0.0.1:{server.server_port}/model.bin?token=s3cret#s3cret",
            asked,
        )
    finally:
        server.shutdown()
        server.server_close()


def test_a_password_goes_to_its_host_only_and_is_never_shown(target, monkeypatch, caplog):
    seen = []
    monkeypatch.setattr(
        Handler, "do_GET", lambda self: (seen.append(dict(self.headers)), self.send_error(404))
    )
    with (
        serving() as server,
        redirecting(server.url) as (url, asked),
        caplog.at_level(logging.DEBUG),
    ):
        with pytest.raises(WeightsError) as caught:
            fetch(url, target, SHA)
        assert asked[0]["Authorization"].startswith("Basic ")
        assert "Authorization" not in seen[0]
    for url in (
        "https://user:s3cret@[::1/x",
        "https://user:s3cret@127.0.0.1:1/x?s3cret",
        "ftp://user:s3cret@example.org/s",
        "http://user:s3cret@127.0.0.1:99999/x?token=s3cret",
        "https://user:s3cret@exa mple.org/\n",
    ):
        with pytest.raises(WeightsError) as other:
            fetch(url, target, SHA)
        assert "s3cret" not in "".join(traceback.format_exception(other.value))
    with pytest.raises(WeightsError) as nameless:
        cached_path("mine", "https://user:s3cret@example.org/?token=s3cret")
    assert "s3cret" not in f"{caught.value}{nameless.value}{caplog.text}"


def test_a_redirect_follows_the_same_rules(target):
    for place in ("ftp://example.org/x", "file:///etc/hostname", "//"):
        with redirecting(place) as (url, _), pytest.raises(WeightsError):
            fetch(url, target, SHA)
    with redirecting("http://192.168.7.7/x") as (url, _):
        connections = Connections(local=False, hashed=True)
        with pytest.raises(WeightsError, match="private address"):
            connections.open(fetching.Request(url), 1)


LOCAL = [
    "127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "0.0.0.0", "10.1.2.3",
    "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "[::1]", "[::]", "[fe80::1]",
    "[fc00::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL)
def test_private_addresses_need_leave(target, monkeypatch, host):
    monkeypatch.delenv("LEAM_ALLOW_LOCAL")
    connected = []
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: connected.append(1))
    with pytest.raises(WeightsError, match=r"private address|cannot be reached"):
        fetch(f"https://{host}:4433/x", target)
    assert not connected


def test_a_name_that_leads_to_a_private_address_needs_leave(target, monkeypatch):
    monkeypatch.delenv("LEAM_ALLOW_LOCAL")
    places = [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("10.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    connected = []
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: connected.append(1))
    with pytest.raises(
        WeightsError, match=r"example.org \(10.0.0.1\) is a private address.*--allow-local"
    ):
        fetch("https://example.org/x", target)
    assert not connected


def test_the_address_that_was_checked_is_the_one_that_is_used(target, monkeypatch):
    """A second look-up could give another one."""
    monkeypatch.delenv("LEAM_ALLOW_LOCAL")
    place = (2, 1, 6, "", ("93.184.216.34", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [place])
    used = []

    def connect(where, *_):
        used.append(where)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(WeightsError, match="no network here"):
        fetch("https://example.org/x", target)
    assert used == [("93.184.216.34", 443)]


def test_python_callers_allow_local_addresses_by_an_argument(target, monkeypatch):
    monkeypatch.delenv("LEAM_ALLOW_LOCAL")
    with serving() as server:
        with pytest.raises(WeightsError, match="private address"):
            fetch(server.url, target, SHA)
        fetch(server.url, target, SHA, allow_local=True)
    assert target.read_bytes() == DATA


def test_http_needs_a_checksum(target):
    with serving() as server, pytest.raises(WeightsError, match="http needs the file's sha256"):
        fetch(server.url, target)
    assert not server.asked


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_offline_nothing_is_asked(target, monkeypatch, value, expected):
    monkeypatch.setenv("LEAM_OFFLINE", value)
    assert offline() is expected
    if expected:
        with serving() as server:
            with pytest.raises(
                WeightsError, match="LEAM_OFFLINE forbids downloads; download it by"
            ):
                fetch(server.url, target, SHA)
            assert not server.asked


def test_offline_holds_for_other_packages(monkeypatch):
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "RAY_USAGE_STATS_ENABLED")
    code = f"import leam, os; print([os.environ.get(name) for name in {names}])"
    for name in names:
        monkeypatch.delenv(name, raising=False)

    def seen(value: str) -> str:
        monkeypatch.setenv("LEAM_OFFLINE", value)
        return subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert seen("1") == "['1', '1', '0']"
    assert seen("0") == "[None, None, None]"


@pytest.mark.parametrize("url", ["\n", "a\x1b[2J", "\u2028", "ftp://a/\x7f"])
def test_control_characters_of_addresses_are_escaped(target, url):
    with pytest.raises(WeightsError) as caught:
        fetch(url, target)
    assert str(caught.value).isprintable()
