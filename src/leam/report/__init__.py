"""Pictures and pages for people."""

from leam.report.explanation import write_explanation
from leam.report.page import render_report

__all__ = ["render_report", "write_explanation"]
