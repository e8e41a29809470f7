"""A study's figures with their intervals: ``summary.json``."""

from leam.study.summary.estimates import Summary
from leam.study.summary.summarise import summarise
from leam.study.tables import Progress

__all__ = ["Progress", "Summary", "summarise"]
