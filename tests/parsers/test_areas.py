import numpy as np

from leam.parsers.parsing import Parsing, region_table
from leam.parsers.regions import INDEX, REGIONS


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
