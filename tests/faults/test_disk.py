"""A disk that is full, and pieces of work that the disk damaged."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from leam.errors import StudyError
from small import digests, log_of, study

resource = pytest.importorskip("resource")

pytestmark = pytest.mark.slow


def test_every_write_may_be_the_one_that_fills_the_disk(faces, whole, tmp_path, monkeypatch):
    """Each attempt may write two files more than the one before, and goes on from what that one kept."""
    sync, allowed, messages = os.fsync, 0, []

    def full(stream: int) -> None:
        nonlocal allowed
        if allowed == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allowed -= 1
        sync(stream)

    monkeypatch.setattr("os.fsync", full)
    out = tmp_path / "run"
    for attempt in range(40):
        allowed = 2 + attempt
        try:
            study(faces, out)
            break
        except StudyError as error:
            messages.append(str(error))
        assert not list(out.rglob(".part-*"))
    assert len(messages) > 2
    for message in messages:
        assert "No space left on device); finished work is kept" in message
    assert digests(out) == digests(whole)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 48 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48k", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(faces, whole, small_disk):
    with pytest.raises(StudyError, match=r"cannot be written \(No space left on device\)"):
        study(faces, small_disk / "run")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    study(faces, small_disk / "run")
    assert digests(small_disk / "run") == digests(whole)


def test_a_disk_that_cannot_be_written(faces, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StudyError, match=r"cannot be written|Read-only file system"):
        study(faces, small_disk / "run")


def leam(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leam", *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def test_explain_on_a_full_disk_is_one_line(faces, tmp_path):
    """A limit on the size of files stands for the disk."""
    picture = faces / "Grace Hopper" / "0.png"
    result = leam(
        "explain", picture, "--out", tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.strip() == "leam: File too large"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        result = leam("models", "--json", stdout=full)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "No space left on device" in result.stderr


def cut(shard: Path) -> bytes:
    return shard.read_bytes()[:-200]


def flipped(shard: Path) -> bytes:
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    return bytes(data)


def another(shard: Path) -> bytes:
    """A sound shard of another stage."""
    shards = shard.parents[len(shard.parts) - shard.parts.index("shards") - 2]
    return next(
        path.read_bytes() for path in sorted(shards.rglob("*.npz")) if path.parent != shard.parent
    )


def plain_array(_: Path) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    return stream.getvalue()


def pickled(_: Path) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, of=np.array([print], dtype=object))
    return stream.getvalue()


@pytest.mark.parametrize("damage", [cut, flipped, another, plain_array, pickled])
def test_damaged_shards_are_done_again_and_logged(faces, whole, tmp_path, damage):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shards = sorted((out / "shards").rglob("*.npz"))
    assert len(shards) > 2
    contents = [damage(shard) for shard in shards]
    for shard, content in zip(shards, contents, strict=True):
        shard.write_bytes(content)
    study(faces, out)
    assert digests(out) == digests(whole)
    lines = [line for line in log_of(out) if "damaged; computed again" in line]
    # Figures are computed again in any case.
    assert len(lines) == sum("summarise" not in shard.parts for shard in shards)
