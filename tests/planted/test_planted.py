"""Planted truth: identity lies in one region, and the maps find it there."""

import numpy as np
import pytest
import torch

from leam.errors import InputError
from leam.explain.explainer import Explainer
from leam.explain.methods import explained
from leam.planted import REGIONS, Sketch, plant, planted_share, planted_shares

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("planted")]

PLACES = ("left_eye", "mouth", "left_cheek")


@pytest.fixture(scope="module", params=PLACES)
def planted(request):
    threads = torch.get_num_threads()
    # So small a network is trained faster by one thread than by several that wait for each other.
    torch.set_num_threads(1)
    yield plant(request.param, people=20, steps=150)
    torch.set_num_threads(threads)


def test_the_recognizer_has_learnt_its_region(planted):
    assert planted.accuracy > 0.98


def test_the_identity_goes_with_the_region_and_stays_without_the_rest(planted):
    faces, recognizer = planted.faces, planted.recognizer
    # Each face is given all but the region, or the region alone, of the next person's.
    donor = np.roll(faces.chips, 4, axis=0)
    region = np.roll(faces.region, 4, axis=0) & faces.region
    others = np.where(region[..., None], faces.chips, donor)
    swapped = np.where(region[..., None], donor, faces.chips)
    embeddings = recognizer.embed(faces.chips)
    kept = recognizer.similarity(recognizer.embed(others), embeddings).mean()
    gone = recognizer.similarity(recognizer.embed(swapped), embeddings).mean()
    assert kept > 0.5
    assert gone < 0.5
    assert kept > gone + 0.3


def test_the_default_maps_find_the_region_and_masks_that_know_no_map_do_not(planted):
    method = explained(Explainer(planted.recognizer), alone=True)
    shares = planted_shares(planted, {"leam": method})
    found = shares.pop("leam")
    assert found.n == 20
    assert found.mean >= 0.8
    assert set(shares) == {"scattered", "moved", "moved_on_face", "centre"}
    for share in shares.values():
        assert share.mean < 0.2


def test_only_the_planted_region_is_a_persons():
    for region in REGIONS:
        faces = Sketch(region, people=2, seed=0).draw(np.zeros(60, dtype=int), seed=1)
        still = (faces.region == faces.region[0]).all(axis=(1, 2))
        chips = faces.chips[still].astype(float)
        spread = (chips - chips.mean(axis=(1, 2, 3), keepdims=True)).std(axis=0).mean(axis=2)
        assert spread[faces.region[0]].mean() < 0.5 * spread[~faces.region[0]].mean()


def test_people_differ_and_images_are_fixed_by_their_seeds():
    sketch = Sketch("nose", people=3, seed=0)
    first, again = (sketch.draw(np.array([0, 1]), seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.chips, again.chips)
    region = first.region.all(axis=0)
    assert np.abs(first.chips[0].astype(int) - first.chips[1])[region].mean() > 10
    other = sketch.draw(np.array([0, 1]), seed=6)
    assert (other.chips != first.chips).any()


def test_the_share_is_of_the_masks_pixels():
    faces = Sketch("nose", people=2, seed=0).draw(np.array([0, 1]), seed=1)
    assert planted_share(faces.region, faces).mean == 1
    assert planted_share(np.zeros_like(faces.region), faces).mean is None
    everything = planted_share(torch.ones(2, 112, 112), faces)
    assert everything.mean == pytest.approx(faces.region.mean())


def test_an_unknown_region_is_named():
    with pytest.raises(InputError, match="ear: no such region; available: forehead"):
        plant("ear")
