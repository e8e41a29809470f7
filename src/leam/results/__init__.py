"""Typed models of everything that a study writes: arrays, figures and the summary."""
