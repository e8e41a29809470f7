"""The helper process: what it returns, and that crashes, bombs, prints and endless loops stay in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leam.contained import ContainedError, contained
from leam.errors import ImageError

LIMIT = 300_000_000
OURS = "test_contained"


def give(text: str, size: int) -> tuple[dict[str, str], bytes]:
    return {"text": text}, bytes(size)


def refuse(text: str) -> None:
    raise ImageError(text)


def panic() -> None:
    raise GeneratorExit("like a panic of Rust")


def crash() -> None:
    os.abort()


def hang() -> None:
    time.sleep(60)


def swell(size: int) -> tuple[None, bytes]:
    return None, b"x" * size


def where() -> tuple[str, bytes]:
    return str(Path.cwd()), b""


def chatter() -> tuple[int, bytes]:
    os.write(1, b"on standard output\n")
    os.write(2, b"on standard error\n")
    return os.getpid(), b""


def call(name: str, *arguments: object, **options: float):
    return contained(f"{OURS}:{name}", *arguments, limit=LIMIT, **options)


def test_values_and_data_come_back():
    assert call("give", "Zoë \udcff", 5_000_000) == ({"text": "Zoë \udcff"}, bytes(5_000_000))
    assert call("give", "again", 0) == ({"text": "again"}, b"")


def test_our_errors_are_raised_as_they_are():
    with pytest.raises(ImageError, match=r"^one line$"):
        call("refuse", "one line")


def test_panics_and_crashes_end_the_helper_only():
    with pytest.raises(ContainedError, match=r"like a panic of Rust"):
        call("panic")
    with pytest.raises(ContainedError, match="crashes its decoder, or needs more than 300 MB"):
        call("crash")
    assert call("give", "well", 1)[1] == b"\0"


def test_what_takes_too_long_is_stopped():
    with pytest.raises(ContainedError, match=r"takes more than 0\.5 s"):
        call("hang", seconds=0.5)
    assert call("give", "well", 1)[1] == b"\0"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux enforces the limit")
def test_what_needs_too_much_memory_is_stopped():
    with pytest.raises(ContainedError, match="needs more than 300 MB"):
        call("swell", 2 * LIMIT)
    assert len(call("swell", 1000)[1]) == 1000


def test_what_it_prints_is_not_seen(capfd):
    first = call("chatter")[0]
    assert call("chatter")[0] == first != os.getpid()
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_a_helper_of_its_own():
    code = (
        "import os, sys\n"
        "from test_contained import call\n"
        "first = call('chatter')[0]\n"
        "child = os.fork()\n"
        "second = call('chatter')[0]\n"
        "if not child: os._exit(second == first)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or second != first)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def test_relative_paths_are_those_of_the_caller(monkeypatch, tmp_path):
    """The helper outlives a change of the working folder."""
    call("give", "", 0)
    monkeypatch.chdir(tmp_path)
    assert call("where")[0] == str(tmp_path)
