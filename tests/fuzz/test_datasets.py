"""Archives of pictures that are damaged or hostile."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoded import encoded
from hostile import FUZZ, damaged, endures
from leam.faces.people import read_dataset
from leam.faces.reading import hash_picture

pytestmark = pytest.mark.slow

RECORDS = Path(__file__).parents[1] / "faces" / "datasets" / "written_by_mxnet" / "train.rec"
BINS = [
    pickle.dumps(([encoded(n) for n in range(4)], [True, False]), protocol)
    for protocol in (0, 2, 4)
]
LIST = b"2\t1\nAnn\t1\t2\nAnn\t1\tBo\t1\nBo\t1\t2\nAnn\t2\tBo\t2\n"


def read(path) -> None:
    with endures():
        for sample in read_dataset(path).samples:
            hash_picture(sample.path, sample.member)


@FUZZ
@given(
    data=st.sampled_from(BINS).flatmap(damaged) | st.binary(max_size=60).map(b"\x80\x04".__add__)
)
def test_bins(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "set.bin"
    path.write_bytes(data)
    read(path)


@FUZZ
@given(
    data=damaged(RECORDS.read_bytes()) | st.just(RECORDS.read_bytes()),
    index=damaged(RECORDS.with_suffix(".idx").read_bytes()) | st.none(),
)
def test_records(tmp_path_factory, data, index):
    path = tmp_path_factory.mktemp("records") / "train.rec"
    path.write_bytes(data)
    if index is not None:
        path.with_suffix(".idx").write_bytes(index)
    read(path)


@FUZZ
@given(data=damaged(LIST))
def test_lists(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "pairs.txt"
    path.write_bytes(data)
    read(path)
