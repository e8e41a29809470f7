"""Typed models of a study's output: arrays, figures and the summary."""
