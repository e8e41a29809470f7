"""Real studies, killed without warning again and again, end as if nothing had happened.

``scripts/kill.py`` does the same with more kills, whose counts are in ``benchmarks/kill.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc"),
]


def test_studies_survive_kills():
    command = [sys.executable, str(ROOT / "scripts" / "kill.py"), "--kills", "20", "--minutes", "5"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(result.stdout)
    assert found["kills"] > 0
    assert found["processes_left"] == 0
    assert all(kind["studies"] for kind in found["kinds"].values())


def test_the_recorded_counts_are_enough():
    found = json.loads((ROOT / "benchmarks" / "kill.json").read_text())
    assert found["kills"] >= 50
    assert found["kinds"]["paper, one worker"]["kills"] > 0
    assert not any(kind["faults"] for kind in found["kinds"].values())
