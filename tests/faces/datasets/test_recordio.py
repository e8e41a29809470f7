"""MXNet's records: those that MXNet 1.9.1 wrote, and those that these tests write."""

import struct
from pathlib import Path

import numpy as np
import pytest

from encoded import encoded, picture
from leam.errors import InputError
from leam.faces.people import read_dataset
from leam.faces.reading import hash_picture, read_picture_file

MAGIC = struct.pack("<I", 0xCED7230A)
WRITTEN = Path(__file__).parent / "written_by_mxnet" / "train.rec"


def record(labels, data: bytes = b"") -> bytes:
    """A whole record; several labels follow the header."""
    if isinstance(labels, float):
        content = struct.pack("<IfQQ", 0, labels, 0, 0) + data
    else:
        content = struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, 0, 0, *labels) + data
    return MAGIC + struct.pack("<I", len(content)) + content + bytes(-len(content) % 4)


def write(path, records, keys=None) -> Path:
    """Records and their index."""
    lines, data = [], b""
    for key, one in zip(keys or range(len(records)), records, strict=True):
        lines.append(f"{key}\t{len(data)}\n")
        data += one
    path.write_bytes(data)
    path.with_suffix(".idx").write_text("".join(lines))
    return path


def labelled(*labels):
    return [record(label, encoded(n)) for n, label in enumerate(labels)]


def shown(dataset):
    return {name: [one.image[-6:] for one in found] for name, found in dataset.people.items()}


def test_what_mxnet_wrote():
    found = read_dataset(WRITTEN)
    assert shown(found) == {"0": ["000001", "000002", "000003"], "1": ["000004", "000005"]}
    for number, sample in enumerate(found.samples, 1):
        pixels = read_picture_file(sample.path, sample.member)[0]
        assert pixels[0, 0].tolist() == [40 * number, 0, 0]
    # The second picture contains the magic number twice, so that MXNet split its record into three.
    assert found.samples[1].member.count(",") == 4
    assert found.samples[0].member.count(",") == 0
    assert found.notes == ("layout: train.rec, 2 people, 5 pictures",)


def test_mxnet_reads_what_these_tests_write(tmp_path):
    recordio = pytest.importorskip("mxnet.recordio", exc_type=Exception)
    path = write(tmp_path / "a.rec", labelled(0.0, (1.0, 2.0)))
    file = recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r")
    for key in (0, 1):
        assert recordio.unpack(file.read_idx(key))[1] == encoded(key)


def test_people_of_an_index_of_identities(tmp_path):
    records = [record((6.0, 9.0)), *labelled(0.0, 0.0, 5.0, 5.0, 5.0)]
    records += [record((1.0, 3.0)), record((3.0, 6.0)), record((6.0, 6.0))]
    path = write(tmp_path / "train.rec", records)
    (tmp_path / "property").write_text("2,112,112")
    found = read_dataset(path)
    assert shown(found) == {"0": ["000001", "000002"], "1": ["000003", "000004", "000005"]}
    assert len(found.notes) == 1
    (tmp_path / "property").write_text("3,112,112")
    assert read_dataset(path).notes[1] == "the file property states 3 people"
    assert [one.image[-6:] for one in found.draw(1, 2, 0)] in (
        ["000001", "000002"],
        ["000003", "000004"],
        ["000003", "000005"],
        ["000004", "000005"],
    )


@pytest.mark.parametrize("index", [True, False])
def test_people_of_labels(tmp_path, index):
    path = write(tmp_path / "a.rec", labelled(1.0, (0.0, 9.0, 9.0), 1.0, 12.0))
    if not index:
        path.with_suffix(".idx").unlink()
    found = read_dataset(path)
    assert shown(found) == {"0": ["000001"], "1": ["000000", "000002"], "12": ["000003"]}
    for sample in found.samples:
        pixels = read_picture_file(sample.path, sample.member)[0]
        np.testing.assert_array_equal(pixels, picture(int(sample.image[-6:])))


def test_a_first_picture_with_several_labels_is_no_index(tmp_path):
    path = write(tmp_path / "a.rec", labelled((1.0, 2.0), (1.0, 3.0), 0.0))
    assert shown(read_dataset(path)) == {"0": ["000002"], "1": ["000000", "000001"]}


def test_keys_in_any_order(tmp_path):
    path = write(tmp_path / "a.rec", labelled(0.0, 0.0, 1.0), keys=[30, 10, 20])
    assert shown(read_dataset(path)) == {"0": ["000010", "000030"], "1": ["000020"]}


def test_keys_with_gaps(tmp_path):
    path = write(tmp_path / "a.rec", labelled(0.0, 1.0, 1.0), keys=[3, 5, 9])
    assert shown(read_dataset(path)) == {"0": ["000003"], "1": ["000005", "000009"]}
    path = write(
        tmp_path / "b.rec", [record((6.0, 7.0)), *labelled(0.0), record((1.0, 4.0))], keys=[0, 1, 6]
    )
    with pytest.raises(InputError, match="its index has no record 2"):
        read_all(path)


def test_the_folder_of_records(tmp_path):
    write(tmp_path / "train.rec", labelled(0.0, 0.0))
    (tmp_path / "lfw.bin").touch()
    found = read_dataset(tmp_path)
    assert shown(found) == {"0": ["000000", "000001"]}
    assert found.exclusions == {
        "lfw.bin": "not part of the records; name the file itself to read it"
    }


def test_only_what_is_drawn_is_read(tmp_path):
    """All records of pictures are damaged but those of two people; 85,000 people are drawn from in seconds."""
    people, good = 85_000, 7
    data = record((float(2 * people + 1), float(3 * people + 1)))
    start, size = len(data), len(record(0.0, encoded(0)))
    offsets = [0] + [start] * (2 * people)
    offsets[2 * good + 1 : 2 * good + 3] = [start + 1000, start + 1000 + size]
    bounds = [record((2.0 * n + 1, 2.0 * n + 3)) for n in range(people)]
    at = 1 << 32
    offsets += [at + len(bounds[0]) * n for n in range(people)]
    path = tmp_path / "train.rec"
    with path.open("wb") as stream:
        stream.write(data)
        stream.seek(start + 1000)
        stream.write(record(7.0, encoded(0)) + record(7.0, encoded(1)))
        stream.seek(at)
        stream.write(b"".join(bounds))
    path.with_suffix(".idx").write_text("".join(f"{n}\t{o}\n" for n, o in enumerate(offsets)))
    found = read_dataset(path)
    assert len(found.people) == people
    assert [hash_picture(one.path, one.member) for one in found.people[str(good)]]
    with pytest.raises(InputError, match="no record at byte"):
        found.draw(1, None, 0)


def read_all(path) -> None:
    for one in read_dataset(path).samples:
        read_picture_file(one.path, one.member)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, index: (data[:-8], index), "beyond the end of the file"),
        (
            lambda data, index: (data, index.replace("1\t", "1\t4")),
            "no records, or its index is of another",
        ),
        (lambda data, index: (data, index.replace("1\t1", "1\t0")), "no record at byte 2"),
        (lambda data, index: (data, index + "x\ty\n"), "not an index"),
        (lambda data, index: (data, index + "7\n"), "not an index"),
        (lambda data, index: (data, index + "1\t0\n"), "not an index; it has a key twice"),
        (lambda data, index: (data, ""), "has no records"),
        (lambda data, index: (data[:8] + b"\xff" * 4 + data[12:], index), "a damaged header"),
        (lambda data, index: (data[:4] + b"\x04\0\0\0" + data[8:], index), "has no header"),
        (lambda data, index: (data[:7] + b"\x40" + data[8:], index), "no record at byte 0"),
    ],
)
def test_damaged_records(tmp_path, change, message):
    path = write(tmp_path / "a.rec", labelled(0.0, 0.0))
    data, index = change(path.read_bytes(), path.with_suffix(".idx").read_text())
    path.write_bytes(data)
    path.with_suffix(".idx").write_text(index)
    with pytest.raises(InputError, match=message):
        read_all(path)


def test_labels_of_millions_of_people_are_told_apart(tmp_path):
    labels = [1_000_001.0, 1_000_002.0, 16_777_215.0, 0.5]
    found = read_dataset(write(tmp_path / "a.rec", labelled(*labels)))
    assert list(found.people) == ["0.5", "1000001", "1000002", "16777215"]


def test_an_index_that_was_cut_is_said(tmp_path):
    path = write(tmp_path / "a.rec", labelled(0.0, 0.0, 1.0))
    index = path.with_suffix(".idx")
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:2]))
    found = read_dataset(path)
    assert found.people.keys() == {"0"}
    cut = len(record(1.0, encoded(2)))
    assert found.notes[1] == f"the index does not list the last {cut} bytes of the records"


def test_pictures_of_two_people_are_refused(tmp_path):
    people = [record((1.0, 3.0)), record((2.0, 3.0))]
    records = [record((3.0, 5.0)), *labelled(0.0, 1.0), *people]
    with pytest.raises(InputError, match="record 2 is stated to be of two people"):
        read_dataset(write(tmp_path / "a.rec", records))


def test_several_files_of_records_are_to_be_named(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.rec", labelled(0.0, 1.0))
    with pytest.raises(InputError, match=r"2 records of MXNet; name the file itself to read it"):
        read_dataset(tmp_path)
