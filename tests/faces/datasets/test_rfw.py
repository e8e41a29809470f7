"""The folder of RFW."""

from encoded import write_tree
from leam.faces.people import Pair, read_dataset


def test_all_races_with_their_pairs(tmp_path):
    names = [
        f"data/{race}/m.0{n}/m.0{n}_{k:04d}.png"
        for race, numbers in (("African", (1, 2)), ("Asian", (3, 4)))
        for n in numbers
        for k in (1, 2)
    ]
    write_tree(
        tmp_path, *names, "data/Asian/m.03/list.txt", "txts/African/African_people.txt",
        "txts/African/African_pairs.txt", "txts/Asian/Asian_pairs.txt",
    )  # fmt: skip
    (tmp_path / "txts/African/African_pairs.txt").write_text("m.01\t1\t2\nm.01\t1\tm.02\t2\n")
    (tmp_path / "txts/Asian/Asian_pairs.txt").write_text("m.03\t1\t2\n")
    found = read_dataset(tmp_path)
    assert [(one.image, one.person, one.groups["race"]) for one in found.samples] == [
        (name, name.split("/")[2], name.split("/")[1]) for name in names
    ]
    assert all(one.path == tmp_path / one.image for one in found.samples)
    assert found.pairs == [
        Pair(names[0], names[1], True), Pair(names[0], names[3], False), Pair(names[4], names[5], True)
    ]  # fmt: skip
    assert dict(found.exclusions) == {
        "data/Asian/m.03/list.txt": "not a picture",
        "txts/African/African_people.txt": "not a list of pairs",
    }
    assert found.notes[0] == "layout: RFW, 2 races in the column race, 3 pairs"


def test_one_race_and_a_pair_whose_pictures_are_missing(tmp_path):
    names = [f"data/Indian/m.0{n}/m.0{n}_{k:04d}.png" for n in (1, 2) for k in (1, 2)]
    write_tree(tmp_path, *names, "txts/Indian/Indian_pairs.txt")
    (tmp_path / "txts/Indian/Indian_pairs.txt").write_text("m.09\t1\t2\nm.01\t1\tm.02\t2\n")
    found = read_dataset(tmp_path)
    assert {one.groups["race"] for one in found.samples} == {"Indian"}
    assert len(found.pairs) == 2
    assert found.exclusions == {
        f"data/Indian/m.09/m.09_000{k}.jpg": "named in a list of pairs, but missing" for k in (1, 2)
    }
