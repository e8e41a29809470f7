"""Side by side: two finished studies, or several recognizers on the same faces."""

from __future__ import annotations

from typing import Final

COMPARE_VERSION: Final = 1
"""Version of ``compare.json``; increased when a field changes its name or meaning."""
