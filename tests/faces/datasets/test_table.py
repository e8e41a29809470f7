"""Tables of pictures and people."""

import unicodedata

import pytest

from encoded import write_tree, write_video
from leam.errors import InputError
from leam.faces.people import Sample, read_dataset


def read(tmp_path, text, **options):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return read_dataset(tmp_path / "t.csv", **options)


def test_other_columns_are_groups_and_empty_cells_are_none(tmp_path):
    found = read(tmp_path, "Image;PERSON;Gender;age\na\\1.png;ann;f;\nb/1.png;bob;;30\n")
    assert found.samples == [
        Sample(tmp_path / "a/1.png", "a/1.png", "ann", {"Gender": "f"}),
        Sample(tmp_path / "b/1.png", "b/1.png", "bob", {"age": "30"}),
    ]


def test_pictures_may_lie_elsewhere(tmp_path):
    (one,) = read(tmp_path, "image,person\n1.png,ann\n", folder=tmp_path / "faces").samples
    assert one.path == tmp_path / "faces" / "1.png"


def test_a_file_may_have_its_name_in_another_form(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    write_tree(tmp_path, nfd)
    (one,) = read(tmp_path, f"image,person\n{nfc},ann\n").samples
    assert one.path.exists()
    assert one.image == nfc


def test_a_name_without_suffix_is_the_one_picture_that_has_it(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    write_tree(tmp_path, "a/1.JPG", "a/2.png", "a/2.jpg", "a/1.txt", f"a/{nfd}.png")
    found = read(tmp_path, f"image,person\na/1,ann\na/2,ann\na/3,ann\na/{nfc},ann\n").samples
    assert {one.image: one.path.name for one in found} == {
        "a/1": "1.JPG",
        "a/2": "2",
        "a/3": "3",
        f"a/{nfc}": f"{nfd}.png",
    }


def test_a_picture_that_is_named_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"line 3: a/1\.png is already in line 2"):
        read(tmp_path, "image,person\na/1.png,ann\na\\1.png,bob\n")


def test_a_video_is_sampled(tmp_path):
    write_video(tmp_path / "a.mp4")
    found = read(tmp_path, "image,person\na.mp4,ann\nb.mp4,bob\n")
    assert [one.member for one in found.samples][:2] == ["frame=1", "frame=5"]
    assert found.exclusions.keys() == {"b.mp4"}


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 5000 + ".png", "x/" * 5000])
def test_a_name_that_no_file_can_have_is_a_picture_that_is_missing(tmp_path, name):
    (one,) = read(tmp_path, f"image,person\n{name},ann\n").samples
    assert one.path == tmp_path / name


@pytest.mark.parametrize("again", ["./a/1.png", "a//1.png", "b/../a/1.png", "{}/a/1.png"])
def test_a_picture_that_is_written_in_two_ways_is_named_twice(tmp_path, again):
    with pytest.raises(InputError, match=r"line 3: .*a/1\.png is already in line 2"):
        read(tmp_path, f"image,person\na/1.png,ann\n{again.format(tmp_path)},ann\n")


def test_missing_values_are_no_groups(tmp_path):
    values = ["NaN", "nan", "n/a", "NA", "#N/A", "<NA>", "NULL", " "]
    rows = "".join(f"{n}.png,ann,{value}\n" for n, value in enumerate(values))
    found = read(tmp_path, f"image,person,gender\n{rows}9.png,bob,none\n")
    assert [one.groups for one in found.samples] == [{}] * 8 + [{"gender": "none"}]
