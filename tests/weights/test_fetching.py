"""Downloads from a server that breaks off, sends wrong files, or cannot be reached; where files are cached."""

import multiprocessing
import sys

import platformdirs
import pytest

from leam.errors import WeightsError
from leam.weights.fetching import cache_folder, cached_path, fetch
from serving import DATA, SHA, Handler, serving


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


def test_without_checksum_pieces_of_two_tries_are_never_joined(target):
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
        fetch("http://127.0.0.1:1/model.bin", tmp_path / "cache" / "model.bin")


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
