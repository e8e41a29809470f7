"""Differences between studies follow the stated rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from compared import PEOPLE, make_run, values
from leam.compare.runs import Difference, RunComparison, compare_runs, verdict_of
from leam.errors import InputError, StudyError
from leam.metrics.statistics import (
    Estimate,
    bootstrap_difference,
    bootstrap_mean,
    holm,
    label_permutation_p,
    sign_flip_p,
)
from leam.study.plan import Plan
from leam.study.store import RunFolder

FIGURES = [
    "nose", "eyes", "similarity drop", "drop - scattered", "bc, one person", "bc, two people", "bc, one - two",
    "drop, another picture's mask", "drop, that mask - population", "spread of the map",
]  # fmt: skip


def by_figure(found: RunComparison) -> dict[str, Difference]:
    return {one.figure: one for one in found.differences}


def test_differences_are_paired_by_person(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", shift=0.1, seed=5)
    found = compare_runs(first, second)
    rows = by_figure(found)
    assert list(rows) == FIGURES
    assert found.pairing == "paired by person: 20 people are in both studies"
    nose = rows["nose"]
    before, after = values(PEOPLE, 0, 0), values(PEOPLE, 5, 0.1)
    expected = bootstrap_mean(after - before, np.arange(20), 0)
    assert vars(nose.difference) == vars(expected)
    assert (nose.first.mean, nose.second.mean) == pytest.approx((before.mean(), after.mean()))
    assert (nose.n, nose.paired, nose.unit) == (20, True, "part of the critical pixels")
    assert nose.p == sign_flip_p(after - before, 0)
    assert {name: one.verdict for name, one in rows.items()} == {
        **dict.fromkeys(FIGURES, "differs"),
        **dict.fromkeys(["eyes", "bc, two people", "spread of the map"], "no difference shown"),
    }
    eyes = values(PEOPLE, 1, 0)
    means = {
        "drop - scattered": before - eyes / 2, "bc, one - two": before - eyes / 3,
        "drop, another picture's mask": before, "drop, that mask - population": before - eyes / 4,
        "spread of the map": eyes,
    }  # fmt: skip
    for name, expected_values in means.items():
        assert rows[name].first.mean == pytest.approx(expected_values.mean()), name
    # Paired intervals are much narrower than those of independent people.
    assert nose.difference.high - nose.difference.low < 0.03


def test_p_values_are_corrected_for_all_rows(tmp_path):
    names = ("alpha", "beta")
    first, second = (
        make_run(tmp_path / name, names=names, seed=seed) for name, seed in (("a", 0), ("b", 5))
    )
    found = compare_runs(first, second).differences
    assert len(found) == 2 * len(FIGURES)
    assert [one.p_holm for one in found] == holm(np.array([one.p for one in found])).tolist()
    one = Estimate(0.1, 0.05, 0.2, 20)
    assert [verdict_of(one, 20, p) for p in (0.049, 0.05)] == ["differs", "no difference shown"]


@pytest.mark.parametrize(
    ("low", "high", "people", "p", "verdict"),
    [
        (0.1, 0.2, 10, 0.01, "differs"),
        (-0.2, -0.1, 10, 0.01, "differs"),
        (-0.1, 0.2, 10, 0.01, "no difference shown"),
        (0.0, 0.2, 10, 0.01, "no difference shown"),
        (0.1, 0.2, 9, 0.01, "inconclusive (n = 9)"),
        (0.1, 0.2, 12, None, "inconclusive (n = 12)"),
        (None, None, 12, 0.01, "inconclusive (n = 12)"),
    ],
)
def test_verdicts(low, high, people, p, verdict):
    assert verdict_of(Estimate(0.1, low, high, people), people, p) == verdict


def test_other_people_are_independent_samples(tmp_path):
    first = make_run(tmp_path / "a", PEOPLE[:10])
    second = make_run(tmp_path / "b", PEOPLE[10:], shift=0.9)
    found = compare_runs(first, second)
    nose = by_figure(found)["nose"]
    before, after = values(PEOPLE[:10], 0, 0), values(PEOPLE[10:], 0, 0.9)
    assert (nose.paired, nose.n, nose.verdict) == (False, 10, "differs")
    assert vars(nose.difference) == vars(bootstrap_difference(after, before, 0))
    assert nose.p == label_permutation_p(after, before, 0)
    impostors = by_figure(found)["bc, two people"]
    assert (impostors.p, impostors.verdict) == (None, "inconclusive (n = 10)")
    assert by_figure(found)["bc, one - two"].p is None
    assert by_figure(found)["bc, one person"].p is not None
    assert found.pairing.startswith(
        "independent samples of people: no person or picture is in both studies; "
    )
    assert found.notes == ["0 of 10 pictures of the first study are in the second"]


@pytest.mark.parametrize(
    ("start", "seed", "shared"), [(5, 1, "people (9)"), (13, 0, "people (1) and pictures (1)")]
)
def test_studies_that_share_a_few_people_are_not_independent(tmp_path, start, seed, shared):
    first = make_run(tmp_path / "a", PEOPLE[:14])
    second = make_run(tmp_path / "b", PEOPLE[start:], shift=0.9, seed=seed)
    found = compare_runs(first, second)
    people = len(PEOPLE[start:])
    nose = by_figure(found)["nose"]
    assert (nose.paired, nose.first.n, nose.second.n) == (False, 14, people)
    assert {one.verdict for one in found.differences} == {f"inconclusive (n = {min(14, people)})"}
    assert {(one.p, one.p_holm) for one in found.differences} == {(None, None)}
    assert found.pairing == (
        "not paired by person, as fewer than 10 people have a value in both; all figures are inconclusive: "
        f"the studies share {shared}, so that they are not independent samples"
    )


def test_renamed_people_are_not_independent(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", shift=0.9)
    plan = second.plan()
    images = tuple(replace(one, person=f"renamed {one.person}") for one in plan.images)
    second = renamed(tmp_path / "c", second, plan.model_copy(update={"images": images}))
    found = compare_runs(first, second)
    assert {one.verdict for one in found.differences} == {"inconclusive (n = 20)"}
    assert {one.p for one in found.differences} == {None}
    assert "the studies share pictures (20), so that they are not independent" in found.pairing


def renamed(path: Path, run: RunFolder, plan: Plan) -> RunFolder:
    """A copy of a study with the people of another plan."""
    new = RunFolder(path)
    new.start(plan)
    for name in ("regions", "occlusion", "effect", "specificity", "layers"):
        table = run.read_table(f"{name}/alpha")
        people = "renamed " + pl.col("person")
        new.write_table(f"{name}/alpha", [table.with_columns(person=people)])
    new.write_text("summary.json", (run.path / "summary.json").read_text())
    new.write_manifest()
    return new


def test_ten_people_in_both_studies_are_enough(tmp_path):
    first, second = make_run(tmp_path / "a", PEOPLE[:15]), make_run(tmp_path / "b", PEOPLE[5:])
    nose = by_figure(compare_runs(first, second))["nose"]
    assert (nose.paired, nose.n, nose.first.n) == (True, 10, 10)


@pytest.mark.parametrize("redacted", ["a", "b"])
def test_numbered_people_are_never_paired(tmp_path, redacted):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    RunFolder(tmp_path / redacted).keep("nothing")
    found = compare_runs(first, second)
    assert not any(one.paired for one in found.differences)
    assert {one.verdict for one in found.differences} == {"inconclusive (n = 20)"}
    assert {one.p for one in found.differences} == {None}
    assert found.pairing == (
        "not paired by person; all figures are inconclusive: the names were removed from "
        f"{tmp_path / redacted}, so that it is not known whether the studies share people"
    )


def test_people_without_a_common_figure_are_not_paired(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    table = second.read_table("regions/alpha")
    few = table.with_columns(
        share=table["share"].set(table["person"].is_in(PEOPLE[:11]), float("nan"))
    )
    second.write_table("regions/alpha", [few])
    second.write_manifest()
    found = compare_runs(first, second)
    rows = by_figure(found)
    assert [rows[name].verdict for name in ("nose", "spread of the map")] == [
        "inconclusive (n = 9)",
        "no difference shown",
    ]
    assert found.pairing == (
        "paired by person where at least 10 people have a value in both studies; other figures are inconclusive: "
        "the studies share people (20) and pictures (20), so that they are not independent samples"
    )


@pytest.mark.parametrize(
    ("settings", "reason", "gone"),
    [
        ({"parser": "compact"}, "parser: landmarks, compact", {"nose", "eyes"}),
        ({"fill": "mean"}, "fill: black, mean", {"similarity drop", "drop - scattered"}),
        ({"top": 0.02}, "top: 0.01, 0.02", set(FIGURES) - {"spread of the map"}),
    ],
)
def test_figures_with_other_settings_are_refused_by_name(tmp_path, settings, reason, gone):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", **settings)
    found = compare_runs(first, second)
    assert {one.figure for one in found.refused} == {f"{name} (alpha)" for name in gone}
    assert {one.reason for one in found.refused} == {reason}
    assert set(by_figure(found)) == set(FIGURES) - gone


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"method": "corrrise"}, "method: leam, corrrise"),
        ({"target": "template"}, "target: self, template"),
        ({"weighting": "signed"}, "weighting: "),
        ({"aggregate": "last"}, "aggregate: "),
        ({"layers": ("stages",)}, "layers: convolutions, stages"),
    ],
)
def test_other_maps_cannot_be_compared(tmp_path, settings, reason):
    first = (
        make_run(tmp_path / "a", weighting="positive")
        if "weighting" in settings
        else make_run(tmp_path / "a")
    )
    second = make_run(tmp_path / "b", **settings)
    with pytest.raises(InputError, match=f"nothing can be compared: .*{reason}") as caught:
        compare_runs(first, second)
    assert "\n" not in str(caught.value)


def test_settings_of_leam_do_not_matter_to_another_method(tmp_path):
    method = {"method": "corrrise"}
    first = make_run(tmp_path / "a", **method)
    second = make_run(tmp_path / "b", weighting="positive", **method)
    found = compare_runs(first, second)
    # Other methods have no table of layers.
    assert list(by_figure(found)) == FIGURES[:-1]


def test_drops_of_another_kind_of_similarity_are_refused(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", similarity="euclidean")
    found = compare_runs(first, second)
    assert {one.reason for one in found.refused} == {"similarity: cosine, euclidean"}
    assert {one.figure.split(",")[0].split(" (")[0] for one in found.refused} == {
        "similarity drop", "drop - scattered", "drop",
    }  # fmt: skip
    same = make_run(tmp_path / "c")
    assert {one.unit for one in compare_runs(first, same).differences} == {
        "part of the critical pixels", "cosine", "bc", "part of the largest entropy",
    }  # fmt: skip


def test_what_is_in_one_study_only_is_listed(tmp_path):
    first = make_run(tmp_path / "a", names=("alpha", "beta"))
    second = make_run(tmp_path / "b", names=("alpha", "gamma"), effect=False)
    found = compare_runs(first, second)
    assert found.only_first == [
        "beta", "drop, another picture's mask (alpha)", "drop, that mask - population (alpha)",
    ]  # fmt: skip
    assert found.only_second == ["gamma"]
    assert {one.recognizer for one in found.differences} == {"alpha"}


def test_single_recognizers_are_compared_whatever_their_names(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", names=("beta",))
    found = compare_runs(first, second)
    assert {one.recognizer for one in found.differences} == {"alpha, beta"}
    assert found.only_first == found.only_second == []
    several = make_run(tmp_path / "c", names=("beta", "gamma"))
    with pytest.raises(InputError, match=r"no recognizer in common \(alpha; beta, gamma\)"):
        compare_runs(first, several)
    chosen = compare_runs(first, several, only=["alpha", "gamma"])
    assert {one.recognizer for one in chosen.differences} == {"alpha, gamma"}
    with pytest.raises(InputError, match=r"none of these recognizers; available: alpha"):
        compare_runs(first, several, only=["gamma"])


def test_other_differences_are_noted(tmp_path):
    first = make_run(tmp_path / "a")
    second = make_run(
        tmp_path / "b", version="2.0", sha256="b" * 64, rotate="auto", detector="yunet"
    )
    found = compare_runs(first, second)
    assert found.notes == [
        "settings differ: detector: dlib, yunet",
        "settings differ: rotate: none, auto",
        "versions of LEAM differ: 1.0, 2.0",
        "alpha: the weights differ",
    ]
    assert not found.refused


def test_people_without_a_value_are_left_out(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    table = second.read_table("regions/alpha")
    gone = table.with_columns(
        share=(table["share"]).set(table["person"] == PEOPLE[0], float("nan"))
    )
    second.write_table("regions/alpha", [gone])
    second.write_manifest()
    rows = by_figure(compare_runs(first, second))
    assert (rows["nose"].n, rows["similarity drop"].n) == (19, 20)


def test_audits_and_damaged_studies_are_refused(tmp_path):
    first, audit = make_run(tmp_path / "a"), make_run(tmp_path / "b", audit=True)
    with pytest.raises(InputError, match="an audit, which stores no values by person"):
        compare_runs(first, audit)
    (tmp_path / "a" / "tables" / "regions" / "alpha.parquet").write_bytes(b"PAR1")
    with pytest.raises(StudyError, match=r"alpha.parquet: missing, or changed"):
        compare_runs(first, make_run(tmp_path / "c"))


def test_the_record_can_be_read_again(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", shift=0.1)
    found = compare_runs(first, second)
    text = found.to_json()
    assert json.loads(text)["compare_version"] == 1
    assert RunComparison.model_validate_json(text).to_json() == text
    assert found.first.folder == str(Path(tmp_path / "a"))
    # No name of a person leaves the studies.
    assert "person 0" not in text


def test_two_runs_of_one_study_do_not_differ(tmp_path):
    first = make_run(tmp_path / "a")
    found = compare_runs(first, make_run(tmp_path / "b"))
    assert {one.verdict for one in found.differences} == {"no difference shown"}
    assert {one.p for one in found.differences} == {1.0}
    assert found.notes == []


def test_one_folder_is_not_compared_with_itself(tmp_path):
    first = make_run(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for other in (tmp_path / "a", tmp_path / "link", tmp_path / "a" / ".." / "a"):
        with pytest.raises(InputError, match="the same study twice"):
            compare_runs(first, RunFolder(other))
