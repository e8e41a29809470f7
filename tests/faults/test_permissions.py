"""Files in the middle of a study that cannot be read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hostile import endures
from leam import files
from leam.errors import ImageError
from leam.faces.reading import read_picture
from leam.report import render_report
from leam.study.store import RunFolder
from small import log_of, study


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.png")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def empty(path: Path) -> None:
    path.touch()


def noise(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


def forbidden(path: Path) -> None:
    """For root, too; see the fixture."""
    path.write_bytes(b"secret")


FAULTS = {
    folder: "empty folder",
    pipe: "a pipe or a device, not a file",
    endless: "a pipe or a device, not a file",
    dangling: "a link to nothing",
    circle: "Too many levels of symbolic links",
    empty: "is empty, not a picture",
    noise: "picture",
    forbidden: "permission denied",
}


@pytest.fixture
def denied(monkeypatch) -> None:
    opened = files._open_nonblocking

    def deny(name: str, flags: int) -> int:
        if Path(name).stem == "forbidden":
            raise PermissionError(13, "Permission denied", name)
        return opened(name, flags)

    monkeypatch.setattr(files, "_open_nonblocking", deny)


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and links")
@pytest.mark.usefixtures("denied")
def test_each_is_one_line_and_nothing_else_is_lost(faces, tmp_path):
    more = tmp_path / "faces"
    shutil.copytree(faces, more)
    for make in FAULTS:
        make(more / "Eileen Collins" / f"{make.__name__}.png")
    with endures(60):
        summary = study(more, tmp_path / "run")
    reasons = {one["image"]: one["reason"] for one in summary["exclusions"]}
    lines = log_of(tmp_path / "run")
    assert len(lines) == len(reasons) == len(FAULTS)
    page = render_report(RunFolder(tmp_path / "run")).read_text()
    for make, reason in FAULTS.items():
        name = f"Eileen Collins/{make.__name__}.png"
        assert reason in reasons[name]
        assert f"picture {name}: {reasons[name]}" in lines
        assert f"{make.__name__}.png" in page
    assert summary["recognizers"] == study(faces, tmp_path / "without")["recognizers"]


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can become another user"
)
def test_a_file_that_the_user_may_not_read(tmp_path):
    path = tmp_path / "private.png"
    path.write_bytes(b"private")
    path.chmod(0o600)
    child = os.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.setuid(65534)
        try:
            read_picture("private.png")
        except ImageError as error:
            os._exit(7 if "permission denied" in str(error).lower() else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
