"""Regions that link a person's pictures, and whether they are the person's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from leam.faces.detection import find_face
from leam.parsers import load_parser
from leam.protect.regions import Drops, region_drops, region_links
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer


def links(own: float, others: np.ndarray, pictures: int = 12):
    """The link of one region, given one value for each of other people."""
    mine = Drops(own + np.linspace(-0.01, 0.01, pictures), 0.2)
    people = [str(place) for place in range(len(others))]
    return region_links({"nose": mine}, ({"nose": Drops(others, 0.2)}, people), 0)["nose"]


@pytest.mark.parametrize(
    ("own", "whose"), [(0.5, "own"), (0.2, "everybody's"), (-0.2, "less than others")]
)
def test_own_is_beyond_the_range_of_other_people(own, whose):
    others = np.random.default_rng(0).normal(0.2, 0.05, 50)
    found = links(own, others)
    assert found.whose == whose
    assert found.low < 0.2 < found.high
    assert found.others.low < found.others.mean < found.others.high
    assert found.drop.low < own < found.drop.high


def test_nothing_can_be_said_with_few_people_or_without_an_effect():
    generator = np.random.default_rng(0)
    assert links(0.9, generator.normal(0.2, 0.05, 9)).whose == "inconclusive"
    nobody = generator.normal(0.0, 0.05, 50)
    assert links(0.0, nobody - nobody.mean()).whose == "inconclusive"


def test_the_level_holds_for_all_regions_together():
    """People who are like the others have an own region in about 5 % of the cases."""
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        names = ("nose", "eyes", "skin", "hair")
        own = {name: Drops(np.full(2, generator.normal(0.2, 0.05)), 0.1) for name in names}
        others = {name: Drops(generator.normal(0.2, 0.05, 30), 0.1) for name in names}
        found = region_links(own, (others, [str(place) for place in range(30)]), 0)
        hits += any(one.whose in {"own", "less than others"} for one in found.values())
    assert hits <= 20


def test_few_pictures_have_no_interval_and_rare_regions_are_left_out():
    values = Drops(np.array([0.3, 0.1, np.nan]), 0.1)
    rare = Drops(np.array([0.9, np.nan, np.nan]), 0.1)
    more = Drops(np.array([0.5, 0.4, 0.6]), 0.3)
    found = region_links({"nose": values, "hat": rare, "eyes": more}, None, 0)
    assert list(found) == ["eyes", "nose"]
    nose = found["nose"]
    assert nose.drop.mean == pytest.approx(0.2)
    assert (nose.drop.low, nose.drop.n, nose.whose) == (None, 2, None)


def test_the_region_that_a_recognizer_uses_links_most(portrait, detector):
    """A recognizer that sees a window around the nose only."""

    class Nose(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, 58:82, 44:68].flatten(1)

    face = find_face(portrait, detector)
    found = region_drops(
        [face, face, face], ["a", "a", "a"], Recognizer(Nose(), Card(name="nose")), load_parser()
    )
    assert max(found, key=lambda name: found[name].values.mean()) == "nose"
    assert found["brows"].values == pytest.approx(0, abs=1e-6)
    assert "background" not in found
    assert 0 < found["nose"].area < 0.3
