"""What regions contribute to errors and to gaps between groups, from embeddings written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import shards
from leam.metrics.occlusion import hide
from leam.metrics.statistics import Estimate
from leam.parsers.regions import REGIONS
from leam.study.comparisons import compared
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.schedule import Job
from leam.study.stages.error_reasons import (
    AUDITED,
    LEVEL,
    ErrorReasonFigures,
    ErrorReasons,
    HiddenRegions,
    Regions,
    leading,
    region_gaps,
)
from leam.study.store import RunFolder
from leam.study.worker import Worker
from planned import planned
from small import plan_of as small_plan
from small import recognizer, study, write_faces

NAMES = ["nose", "eyes"]
PEOPLE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


def angles(*degrees: float) -> np.ndarray:
    """Embeddings ``(n, 2)`` at angles, of different lengths."""
    radians = np.radians(degrees)
    lengths = 1 + np.arange(len(degrees))[:, None]
    return (np.stack([np.cos(radians), np.sin(radians)], axis=1) * lengths).astype(np.float32)


def write(folder: RunFolder, plan: Plan, whole: np.ndarray, hidden: np.ndarray) -> None:
    """Embeddings of all pictures ``(n, D)``, and with each region hidden ``(n, R, D)``."""
    for index, part in enumerate(plan.slices):
        here = list(part)
        shard = shards.explained(here, dimensions=whole.shape[1])
        folder.write_shard("explain/one", index, replace(shard, embedding=whole[here]))
        found = HiddenRegions(
            position=np.array(here),
            regions=np.array(NAMES),
            embedding=hidden[here],
            area=np.full((len(here), 2), [0.1, 0.3], dtype=np.float32) * (1 + index),
        )
        folder.write_shard("error_reasons/one", index, found)


def figures(plan: Plan, folder: RunFolder) -> ErrorReasonFigures:
    found = ErrorReasons().summarise(RunData(plan, folder), "one")
    assert isinstance(found, ErrorReasonFigures)
    return found


def cos(*degrees: float) -> float:
    return float(np.cos(np.radians(degrees[0] - degrees[1])))


def four(folder: RunFolder) -> Plan:
    """Two people with two pictures each, at 0 and 20 degrees, and at 60 and 110; 0.7 is an angle of 45.6 degrees.

    Without the nose, the last picture moves to 80; without the eyes, the second one moves to 0.
    """
    plan = planned("aabb", 1, audit=True, threshold=0.7)
    hidden = np.stack([angles(0, 20, 60, 80), angles(0, 0, 60, 110)], axis=1)
    write(folder, plan, angles(0, 20, 60, 110), hidden)
    return plan


def test_each_contribution_is_in_its_place(folder):
    found = figures(four(folder), folder)
    assert found.threshold == 0.7
    assert found.regions == NAMES
    # The false match is of 20 and 60 degrees; the nearest accepted genuine comparison is the only one, 0 and 20.
    matches = found.false_matches
    assert matches.errors == 1
    assert matches.similarity == pytest.approx(cos(20, 60))
    assert matches.matched_similarity == pytest.approx(cos(0, 20))
    assert matches.contribution["nose"].mean == pytest.approx(0, abs=1e-6)
    assert matches.contribution["eyes"].mean == pytest.approx(cos(20, 60) - cos(0, 60))
    assert matches.matched["eyes"].mean == pytest.approx(cos(0, 20) - 1)
    assert matches.difference["eyes"].mean == pytest.approx(
        cos(20, 60) - cos(0, 60) - cos(0, 20) + 1
    )
    # The false non-match is of 60 and 110; the nearest rejected impostor comparison is of 0 and 60.
    misses = found.false_non_matches
    assert misses.errors == 1
    assert misses.similarity == pytest.approx(cos(60, 110))
    assert misses.matched_similarity == pytest.approx(cos(0, 60))
    assert misses.contribution["nose"].mean == pytest.approx(cos(60, 110) - cos(60, 80))
    assert misses.contribution["eyes"].mean == pytest.approx(0, abs=1e-6)
    assert misses.matched["nose"].mean == pytest.approx(0, abs=1e-6)


def test_few_people_have_no_interval(folder):
    found = figures(four(folder), folder).false_matches.contribution["eyes"]
    assert (found.low, found.high, found.n) == (None, None, 2)


def test_without_errors_there_is_nothing_to_estimate(folder):
    plan = planned("aabb", 1, audit=True, threshold=0.7)
    whole = angles(0, 10, 90, 100)
    write(folder, plan, whole, np.stack([whole, whole], axis=1))
    found = figures(plan, folder)
    for kind in (found.false_matches, found.false_non_matches):
        assert kind.errors == 0
        assert kind.similarity is None
        assert kind.contribution["nose"] == Estimate(None, None, None, 0)
        assert kind.difference["nose"].mean is None


def test_one_person_or_no_shard_has_no_figures(folder):
    plan = planned("aa", 1, audit=True)
    write(folder, plan, angles(0, 10), np.stack([angles(0, 10)] * 2, axis=1))
    assert ErrorReasons().summarise(RunData(plan, folder), "one") is None
    plan = planned("aabb", 1, audit=True)
    empty = RunFolder(folder.path / "other")
    for index, part in enumerate(plan.slices):
        empty.write_shard("explain/one", index, shards.explained(list(part)))
    assert ErrorReasons().summarise(RunData(plan, empty), "one") is None


def test_only_audits_have_reasons():
    assert ErrorReasons().applies(planned("aabb", audit=True))
    assert not ErrorReasons().applies(planned("aabb"))


def grouped(fault: float, people: str = PEOPLE[:26], **settings: object) -> tuple[Plan, np.ndarray]:
    """People in two groups, and embeddings: those of ``x`` share a direction, which hiding the eyes removes."""
    plan = planned("".join(p * 3 for p in people), 5, audit=True, groups=("kind",), **settings)
    images = [
        replace(image, groups={"kind": "yx"[PEOPLE.index(image.person) % 2]})
        for image in plan.images
    ]
    plan = plan.model_copy(update={"images": tuple(images)})
    generator = np.random.default_rng(0)
    centres = {person: generator.normal(size=8) for person in people}
    plain = np.array([centres[i.person] + generator.normal(size=8) * 0.6 for i in images])
    shared = np.array([[i.groups["kind"] == "x"] for i in images]) * np.eye(8)[0] * fault
    eyes = plain + generator.normal(size=plain.shape) * 0.05
    embeddings = np.stack([plain + shared, plain + shared, eyes], axis=1)
    return plan, embeddings.astype(np.float32)


def test_a_fault_of_a_group_is_found_in_its_region(folder):
    plan, embeddings = grouped(1.5)
    write(folder, plan, embeddings[:, 0], embeddings[:, 1:])
    gaps = figures(plan, folder).columns["kind"]
    assert [(gap.comparisons, gap.first, gap.second, gap.region) for gap in gaps] == [
        (kind, "x", "y", region) for kind in ("genuine", "impostor") for region in NAMES
    ]
    found = leading(gaps)
    assert (found.comparisons, found.region) == ("impostor", "eyes")
    assert found.difference.low > 0
    assert found.standardised > 3
    assert found.p_adjusted < LEVEL
    assert found.difference.n == 26
    # Hiding the nose changes nothing.
    assert gaps[0].difference.mean == pytest.approx(0, abs=1e-6)
    assert gaps[0].p == gaps[0].p_adjusted == 1


def test_contributions_of_groups_are_those_within_groups(folder):
    plan, embeddings = grouped(1.5)
    write(folder, plan, embeddings[:, 0], embeddings[:, 1:])
    gap = figures(plan, folder).columns["kind"][3]
    unit = embeddings / np.linalg.norm(embeddings, axis=2, keepdims=True)
    person = np.array([PEOPLE.index(image.person) for image in plan.images])
    means = []
    for parity in (1, 0):
        chosen = np.flatnonzero(person % 2 == parity)
        i, j = (chosen[side] for side in np.triu_indices(len(chosen), 1))
        i, j = i[person[i] != person[j]], j[person[i] != person[j]]
        whole, hidden = ((unit[i, k] * unit[j, k]).sum(axis=1) for k in (0, 2))
        means.append((whole - hidden).mean())
    assert gap.difference.mean == pytest.approx(means[0] - means[1], abs=1e-5)


def test_groups_without_a_fault_have_no_leading_gap(folder):
    plan, embeddings = grouped(0)
    hidden = embeddings[:, 1:] + np.random.default_rng(1).normal(size=(78, 2, 8)) * 0.3
    write(folder, plan, embeddings[:, 0], hidden.astype(np.float32))
    gaps = figures(plan, folder).columns["kind"]
    assert leading(gaps) is None
    assert all(gap.p_adjusted >= gap.p for gap in gaps)


def test_small_groups_are_not_compared(folder):
    plan, embeddings = grouped(1.5, PEOPLE[:19])
    write(folder, plan, embeddings[:, 0], embeddings[:, 1:])
    # Nine people are in group x.
    assert figures(plan, folder).columns["kind"] == []


def test_more_groups_are_corrected_for_their_pairs(folder):
    plan, embeddings = grouped(0.3, PEOPLE)
    write(folder, plan, embeddings[:, 0], embeddings[:, 1:])
    run = RunData(plan, folder)
    found = compared(run, "one")
    regions = Regions.read(run, "one", list(run.shards(HiddenRegions, "error_reasons", "one")))
    places = [PEOPLE.index(person) for person in found.people]

    def gaps_of(names: str) -> list[ErrorReasonFigures.Gap]:
        kinds = ["yx"[place % 2] if place < 22 else "zw"[place > 37] for place in places]
        return region_gaps(found, regions, [kind if kind in names else "" for kind in kinds], 0)

    three, alone = gaps_of("xyz"), gaps_of("xy")
    assert [(gap.first, gap.second) for gap in three[::4]] == [("x", "y"), ("x", "z"), ("y", "z")]
    # The largest gap of every permutation is that of all pairs of groups.
    assert [gap.p for gap in three[:4]] == [gap.p for gap in alone]
    ours, theirs = (np.array([gap.p_adjusted for gap in gaps]) for gaps in (three[:4], alone))
    assert (ours >= theirs).all()
    assert (ours > theirs).any()
    # Six people in the fourth group are too few for a p-value.
    few = gaps_of("xw")
    assert [(gap.p, gap.standardised) for gap in few] == [(None, None)] * 4
    assert all(gap.difference.mean is not None for gap in few)
    assert gaps_of("x") == []


def test_the_regions_of_a_study_are_joined_by_position(folder):
    plan = four(folder)
    run = RunData(plan, folder)
    parts = list(run.shards(HiddenRegions, "error_reasons", "one"))
    regions = Regions.read(run, "one", parts[::-1])
    np.testing.assert_allclose(regions.area, [0.15, 0.45])
    found = compared(run, "one")
    straight = Regions.read(run, "one", parts)
    np.testing.assert_array_equal(regions.contributions(found), straight.contributions(found))
    missing = Regions.read(run, "one", parts[1:])
    assert missing.row.tolist() == [-1, -1, 0, 1]


def gap(standardised: float | None, p: float | None) -> ErrorReasonFigures.Gap:
    return ErrorReasonFigures.Gap(
        comparisons="genuine",
        first="a",
        second="b",
        region="nose",
        difference=Estimate(0.1, 0.0, 0.2, 40),
        standardised=standardised,
        p=p,
        p_adjusted=p,
    )


def test_the_leading_gap_is_the_largest_of_those_that_can_be_concluded():
    found = [gap(9.0, LEVEL), gap(4.0, LEVEL / 2), gap(-5.0, LEVEL / 3), gap(None, None)]
    assert leading(found) is found[2]
    assert leading(found[:1]) is None
    assert leading([]) is None


def test_the_regions_of_real_pictures_are_hidden(tmp_path):
    faces = tmp_path / "faces"
    write_faces(faces)
    model = recognizer()
    folder = RunFolder(tmp_path / "run")
    settings = {"audit": True, "fill": "mean", "threshold": 0.5}
    study(faces, Path(folder.path), model, **settings)
    worker = Worker(small_plan(faces, model, **settings), folder, [model])
    scene = worker._scene(Job("compare", model.name, 0), worker._loader.batch(0))
    found = ErrorReasons().of_slice(scene)
    parsed = np.stack([parsing.regions for parsing in scene.parsings])
    names = found.regions.tolist()
    assert set(names) <= set(AUDITED)
    assert found.embedding.shape[:2] == (len(scene.positions), len(names))
    np.testing.assert_array_equal(found.position, scene.positions)
    for place, name in enumerate(names):
        mask = parsed == REGIONS.index(name)
        expected = model.embed(hide(scene.chips.images, mask, "mean"))
        np.testing.assert_allclose(found.embedding[:, place], expected, atol=1e-6)
        np.testing.assert_allclose(found.area[:, place], mask.mean(axis=(1, 2)), rtol=1e-6)
