"""The report's section on the worst errors of an audit."""

from __future__ import annotations

import dataclasses

import pytest

from leam.report.parts import Cards, Fold, Table
from leam.report.sections.worst_comparisons import WorstComparisons
from leam.results.summary import RecognizerSummary
from leam.study.stages.worst_comparisons import WorstFigures


@pytest.mark.parametrize(
    ("kind", "similarity", "shown"),
    [("euclidean", -0.412, ("distance", "0.412")), ("cosine", -0.1, ("similarity", "-0.100"))],
)
def test_a_distance_is_called_a_distance_and_is_positive(context, kind, similarity, shown):
    error = WorstFigures.Comparison(
        first="a/1.png", second="b/1.png", similarity=similarity, turning=[], contribution={}
    )
    figures = WorstFigures(threshold=-0.6, false_matches=[error], false_non_matches=[])
    one = RecognizerSummary(similarity=kind, sha256="0", figures={"worst_comparisons": figures})
    card = context.plan.model("alpha").card.model_copy(update={"similarity": kind})
    model = context.plan.model("alpha").model_copy(update={"card": card})
    changed = dataclasses.replace(
        context,
        plan=context.plan.model_copy(update={"models": (model,)}),
        summary=context.summary.model_copy(update={"recognizers": {"alpha": one}}),
        faces=False,
    )
    _, fold = WorstComparisons().parts(changed)
    assert isinstance(fold, Fold)
    (table,) = [part for part in fold.parts if isinstance(part, Table)]
    assert not any(isinstance(part, Cards) for part in fold.parts)
    assert (table.header[1], table.rows[0][1]) == shown
    assert table.rows[0][2] == "no single region"
