"""Two processes on one run folder, and a folder that was begun with something else."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from leam.errors import StudyError
from leam.study.store import RunFolder
from small import digests, plan_of, recognizer, study

HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1], timeout=0)
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_and_a_dead_one_holds_nothing(faces, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = digests(out)
    command = [sys.executable, "-c", HOLD, str(out / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline().strip() == "held"
            with pytest.raises(StudyError, match="another process is at work on this study"):
                study(faces, out)
            assert digests(out) == before
        finally:
            other.kill()
    study(faces, out)
    assert digests(out) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", r"another seed \(0, now 1\)"),
        ("weights", "another choice of recognizers, or changed weights, cards or precision"),
        ("model", "another choice of recognizers"),
        ("picture", "the picture Eileen Collins/0.png changed since"),
        ("version", r"another version of leam \(0\.0\.0"),
        ("torch", r"another version of torch \(1\.0"),
    ],
)
def test_whatever_changed_is_refused_by_name(faces, tmp_path, change, message):
    copied = tmp_path / "faces"
    shutil.copytree(faces, copied)
    folder = RunFolder(tmp_path / "run")
    plan = plan_of(copied, recognizer())
    begun = {
        "version": plan.model_copy(update={"versions": plan.versions | {"leam": "0.0.0"}}),
        "torch": plan.model_copy(update={"versions": plan.versions | {"torch": "1.0"}}),
    }
    with folder.locked():
        folder.start(begun.get(change, plan))
    if change == "picture":
        picture = next(copied.rglob("*.png"))
        picture.write_bytes(picture.read_bytes() + b" ")
    models = {"weights": recognizer(seed=1), "model": recognizer("other")}
    now = plan_of(copied, models.get(change, recognizer()), seed=int(change == "seed"))
    with folder.locked(), pytest.raises(StudyError, match=rf"{message}.*--restart"):
        folder.start(now)
    with folder.locked():
        folder.start(now, restart=True)
    assert folder.plan() == now
