"""Tables of pairs."""

import pytest

from leam.errors import InputError
from leam.faces.people import Pair, read_dataset


def read(tmp_path, text, **options):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return read_dataset(tmp_path / "t.csv", **options)


def test_pairs_of_pictures_in_folders_of_people(tmp_path):
    found = read(
        tmp_path,
        "Left;right;SAME;fold\na\\1.png;a/2.png;1;0\na/1.png;b/1.png;False;1\n",
        folder=tmp_path / "faces",
    )
    assert found.pairs == [
        Pair("a/1.png", "a/2.png", True, 0),
        Pair("a/1.png", "b/1.png", False, 1),
    ]
    assert {name: len(one) for name, one in found.people.items()} == {"a": 2, "b": 1}
    assert found.samples[0].path == tmp_path / "faces" / "a" / "1.png"


def test_pairs_without_folders_are_linked(tmp_path):
    found = read(tmp_path, "left,right,same\n1.png,2.png,1\n2.png,3.png,1\n1.png,4.png,0\n")
    assert {name: [one.image for one in two] for name, two in found.people.items()} == {
        "1.png": ["1.png", "2.png", "3.png"],
        "4.png": ["4.png"],
    }
    assert "without names of people" in found.notes[0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,b,2,", "line 2 lacks left, right, or a same of 1 or 0"),
        ("a,b,1,x", "line 2 lacks"),
        (",b,1,", "line 2: expected 4 values"),
    ],
)
def test_rows_that_are_no_pairs(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, f"left,right,same,fold\n{row}\n")


def test_pairs_that_are_none_or_no_new_ones_are_said(tmp_path):
    rows = "a/1.png,a/1.png,1 a/1.png,a/2.png,1 ./a/2.png,a//1.png,TRUE a/1.png,b/1.png,0.0 b/1.png,a/1.png,1.0"
    found = read(tmp_path, "left,right,same\n" + rows.replace(" ", "\n"))
    assert len(found.pairs) == 4
    assert found.notes[1:] == (
        "1 of 5 pairs are of a picture with itself and left out",
        "1 of 5 pairs are listed again and count each time",
        "1 of 5 pairs are listed as genuine and as impostor",
    )
