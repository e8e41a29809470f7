"""A real study, killed without warning again and again, ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

KILLS = 4


def digests(run: Path) -> dict[str, str]:
    files = sorted([*run.glob("tables/**/*.parquet"), run / "summary.json", run / "run.json"])
    return {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def start(folder: Path, out: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "leam", "study", "faces", "--out", out, "--images", "2"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def test_a_study_survives_being_killed(views, tmp_path):
    shutil.copytree(views, tmp_path / "faces")
    began = time.monotonic()
    with start(tmp_path, "whole") as process:
        assert process.wait(timeout=300) == 0
    whole = time.monotonic() - began
    generator = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        with start(tmp_path, "killed") as process:
            try:
                process.wait(timeout=whole * generator.uniform(0.3, 0.9))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
    with start(tmp_path, "killed") as process:
        assert process.wait(timeout=300) == 0
    assert killed
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob(".part-*"))
