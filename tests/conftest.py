"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def assets():
    """The asset folder (zoo, lfw, parsing, detectors); LEAM_ASSETS names it while tests run."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("LEAM_ASSETS", beside))
    if not (folder / "zoo" / "zoo.json").is_file():
        pytest.skip("asset folder not found")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAM_ASSETS", str(folder))
        yield folder
