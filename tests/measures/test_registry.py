"""Every measure says what it is."""

from typing import get_args

import leam.measures
from leam.measures.registry import MEASURES, Category, Direction


def test_every_measure_says_its_name_category_direction_and_summary():
    assert len(MEASURES) > 25
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.category in get_args(Category)
        assert measure.direction in get_args(Direction)
        assert measure.summary.endswith((".", "``."))
        assert len(measure.summary) < 100


def test_the_public_names_exist():
    for name in leam.measures.__all__:
        assert hasattr(leam.measures, name)
