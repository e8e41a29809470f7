from __future__ import annotations

import pytest

from leam.errors import InputError
from leam.faces.people import add_groups, draw_people, read_people


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
    table.write_bytes(b"\xff\xfe\x00image")
    with pytest.raises(InputError, match="not a readable CSV"):
        read_people(table)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures found"):
        read_people(tmp_path / "empty")


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
