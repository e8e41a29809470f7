"""CSV files as nobody would write them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import FUZZ, damaged, endures
from leam.errors import InputError
from leam.faces.people import Sample, add_groups, read_people
from leam.study.model_check import read_pairs

pytestmark = pytest.mark.slow

TABLE = "image,person,gender\na/1.png,Ann,f\nb/2.png,Böb,m\n"
CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "../../x.png", "/dev/zero", "a\0b", '"', "'", "=1+1", "é" * 9, "\u2028"]),
    st.just("x" * 1_000_000),
)
HEADS = st.lists(st.sampled_from(["image", "person", "gender", "", "left", "same"]), max_size=5)


def read(path) -> None:
    with endures():
        samples = read_people(path)
        assert all(sample.image and sample.person for sample in samples)
    with endures():
        add_groups([Sample(path, "a/1.png", "Ann")], path)
    with endures():
        read_pairs(path)


@FUZZ
@given(data=damaged(TABLE.encode()) | st.binary(max_size=200))
def test_damage(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    path.write_bytes(data)
    read(path)


@FUZZ
@given(head=HEADS, rows=st.lists(st.lists(CELLS, max_size=5), max_size=4))
def test_odd_cells(tmp_path_factory, head, rows):
    path = tmp_path_factory.getbasetemp() / "odd.csv"
    lines = [",".join(row) for row in (head, *rows)]
    path.write_bytes("\n".join(lines).encode(errors="surrogatepass"))
    read(path)


GIANT = {
    "columns": "image,person," + ",".join(map(str, range(1_000_000))) + "\na.png,Ann\n",
    "equal columns": "image,person" + ",a" * 30_000 + "\na.png,Ann\n",
    "columns that fit": "image,person," + ",".join(map(str, range(11_000))) + "\na.png,Ann\n",
    "values": "image,person\n" + "a," * 1_000_000 + "\n",
    "field": "image,person\n" + "a" * 10_000_000 + ",Ann\n",
    "quotes": 'image,person\n"' + "a\n" * 5_000_000,
    "lines": "image,person\n" + "\n" * 5_000_000,
    "header": "x" * 50_000_000,
}


@pytest.mark.parametrize("kind", GIANT)
def test_giant_tables_are_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "giant.csv"
    path.write_text(GIANT[kind])
    read(path)
    if kind != "lines":
        with pytest.raises(InputError, match=r"giant.csv"):
            read_people(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "utf-8-sig"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "encoded.csv"
    path.write_text(TABLE, encoding=encoding)
    read(path)


@pytest.mark.parametrize("cell", ["a\0b", "a\0"])
def test_null_bytes_are_refused(tmp_path, cell):
    path = tmp_path / "null.csv"
    path.write_text(f"image,person\n{cell}.png,Ann\n")
    with pytest.raises(
        InputError, match=r"null.csv(, line 2: contains a null byte|: not a readable)"
    ):
        read_people(path)


def test_a_name_that_is_not_text_is_named(tmp_path):
    folder = tmp_path / "Ann"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(InputError, match=r"Ann/\\udcff.png is not UTF-8; rename it"):
        read_people(tmp_path)
