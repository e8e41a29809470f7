"""Folders of pictures: which level is the people, and why each other file is not used."""

import os
import unicodedata

import pytest
from PIL import Image

from encoded import encoded, write_tree, write_video
from leam.errors import InputError
from leam.faces.people import read_dataset


def people_of(root, *names):
    write_tree(root, *names)
    return {
        person: [one.image for one in found] for person, found in read_dataset(root).people.items()
    }


def test_one_folder_for_each_person(tmp_path):
    write_tree(tmp_path, "ann/1.png", "ann/2.png", "bob/1.png")
    found = read_dataset(tmp_path)
    assert {name: len(pictures) for name, pictures in found.people.items()} == {"ann": 2, "bob": 1}
    assert found.people["ann"][0].path == tmp_path / "ann" / "1.png"
    assert found.notes == ()
    assert not found.exclusions


def test_lfw(tmp_path):
    names = [f"{name}/{name}_{n:04d}.png" for name in ("Ann_Lee", "Bo_Li") for n in (1, 2)]
    assert set(people_of(tmp_path, *names)) == {"Ann_Lee", "Bo_Li"}


def test_a_level_above_the_people_is_a_group(tmp_path):
    write_tree(tmp_path, "African/p1/1.png", "African/p2/1.png", "Asian/p3/1.png", "Asian/p4/1.png")
    found = read_dataset(tmp_path)
    assert {one.person: one.groups for one in found.samples} == {
        "p1": {"folder": "African"}, "p2": {"folder": "African"},
        "p3": {"folder": "Asian"}, "p4": {"folder": "Asian"},
    }  # fmt: skip
    assert found.notes == (
        "layout: group/person/picture, 4 people; the column folder has the folders African, Asian",
    )


def test_folders_with_the_same_names_are_sessions(tmp_path):
    write_tree(tmp_path, "ann/s1/1.png", "ann/s2/1.png", "bob/s1/1.png", "bob/s2/1.png")
    found = read_dataset(tmp_path)
    assert list(found.people) == ["ann", "bob"]
    assert found.samples[0].groups == {}
    assert found.notes == ("layout: person/session/picture, 2 people",)


def test_pictures_in_one_of_the_folders_make_the_level_people(tmp_path):
    assert people_of(tmp_path, "ann/1.png", "bob/session1/1.png", "bob/session1/2.png") == {
        "ann": ["ann/1.png"],
        "bob": ["bob/session1/1.png", "bob/session1/2.png"],
    }


def test_many_upper_folders_are_people_and_many_lower_ones_are_too(tmp_path):
    videos = [f"p{n:02d}/video{2 * n + k}/1.png" for n in range(21) for k in range(2)]
    assert len(people_of(tmp_path / "videos", *videos)) == 21
    numbers = [f"{group}/{n:03d}/1.png" for group in ("men", "women") for n in range(21)]
    found = people_of(tmp_path / "numbers", *numbers)
    assert len(found) == 42
    assert found["women/020"] == ["women/020/1.png"]


def test_two_groups_and_a_folder_around_them(tmp_path):
    write_tree(
        tmp_path, "set/asian/f/a/1.png", "set/asian/m/b/1.png", "set/white/x/c/1.png",
        "set/white/y/d/1.png",
    )  # fmt: skip
    (one, *_) = read_dataset(tmp_path).samples
    assert (one.person, one.groups) == ("a", {"folder": "f", "folder2": "asian"})


def test_a_flat_folder_is_one_person(tmp_path):
    assert people_of(tmp_path / "ann", "1.png", "2.png") == {"ann": ["1.png", "2.png"]}


def test_every_other_file_is_named_with_a_reason(tmp_path):
    write_tree(
        tmp_path, "ann/1.png", "ann/notes.txt", "ann/.hidden.png", ".cache/x.png", "stray.png",
        "bob/readme", "Thumbs.db",
    )  # fmt: skip
    (tmp_path / "carl").mkdir()
    (tmp_path / "ann" / "picture").write_bytes(encoded(9))
    (tmp_path / "ann" / "empty.dat").touch()
    (tmp_path / "ann" / "video").write_bytes(write_video(tmp_path / "ann" / "v.mp4").read_bytes())
    (tmp_path / "ann" / "cut.avi").write_bytes(b"RIFF1234AVI ")
    (tmp_path / "ann" / "gone.png").symlink_to("nowhere.png")
    found = read_dataset(tmp_path)
    used = {one.path for one in found.samples}
    named = {tmp_path / name for name in found.exclusions}
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files - {tmp_path / ".cache" / "x.png"} == (used | named) & files
    assert not used & named
    assert dict(found.exclusions) == {
        ".cache": "hidden",
        "Thumbs.db": "not a picture",
        "ann/.hidden.png": "hidden",
        "ann/cut.avi": "damaged video, or of an unknown codec",
        "ann/empty.dat": "empty file",
        "ann/gone.png": "a link to nothing",
        "ann/notes.txt": "not a picture",
        "ann/video": "a video; give it a suffix such as .mp4",
        "bob/readme": "not a picture",
        "carl": "empty folder",
        "stray.png": "above the folders of people",
    }
    assert {one.image for one in found.samples} >= {"ann/1.png", "ann/picture"}


def test_every_format_of_a_folder_is_used(tmp_path):
    (tmp_path / "ann").mkdir()
    for name, form in {
        "1.jpg": "JPEG", "2.avif": "AVIF", "3.jfif": "JPEG", "4.jp2": "JPEG2000", "5.JPEG": "JPEG",
    }.items():  # fmt: skip
        Image.new("RGB", (40, 40)).save(tmp_path / "ann" / name, form)
    (tmp_path / "ann" / "6.heic").write_bytes(b"\0\0\0\x18ftypheic")
    found = read_dataset(tmp_path)
    images = {one.image for one in found.samples} | found.exclusions.keys()
    assert images == {f"ann/{path.name}" for path in (tmp_path / "ann").iterdir()}
    assert len(found.samples) >= 5


def test_a_folder_without_pictures_says_what_it_has(tmp_path):
    write_tree(tmp_path, "ann/a.txt", "ann/b.txt")
    with pytest.raises(
        InputError, match=r"no pictures found; .* files not used: 2 \(2 not a picture\)"
    ):
        read_dataset(tmp_path)


def test_two_ways_to_write_a_name_are_one_person(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    assert people_of(tmp_path, f"{nfd}/1.png", f"{nfc}/2.png") == {
        nfc: [f"{nfc}/1.png", f"{nfc}/2.png"]
    }
    write_tree(tmp_path, f"{nfc}/1.png")
    with pytest.raises(InputError, match=r"two pictures are called José/1\.png in Unicode"):
        read_dataset(tmp_path)


def test_frames_of_videos_are_pictures_of_their_person(tmp_path):
    write_tree(tmp_path, "ann/1.png", "bob/1.png")
    write_video(tmp_path / "ann" / "clip.mp4", frames=32)
    found = read_dataset(tmp_path).people["ann"]
    assert [(one.image, one.member) for one in found][1:3] == [
        ("ann/clip.mp4#frame000002", "frame=2"),
        ("ann/clip.mp4#frame000006", "frame=6"),
    ]
    assert len(found) == 9


def test_in_a_folder_of_videos_each_is_a_person(tmp_path):
    for name in ("ann", "bob"):
        write_video(tmp_path / f"{name}.mp4")
    found = read_dataset(tmp_path)
    assert {name: len(pictures) for name, pictures in found.people.items()} == {"ann": 8, "bob": 8}
    assert found.notes == ("layout: a person for each video",)


def test_links_are_followed_but_not_in_circles(tmp_path):
    write_tree(tmp_path / "faces", "ann/1.png")
    write_tree(tmp_path / "more", "bob/1.png")
    try:
        (tmp_path / "faces" / "bob").symlink_to(tmp_path / "more" / "bob")
        (tmp_path / "faces" / "ann" / "again").symlink_to(tmp_path / "faces")
    except OSError:
        pytest.skip("this file system has no links")
    found = read_dataset(tmp_path / "faces")
    assert list(found.people) == ["ann", "bob"]
    assert dict(found.exclusions) == {"ann/again": "a link to a folder above"}


def test_a_name_that_is_not_text_is_named(tmp_path):
    (tmp_path / "Ann").mkdir()
    try:
        (tmp_path / "Ann" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(InputError, match=r"Ann/\\udcff.png is not UTF-8; rename it"):
        read_dataset(tmp_path)


def test_progress_is_reported(tmp_path):
    for number in range(1000):
        (tmp_path / f"{number}").mkdir()
    told = []
    with pytest.raises(InputError):
        read_dataset(tmp_path, progress=lambda *one: told.append(one))
    assert told == [("reading folders", 1000, None)]


def test_a_stray_picture_does_not_make_groups_people(tmp_path):
    names = [f"{group}/{group}{n}/{k}.png" for group in "ab" for n in range(3) for k in (1, 2)]
    write_tree(tmp_path, *names, "a/contact.png")
    found = read_dataset(tmp_path)
    assert list(found.people) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert found.exclusions == {"a/contact.png": "above the folders of people"}


def test_people_of_whom_some_have_sessions(tmp_path):
    names = ["ann/1.png", "ann/2.png", "bob/s1/1.png", "bob/s2/1.png", "cy/1.png"]
    assert list(people_of(tmp_path, *names)) == ["ann", "bob", "cy"]


def test_groups_of_two_kinds(tmp_path):
    names = [f"{a}/{b}/{a}{b}{n}/1.png" for a in ("asian", "white") for b in "fm" for n in (1, 2)]
    write_tree(tmp_path, *names)
    found = read_dataset(tmp_path)
    assert len(found.people) == 8
    assert found.people["asianf1"][0].groups == {"folder": "f", "folder2": "asian"}


def test_people_with_sessions_of_several_cameras(tmp_path):
    names = [f"{p}/{s}/{c}/1.png" for p in ("ann", "bob") for s in ("s1", "s2") for c in "lr"]
    assert list(people_of(tmp_path, *names)) == ["ann", "bob"]


def test_a_name_in_two_parts_of_a_data_set_is_one_person(tmp_path):
    names = [f"{part}/p{n}/{part}.png" for part in ("train", "Test") for n in range(3)]
    assert people_of(tmp_path, *names) == {
        f"p{n}": [f"Test/p{n}/Test.png", f"train/p{n}/train.png"] for n in range(3)
    }


@pytest.mark.parametrize(
    "files",
    [("run.json", "written.json"), ("explanation.json", "maps.npz"), ("areas.json", "labels.png")],
)
def test_what_leam_wrote_into_the_folder_is_no_person(tmp_path, files):
    write_tree(tmp_path, "ann/1.png", "bob/1.png", "out/overlay.png", "out/figures/chart.png")
    for name in files:
        (tmp_path / "out" / name).touch()
    found = read_dataset(tmp_path)
    assert list(found.people) == ["ann", "bob"]
    assert found.exclusions == {"out": "an output folder of leam"}
