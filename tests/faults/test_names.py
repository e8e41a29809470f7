"""Names that would lead out of the output folder, or out of one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hostile import everything_in
from leam.cli import main
from leam.cli.console import complain
from leam.errors import InputError
from leam.recognizers.recognizer import Recognizer


def run(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    """Run the command here; its exit status and what it wrote on standard error."""
    monkeypatch.setattr(sys, "argv", ["leam", *map(str, arguments)])
    monkeypatch.setenv("NO_COLOR", "1")
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0), capsys.readouterr().err
    return 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["...jpg"])
def test_no_picture_names_the_folder_above(faces, tmp_path, monkeypatch, capsys, name):
    picture = (faces / "Grace Hopper" / "0.png").read_bytes()
    (tmp_path / "a").mkdir()
    (tmp_path / name).write_bytes(picture)
    (tmp_path / "other.png").write_bytes(picture)
    monkeypatch.chdir(tmp_path)
    before = everything_in(tmp_path)
    assert run(monkeypatch, capsys, "parse", name, "other.png", "--out", "b/out")[0] == 0
    written = everything_in(tmp_path).keys() - before.keys()
    assert {Path(path).parent.as_posix() for path in written} == {"b/out/face", "b/out/other"}


def test_a_name_with_a_line_break_is_still_one_line(tmp_path, monkeypatch, capsys):
    name = "two\nlines\x1b[31m.jpg"
    code, said = run(monkeypatch, capsys, "parse", tmp_path / name, "--out", tmp_path / "out")
    assert code == 1
    assert said.count("\n") == 1
    assert r"two\nlines\x1b[31m.jpg: no such file" in said


def test_a_complaint_keeps_letters_of_any_script(capsys):
    complain(InputError("Zoë 写真: no such file"))
    assert "Zoë 写真: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 99\nstack"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_no_memory_is_one_line(faces, tmp_path, monkeypatch, capsys, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Recognizer, "forward", fail)
    picture = faces / "Grace Hopper" / "0.png"
    code, said = run(monkeypatch, capsys, "explain", picture, "--out", tmp_path / "out")
    assert code == 1
    assert said.startswith("leam: not enough memory")
    assert said.count("\n") == 1
