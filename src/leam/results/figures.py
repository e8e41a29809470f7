"""Typed figures: base classes for the entries of a stage in ``summary.json``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from leam.metrics.statistics import Estimate

SCHEMA_VERSION = 2
"""Version of ``summary.json`` and ``run.json``; increased when a field changes its name or meaning."""


class Model(BaseModel):
    """A frozen record. The docstring below each field describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Figures(Model):
    """The figures of one stage, for one recognizer or for the whole study.

    A subclass has one field per figure. The report draws and tabulates fields of type
    :class:`leam.metrics.statistics.Estimate`, and dictionaries of them, without further code.
    """


class UnknownFigures(Figures):
    """Figures of a stage whose plug-in is not installed, kept unchanged."""

    model_config = ConfigDict(frozen=True, extra="allow")


class PairedDifference(Model):
    """Paired difference between two figures, over people."""

    difference: Estimate
    """Mean difference with its interval."""
    p: float | None
    """Two-sided p-value of a sign-flip test; null if there is nothing to test."""
    d: float | None
    """Cohen's d of the paired differences."""
    p_adjusted: float | None = None
    """The p-value after Benjamini-Hochberg correction over the controls of the recognizer; null outside such a set."""


class Point(Model):
    """A point of a curve plotted against the fraction of pixels."""

    fraction: float
    """Fraction of the pixels, 0-1."""
    value: Estimate
    """The curve's value at this fraction."""
