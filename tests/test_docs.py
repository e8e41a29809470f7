"""Documents that are generated say what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["outputs.md", "summary.schema.json", "audit.schema.json"])
def test_a_generated_document_is_current(name):
    text = _script("generate_docs").documents()[name]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, (
        "run `python scripts/generate_docs.py`"
    )


def test_every_figure_and_column_is_described():
    rows = [line.split(" | ") for line in (ROOT / "docs/outputs.md").read_text().splitlines()]
    meanings = [row[-1].strip(" |") for row in rows if row[0].startswith("| `")]
    assert len(meanings) > 150
    assert all(meanings)
