"""The default parser is the one that docs/parsers.md decides for."""

from __future__ import annotations

import json
import re
from pathlib import Path

from leam.parsers import DEFAULT, load_parser
from leam.study.plan import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "parsers.md").read_text(encoding="utf-8")
MEASURED = json.loads((ROOT / "benchmarks" / "parser_default.json").read_text(encoding="utf-8"))


def test_the_default_is_the_one_that_the_page_states() -> None:
    stated = re.findall(r"The default is `(\w+)`", PAGE)
    assert stated == [DEFAULT]
    assert Settings().parser == DEFAULT
    assert load_parser().name == DEFAULT


def test_the_page_states_the_recorded_differences() -> None:
    sets = [row for kind in MEASURED["chips"].values() for row in kind.values()]
    assert len(sets) == 8
    for row in sets:
        low, high = row["interval"]
        assert f"| {row['difference']:.3f} [{low:.3f}, {high:.3f}] |" in PAGE
    assert ("Condition 1 holds" in PAGE) == all(row["interval"][0] > 0 for row in sets)
