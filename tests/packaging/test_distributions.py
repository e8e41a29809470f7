"""The wheel and the sdist contain what they need and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "leam"
# Of the package's files that are not Python.
KINDS = {".css", ".html", ".j2", ".js", ".json", ".md", ".safetensors", ".svg", ".toml"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of an sdist, and of a wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def wheel(built) -> set[str]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def sdist(built) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def of_the_package() -> set[str]:
    files = [f for f in PACKAGE.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    return {f.relative_to(PACKAGE.parent).as_posix() for f in files}


def test_the_wheel_is_the_package(wheel):
    metadata = {name for name in wheel if ".dist-info/" in name}
    assert wheel - metadata == of_the_package()
    assert {PurePosixPath(name).name for name in metadata} == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "LICENSE",
    }  # fmt: skip


def test_the_package_has_its_data_and_no_stray_files(wheel):
    assert "leam/py.typed" in wheel
    assert any(name.startswith("leam/recognizers/cards/") for name in wheel)
    assert any(name.endswith(".html") for name in wheel), "the report's page"
    assert any(name.endswith(".safetensors") for name in wheel), "the parser's weights"
    data = {name for name in wheel if name.startswith("leam/") and not name.endswith(".py")}
    assert {PurePosixPath(name).suffix for name in data - {"leam/py.typed"}} <= KINDS


def test_the_sdist_has_source_tests_and_documents(sdist):
    assert {f"src/{name}" for name in of_the_package()} <= sdist
    assert {
        "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md",
        "pyproject.toml", "tests/conftest.py", "docs/method.md", "training/split.json",
    } <= sdist  # fmt: skip
    assert {name.partition("/")[0] for name in sdist if "/" in name} == {
        "docs", "examples", "src", "tests", "training", "scripts",
    }  # fmt: skip
    assert not [name for name in sdist if "__pycache__" in name or name.endswith((".pyc", ".npz"))]
