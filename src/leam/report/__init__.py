"""The report of a study: one HTML page."""

from leam.report.page import render_report

__all__ = ["render_report"]
