"""Short tables of results."""

from __future__ import annotations

import pytest

from handmade import make_summary
from leam.cli.printing import print_summary
from leam.study.plan import Settings
from leam.study.store import RunFolder

MIXED = (
    "unit of drops: cosine similarity for alpha, beta; Euclidean distance for gamma. "
    "Compare drops within a row only"
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["alpha", "beta"], "unit of drops: cosine similarity"),
        (["gamma"], "unit of drops: Euclidean distance"),
        (["alpha", "beta", "gamma"], MIXED),
    ],
)
def test_cosines_and_distances_are_told_apart(tmp_path, monkeypatch, capsys, names, expected):
    summary = make_summary(Settings())
    chosen = {name: summary.recognizers[name] for name in names}
    summary = summary.model_copy(update={"recognizers": chosen})
    monkeypatch.setattr("leam.study.summary.read_summary", lambda _folder: summary)
    print_summary(RunFolder(tmp_path))
    assert expected in capsys.readouterr().out.splitlines()
