"""Metrics: pure functions from maps, masks, regions and embeddings to numbers."""
