"""Pictures that vanish or change while a study runs, or between its runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from leam.errors import StudyError
from leam.faces.people import read_dataset
from leam.report import render_report
from leam.study.engine import EngineOptions
from leam.study.plan import Plan, Settings
from leam.study.run import plan_study, run_study
from leam.study.store import RunFolder
from leam.study.summary import read_summary
from small import digests, log_of, plan_of, recognizer, study, write_faces


def vanish(path: Path) -> None:
    path.unlink()


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


pytestmark = pytest.mark.slow


@pytest.fixture
def many(tmp_path) -> Path:
    """Four people, in fact two under two names each, three pictures of each, one of which is going to be lost."""
    folder = tmp_path / "faces"
    write_faces(folder)
    for path in sorted(folder.glob("*/0.png")):
        with Image.open(path) as picture:
            picture.rotate(-4).save(path.with_name("2.png"))
        shutil.copytree(path.parent, folder / f"{path.parent.name} again")
    return folder


def lost_of(out: Path) -> dict[str, str]:
    return {one.image: one.reason for one in read_summary(RunFolder(out)).exclusions}


@pytest.mark.parametrize(
    ("phase", "lose", "workers"),
    [
        ("finding faces", change, 1),
        ("parsing", vanish, 1),
        ("explaining", vanish, 1),
        ("explaining", change, 2),
        ("comparing", vanish, 2),
        ("comparing", change, 1),
    ],
)
def test_a_lost_picture_costs_that_picture(many, tmp_path, phase, lose, workers):
    models = [recognizer("one"), recognizer("two", seed=1)]
    # A slice for each person: a process keeps no more than two of them in memory.
    plan = plan_of(many, *models, effect=True, subset=1).model_copy(update={"people_per_slice": 1})
    name = plan.images[0].image
    lost = many / name

    def losing(what: str, done: int, _total: int | None) -> None:
        if what == phase and done == 0 and lost.exists():
            lose(lost) if lost.read_bytes() == kept else None

    kept = lost.read_bytes()
    out = tmp_path / "run"
    options = EngineOptions(workers=workers)
    run_study(plan, models, RunFolder(out), progress=losing, options=options)
    reason = lost_of(out)[name]
    assert ("changed since" if lose is change else "no such file") in reason.lower()
    assert list(lost_of(out)) == [name]
    lines = log_of(out)
    assert f"picture {name}: {reason}" in lines
    assert not [line for line in lines if "recognizer" in line], "no recognizer is blamed"
    # The same study without the picture from the beginning.
    other = tmp_path / "other"
    run_study(plan, models, RunFolder(other))
    assert read_summary(RunFolder(out)).recognizers == read_summary(RunFolder(other)).recognizers
    assert read_summary(RunFolder(out)).figures == read_summary(RunFolder(other)).figures
    tables = {key for key in digests(out) if key.startswith("tables") and "faces" not in key}
    assert {key: digests(out)[key] for key in tables} == {
        key: digests(other)[key] for key in tables
    }
    faces = RunFolder(out).read_table("faces").filter(pl.col("reason") != "")
    assert faces["image"].to_list() == [name]
    assert reason in render_report(RunFolder(out)).read_text().replace("&#39;", "'")
    assert not run_study(plan, models, RunFolder(out)), "it is finished"


def test_when_all_pictures_of_a_person_but_one_are_lost_the_person_is_left_out(many, tmp_path):
    models = [recognizer()]
    plan = plan_of(many, *models)
    person = plan.images[0].person

    def losing(what: str, _done: int, _total: int | None) -> None:
        if what == "explaining":
            for name in ("0.png", "1.png"):
                (many / person / name).unlink(missing_ok=True)

    out = tmp_path / "run"
    run_study(plan, models, RunFolder(out), progress=losing)
    assert read_summary(RunFolder(out)).people == 3
    assert lost_of(out)[f"{person}/2.png"] == f"the only usable picture of {person}"


@pytest.mark.parametrize("lose", [vanish, change])
def test_a_lost_picture_is_refused_on_resuming_unless_excluded(many, tmp_path, lose):
    model, out = recognizer(), tmp_path / "run"
    study(many, out, model)
    lost = max(many.glob("*/*.png"))
    name = lost.relative_to(many).as_posix()
    before = digests(out)
    lose(lost)
    plan = plan_of(many, model)
    with pytest.raises(StudyError, match=rf"the picture {name} .*--exclude-changed"):
        run_study(plan, [model], RunFolder(out))
    assert digests(out) == before
    assert run_study(plan, [model], RunFolder(out), exclude_changed=True)
    assert list(lost_of(out)) == [name]
    assert read_summary(RunFolder(out)).images == 11
    # It stays excluded, and is not asked about again.
    assert not run_study(plan, [model], RunFolder(out))


def test_another_choice_of_pictures_is_no_changed_picture(many, tmp_path):
    model, out = recognizer(), tmp_path / "run"
    study(many, out, model)
    plan = plan_of(many, model)
    fewer = plan.model_copy(update={"images": plan.images[:-1]})
    with pytest.raises(StudyError, match=r"another choice of pictures.*--restart"):
        run_study(fewer, [model], RunFolder(out), exclude_changed=True)
    shutil.copy(many / plan.images[0].image, many / plan.images[0].person / "new.png")
    with pytest.raises(StudyError, match=r"another choice of pictures.*--restart"):
        run_study(plan_of(many, model), [model], RunFolder(out), exclude_changed=True)


def test_a_picture_that_vanished_is_refused_by_name_if_others_are_drawn_in_its_place(
    many, tmp_path
):
    model, out = recognizer(), tmp_path / "run"

    def drawn(people: int) -> Plan:
        samples = read_dataset(many).draw(people, 2, 0)
        return plan_study("faces", samples, [model], Settings())

    plan = drawn(3)
    run_study(plan, [model], RunFolder(out))
    name = plan.images[0].image
    vanish(many / name)
    assert {one.image for one in drawn(3).images} - {one.image for one in plan.images}
    with pytest.raises(StudyError, match=rf"the picture {name} .*--exclude-changed"):
        run_study(drawn(3), [model], RunFolder(out))
    with pytest.raises(StudyError, match=r"another choice of pictures"):
        run_study(drawn(2), [model], RunFolder(out), exclude_changed=True)
    assert run_study(drawn(3), [model], RunFolder(out), exclude_changed=True)
    assert name in lost_of(out)
    assert not run_study(drawn(3), [model], RunFolder(out))
