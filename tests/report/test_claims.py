"""What the report says of the paper's claims follows from a study's figures."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from leam.report.claims import HELD, NOT_HELD, NOT_MEASURED, PARTLY, Row, paper_claims


def estimate(mean: float | None, low: float | None = None) -> dict[str, float | None]:
    return {"mean": mean, "low": low, "high": None}


def model(nose: float = 0.3, drop: float = 0.1, auc: float = 0.7) -> dict[str, Any]:
    overlaps = {name: estimate(value) for name, value in (("same", 0.3), ("different", 0.1))}
    return {
        "layer_divergence": {"mean": estimate(0.2)},
        "bc": {"critical": {**overlaps, "auc": estimate(auc, auc - 0.05)}, "pattern": overlaps},
        "regions": {"nose": {"share": estimate(nose, nose - 0.05), "area": estimate(0.05)}},
        "occlusion": {
            "drop": estimate(drop),
            "baselines": {"scattered": estimate(0.05), "moved": estimate(0.04)},
            "margins": {"scattered": {"difference": estimate(drop - 0.05, drop - 0.06)}},
        },
    }


def study(**models: dict[str, Any]) -> dict[str, Any]:
    return {"people": 12, "models": models, "settings": {"top": 0.01}}


def claim(summary: dict[str, Any], beginning: str) -> Row:
    (row,) = [row for row in paper_claims(summary) if row.claim.startswith(beginning)]
    return row


def test_figures_are_ranges_over_recognizers():
    rows = study(a=model(nose=0.2), b=model(nose=0.35))
    assert claim(rows, "scale").here == "12 people, 2 recognizers"
    nose = claim(rows, "nose")
    assert nose.here == "20.0 – 35.0"
    assert nose.reading.endswith("within the paper's range on 1")
    assert claim(study(a=model()), "nose").here == "30.0"


@pytest.mark.parametrize(
    ("drops", "verdict"), [((0.2, 0.3), HELD), ((0.2, 0.01), PARTLY), ((0.01, 0.02), NOT_HELD)]
)
def test_a_claim_holds_on_all_on_some_or_on_none(drops, verdict):
    one, other = drops
    row = claim(study(a=model(drop=one), b=model(drop=other)), "drop, most relevant")
    assert row.verdict == verdict
    assert row.here == f"{min(drops):.4f} – {max(drops):.4f}"


def test_an_interval_that_reaches_chance_holds_no_claim():
    assert claim(study(a=model(auc=0.7)), "overlap of maps of one").verdict == HELD
    assert claim(study(a=model(auc=0.54)), "overlap of maps of one").verdict == NOT_HELD


def test_what_a_study_did_not_measure_is_said():
    rows = study(a=model())
    for beginning in ("layers", "models", "masks", "occlusion"):
        assert claim(rows, beginning).verdict == NOT_MEASURED
    bare = copy.deepcopy(rows)
    bare["models"]["a"]["regions"] = {}
    bare["models"]["a"]["bc"]["critical"]["auc"] = estimate(None)
    bare["models"]["a"]["occlusion"]["margins"] = {}
    for beginning in ("nose", "overlap of maps of one", "drop, most relevant"):
        assert claim(bare, beginning).verdict == NOT_MEASURED
    assert claim(bare, "nose").here == "–"


def test_recognizers_agree_where_their_masks_overlap_more_than_by_chance():
    rows = study(a=model(), b=model())
    cells = [[estimate(1.0, 1.0), estimate(0.2, 0.1)], [estimate(0.2, 0.1), estimate(1.0, 1.0)]]
    rows["agreement"] = {"critical": cells, "divergence": estimate(0.1)}
    assert claim(rows, "models prioritise").verdict == HELD
    assert claim(rows, "layers").verdict == HELD
    cells[0][1]["low"] = 0.01
    rows["agreement"]["divergence"] = estimate(0.3)
    assert claim(rows, "models prioritise").verdict == NOT_HELD
    assert claim(rows, "layers").verdict == NOT_HELD


def test_masks_transfer_where_they_hurt_others_more_than_random_ones():
    rows = study(a=model(), b=model())
    target = {"own": estimate(0.2), "others": estimate(0.1)}
    rows["transfer"] = {
        "targets": {
            "a": target | {"others_over_random": {"difference": estimate(0.05, 0.01)}},
            "b": target | {"others_over_random": {"difference": estimate(0.01, -0.01)}},
        }
    }
    row = claim(rows, "masks")
    assert row.verdict == PARTLY
    assert row.here == "50 % of the own mask's drop"


@pytest.mark.parametrize(
    ("first", "d", "verdict"), [("female", 0.3, HELD), ("male", 0.3, NOT_HELD)]
)
def test_a_gap_counts_for_whom_it_is_larger(first, d, verdict):
    second = {"female": "male", "male": "female"}[first]
    matched = {"d": d, "p_adjusted": 0.2}
    gap = {"of": "drop", "first": first, "second": second, "d": d, "p_adjusted": 0.01}
    gap |= {"matched": matched, "matched_on_all": {"difference": {"n": 9}}}
    rows = study(a=model()) | {"gaps": {"gender": {"gaps": [gap]}}}
    row = claim(rows, "occlusion is more")
    assert row.verdict == verdict
    assert row.here == ("d 0.30" if first == "female" else "d -0.30")
    assert "matched on pose on 0" in row.reading
