"""One small real study, shared by the tests that read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leam.demo import write_views
from leam.faces.people import Sample, read_people
from leam.recognizers.recognizer import Recognizer
from leam.study.plan import Plan, Settings
from leam.study.run import plan_study, run_study
from leam.study.store import RunFolder


@pytest.fixture(scope="session")
def views(tmp_path_factory) -> Path:
    """Two people, six views of each, one file that is no picture, and one person with a single picture."""
    folder = tmp_path_factory.mktemp("faces")
    write_views(folder)
    (folder / "Grace Hopper" / "broken.jpg").write_bytes(b"no picture")
    (folder / "Solo").mkdir()
    (folder / "Solo" / "only.png").write_bytes(
        (folder / "Grace Hopper" / "view 1.png").read_bytes()
    )
    return folder


@pytest.fixture(scope="session")
def samples(views) -> list[Sample]:
    return read_people(views)


@pytest.fixture(scope="session")
def plan(samples, dlib_resnet) -> Plan:
    return plan_study("views", samples, [dlib_resnet], Settings())


@pytest.fixture(scope="session")
def finished(plan, dlib_resnet: Recognizer, tmp_path_factory) -> RunFolder:
    """A finished study of the views. Tests read it and change nothing in it."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    run_study(plan, [dlib_resnet], folder)
    return folder
