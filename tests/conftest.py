"""What tests share: the asset folder, tiny networks, and pictures of faces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from leam.demo import portraits
from leam.faces.detectors.dlib import DlibDetector
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from tiny import TinyNet, wrap

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Share the cores among the test processes."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the asset folder, and start with the slow ones, so that no process ends late."""
    for item in items:
        if "assets" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.assets)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _logs_elsewhere(tmp_path_factory) -> Iterator[None]:
    """Commands of the tests write no log into the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def assets() -> Iterator[Path]:
    """The folder of recognizers and faces that tests may use; the test skips where there is none."""
    folder = Path(os.environ.get("LEAM_ASSETS") or ROOT.parent / "shared")
    if not (folder / "zoo" / "zoo.json").is_file():
        pytest.skip("asset folder not found")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAM_ASSETS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def detector() -> DlibDetector:
    return DlibDetector()


@pytest.fixture(scope="session")
def dlib_resnet() -> Recognizer:
    return load_recognizer("dlib_resnet")


@pytest.fixture(scope="session")
def portrait() -> Path:
    """A picture with one clear face."""
    return portraits()["Eileen Collins"]


@pytest.fixture
def tiny() -> Recognizer:
    torch.manual_seed(0)
    return wrap(TinyNet())


@pytest.fixture
def chips() -> torch.Tensor:
    """Five random faces for a tiny network, ``(5, 8, 8, 3)`` uint8."""
    return torch.randint(
        0, 256, (5, 8, 8, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
