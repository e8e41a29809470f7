"""The command that tries many hostile inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hostile import TALLIES, Hang, endures
from leam.errors import LeamError

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_inputs_are_counted_by_kind(tmp_path):
    command = [sys.executable, "scripts/fuzz.py", "test_tables", "--inputs", "20", "--processes"]
    subprocess.run([*command, "1", "--out", tmp_path / "out.json"], cwd=ROOT, check=True)
    found = json.loads((tmp_path / "out.json").read_text())
    tables = found["kinds"]["tables"]
    assert set(found["kinds"]) == {"tables"}
    assert tables["inputs"] == tables["accepted"] + tables["refused"] >= 20
    assert found["failed"] == []
    assert found["over_2_gb"] == []
    assert 0 < tables["peak_memory_bytes"] < 2e9


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(LeamError("one line"), "refused"), (ValueError(), "traceback"), (Hang(), "hang")],
    ids=["refused", "traceback", "hang"],
)
def test_an_outcome_is_counted(monkeypatch, error, outcome):
    monkeypatch.setenv("PYTEST_CURRENT_TEST", f"test of {outcome} (call)")
    try:
        with endures():
            raise error
    except (ValueError, Hang):
        assert outcome != "refused"
    assert TALLIES.pop(f"test of {outcome}") == {outcome: 1}
