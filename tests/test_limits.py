"""The memory that one file may need: a variable, or a quarter of the machine's or the container's memory."""

import os
import subprocess
import sys

import psutil
import pytest

from leam import limits
from leam.errors import InputError
from leam.limits import memory_limit, parse_size, readable, set_memory_limit, values_limit


@pytest.fixture(autouse=True)
def no_limit(monkeypatch, tmp_path):
    # First set, so that a limit that a test sets is removed after it.
    monkeypatch.setenv(limits.VARIABLE, "1GB")
    monkeypatch.delenv(limits.VARIABLE)
    monkeypatch.setattr(limits, "_CONTAINER", (tmp_path / "max",))


def test_a_quarter_of_the_memory_by_default():
    assert memory_limit() == psutil.virtual_memory().total // 4


def test_a_container_with_less_memory_counts(tmp_path):
    (tmp_path / "max").write_text("4000000\n")
    assert memory_limit() == 1_000_000
    (tmp_path / "max").write_text("max\n")
    assert memory_limit() == psutil.virtual_memory().total // 4
    (tmp_path / "max").write_text(f"{1 << 63}\n")
    assert memory_limit() == psutil.virtual_memory().total // 4


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("2GB", 2_000_000_000),
        ("2 gb", 2_000_000_000),
        ("500M", 500_000_000),
        ("1.5GiB", 3 << 29),
        ("8kb", 8000),
        ("1T", 10**12),
        ("7B", 7),
    ],
)
def test_sizes(text, size, monkeypatch):
    assert parse_size(text, "x") == size
    monkeypatch.setenv(limits.VARIABLE, text)
    assert memory_limit() == size


def test_values_take_a_gigabyte_and_eight_times_the_weights_by_default(monkeypatch):
    monkeypatch.setattr(limits, "_total_memory", lambda: 64 * 10**9)
    assert values_limit() == 10**9
    assert values_limit(10**8) == 10**9 + 8 * 10**8
    assert values_limit(15 * 10**9) == 10**9  # a quarter of the memory without the weights
    monkeypatch.setattr(limits, "_total_memory", lambda: 2 * 10**9)
    assert values_limit(10**8) == 4 * 10**8
    set_memory_limit("5GB")
    assert values_limit(10**9) == 4 * 10**9


@pytest.mark.parametrize("text", ["", "0", "-1GB", "much", "1e9", "2GB2", "nan", "0.1", "2PB"])
def test_what_is_no_size_is_named(text):
    with pytest.raises(InputError, match=r"--memory-limit: '.*' is not a size; write for example"):
        parse_size(text, "--memory-limit")


def test_a_variable_that_is_no_size_is_named(monkeypatch):
    monkeypatch.setenv(limits.VARIABLE, "lots")
    with pytest.raises(InputError, match="LEAM_MEMORY_LIMIT: 'lots' is not a size"):
        memory_limit()


def test_a_limit_that_is_set_is_inherited():
    set_memory_limit("3MB")
    assert memory_limit() == 3_000_000
    code = "from leam.limits import memory_limit; print(memory_limit())"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert int(ran.stdout) == 3_000_000
    set_memory_limit(12345)
    assert memory_limit() == 12345
    with pytest.raises(InputError, match="memory limit: 'x' is not a size"):
        set_memory_limit("x")


def test_sizes_for_people():
    assert [readable(size) for size in (1, 999, 1500, 2.5e6, 6.6e9, 1e15)] == [
        "1 bytes",
        "999 bytes",
        "1.5 kB",
        "2.5 MB",
        "6.6 GB",
        "1e+03 TB",
    ]
