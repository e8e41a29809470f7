"""A finished study is opened in one call, and only one that is finished and unchanged."""

from __future__ import annotations

import shutil

import polars as pl
import pytest

import leam
from leam.errors import InputError, StudyError
from leam.study.summary import read_summary


@pytest.fixture
def copy(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.path, folder)
    return folder


def test_a_run_has_figures_tables_and_its_report(finished, copy):
    run = leam.open_run(copy)
    assert run.summary == read_summary(finished)
    assert run.plan == finished.plan()
    assert set(run.tables) >= {"faces", "occlusion/dlib_resnet"}
    assert "faces" in run.tables
    assert run.tables["faces"].equals(pl.read_parquet(copy / "tables" / "faces.parquet"))
    assert len(dict(run.tables)) == len(run.tables)
    with pytest.raises(StudyError, match=r"report.html: missing; run `leam report .*run`$"):
        _ = run.report
    (copy / "report.html").write_text("a page")
    assert run.report == copy / "report.html"
    frame = run.to_frame()
    drop = frame.filter((pl.col("stage") == "occlusion") & (pl.col("figure") == "drop"))
    assert drop["recognizer"].to_list() == ["dlib_resnet"]
    stored = run.summary.recognizers["dlib_resnet"].figures["occlusion"].drop
    assert drop.row(0)[3:] == (stored.mean, stored.low, stored.high, stored.n)


def test_a_table_that_does_not_exist_is_refused_by_name(copy):
    with pytest.raises(
        StudyError, match=r"^facse: no such table; did you mean faces\? available: "
    ):
        leam.open_run(copy).tables["facse"]


def test_a_run_shows_itself_in_a_line_and_in_a_notebook(copy):
    run = leam.open_run(str(copy))
    assert repr(run) == f"Run({str(copy)!r}, Summary(2 people, 12 images, dlib_resnet))"
    assert str(run.summary) == "Summary(2 people, 12 images, dlib_resnet)"
    assert repr(run.folder) == f"RunFolder({str(copy)!r})"
    assert len(repr(run.tables)) < 200
    for shown in (run, run.tables, run.summary):
        html = shown._repr_html_()
        assert "dlib_resnet" in html
        assert len(html) < 10_000


def test_a_study_that_is_unfinished_or_changed_is_refused(copy, tmp_path):
    with pytest.raises(StudyError, match="holds no study"):
        leam.open_run(tmp_path / "nothing")
    with pytest.raises(
        InputError, match=r"^open_run: of type int; expected the path of a run folder$"
    ):
        leam.open_run(3)
    table = copy / "tables" / "faces.parquet"
    table.write_bytes(table.read_bytes() + b" ")
    with pytest.raises(StudyError, match=r"faces.parquet: missing, or changed"):
        leam.open_run(copy)
    (copy / "summary.json").unlink()
    with pytest.raises(StudyError, match=r"summary.json: missing; finish the study"):
        leam.open_run(copy)
