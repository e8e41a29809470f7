"""A plan's slices."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from leam.study.plan import Plan, copy_notes
from planned import planned


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
    assert planned(people, each).slices == tuple(range(a, b) for a, b in slices)


def test_slices_are_cut_once_and_anew_for_other_values():
    plan = planned("aabbbcd")
    assert plan.slices is plan.slices
    assert len(plan.model_copy(update={"people_per_slice": 1}).slices) == 4
    assert len(plan.model_copy(update={"images": plan.images[:2]}).slices) == 1
    assert plan.only({"one"}).slices == plan.slices


def test_cut_slices_change_nothing_that_others_see():
    plan, fresh = planned("aabbbcd"), planned("aabbbcd")
    cut = plan.slices
    assert plan == fresh
    assert fresh == plan
    assert plan != planned("aabbbcd", 1)
    assert plan.model_dump_json() == fresh.model_dump_json()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    sent = pickle.loads(pickle.dumps(plan))
    assert sent == plan
    assert sent.slices == cut


def test_a_person_has_the_value_that_no_picture_contradicts():
    plan = planned("aabbcc")
    values = [{"g": "f"}, {}, {"g": "f"}, {"g": "m"}, {}, {}]
    images = [
        replace(image, groups=groups) for image, groups in zip(plan.images, values, strict=True)
    ]
    assert plan.model_copy(update={"images": tuple(images)}).people_of("g") == {"a": "f"}


def test_copies_of_pictures_are_counted():
    plan = planned("aaabbc")
    digests = ["1" * 64, "2" * 64, "1" * 64, "2" * 64, None, None]
    images = [
        replace(image, sha256=digest) for image, digest in zip(plan.images, digests, strict=True)
    ]
    assert copy_notes(images) == [
        "1 of 6 pictures have the same bytes as one of the same person",
        "1 of 6 pictures have the same bytes as one of another person: one of the two is wrong",
    ]
    assert copy_notes(plan.images) == []
