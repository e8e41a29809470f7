"""Weights: files downloaded once into the user's cache, and checkpoints read safely."""
