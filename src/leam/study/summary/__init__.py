"""A study's figures with their intervals: ``summary.json``."""

from leam.study.summary.estimates import Summary
from leam.study.summary.summarise import keep_figures, model_figures, read_figures, summarise

__all__ = ["Summary", "keep_figures", "model_figures", "read_figures", "summarise"]
