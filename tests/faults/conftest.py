"""A small study that nothing happened to."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from leam.demo import portraits
from small import study


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """Two people, two pictures of each."""
    folder = tmp_path_factory.mktemp("small") / "faces"
    for person, path in portraits().items():
        (folder / person).mkdir(parents=True)
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((360, 360))
        for number in range(2):
            picture.rotate(4 * number).save(folder / person / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def whole(faces, tmp_path_factory) -> Path:
    """Its run folder. Tests read it and change nothing in it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    study(faces, out)
    return out
