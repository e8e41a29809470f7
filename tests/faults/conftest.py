"""A small study that nothing happened to."""

from __future__ import annotations

from pathlib import Path

import pytest

from small import study, write_faces


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """Two people, two pictures of each."""
    folder = tmp_path_factory.mktemp("small") / "faces"
    write_faces(folder)
    return folder


@pytest.fixture(scope="session")
def whole(faces, tmp_path_factory) -> Path:
    """Its run folder. Tests read it and change nothing in it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    study(faces, out)
    return out
