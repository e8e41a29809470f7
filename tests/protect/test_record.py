"""The schema of ``protect.json``."""

from __future__ import annotations

import json
from pathlib import Path

from leam.protect.record import ProtectRecord

SCHEMA = Path(__file__).parents[2] / "docs" / "protect.schema.json"


def test_the_documented_schema_is_that_of_the_record():
    """If not, write it again: ``ProtectRecord.model_json_schema()`` with ``indent=1``."""
    assert json.loads(SCHEMA.read_text()) == ProtectRecord.model_json_schema()


def test_every_field_is_described():
    schema = ProtectRecord.model_json_schema()
    assert all("description" in field for field in schema["properties"].values())
