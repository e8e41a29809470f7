"""The table of BFW."""

import pytest

from leam.errors import InputError
from leam.faces.people import Pair, read_dataset

# The columns of bfw-v0.1.5-datatable.csv.
HEAD = ",fold,p1,p2,label,id1,id2,att1,att2,vgg16,resnet50,senet50,a1,a2,g1,g2,e1,e2,sphereface"
A1, A2, B1 = (
    "asian_females/n000009/0010_01.jpg",
    "asian_females/n000009/0043_01.jpg",
    "black_males/n000104/0006_02.jpg",
)
ROWS = [
    f"0,1,{A1},{A2},1,0,0,asian_females,asian_females,.82,.7,.67,AF,AF,F,F,A,A,.39",
    f"1,5,{A1},{B1},0,0,300,asian_females,black_males,.1,.1,.1,AF,BM,F,M,A,B,.0",
]


def read(tmp_path, *rows, **options):
    (tmp_path / "bfw.csv").write_text("\n".join((HEAD, *rows)))
    return read_dataset(tmp_path / "bfw.csv", **options)


def test_pairs_and_attributes(tmp_path):
    found = read(tmp_path, *ROWS, folder=tmp_path / "faces")
    assert found.pairs == [Pair(A1, A2, True, 0), Pair(A1, B1, False, 4)]
    assert list(found.people) == ["asian_females/n000009", "black_males/n000104"]
    (one,) = found.people["black_males/n000104"]
    assert one.groups == {"subgroup": "black_males", "gender": "M", "ethnicity": "B"}
    assert one.path == tmp_path / "faces" / B1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"{A2},1,", f"{A2},2,", "line 2: label 2; expected 1 or 0"),
        (
            ",F,M,A,B,",
            ",M,M,A,B,",
            "line 3: asian_females/n000009/0010_01.jpg has other attributes",
        ),
    ],
)
def test_rows_that_contradict(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, *(row.replace(old, new) for row in ROWS))


def test_decimals_upper_case_and_missing_values(tmp_path):
    rows = [row.replace(",F,F,", ",NaN,NaN,").replace(",F,M,", ",,M,") for row in ROWS]
    rows = [rows[0].replace("0,1,", "0,1.0,", 1), rows[1]]
    (tmp_path / "bfw.csv").write_text("\n".join((HEAD.upper(), *rows)).replace(",", ";"))
    found = read_dataset(tmp_path / "bfw.csv")
    assert [pair.fold for pair in found.pairs] == [0, 4]
    groups = {one.person: one.groups for one in found.samples}
    assert groups["black_males/n000104"]["gender"] == "M"
    assert groups["asian_females/n000009"] == {"subgroup": "asian_females", "ethnicity": "A"}


def test_labels_that_the_folders_contradict_are_said(tmp_path):
    found = read(tmp_path, ROWS[0], ROWS[1].replace(f"{B1},0", f"{B1},1"))
    assert "1 of 2 pairs have another label than their folders say" in found.notes
