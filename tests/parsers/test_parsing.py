"""Areas of a parsing, and how two parsings compare."""

import numpy as np

from leam.parsers.parsing import Parsing, accuracy, confusion, f1, merged, region_table
from leam.parsers.regions import GROUP_OF, GROUPS, INDEX, LABELS, REGION_OF, REGIONS

SKIN, NOSE, LEFT, RIGHT = (INDEX[name] for name in ("skin", "nose", "left_eye", "right_eye"))


def test_areas_and_mean_confidence_by_hand():
    labels = np.full((2, 4), INDEX["skin"], dtype=np.uint8)
    labels[0, 0], labels[0, 1], labels[1, 1] = INDEX["left_eye"], INDEX["right_eye"], INDEX["nose"]
    confidence = np.full((2, 4), 0.5, dtype=np.float32)
    confidence[0, :2] = 1.0, 0.5
    table = {row.region: row for row in region_table(Parsing(labels, confidence))}
    assert tuple(table) == REGIONS
    assert table["eyes"].area == 0.25
    assert table["eyes"].confidence == 0.75
    assert table["nose"].area == 0.125
    assert table["hair"].area == 0
    assert np.isnan(table["hair"].confidence)
    assert sum(row.area for row in table.values()) == 1


def maps():
    one = np.array([[SKIN, SKIN, NOSE, LEFT]], dtype=np.uint8)
    other = np.array([[SKIN, NOSE, NOSE, RIGHT]], dtype=np.uint8)
    return one, other


def test_pairs_are_counted():
    counts = confusion(*maps())
    assert counts.shape == (len(LABELS), len(LABELS))
    assert counts.sum() == 4
    assert counts[SKIN, NOSE] == counts[NOSE, NOSE] == counts[LEFT, RIGHT] == 1


def test_merging_left_and_right_mends_a_swap():
    counts = confusion(*maps())
    assert accuracy(counts) == 0.5
    assert accuracy(merged(counts, REGION_OF)) == 0.75
    assert merged(counts, GROUP_OF).shape == (len(GROUPS), len(GROUPS))


def test_f1_by_hand():
    scores = dict(zip(REGIONS, f1(merged(confusion(*maps()), REGION_OF)), strict=True))
    assert scores["nose"] == 2 / 3
    assert scores["skin"] == 2 / 3
    assert scores["eyes"] == 1
    assert np.isnan(scores["hair"])
