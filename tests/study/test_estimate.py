"""The estimate of a study: of one that is resumed, only what is left counts."""

from __future__ import annotations

import re

import pytest

import small
from leam.study import estimate as estimates
from leam.study.estimate import estimate, outline, part_left
from leam.study.stage import stages_of
from leam.study.store import RunFolder
from planned import planned


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


def test_the_part_that_is_left(folder):
    plan = planned("aabbccdd")
    folder.start(plan)
    assert part_left(plan, folder, faces=True) == part_left(plan, folder, faces=False) == 1
    folder.write_shard("detect", 0, None)
    assert part_left(plan, folder, faces=True) == 3 / 4
    assert part_left(plan, folder, faces=False) == 1
    for stage in stages_of(plan):
        if stage.shard:
            folder.write_shard(f"{stage.name}/one", 1, None)
    assert part_left(plan, folder, faces=True) == 3 / 4
    assert part_left(plan, folder, faces=False) == 1 / 2


def test_time_and_disk_space_are_those_of_what_is_left(folder, monkeypatch):
    plan, model = planned("aabbccdd" * 500), small.recognizer()
    folder.start(plan)
    monkeypatch.setattr(estimates, "_pass_seconds", lambda _recognizer: 1.0)

    def figures() -> tuple[int, int]:
        text = estimate(plan, [model], 1, folder)
        minutes, size = re.search(r"about (\d+) h and (\d+) MB", text).groups()
        return int(minutes), int(size)

    whole = figures()
    for index in range(len(plan.slices) // 2):
        for stage in stages_of(plan):
            if stage.shard:
                folder.write_shard(f"{stage.name}/one", index, None)
    rest = figures()
    assert [left / all_ for left, all_ in zip(rest, whole, strict=True)] == pytest.approx(
        [0.5, 0.5], abs=0.1
    )


def test_people_pictures_recognizers_and_stages_are_named():
    text = outline(planned("aabbb"))
    assert text.startswith("people: 2, pictures: 5, recognizers: 1 (one); stages: detect, parse, ")
    assert "explain" in text
