"""Tables as spreadsheets write them."""

import pytest

from leam.errors import InputError
from leam.faces.tables import columns_of, flag, lines_of, normal, rows_of, slashed, whole

ROWS = [("Zoë", "a, b"), ("Ann", "c")]
CONTENT = {
    ",": 'Person,gender\nZoë,"a, b"\n\nAnn, c \n',
    ";": "PERSON;gender\nZoë;a, b\nAnn;c\n",
    "\t": "person\tgender\r\nZoë\ta, b\r\nAnn\tc\r\n",
}


def read(path):
    return [(row["person"], row["gender"]) for _, row in rows_of(path, ("person",))]


@pytest.mark.parametrize("delimiter", CONTENT)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_delimiters_and_encodings(tmp_path, delimiter, encoding):
    path = tmp_path / "t.csv"
    path.write_bytes(CONTENT[delimiter].encode(encoding))
    assert read(path) == ROWS
    assert columns_of(path) == ["person", "gender"]


def test_a_line_that_names_the_delimiter(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\nperson;gender\nZoë;a, b\nAnn;c;\n", encoding="utf-8")
    assert read(path) == ROWS
    path.write_text("sep=;\nperson;gender\nAnn;c;d\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: expected 2 values, person not empty"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,gender\nAnn,f\n", "the column 'person' is missing; required: person"),
        (b"person,Age,Age\nAnn,1,2\n", "has two columns 'Age'; rename one of them"),
        (b"person,gender\nAnn\n", "line 2: expected 2 values"),
        (b"person,gender\n ,f\n", "line 2: expected 2 values, person not empty"),
        (
            "person,gender\nZoë,f\n".encode("latin1"),
            "not a readable CSV file .*save it as CSV in UTF-8",
        ),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a readable CSV file"),
        (b"person,gender\n" + b"x" * (1 << 21), "a line of more than 1048576 characters"),
        (b"", "the column 'person' is missing"),
    ],
)
def test_tables_that_are_damaged(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_lines_and_names(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("10\t300\n\n Ann 1 2 \n", encoding="utf-16")
    assert list(lines_of(path)) == [(1, "10\t300"), (3, "Ann 1 2")]
    assert normal("Jose\u0301") == "Jos\u00e9"
    assert slashed("a\\b c\\1.jpg") == "a/b c/1.jpg"
    assert slashed("a/b") == "a/b"


def test_blank_lines_before_the_columns_are_passed_over(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("\n\r\n \nimage;person\na.png;ann\n", encoding="utf-8", newline="")
    assert list(rows_of(table, ("image",))) == [(5, {"image": "a.png", "person": "ann"})]
    assert columns_of(table) == ["image", "person"]


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_table_is_called_empty(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"t\.csv: is empty; the column 'image' is missing"):
        list(rows_of(tmp_path / "t.csv", ("image", "person")))


def test_rows_without_values_and_spaces_without_width(tmp_path):
    (tmp_path / "t.csv").write_text(
        "\ufeffperson,gender\n\u200bAnn,f\u2060\n,,,\n , \nZo\u200de\u00a0,m\n", encoding="utf-8"
    )
    assert read(tmp_path / "t.csv") == [("Ann", "f"), ("Zo\u200de", "m")]


@pytest.mark.parametrize("head", [b"PK\3\4", b"\xd0\xcf\x11\xe0"])
def test_a_spreadsheet_is_called_that(tmp_path, head):
    (tmp_path / "t.xlsx").write_bytes(head + b"person,gender\n")
    with pytest.raises(InputError, match=r"a spreadsheet or an archive.*; save it as CSV"):
        read(tmp_path / "t.xlsx")


def test_flags_and_numbers_with_decimals():
    assert [flag(one) for one in ("1", "1.0", "TRUE", "0", "0.0", "False", "2", "")] == [
        True, True, True, False, False, False, None, None,
    ]  # fmt: skip
    assert [whole(one) for one in ("0", "12", "3.0", "3.5", "-1", "x", "")] == [
        0, 12, 3, None, None, None, None,
    ]  # fmt: skip
