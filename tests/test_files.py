"""Files: regular ones only, hashed, and found inside packages without importing them."""

import hashlib
import os
import socket
import sys

import pytest

from leam.files import open_regular, package_folder, packaged_file, read_toml, sha256_of


def test_the_hash_is_of_the_whole_file(tmp_path):
    data = os.urandom((1 << 18) + 3)
    (tmp_path / "big").write_bytes(data)
    assert sha256_of(tmp_path / "big") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["missing", ".", "a\0b"])
def test_what_is_not_a_file_is_an_oserror(tmp_path, name):
    with pytest.raises(OSError):  # noqa: PT011  its kind differs between systems
        open_regular(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_and_a_socket_are_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    # The path of a socket must be short.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
    for name in ("pipe", "socket"):
        with pytest.raises(OSError, match="a pipe or a device, not a file"):
            sha256_of(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"# " + b"x" * (1 << 20), "more than 1048576 bytes"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = \xff", "invalid start byte"),
        (b"a", "Expected '='"),
    ],
)
def test_what_is_not_a_small_toml_file_is_a_valueerror(tmp_path, content, complaint):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        read_toml(tmp_path / "a.toml")


def test_a_package_is_found_without_being_imported(tmp_path, monkeypatch):
    package = tmp_path / "explosive_package"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError")
    (package / "models" / "net.bin").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_file("explosive_package", "models/net.bin") == package / "models" / "net.bin"
    assert packaged_file("explosive_package", "models/other.bin") is None
    assert "explosive_package" not in sys.modules


@pytest.mark.parametrize("name", ["no_such_package_at_all", "explosive.models", "sys", ""])
def test_other_names_are_no_packages(name):
    assert package_folder(name) is None
