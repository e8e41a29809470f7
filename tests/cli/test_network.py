"""No command contacts the network unless a model that must be downloaded is asked for."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from small import write_faces

pytestmark = pytest.mark.slow

# Every Python process of a command, workers and helpers included, imports this module first.
SITE = """
import os, sys
def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        where = arguments[1 if event in {"socket.connect", "socket.sendto"} else 0]
        # Text is the path of a socket in the file system.
        if event.startswith("socket.get") or isinstance(where, tuple):
            with open(os.environ["CALLS"], "a") as stream:
                stream.write(f"{event} {where}\\n")
sys.addaudithook(watch)
"""
# Also the numbers of the loopback device, and names that stand for this machine.
LOOPBACK = re.compile(r"127\.0\.0\.\d|::1|localhost")
# A cluster that Ray starts asks which cloud it is in, also with its usage statistics off, and has no switch for it.
RAYS_CLOUD = re.compile(r"169\.254\.169\.254|metadata\.google\.internal")
TRIED = {"explain", "study", "parse", "report", "redact", "demo", "models"} | {
    "audit",
    "compare",
    "protect",
}
HTTPS = """
name = "far"
architecture = "onnx"
url = "https://weights.invalid/far.onnx"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
"""
HUB = """
name = "hub"
architecture = "onnx"
url = "hf://owner/name/file.onnx@main"
"""


@pytest.fixture
def calls(tmp_path, spawn, monkeypatch):
    """Run a command, and list what it contacted."""
    # Another test may have switched the libraries off in this process.
    for name in [name for name in os.environ if name.endswith("_OFFLINE")]:
        monkeypatch.delenv(name)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    written = tmp_path / "calls"

    def run(*arguments: object, status: int = 0, **environment: str) -> list[str]:
        written.write_text("")
        path = os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])
        clean = {"LEAM_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf")}
        result = spawn(
            *arguments, cwd=tmp_path, PYTHONPATH=path, CALLS=str(written), **clean, **environment
        )
        assert result.returncode == status, result.stderr
        assert "Traceback" not in result.stderr
        return written.read_text().splitlines()

    return run


@pytest.fixture
def cards(tmp_path) -> Path:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "far.toml").write_text(HTTPS)
    (folder / "hub.toml").write_text(HUB)
    return folder


def test_the_hook_sees_what_a_command_contacts(calls, cards):
    """Else the other tests would prove nothing."""
    seen = calls("models", "check", cards / "far.toml", status=1)
    assert any("weights.invalid" in line for line in seen)
    assert any(
        "huggingface.co" in one for one in calls("models", "check", cards / "hub.toml", status=1)
    )


@pytest.mark.parametrize("card", ["far", "hub"])
@pytest.mark.parametrize("command", [("models", "check"), ("models", "layers")])
def test_offline_silences_downloads(calls, cards, command, card):
    assert calls(*command, cards / f"{card}.toml", status=1, LEAM_OFFLINE="1") == []


def test_offline_silences_the_segformer_parser(calls, faces_folder):
    pytest.importorskip("transformers")
    picture = next(faces_folder.rglob("*.png"))
    seen = calls(
        "parse", picture, "--parser", "segformer", "--out", "p", status=1, LEAM_OFFLINE="1"
    )
    assert seen == []


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("--version",),
        ("models",),
        ("models", "--json"),
        ("models", "--cards", "cards"),
        ("models", "layers", "dlib_resnet"),
        ("models", "check", "dlib_resnet"),
        ("models", "check", "--help"),
    ],
    ids=" ".join,
)
def test_commands_about_models_contact_nobody(calls, cards, command):
    assert calls(*command) == []


@pytest.fixture
def faces_folder(tmp_path) -> Path:
    write_faces(tmp_path / "faces")
    return tmp_path / "faces"


def test_commands_about_faces_contact_nobody(calls, faces_folder):
    one, two = sorted(faces_folder.rglob("*.png"))[:2]
    assert calls("explain", one, two, "--out", "explained") == []
    assert calls("explain", one, "--method", "grad-cam", "--out", "by_method") == []
    assert calls("explain", one.parent, "--person", "--out", "person") == []
    assert calls("parse", one, "--out", "parsed") == []
    assert calls("parse", one, "--parser", "compact", "--out", "compact") == []


def test_studies_contact_nobody(calls, faces_folder):
    assert calls("study", faces_folder, "--out", "run", "--workers", 2) == []
    assert calls("study", faces_folder, "--out", "run") == []
    assert calls("report", "run") == []
    assert calls("report", "run", "--no-faces") == []
    assert calls("redact", "run", "--out", "public") == []
    assert calls("compare", "run", "public", "--out", "both") == []


def test_audits_and_protections_contact_nobody(calls, faces_folder):
    mine = min(faces_folder.iterdir())
    assert calls("audit", faces_folder, "--threshold", "-0.6", "--out", "audit") == []
    seen = calls("protect", mine, "--against", "dlib_resnet", "--threshold", "-0.6",
                 "--changes", "jpeg", "--out", "protect")  # fmt: skip
    assert seen == []


@pytest.mark.xdist_group("ray")
def test_ray_contacts_this_machine_only(calls, faces_folder):
    pytest.importorskip("ray")
    seen = calls("study", faces_folder, "--out", "run", "--engine", "ray", RAY_ADDRESS="")
    assert seen
    seen = [line for line in seen if not RAYS_CLOUD.search(line)]
    assert [line for line in seen if not LOOPBACK.search(line)] == []


def test_every_command_is_tried():
    """A new command needs a test here."""
    from leam.cli.app import _Leam

    assert set(_Leam.table) <= TRIED


def test_the_demo_contacts_nobody(calls):
    assert calls("demo", "--out", "demo") == []
