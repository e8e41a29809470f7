"""The weights store: files fetched once into the user's cache, and checkpoints read safely."""
