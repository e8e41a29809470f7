"""A plan's slices."""

from __future__ import annotations

import pickle

import pytest

from leam.recognizers import Card
from leam.study import Settings
from leam.study.plan import Plan, PlannedImage, PlannedModel


def plan_of(people: str, people_per_slice: int = 2) -> Plan:
    """A plan of one picture for each letter, which is its person."""
    return Plan(
        versions={},
        source="nowhere",
        settings=Settings(),
        models=(PlannedModel(card=Card(name="one"), sha256="0"),),
        images=tuple(
            PlannedImage(image=f"{p}/{i}", person=p, path=f"{p}/{i}", sha256=None)
            for i, p in enumerate(people)
        ),
        people_per_slice=people_per_slice,
    )


@pytest.mark.parametrize(
    ("people", "each", "slices"),
    [
        ("aabbbcd", 2, [(0, 5), (5, 7)]),
        ("aabbbcd", 1, [(0, 2), (2, 5), (5, 6), (6, 7)]),
        ("aabbbcd", 3, [(0, 6), (6, 7)]),
        ("aabbbcd", 9, [(0, 7)]),
        ("", 2, []),
    ],
)
def test_slices_are_whole_people_in_order(people, each, slices):
    assert plan_of(people, each).slices == tuple(range(a, b) for a, b in slices)


def test_slices_are_cut_once_and_anew_for_other_values():
    plan = plan_of("aabbbcd")
    assert plan.slices is plan.slices
    assert len(plan.model_copy(update={"people_per_slice": 1}).slices) == 4
    assert len(plan.model_copy(update={"images": plan.images[:2]}).slices) == 1
    assert plan.only({"one"}).slices == plan.slices


def test_cut_slices_change_nothing_that_others_see():
    plan, fresh = plan_of("aabbbcd"), plan_of("aabbbcd")
    cut = plan.slices
    assert plan == fresh
    assert fresh == plan
    assert plan != plan_of("aabbbcd", 1)
    assert plan.model_dump_json() == fresh.model_dump_json()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    sent = pickle.loads(pickle.dumps(plan))
    assert sent == plan
    assert sent.slices == cut
