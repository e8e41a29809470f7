"""Metrics: functions from maps, masks, regions and embeddings to numbers, without side effects."""
