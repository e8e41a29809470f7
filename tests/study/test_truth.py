"""A run folder names what made it: pictures, versions and plug-ins are those of the plan."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from handmade import make_summary
from leam.errors import ImageError, InputError, PluginError, StudyError
from leam.faces.people import Sample
from leam.study import stage as stages
from leam.study.plan import Plan, Settings
from leam.study.preparation import detect_faces
from leam.study.run import plan_study, run_study
from leam.study.stage import Stage, stages_of
from leam.study.store import CHANGED, RunFolder
from leam.study.summary import read_summary
from planned import planned


@pytest.fixture
def pictures(tmp_path, portrait) -> list[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(2)]
    for path in paths:
        shutil.copy(portrait, path)
    return paths


@pytest.fixture
def plan(pictures, tiny) -> Plan:
    samples = [Sample(person="p", image=path.name, path=path) for path in pictures]
    return plan_study("pictures", samples, [tiny], Settings(top=0.1))


def test_a_picture_changed_after_planning_is_excluded(plan, pictures, detector):
    found = detect_faces(plan.images, detector)
    with Image.open(pictures[0]) as opened:
        opened.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures[0])
    assert detect_faces(plan.images, detector).reason.tolist() == [CHANGED, ""]
    # After detection, too: the picture is read again to be parsed and explained.
    with pytest.raises(ImageError, match=rf"0\.jpg: {CHANGED}"):
        found.face(plan.images[0], 0)
    assert found.face(plan.images[1], 1).sha256 == plan.images[1].sha256


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("versions", {"torch": "1.0"}, r"torch: version .*, but the plan has 1\.0"),
        ("plugins", {"fill x": "p 1"}, r"fill x: version None, but the plan has p 1"),
    ],
)
def test_a_plan_of_other_versions_is_refused(plan, tiny, tmp_path, field, value, why):
    other = plan.model_copy(update={field: getattr(plan, field) | value})
    with pytest.raises(InputError, match=why):
        run_study(other, [tiny], RunFolder(tmp_path / "run"))


def test_a_restart_that_is_killed_leaves_no_shards_to_another_study(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.start(planned("aabb"))
    for index in range(2):
        folder.write_shard("explain/one", index, None)
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path.suffix == ".npz":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.start(planned("aabb", top=0.5), restart=True)
    assert sum(folder.shard("explain/one", index).exists() for index in range(2)) == 1
    with pytest.raises(StudyError, match="holds a study with another top"):
        folder.start(planned("aabb", top=0.5))
    folder.start(planned("aabb", top=0.5), restart=True)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"versions": {"leam": "0"}}, "versions"),
        ({"settings": Settings(top=0.5)}, "settings"),
        ({"models": ()}, "recognizers"),
    ],
)
def test_a_summary_beside_the_plan_of_another_study_is_refused(tmp_path, change, what):
    plan = planned("aabb")
    summary = make_summary(plan.settings)
    one = summary.recognizers["alpha"].model_copy(update={"sha256": "0"})
    summary = summary.model_copy(update={"recognizers": {"one": one}, "versions": {}})
    folder = RunFolder(tmp_path)
    folder.write_text("summary.json", summary.to_json())
    folder.start(plan)
    assert set(read_summary(folder).recognizers) == {"one"}
    folder.write_text("run.json", plan.model_copy(update=change).model_dump_json())
    with pytest.raises(StudyError, match=f"its {what} are not those of run.json"):
        read_summary(folder)


@pytest.mark.parametrize(
    ("entry", "own"), [("x", "occlusion"), ("a/b", "a/b"), ("../x", "../x"), ("detect", "detect")]
)
def test_a_stage_cannot_take_the_place_of_another(monkeypatch, entry, own):
    kind = type("Odd", (Stage,), {"name": own})
    monkeypatch.setitem(stages.STAGES._things, entry, kind)
    with pytest.raises(PluginError, match=f"its stage {entry} has the name '{own}'"):
        stages_of(planned("aabb"))
