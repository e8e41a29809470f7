"""Side by side: two finished studies, or several recognizers on the same faces."""

from __future__ import annotations

import json
from typing import Final

from leam.results.figures import Model
from leam.results.summary import rounded

COMPARE_VERSION: Final = 1
"""Version of ``compare.json``; increased when a field changes its name or meaning."""


class Comparison(Model):
    """The content of ``compare.json``."""

    compare_version: int = COMPARE_VERSION
    """Version of the file format."""

    def to_json(self) -> str:
        """The content of ``compare.json``, with numbers rounded to eight digits."""
        return json.dumps(rounded(self.model_dump(mode="json")), indent=1, allow_nan=False)
