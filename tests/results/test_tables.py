"""Tables of run folders: what is read, and that damage ends in an error."""

from __future__ import annotations

import random

import polars as pl
import pytest

from leam.results.tables import read_parquet

FRAME = pl.DataFrame(
    {
        "person": ["Ann", "Bo", None] * 100,
        "drop": [0.5, float("nan"), -1.0] * 100,
        "found": pl.Series([1, 2, 3] * 100, dtype=pl.Int32),
    }
)


@pytest.fixture
def table(tmp_path):
    FRAME.write_parquet(tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_rows_and_columns_are_selected(table):
    assert read_parquet(table).equals(FRAME)
    expected = FRAME.filter(pl.col("found") > 1).select("person", "drop")
    where = pl.col("found") > 1
    assert read_parquet(table, ["person", "drop"], where).equals(expected)
    assert read_parquet(table, ["drop"], pl.lit(value=False)).is_empty()


def test_a_name_with_wildcards_is_one_file(tmp_path):
    FRAME.write_parquet(tmp_path / "[a]*.parquet")
    assert read_parquet(tmp_path / "[a]*.parquet").equals(FRAME)


def test_what_is_missing_or_no_table_is_an_error(tmp_path, table):
    with pytest.raises(OSError, match="none"):
        read_parquet(tmp_path / "none.parquet")
    with pytest.raises(OSError, match="column"):
        read_parquet(table, ["nothing"])
    table.write_bytes(b"PAR1")
    with pytest.raises(OSError, match=r"."):
        read_parquet(table)


@pytest.mark.slow
def test_damage_never_ends_this_process(table, capfd):
    """Some of these make polars panic, which is no Exception and prints a backtrace."""
    whole, draw, refused = table.read_bytes(), random.Random(4), 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        table.write_bytes(data)
        try:
            read_parquet(table)
        except OSError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused > 20
    assert capfd.readouterr() == ("", "")


def test_a_table_that_needs_too_much_memory_is_refused(table, monkeypatch):
    pl.DataFrame({"a": pl.repeat(0, 200_000_000, dtype=pl.Int64, eager=True)}).write_parquet(table)
    monkeypatch.setenv("LEAM_MEMORY_LIMIT", "800MB")
    assert table.stat().st_size < 10_000_000
    with pytest.raises(OSError, match="needs more than 800 MB"):
        read_parquet(table)
