"""Lists of pairs as LFW and RFW publish them."""

import pytest

from encoded import write_tree
from leam.errors import InputError
from leam.faces.people import Pair, read_dataset

LFW = """2\t1
Ann_Lee\t1\t2
Ann_Lee\t1\tBo_Li\t3
Bo_Li\t1\t3
Bo_Li\t1\tAnn_Lee\t2
"""
PICTURES = [f"{name}/{name}_{n:04d}.png" for name in ("Ann_Lee", "Bo_Li") for n in (1, 2, 3)]


@pytest.fixture
def lfw(tmp_path):
    write_tree(tmp_path / "lfw", *PICTURES)
    (tmp_path / "pairs.txt").write_text(LFW)
    return tmp_path


@pytest.mark.parametrize("place", ["named", "beside", "below"])
def test_pairs_of_lfw(lfw, place):
    source = lfw / "lfw" / "pairs.txt" if place == "beside" else lfw / "pairs.txt"
    source.write_text(LFW)
    found = read_dataset(source, lfw / "lfw" if place == "named" else None)
    a1, a2, _, b1, _, b3 = PICTURES
    assert found.pairs == [
        Pair(a1, a2, True, 0), Pair(a1, b3, False, 0), Pair(b1, b3, True, 1), Pair(b1, a2, False, 1),
    ]  # fmt: skip
    assert {name: [one.image for one in two] for name, two in found.people.items()} == {
        "Ann_Lee": [a1, a2],
        "Bo_Li": [b1, b3],
    }
    assert all(one.path.is_file() for one in found.samples)


def test_the_lists_for_development_have_one_fold(lfw):
    (lfw / "pairs.txt").write_text("1\n" + "\n".join(LFW.splitlines()[1:3]))
    assert [pair.fold for pair in read_dataset(lfw / "pairs.txt").pairs] == [None, None]


def test_spaces_and_no_first_line(lfw):
    (lfw / "pairs.txt").write_text(LFW.partition("\n")[2].replace("\t", " "))
    assert [pair.same for pair in read_dataset(lfw / "pairs.txt").pairs] == [True, False] * 2


def test_a_picture_that_is_missing_is_a_jpeg_that_is_missing(lfw):
    (lfw / "lfw" / PICTURES[0]).unlink()
    assert read_dataset(lfw / "pairs.txt").samples[0].image == "Ann_Lee/Ann_Lee_0001.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LFW + "Ann_Lee 1\n", "line 6: expected NAME NUMBER NUMBER"),
        (LFW.replace("2\t1", "3\t1", 1), "its first line states 3 x 2 x 1 pairs, but it has 4"),
        (LFW.replace("Ann", "Anna"), "no folder Anna_Lee in"),
    ],
)
def test_lists_that_are_damaged(lfw, text, message):
    (lfw / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(lfw / "pairs.txt")


def test_a_list_of_rfw(tmp_path):
    names = [f"m.0{n}/m.0{n}_{k:04d}.png" for n in (1, 2) for k in (1, 2)]
    write_tree(tmp_path / "test" / "data" / "African", *names)
    source = tmp_path / "test" / "txts" / "African" / "African_pairs.txt"
    source.parent.mkdir(parents=True)
    source.write_text("m.01\t1\t2\nm.01\t1\tm.02\t2\n" * 3000)
    found = read_dataset(source)
    assert [pair.fold for pair in found.pairs][::600] == list(range(10))
    assert found.samples[0].groups == {"race": "African"}
    assert {one.image for one in found.samples} == {names[0], names[1], names[3]}
    assert read_dataset(source, tmp_path / "test").samples == found.samples


def test_a_name_that_no_folder_can_have_is_refused(lfw):
    (lfw / "pairs.txt").write_text(LFW.replace("Ann_Lee", "x" * 5000))
    with pytest.raises(InputError, match="no folder x"):
        read_dataset(lfw / "pairs.txt")
