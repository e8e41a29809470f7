"""``leam explain --person``."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leam.cli.faces import pictures_in
from leam.cli.person import check_person
from leam.demo import portraits
from leam.errors import InputError


@pytest.fixture(scope="module")
def person(tmp_path_factory) -> Path:
    """Three pictures of one person."""
    folder = tmp_path_factory.mktemp("people") / "ada"
    folder.mkdir()
    with Image.open(next(iter(portraits().values()))) as opened:
        picture = opened.convert("RGB")
        picture.thumbnail((400, 400))
        for number in range(3):
            picture.rotate(3 * number).save(folder / f"{number}.png")
    return folder


def test_a_person_is_explained_by_all_pictures(leam, tmp_path, person):
    result = leam("explain", person, "--person", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "explanation.html", "maps.npz", "overlay.png", "person.json",
    }  # fmt: skip
    record = json.loads((tmp_path / "out" / "person.json").read_text())
    files = sorted(person.glob("*.png"))
    assert [one["image"] for one in record["pictures"]] == [str(path) for path in files]
    assert [one["sha256"] for one in record["pictures"]] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    ]
    assert (record["estimate"], record["population"], record["target"]) == ("mean", None, "self")
    with np.load(tmp_path / "out" / "maps.npz", allow_pickle=False) as maps:
        np.testing.assert_allclose(maps["person"], maps["pictures"].mean(axis=0), atol=1e-7)
        assert maps["critical"].sum() == record["critical_pixels"] == 225
        assert maps["person"][maps["critical"]].min() >= maps["person"][~maps["critical"]].max()
    assert sum(row["share"] for row in record["regions"].values()) == pytest.approx(1, abs=1e-5)
    assert "3 pictures · dlib_resnet · mean" in result.stdout
    page = (tmp_path / "out" / "explanation.html").read_text("utf-8")
    assert "What dlib_resnet relies on in 3 pictures of one person" in page
    assert all(one["sha256"] in page for one in record["pictures"])


@pytest.mark.slow
def test_unusable_pictures_are_named(leam, tmp_path, person):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"x")
    result = leam("explain", person, bad, "--person", "--out", tmp_path / "out", "--json")
    assert result.returncode == 1
    assert result.stderr.startswith(f"leam: {bad}")
    record = json.loads(result.stdout)
    assert record.pop("folder") == str(tmp_path / "out")
    assert record == json.loads((tmp_path / "out" / "person.json").read_text())


@pytest.mark.slow
def test_a_population_of_too_few_people_is_refused(leam, complaint, tmp_path, person):
    result = leam(
        "explain", person, "--person", "--person-map", "shrunk", "--population", person.parent,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "population: 1 people with two or more pictures; expected at least 10" in complaint(
        result
    )


@pytest.mark.slow
def test_a_picture_that_occurs_twice_is_refused(leam, complaint, tmp_path, person):
    same = tmp_path / "same.png"
    same.write_bytes((person / "1.png").read_bytes())
    result = leam("explain", person, same, "--person", "--out", tmp_path / "out")
    assert f"{same}: the same picture as {person / '1.png'}" in complaint(result)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"estimate": "mean", "person": False}, "--person-map mean: add --person"),
        ({"population": Path("x"), "person": False}, "--population x: add --person"),
        ({"other": Path("x")}, "leave out --with"),
        ({"target": "reference"}, "leave out --with and --target reference"),
        ({"estimate": "median"}, "median: no such person map; did you mean mean? available: mean"),
        ({"estimate": "shrunk"}, "name their folder with --population"),
        ({"population": Path("x")}, "--population x: not used by --person-map mean"),
    ],
)
def test_options_that_do_not_go_together(options, reason):
    given = {"other": None, "target": None, "estimate": None, "population": None, "person": True}
    with pytest.raises(InputError, match=re.escape(reason)):
        check_person(**{**given, **options})


def test_options_that_go_together():
    check_person(None, None, None, None, person=False)
    check_person(None, "self", "shrunk", Path("x"), person=True)


def test_pictures_of_folders(tmp_path, person, capsys):
    one = tmp_path / "z.jpg"
    first, *inside = pictures_in([one, person])
    assert first == one
    assert [sample.path for sample in inside] == [person / f"{n}.png" for n in range(3)]
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="contains no pictures"):
        pictures_in([tmp_path])


def test_files_of_folders_that_are_not_used_are_named(tmp_path, person, capsys):
    (tmp_path / "old").mkdir()
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "scan").write_bytes((person / "0.png").read_bytes())
    (sample,) = pictures_in([tmp_path])
    assert sample.path == tmp_path / "scan"  # a picture without a suffix
    assert "files not used: 2: notes.txt (not a picture), old (folder)" in capsys.readouterr().err
