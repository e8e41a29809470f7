"""Lists of pairs as LFW and RFW publish them."""

import unicodedata

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
        (LFW.replace("_L", "_M"), "no folder Ann_Mee in"),
    ],
)
def test_lists_that_are_damaged(lfw, text, message):
    (lfw / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(lfw / "pairs.txt")


def test_a_line_of_delimiters_is_no_pair(lfw):
    (lfw / "pairs.txt").write_text(",\n,,\n")
    with pytest.raises(InputError, match="the column 'image' is missing"):
        read_dataset(lfw / "pairs.txt")
    (lfw / "pairs.txt").write_text(f"{LFW},,\n")
    with pytest.raises(InputError, match="line 6: expected NAME NUMBER NUMBER"):
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
    (lfw / "pairs.txt").write_text(LFW.replace("Ann_Lee", "x" * 5000).replace("Bo_Li", "y"))
    with pytest.raises(InputError, match="no folder x"):
        read_dataset(lfw / "pairs.txt")


def test_people_whose_names_are_numbers(tmp_path):
    write_tree(tmp_path, "0045/0045_0001.png", "0045/0045_0002.png", "0046/0046_0001.png")
    (tmp_path / "pairs.txt").write_text("0045\t1\t2\n0045\t1\t0046\t1\n")
    found = read_dataset(tmp_path / "pairs.txt")
    assert [pair.same for pair in found.pairs] == [True, False]
    assert {name: len(two) for name, two in found.people.items()} == {"0045": 2, "0046": 1}
    (tmp_path / "pairs.txt").write_text("1 1\n0045 1 2\n0045 1 0046 1\n")
    assert read_dataset(tmp_path / "pairs.txt").pairs == found.pairs


def test_a_person_without_pictures_costs_that_person_only(lfw):
    (lfw / "pairs.txt").write_text(f"Zed_Gone\t1\t2\n{LFW.partition(chr(10))[2]}")
    found = read_dataset(lfw / "pairs.txt")
    assert len(found.pairs) == 5
    missing = [one.image for one in found.samples if not one.path.exists()]
    assert missing == ["Zed_Gone/Zed_Gone_0001.jpg", "Zed_Gone/Zed_Gone_0002.jpg"]


def test_folders_may_have_their_names_in_another_form(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    write_tree(tmp_path, f"{nfd}/{nfd}_0001.png", f"{nfc}/{nfc}_0002.png", "Bo/Bo_0001.png")
    write_tree(tmp_path, f"{nfd}/{nfd}_0002.png")
    (tmp_path / "pairs.txt").write_text(f"{nfd}\t1\t2\n{nfd}\t1\tBo\t1\n", encoding="utf-8")
    found = read_dataset(tmp_path / "pairs.txt")
    assert all(one.path.exists() for one in found.samples)
    assert [one.image for one in found.people[nfc]] == [f"{nfc}/{nfc}_000{n}.png" for n in (1, 2)]
    (tmp_path / nfc / f"{nfc}_0002.png").unlink()
    (tmp_path / nfc).rmdir()
    (tmp_path / "pairs.txt").write_text(f"{nfc}\t1\t2\n{nfc}\t1\tBo\t1\n", encoding="utf-8")
    again = read_dataset(tmp_path / "pairs.txt")
    assert all(one.path.exists() for one in again.samples)
    assert again.pairs == found.pairs


@pytest.mark.parametrize("between", ["\t", " "])
def test_names_with_spaces(tmp_path, between):
    write_tree(
        tmp_path, "Ann B Lee/Ann B Lee_0001.png", "Ann B Lee/Ann B Lee_0002.png", "Bo/Bo_0001.png"
    )
    rows = (("Ann B Lee", "1", "2"), ("Ann B Lee", "2", "Bo", "1"), ("Bo", "1", "Ann B Lee", "1"))
    (tmp_path / "pairs.txt").write_text("".join(f"{between.join(row)}\r\n" for row in rows))
    found = read_dataset(tmp_path / "pairs.txt")
    assert [pair.same for pair in found.pairs] == [True, False, False]
    assert list(found.people) == ["Ann B Lee", "Bo"]
    (tmp_path / "pairs.txt").write_text("Bo 1 2\nAnn B 3 Lee 1 2\n")
    with pytest.raises(InputError, match="line 2: expected NAME NUMBER NUMBER"):
        read_dataset(tmp_path / "pairs.txt")


def test_the_list_as_a_csv_file(lfw):
    rows = LFW.partition("\n")[2].replace("\t", ",").replace("1,2\n", "1,2,\n")
    (lfw / "pairs.txt").write_text(f"name,imagenum1,imagenum2,\n{rows}")
    assert [pair.same for pair in read_dataset(lfw / "pairs.txt").pairs] == [True, False] * 2


@pytest.mark.parametrize("between", [",", "\t", ";"])
def test_a_table_with_columns_of_numbers_is_no_list(tmp_path, between):
    write_tree(tmp_path, "1.png", "2.png")
    (tmp_path / "t.csv").write_text(
        "image,person,age\n1.png,12,30\n2.png,13,31\n".replace(",", between)
    )
    assert list(read_dataset(tmp_path / "t.csv").people) == ["12", "13"]
