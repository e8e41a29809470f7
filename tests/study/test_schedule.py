"""The pieces of work of a study."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import shards
from leam.study.preparation import parsings_of
from leam.study.schedule import Job, missing, stages_in, steps
from leam.study.stage import stages_of
from leam.study.stages.transfer import Transferred
from leam.study.store import RunFolder
from planned import planned

CROP = "arcface-4x4"


def test_steps_go_slice_by_slice():
    plan = planned("aabbccdd", 2, second_parser="compact")
    found = {step.title: [(job.shard, job.index) for job in step.jobs] for step in steps(plan)}
    parsed = [f"parse/landmarks/{CROP}", f"parse/compact/{CROP}"]
    assert found == {
        "finding faces": [("detect", 0), ("detect", 1)],
        "parsing": [(shard, index) for index in (0, 1) for shard in parsed],
        "explaining": [("explain/one", 0), ("explain/one", 1)],
        "comparing": [("compare/one", 0), ("compare/one", 1)],
        "computing figures": [("summarise/one", 0)],
    }


def test_steps_that_are_asked_for():
    plan = planned("aabb", target="contrast", transfer=True, subset=1)
    kinds = [step.kind for step in steps(plan)]
    assert kinds == ["detect", "parse", "embed", "explain", "compare", "summarise"]
    jobs = {step.kind: step.jobs[0].stages for step in steps(plan)}
    assert jobs["embed"] == ("templates",)
    assert set(jobs["explain"]) >= {"explain", "regions", "layers", "control_maps"}
    subset = {"curves", "sanity", "stability", "swap", "verification"}
    assert set(jobs["compare"]) == {"occlusion", "transfer", *subset}


@pytest.mark.parametrize("phase", ["explain", "compare"])
def test_a_stage_comes_after_those_that_it_needs(phase):
    plan = planned("aabb", transfer=True, subset=1, second_parser="compact")
    names = [stage.name for stage in stages_in(plan, phase)]
    for stage in stages_in(plan, phase):
        for need in stage.needs:
            assert need not in names or names.index(need) < names.index(stage.name)


def test_a_parser_that_is_named_twice_parses_once():
    assert parsings_of(planned("aa", second_parser="landmarks")) == [f"landmarks/{CROP}"]
    assert parsings_of(planned("aa")) == [f"landmarks/{CROP}"]


def test_jobs_can_be_sent():
    job = Job("explain", "one", 3, ("explain", "regions"))
    assert pickle.loads(pickle.dumps(job)) == job


def test_only_what_is_missing_is_done(tmp_path):
    plan, folder = planned("aabb", 1), RunFolder(tmp_path)
    stages = {stage.name: stage for stage in stages_of(plan)}
    job = Job("explain", "one", 0, ("explain", "regions", "layers"))
    assert missing(folder, job, stages, ["one"]) == job
    folder.write_shard("explain/one", 0, shards.explained([0, 1]))
    folder.write_shard("layers/one", 0, None)
    assert missing(folder, job, stages, ["one"]).stages == ("regions",)
    folder.write_shard("regions/one", 0, shards.region_shares([0, 1]))
    assert missing(folder, job, stages, ["one"]) is None


def test_what_is_damaged_or_of_another_type_is_done_again(tmp_path):
    plan, folder = planned("aabb", 1), RunFolder(tmp_path)
    stages = {stage.name: stage for stage in stages_of(plan)}
    job = Job("explain", "one", 0, ("explain", "regions"))
    folder.write_shard("explain/one", 0, shards.explained([0, 1]))
    # The right name with arrays of another stage.
    folder.write_shard("regions/one", 0, shards.focus([0, 1]))
    assert missing(folder, job, stages, ["one"]).stages == ("regions",)
    assert "regions/one/0: damaged" in (tmp_path / "log.txt").read_text()


def test_masks_of_a_recognizer_that_failed_are_not_kept(tmp_path):
    plan, folder = planned("aabb", 1, transfer=True), RunFolder(tmp_path)
    stages = {stage.name: stage for stage in stages_of(plan)}
    job = Job("compare", "one", 0, ("transfer",))
    shard = Transferred(np.array(["one", "two"]), np.arange(2), np.zeros((2, 3), dtype=np.float32))
    folder.write_shard("transfer/one", 0, shard)
    assert missing(folder, job, stages, ["one", "two"]) is None
    assert missing(folder, job, stages, ["one"]) == job
