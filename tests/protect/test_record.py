"""The schema of ``protect.json``."""

from __future__ import annotations

from leam.protect.record import ProtectRecord


def test_every_field_is_described():
    schema = ProtectRecord.model_json_schema()
    assert all("description" in field for field in schema["properties"].values())
