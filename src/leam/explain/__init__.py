"""The method: layer maps and the overall map of a recognizer, in one forward and one backward pass."""
