"""``leam protect``: its files, its table and its mistakes."""

from __future__ import annotations

import json
import os
import stat

import pytest
from PIL import Image, ImageEnhance

from leam.demo import portraits


@pytest.fixture
def mine(tmp_path):
    """Three pictures of one person in another light each."""
    folder = tmp_path / "mine"
    folder.mkdir()
    with Image.open(portraits()["Eileen Collins"]) as picture:
        for number in range(3):
            ImageEnhance.Brightness(picture).enhance(1 - 0.2 * number).save(
                folder / f"{number}.png"
            )
    return folder


@pytest.mark.slow
def test_the_files_are_private_and_the_figures_are_printed(leam, tmp_path, mine):
    changed = tmp_path / "changed"
    changed.mkdir()
    with Image.open(mine / "1.png") as picture:
        picture.convert("L").save(changed / "1.jpg")
        picture.save(changed / "stranger.jpg")
    out = tmp_path / "run"
    options = ("--against", "dlib_resnet", "--changes", "sunglasses,cover", "--out", out)
    result = leam("protect", mine, "--protected", changed, *options)
    assert result.returncode == 0, result.stderr
    assert "stranger.jpg: no usable original of this name" in result.stderr
    assert "0.png: no changed file of this name" in result.stderr
    assert "links 3 of 3 of the pairs" in result.stdout
    assert "the region that links most is" in result.stdout
    assert "warning: recognizers that were not tested may still link" in result.stdout
    record = json.loads((out / "protect.json").read_text())
    assert list(record["changes"]) == ["none", "sunglasses", "cover", "protected"]
    assert record["changes"]["protected"]["pictures"] == 1
    if os.name == "posix":
        for name in ("protect.json", "protect.html"):
            assert stat.S_IMODE((out / name).stat().st_mode) == 0o600
    again = leam("protect", mine, "--protected", changed, *options, "--force", "--json")
    assert json.loads(again.stdout) == {"folder": str(out), **record}


def test_mistakes(leam, complaint, tmp_path, mine):
    out = ("--against", "dlib_resnet", "--out", tmp_path / "run")
    people = tmp_path / "people"
    (people / "ada").mkdir(parents=True)
    assert "pictures of one person, without subfolders" in complaint(leam("protect", people, *out))
    one = tmp_path / "one"
    one.mkdir()
    (one / "0.png").write_bytes((mine / "0.png").read_bytes())
    assert "contains one picture" in complaint(leam("protect", one, *out))
    Image.new("RGB", (64, 64)).save(one / "1.png")
    unusable = leam("protect", one, *out).stderr.splitlines()
    assert "1.png: no face found" in unusable[-2]
    assert "one usable picture" in unusable[-1]
    assert "not a folder" in complaint(leam("protect", mine / "0.png", *out))
    assert "no such file or folder" in complaint(leam("protect", tmp_path / "nothing", *out))
    wrong = complaint(leam("protect", mine, *out, "--changes", "sunglases"))
    assert "sunglasses" in wrong
    assert "nothing to test" in complaint(leam("protect", mine, *out, "--changes", "none"))
    assert "add --population" in complaint(leam("protect", mine, *out, "--fmr", "0.01"))
    several = leam(
        "protect", mine, "--against", "dlib_resnet,sface", "--threshold", 0, "--out", out[-1]
    )
    assert several.returncode == 1
    assert not (tmp_path / "run").exists()


def test_changed_files_need_the_names_of_the_originals(leam, tmp_path, mine):
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "other.png").write_bytes((mine / "0.png").read_bytes())
    result = leam(
        "protect", mine, "--against", "dlib_resnet", "--protected", changed, "--changes", "none",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert result.returncode == 1
    assert "no file has the name of an original" in result.stderr.splitlines()[-1]
