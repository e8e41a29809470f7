"""Overlap within people against overlap between people, with intervals and chance."""

import numpy as np
import pytest
import torch

from leam.explain.masks import critical_mask
from leam.metrics.overlap import bhattacharyya_matrix
from leam.metrics.specificity import (
    Block,
    Pool,
    auc_margins,
    chance_level,
    matched_auc,
    person_maps,
    specificity,
)
from leam.metrics.statistics import auc


def faces_of(people: int, images: int, own: float, seed: int = 0):
    """Overlaps between images whose maps are part a person's own, part the image's."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), images)
    codes = own * random.normal(size=(people, 6))[person] + random.normal(size=(len(person), 6))
    return np.exp(-((codes[:, None] - codes) ** 2).sum(axis=-1) / 12), person


def test_pairs_are_sorted_by_hand():
    overlaps = np.array(
        [
            [1.0, 0.9, 0.2, 0.3],
            [0.9, 1.0, 0.1, 0.4],
            [0.2, 0.1, 1.0, 0.8],
            [0.3, 0.4, 0.8, 1.0],
        ]
    )
    found = specificity(overlaps, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(found.same, [0.9, 0.8])
    np.testing.assert_array_equal(found.same_person, [0, 1])
    np.testing.assert_array_equal(np.sort(found.different), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(found.different_people, [[0, 1]] * 4)
    np.testing.assert_allclose(found.sums, [1.0, 1.0])
    np.testing.assert_allclose(found.of_people(), [[0.9, 0.8], [0.25, 0.25]])
    assert found.estimates(0)["different"].mean == pytest.approx(0.25)
    assert found.estimates(0)["auc"].mean == 1.0
    spread = np.sqrt((0.05**2 + np.var([0.1, 0.2, 0.3, 0.4])) / 2)
    assert found.estimates(0)["d_prime"].mean == pytest.approx((0.85 - 0.25) / spread)


def test_maps_that_are_empty_are_left_out():
    overlaps, person = faces_of(3, 3, 1.0)
    overlaps[4] = overlaps[:, 4] = np.nan
    found = specificity(overlaps, person)
    assert len(found.same) == 3 + 1 + 3
    assert len(found.different) == 9 + 6 + 6
    assert np.isfinite(found.estimates(0)["auc"].low)


def test_a_large_study_keeps_a_sample_of_its_pairs(monkeypatch):
    monkeypatch.setattr("leam.metrics.specificity.DIFFERENT_PAIRS", 500)
    overlaps, person = faces_of(40, 3, 1.0)
    found, again = (specificity(overlaps, person, seed=2) for _ in range(2))
    assert len(found.different) == 500
    np.testing.assert_array_equal(found.different, again.different)
    assert (found.different_people[:, 0] != found.different_people[:, 1]).all()
    everything = found.sums.sum() / found.counts.sum()
    assert found.different.mean() == pytest.approx(everything, abs=0.03)


def test_a_sample_holds_pairs_of_each_block_as_they_come(monkeypatch):
    monkeypatch.setattr("leam.metrics.specificity.DIFFERENT_PAIRS", 600)
    overlaps, person = faces_of(40, 3, 1.0)
    pool = Pool(40)
    for start, stop in ((0, 30), (30, 120)):
        pool.add(Block(overlaps[start:stop, start:stop], person[start:stop]))
    found = pool.found()
    assert len(found.different) == 600
    first = (found.different_people[:, 0] < 10).mean()
    pairs = [n * (n - 3) for n in (30, 90)]
    assert first == pytest.approx(pairs[0] / sum(pairs), abs=0.04)
    assert len(found.same) == 120


def test_blocks_keep_every_same_pair_and_the_pairs_inside_them():
    overlaps, person = faces_of(12, 3, 1.0)
    whole = specificity(overlaps, person)
    parts = [
        Block(overlaps[np.ix_(rows, rows)], person[rows])
        for rows in (np.arange(18), np.arange(18, 36))
    ]
    pool = Pool(12)
    for part in parts:
        pool.add(part)
    found = pool.found()
    np.testing.assert_array_equal(found.same, whole.same)
    np.testing.assert_array_equal(found.same_person, whole.same_person)
    assert len(found.different) == 2 * (18 * 17 // 2 - 18)
    inside = [overlaps[0, other] for other in range(18) if person[other] != person[0]]
    assert found.counts[0] == 3 * len(inside)
    assert found.estimates(0)["auc"].mean == pytest.approx(auc(found.same, found.different))
    # Identities are permuted within blocks; the observed area is that of all pairs together.
    chance = chance_level(parts, seed=0, repeats=300)
    assert chance.auc.mean == pytest.approx(0.5, abs=0.02)
    assert chance.p == pytest.approx(2 / 301)


def test_resampled_areas_agree_with_images_drawn_anew():
    overlaps, person = faces_of(30, 2, 1.0)
    found = specificity(overlaps, person)
    random = np.random.default_rng(9)
    draws = []
    for _ in range(300):
        people = random.integers(0, 30, 30)
        rows = np.concatenate([np.flatnonzero(person == one) for one in people])
        taken = np.repeat(np.arange(30), 2)
        inside = overlaps[np.ix_(rows, rows)]
        upper = np.triu(np.ones_like(inside, dtype=bool), 1)
        same = upper & (taken[:, None] == taken)
        # A person drawn twice is no pair of different people.
        different = upper & (person[rows][:, None] != person[rows])
        draws.append(auc(inside[same], inside[different]))
    low, high = np.percentile(draws, [2.5, 97.5])
    estimate = found.estimates(0)["auc"]
    assert estimate.n == 30
    assert estimate.low == pytest.approx(low, abs=0.015)
    assert estimate.high == pytest.approx(high, abs=0.015)


def test_intervals_are_fixed_by_the_seed():
    found = specificity(*faces_of(10, 3, 1.0))
    assert found.estimates(1)["auc"] == found.estimates(1)["auc"]
    assert found.estimates(1)["d_prime"] == found.estimates(1)["d_prime"]


def test_chance_is_a_half_and_persons_beat_it_only_where_they_have_something_of_their_own():
    own = chance_level([Block(*faces_of(20, 3, 1.0))], seed=0, repeats=300)
    none = chance_level([Block(*faces_of(20, 3, 0.0))], seed=0, repeats=300)
    assert own.auc.mean == pytest.approx(0.5, abs=0.01)
    assert own.p == pytest.approx(2 / 301)
    assert none.p > 0.05


def test_the_chance_of_the_mean_is_the_mean_of_all_pairs():
    overlaps, person = faces_of(15, 2, 1.0)
    upper = np.triu_indices(30, 1)
    found = chance_level([Block(overlaps, person)], seed=0, repeats=2000)
    assert found.same.mean == pytest.approx(overlaps[upper].mean(), abs=0.005)


def test_one_person_alone_has_no_chance_level():
    overlaps, _ = faces_of(1, 4, 1.0)
    assert chance_level([Block(overlaps, np.zeros(4, dtype=int))], 0).auc.n == 0
    assert specificity(overlaps, np.zeros(4, dtype=int)).estimates(0)["auc"].mean is None


def test_halves_part_a_persons_images_and_average_them():
    maps = torch.rand(9, 4, 4)
    maps /= maps.sum(dim=(1, 2), keepdim=True)
    maps[8] = 0
    person = np.array([0, 0, 0, 0, 3, 3, 5, 7, 7])
    means, owner = person_maps(maps, person, seed=0)
    np.testing.assert_array_equal(owner, [0, 1, 0, 1])
    torch.testing.assert_close((means[0] + means[2]) / 2, maps[:4].mean(dim=0))
    torch.testing.assert_close(means[1] + means[3], maps[4] + maps[5])


def test_half_maps_go_the_way_of_images():
    torch.manual_seed(0)
    base = torch.rand(6, 8, 8) ** 4
    maps = base.repeat_interleave(4, dim=0) + 0.3 * torch.rand(24, 8, 8)
    maps /= maps.sum(dim=(1, 2), keepdim=True)
    means, owner = person_maps(maps, np.repeat(np.arange(6), 4), seed=0)
    masks = critical_mask(means, 0.1)
    found = specificity(bhattacharyya_matrix(masks, masks).double().numpy(), owner)
    assert len(found.same) == 6
    assert found.estimates(0)["auc"].mean > 0.95


def test_region_shares_are_compared_as_vectors():
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    found = bhattacharyya_matrix(shares, shares)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.5], [0.5, 1.0]]))


def test_the_margin_over_a_control_is_paired():
    strong, person = faces_of(60, 2, 1.5)
    weak, _ = faces_of(60, 2, 0.5, seed=1)
    claim = specificity(strong, person)
    controls = {"weak": specificity(weak, person), "same": specificity(strong, person)}
    found = auc_margins(claim, controls, 0)
    estimates = claim.estimates(0)
    assert found["weak"].claim == found["same"].claim == estimates["auc"]
    assert found["weak"].control == controls["weak"].estimates(0)["auc"]
    difference = found["weak"].difference
    assert difference.mean == pytest.approx(estimates["auc"].mean - found["weak"].control.mean)
    assert 0 < difference.low < difference.mean < difference.high
    # With the same people in every resample, a control that is the claim itself is never below it.
    assert (found["same"].difference.low, found["same"].difference.high) == (0, 0)


def test_matching_takes_away_what_a_covariate_explains():
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(150), 2)
    pose = random.normal(size=150)[person] + 0.3 * random.normal(size=300)
    distance = np.abs(pose[:, None] - pose)
    noise = random.normal(size=(300, 300))
    by_pose = specificity(-distance + 0.1 * (noise + noise.T), person)
    covariate = specificity(distance, person)
    found = matched_auc(by_pose, covariate, 0)
    assert by_pose.estimates(0)["auc"].mean > 0.75
    assert found.auc.low < 0.5 < found.auc.high
    change = found.auc.mean - by_pose.estimates(0)["auc"].mean
    assert found.change.mean == pytest.approx(change, abs=1e-9)
    own, _ = faces_of(150, 2, 1.0)
    of_people = specificity(own, person)
    kept = matched_auc(of_people, covariate, 0)
    assert kept.auc.mean == pytest.approx(of_people.estimates(0)["auc"].mean, abs=0.02)


def test_equally_near_pairs_all_count():
    own, person = faces_of(20, 2, 1.0)
    found = matched_auc(specificity(own, person), specificity(np.ones((40, 40)), person), 0)
    assert found.change.mean == 0
    with pytest.raises(ValueError, match="different pairs"):
        matched_auc(specificity(own, person), specificity(own[:20, :20], person[:20]), 0)
