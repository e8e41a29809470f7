"""Error rates of an audit, from embeddings written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import shards
from leam.metrics.error_rates import Comparisons, fmr_estimate, fnmr_estimate
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.stages.error_rates import ErrorRateFigures, ErrorRates
from leam.study.stages.error_reasons import HiddenRegions
from leam.study.stages.worst_comparisons import WorstComparisons
from leam.study.store import RunFolder
from planned import planned

PEOPLE = "abcdefghijklmnopqrstuvwxyz"
DIMENSIONS = 6


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


def plan_of(pictures: int = 3, **settings: object) -> Plan:
    """Men and women in turn, one person of unknown gender and one of a group of its own."""
    plan = planned("".join(p * pictures for p in PEOPLE), 5, audit=True, **settings)
    gender = {p: "fm"[n % 2] for n, p in enumerate(PEOPLE)} | {"y": "", "z": "x"}
    images = [
        replace(image, groups={"gender": gender[image.person]} if gender[image.person] else {})
        for image in plan.images
    ]
    return plan.model_copy(update={"images": tuple(images)})


def write(folder: RunFolder, plan: Plan, missing: Sequence[int] = ()) -> np.ndarray:
    """Embeddings of all pictures but the missing ones; those of one person point in similar directions."""
    generator = np.random.default_rng(0)
    centres = {person: generator.normal(size=DIMENSIONS) for person in PEOPLE}
    values = np.array(
        [centres[i.person] + generator.normal(size=DIMENSIONS) * 0.6 for i in plan.images],
        dtype=np.float32,
    )
    for index, part in enumerate(plan.slices):
        here = [position for position in part if position not in missing]
        shard = shards.explained(here, dimensions=DIMENSIONS)
        folder.write_shard("explain/one", index, replace(shard, embedding=values[here]))
        reasons = ["no face was found" if position in missing else "" for position in part]
        folder.write_shard("detect", index, shards.detections(len(part), reasons))
    return values


def all_comparisons(plan: Plan, values: np.ndarray, kept: Sequence[int]) -> Comparisons:
    """Every two of the kept pictures, by cosine similarity."""
    unit = values[kept] / np.linalg.norm(values[kept], axis=1, keepdims=True)
    person = np.array([PEOPLE.index(plan.images[position].person) for position in kept])
    first, second = np.triu_indices(len(kept), 1)
    scores = (unit @ unit.T)[first, second].astype(float)
    return Comparisons(scores, person[first], person[second], len(PEOPLE))


def figures(plan: Plan, folder: RunFolder) -> ErrorRateFigures:
    found = ErrorRates().summarise(RunData(plan, folder), "one")
    assert isinstance(found, ErrorRateFigures)
    return found


def test_rates_at_a_given_threshold(folder):
    plan = plan_of(threshold=0.5)
    missing = [0, 4]
    values = write(folder, plan, missing)
    kept = [position for position in range(len(plan.images)) if position not in missing]
    every = all_comparisons(plan, values, kept)
    found = figures(plan, folder)
    assert (found.people, found.drawn) == (26, False)
    assert found.genuine == len(every.genuine.scores) == 24 * 3 + 2
    assert found.impostors == len(every.impostors.scores)
    assert found.acquired.mean == pytest.approx(76 / 78)
    assert found.threshold_source == "given"
    assert found.operating.threshold == 0.5
    fmr, fnmr = (every.impostors.scores >= 0.5).mean(), (every.genuine.scores < 0.5).mean()
    assert found.operating.fmr.mean == pytest.approx(fmr)
    assert found.operating.fnmr.mean == pytest.approx(fnmr)
    assert found.operating.fmr.n == found.operating.fnmr.n == 26
    # 2,776 impostor comparisons support a rate of 0.1 by the rule of 30.
    assert found.least_fmr == 0.1
    assert list(found.at_fmr) == ["0.1"]
    assert found.at_fmr["0.1"].fmr.mean <= 0.1
    assert found.eer.low < found.eer.mean < found.eer.high


def test_the_curve_keeps_its_ends(folder):
    plan = plan_of()
    write(folder, plan)
    curve = figures(plan, folder).curve
    assert len(curve.threshold) == len(curve.fmr) == len(curve.fnmr) <= 400
    assert curve.threshold == sorted(curve.threshold)
    assert curve.fmr == sorted(curve.fmr, reverse=True)
    assert curve.fmr[0] == 1
    assert curve.fnmr[0] == 0


def test_groups_are_compared_within_themselves_at_one_threshold(folder):
    plan = plan_of(threshold=0.5, groups=("gender",))
    values = write(folder, plan)
    every = all_comparisons(plan, values, range(len(plan.images)))
    column = figures(plan, folder).columns["gender"]
    assert list(column.groups) == ["f", "m"]
    assert column.too_few == {"x": 1}
    assert column.unknown == 1
    women = np.array([PEOPLE.index(p) for p in PEOPLE[0:24:2]])
    within = every.where(np.isin(every.first, women) & np.isin(every.second, women))
    female = column.groups["f"]
    assert (female.people, female.genuine) == (12, 36)
    assert female.impostors == len(within.impostors.scores)
    assert female.fmr.mean == fmr_estimate(within.impostors, 0.5, 0).mean
    assert female.fnmr.mean == fnmr_estimate(within.genuine, 0.5, 0).mean
    assert [(gap.rate, gap.first, gap.second) for gap in column.gaps] == [
        ("fmr", "f", "m"),
        ("fnmr", "f", "m"),
    ]
    rates = [one.fmr.mean for one in column.groups.values()]
    assert column.gaps[0].difference.mean == pytest.approx(rates[0] - rates[1])
    assert column.worst_to_best["fmr"] == pytest.approx(max(rates) / min(rates))
    assert 0 <= column.garbe <= 1
    assert 0 <= column.fdr <= 1


def test_the_threshold_comes_from_the_card_or_is_set_at_the_least_rate(folder):
    plan = plan_of()
    write(folder, plan)
    found = figures(plan, folder)
    assert found.threshold_source == "set at a false match rate of 0.1 on these comparisons"
    assert found.operating.threshold == found.at_fmr["0.1"].threshold
    model = plan.models[0]
    card = model.card.model_copy(update={"threshold": 0.3})
    plan = plan.model_copy(update={"models": (model.model_copy(update={"card": card}),)})
    found = figures(plan, folder)
    assert (found.threshold_source, found.operating.threshold) == ("the recognizer's card", 0.3)


def test_impostor_comparisons_may_be_drawn(folder, monkeypatch):
    monkeypatch.setattr("leam.study.comparisons.MOST_IMPOSTORS", 500)
    plan = plan_of()
    write(folder, plan)
    found = figures(plan, folder)
    assert (found.impostors, found.drawn) == (500, True)


def test_one_person_has_no_error_rates(folder):
    plan = plan_of()
    plan = plan.model_copy(update={"images": plan.images[:3]})
    write(folder, plan)
    assert ErrorRates().summarise(RunData(plan, folder), "one") is None


def test_people_with_one_picture_each_have_no_error_rates(folder):
    """Nor have a person's pairs without impostors."""
    plan = plan_of(pictures=1)
    write(folder, plan)
    assert ErrorRates().summarise(RunData(plan, folder), "one") is None
    plan = plan_of().model_copy(update={"pairs": ((0, 1), (3, 4))})
    write(folder, plan)
    assert ErrorRates().summarise(RunData(plan, folder), "one") is None


def test_a_rate_that_only_rejecting_all_reaches_is_written(folder):
    """The most similar pictures are of two people, so that every finite threshold accepts impostors."""
    plan = plan_of().model_copy(update={"pairs": ((0, 1), (0, 3), (0, 6), (3, 4))})
    values = write(folder, plan)
    values[[3, 6]] = values[0]
    for index, part in enumerate(plan.slices):
        shard = shards.explained(part, dimensions=DIMENSIONS)
        folder.write_shard("explain/one", index, replace(shard, embedding=values[list(part)]))
    found = figures(plan, folder)
    assert found.operating.threshold is None
    assert found.operating.fnmr.mean == 1
    regions = HiddenRegions(
        np.arange(len(plan.images)),
        np.array(["nose"]),
        values[:, None],
        np.ones((len(values), 1), np.float32),
    )
    for index, part in enumerate(plan.slices):
        shard = replace(
            regions,
            position=regions.position[list(part)],
            embedding=regions.embedding[list(part)],
            area=regions.area[list(part)],
        )
        folder.write_shard("error_reasons/one", index, shard)
    worst = WorstComparisons().summarise(RunData(plan, folder), "one")
    assert worst.threshold is None
    assert worst.false_matches == []


def test_only_audits_have_error_rates():
    assert ErrorRates().applies(plan_of())
    assert not ErrorRates().applies(planned("aabb"))
