from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from encoded import write_tree
from leam.errors import InputError
from leam.faces.people import (
    Pair,
    Sample,
    add_groups,
    crossed,
    draw_people,
    exclusion_note,
    group_notes,
    linked_people,
    named_exclusions,
    read_dataset,
    read_people,
)


@pytest.fixture
def folder(tmp_path):
    for name, count in (("Ann", 3), ("Bob", 2), ("Zoë Å", 1)):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index} pic.JPG").touch()
    (tmp_path / "Ann" / "notes.txt").touch()
    (tmp_path / "Ann" / ".hidden.jpg").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "stray.jpg").touch()
    return tmp_path


def test_folder(folder):
    samples = read_people(folder)
    assert [s.image for s in samples] == [
        "Ann/0 pic.JPG",
        "Ann/1 pic.JPG",
        "Ann/2 pic.JPG",
        "Bob/0 pic.JPG",
        "Bob/1 pic.JPG",
        "Zoë Å/0 pic.JPG",
    ]
    assert samples[0].path == folder / "Ann" / "0 pic.JPG"


def test_table_with_groups(folder):
    table = folder / "people.csv"
    table.write_text(
        "person,image,gender\nBob,Bob/0 pic.JPG,male\nAnn,Ann/0 pic.JPG,female\n", encoding="utf-8"
    )
    samples = read_people(table)
    assert [(s.person, s.groups) for s in samples] == [
        ("Ann", {"gender": "female"}),
        ("Bob", {"gender": "male"}),
    ]
    assert samples[0].path == folder / "Ann/0 pic.JPG"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,person\na.jpg,Ann\n", "column 'image' is missing"),
        ("image,person\na.jpg\n", "line 2"),
        ("image,person\n", "no pictures found"),
        ("image,person\na.jpg,Ann,extra\n", "line 2"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    table = tmp_path / "people.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_people(table)


def test_a_binary_table_and_an_empty_folder(tmp_path):
    table = tmp_path / "people.csv"
    table.write_bytes(b"\xff\xd8\xff\x00image")
    with pytest.raises(InputError, match="not a readable CSV"):
        read_people(table)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures found"):
        read_people(tmp_path / "empty")


def test_nothing_and_something_unknown(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such file or folder"):
        read_dataset(tmp_path / "nowhere")


def test_draw_is_seeded_and_takes_people_with_two_pictures(folder):
    samples = read_people(folder)
    assert {s.person for s in draw_people(samples, 2, None, 0)} == {"Ann", "Bob"}
    assert draw_people(samples, 1, 2, 5) == draw_people(samples, 1, 2, 5)
    assert len(draw_people(samples, None, 2, 0)) == 5


def test_groups_are_added_by_person(folder):
    table = folder / "groups.csv"
    table.write_text("person,gender\nAnn,female\n", encoding="utf-8")
    groups = {s.person: s.groups for s in add_groups(read_people(folder), table)}
    assert groups == {"Ann": {"gender": "female"}, "Bob": {}, "Zoë Å": {}}
    table.write_text("name,gender\nAnn,female\n", encoding="utf-8")
    with pytest.raises(InputError, match="column 'person' is missing"):
        add_groups(read_people(folder), table)


def people(*names):
    return [Sample(Path("a.png"), f"{name}/a.png", name) for name in names]


def test_a_table_and_a_folder_may_write_a_name_in_two_ways(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    (tmp_path / "faces" / nfd).mkdir(parents=True)
    (tmp_path / "faces" / nfd / "1.png").touch()
    (tmp_path / "g.csv").write_text(f"person,gender\n{nfc},m\n", encoding="utf-8")
    (sample,) = add_groups(read_people(tmp_path / "faces"), tmp_path / "g.csv")
    assert (sample.person, sample.groups) == (nfc, {"gender": "m"})
    (tmp_path / "g.csv").write_text(f"person,gender\n{nfd},m\n{nfc},f\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: José is already in line 2; remove one"):
        add_groups(people(nfc), tmp_path / "g.csv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("carl,f\n", "names none of the people; it has 'carl', the pictures have 'Ann_Lee'"),
        ("", "names none of the people; it has no rows, the pictures have 'Ann_Lee'"),
    ],
)
def test_a_table_of_other_people_is_refused(tmp_path, rows, message):
    table = tmp_path / "g.csv"
    table.write_text(f"person,gender\n{rows}", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        add_groups(people("Ann_Lee", "Bo_Li"), table)


def test_that_none_of_those_who_were_drawn_is_in_the_table_is_no_error(tmp_path):
    table = tmp_path / "g.csv"
    table.write_text("person,gender\ncarl,f\n", encoding="utf-8")
    assert add_groups(people("Bo_Li"), table, among=["carl", "Bo_Li"]) == people("Bo_Li")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ann lee", "Ann_Lee"),
        ("Ann\N{NO-BREAK SPACE}Lee", "Ann_Lee"),
        ("1", "001"),
        ("1.0", "001"),
        ("Ann\u200b Lee", "Ann_Lee"),
        ("ANN_LEE", "Ann_Lee"),
        ("faces/001", "001"),
        ("Ann_Lee/1.png", "Ann_Lee"),
        ("faces\\Ann_Lee\\1.png", "Ann_Lee"),
    ],
)
def test_a_name_that_is_written_in_another_way_is_no_missing_value(tmp_path, written, meant):
    table = tmp_path / "g.csv"
    table.write_text(f"person,gender\nBo_Li,m\n{written},f\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"line 3: .* is none of the people, but '{meant}' is"):
        add_groups(people("Ann_Lee", "001", "Bo_Li"), table)


def test_names_that_differ_only_in_case_are_two_people(tmp_path):
    table = tmp_path / "g.csv"
    table.write_text("person,gender\nann,f\nAnn,m\nANN,m\n", encoding="utf-8")
    found = add_groups(people("ann", "Ann"), table)
    assert [one.groups["gender"] for one in found] == ["f", "m"]


def test_how_many_people_have_a_value_is_said(tmp_path):
    table = tmp_path / "g.csv"
    table.write_text("Person;gender;age\nann;f;\nbob;m;30\nzoe;f;9\n", encoding="utf-8")
    samples = add_groups(people("ann", "ann", "bob", "carl"), table)
    assert group_notes(samples) == [
        "1 of 3 people have a value for age",
        "2 of 3 people have a value for gender",
    ]
    assert samples[0].groups == {"gender": "f"}


def test_values_that_contradict_or_differ_only_in_case_are_said():
    values = {"ann": ["f", "m"], "bob": ["m"], "carl": ["M"], "dora": ["f", "f"]}
    samples = [
        Sample(Path("a.png"), f"{name}/{n}.png", name, {"gender": value})
        for name, found in values.items()
        for n, value in enumerate(found)
    ]
    assert group_notes(samples) == [
        "4 of 4 people have a value for gender",
        "1 of 4 people have several values for gender and are in none of its groups",
        "1 of 3 values of gender are another one in other case or spaces; they count as different groups",
    ]


def test_names_that_may_be_of_one_person_are_counted(tmp_path):
    write_tree(tmp_path, "Ann/1.png", "ann/1.png", "007/1.png", "7/1.png", "bob/1.png")
    (note,) = read_dataset(tmp_path).notes
    assert note.startswith("2 of 5 people have a name that another one has in other case, spaces")


def test_exclusions_are_counted_by_reason():
    named = {"a": "hidden", "b": "not a picture", "c": "not a picture"}
    assert exclusion_note(named) == "files not used: 3 (2 not a picture, 1 hidden)"
    assert exclusion_note({}) == ""
    many = exclusion_note({str(n): f"reason {n}" for n in range(9)})
    assert many.endswith("1 reason 4, 4 for other reasons)")


def test_exclusions_are_named():
    assert named_exclusions({}) == ""
    assert named_exclusions({"a": "hidden", "b": "empty file"}) == (
        "files not used: 2: a (hidden), b (empty file)"
    )
    assert named_exclusions(dict.fromkeys("abc", "hidden"), most=2).endswith(
        "b (hidden), and 1 more"
    )


def test_a_picture_is_no_data_set(tmp_path):
    write_tree(tmp_path, "a.png")
    with pytest.raises(InputError, match=r"a\.png: is a picture; give the folder of the people"):
        read_dataset(tmp_path / "a.png")


def test_genuine_pairs_link_pictures():
    pairs = [Pair("a", "b", same=True), Pair("c", "b", same=True), Pair("c", "d", same=False)]
    assert linked_people("abcd", pairs) == {"a": "a", "b": "a", "c": "a", "d": "d"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused_with_a_way_out(tmp_path):
    os.mkfifo(tmp_path / "pairs")
    with pytest.raises(InputError, match=r"pairs: is a pipe or a device, .* write it to a file"):
        read_dataset(tmp_path / "pairs")


def test_intersections_of_columns_are_groups():
    samples = [
        Sample(Path("1.png"), "1.png", "ann", {"gender": "f", "age": "30"}),
        Sample(Path("2.png"), "2.png", "bob", {"gender": "m"}),
    ]
    both, one = crossed(samples, ["gender", "gender+age"])
    assert both.groups == {"gender": "f", "age": "30", "gender+age": "f + 30"}
    assert one == samples[1]
    assert crossed(samples, ["gender"]) == samples
