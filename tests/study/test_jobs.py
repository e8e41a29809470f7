"""The pieces of work of a study."""

from __future__ import annotations

import pickle

from leam.study.jobs import Job, parsings, phases
from planned import planned

CROP = "arcface-4x4"


def test_phases_go_slice_by_slice():
    plan = planned("aabbccdd", 2, second_parser="compact")
    found = {phase.title: [(job.stage, job.index) for job in phase.jobs] for phase in phases(plan)}
    parsed = [f"parsing/landmarks/{CROP}", f"parsing/compact/{CROP}"]
    assert found == {
        "finding faces": [("faces", 0), ("faces", 1)],
        "parsing": [(stage, index) for index in (0, 1) for stage in parsed],
        "explaining": [("maps/one", 0), ("maps/one", 1)],
        "computing the figures": [("figures/one", 0)],
    }


def test_phases_that_are_asked_for():
    plan = planned("aabb", target="contrast", transfer=True, panel=1)
    kinds = [phase.jobs[0].kind for phase in phases(plan)]
    assert kinds == ["faces", "parsing", "templates", "maps", "transfer", "panel", "figures"]


def test_a_parser_that_is_named_twice_parses_once():
    assert parsings(planned("aa", second_parser="landmarks")) == [f"landmarks/{CROP}"]
    assert parsings(planned("aa")) == [f"landmarks/{CROP}"]


def test_jobs_can_be_sent():
    job = Job("maps", "one", 3)
    assert pickle.loads(pickle.dumps(job)) == job
