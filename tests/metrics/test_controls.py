"""Every control hides as many pixels as the critical mask, and knows only what it claims."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given as example
from hypothesis import settings
from hypothesis import strategies as st

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls.edges import edge_map

SIZE = (40, 32)


def occasion(seed: int = 0, pixels: int = 60) -> ControlInput:
    random = np.random.default_rng(seed)
    overall = cv2.GaussianBlur(random.random(SIZE), (0, 0), 2)
    masks = []
    for values in (overall, random.random(SIZE)):
        mask = np.zeros(values.size, dtype=bool)
        mask[np.argsort(-values.ravel())[:pixels]] = True
        masks.append(mask.reshape(SIZE))
    face = np.zeros(SIZE, dtype=bool)
    face[6:34, 5:27] = True
    chips = random.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
    return ControlInput(
        masks[0],
        overall,
        face,
        masks[1],
        np.random.default_rng(seed),
        chip=chips[0],
        other_chip=chips[1],
        other_picture=np.roll(masks[0], 3, axis=1),
        other_picture_chip=chips[2],
        population=random.random(SIZE),
    )


def blob_sizes(mask):
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return sorted(int((labels == label).sum()) for label in range(1, count))


@pytest.mark.parametrize("name", CONTROLS)
@settings(max_examples=25, deadline=None)
@example(seed=st.integers(0, 10_000), pixels=st.integers(1, 300))
def test_as_many_pixels_and_one_mask_for_one_seed(name, seed, pixels):
    first, again = (CONTROLS[name](occasion(seed, pixels)) for _ in range(2))
    assert first.shape == SIZE
    assert first.dtype == bool
    assert first.sum() == pixels
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", ["moved", "moved_on_face"])
def test_moved_blobs_keep_their_shape(name):
    given = occasion()
    found = CONTROLS[name](given)
    assert max(blob_sizes(found)) >= max(blob_sizes(given.critical))
    assert (found != given.critical).any()


def test_moved_blobs_stay_on_the_face_where_asked():
    for seed in range(20):
        given = occasion(seed)
        assert not (CONTROLS["moved_on_face"](given) & ~given.face).any()


def test_a_face_too_small_for_the_mask_is_left():
    given = occasion()
    small = np.zeros(SIZE, dtype=bool)
    small[0, 0] = True
    found = CONTROLS["moved_on_face"](
        ControlInput(given.critical, given.overall, small, given.other, given.generator)
    )
    assert found.sum() == given.critical.sum()


def test_the_centre_is_a_disc():
    found = CONTROLS["centre"](occasion(pixels=100))
    rows, columns = np.nonzero(found)
    assert rows.mean() == pytest.approx((SIZE[0] - 1) / 2, abs=0.5)
    assert columns.mean() == pytest.approx((SIZE[1] - 1) / 2, abs=0.5)
    reach = np.hypot(rows - (SIZE[0] - 1) / 2, columns - (SIZE[1] - 1) / 2).max()
    assert reach == pytest.approx(np.sqrt(100 / np.pi), abs=1)


def test_the_lowest_pixels_are_the_maps_lowest():
    given = occasion()
    found = CONTROLS["lowest"](given)
    assert given.overall[found].max() <= given.overall[~found].min()


def test_equal_lowest_pixels_are_drawn_all_over():
    given = occasion()
    found = CONTROLS["lowest"](
        ControlInput(given.critical, np.zeros(SIZE), given.face, given.other, given.generator)
    )
    rows, _ = np.nonzero(found)
    assert rows.min() < 8
    assert rows.max() > SIZE[0] - 8


def test_another_persons_mask_is_handed_on():
    given = occasion()
    assert CONTROLS["other_person"](given) is given.other


def test_another_pictures_mask_is_handed_on():
    given = occasion()
    assert CONTROLS["other_picture"](given) is given.other_picture


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("edges", "chip"),
        ("edges_other_person", "other_chip"),
        ("edges_other_picture", "other_picture_chip"),
    ],
)
def test_edges_are_those_of_one_chip_alone(name, field):
    given = occasion()
    found, chip = CONTROLS[name](given), getattr(given, field)
    values = edge_map(chip)
    assert values[found].min() >= values[~found].max()
    changed = {
        one: np.zeros_like(chip)
        for one in ("chip", "other_chip", "other_picture_chip")
        if one != field
    }
    np.testing.assert_array_equal(CONTROLS[name](replace(given, **changed)), found)


def test_the_population_gives_its_highest_pixels():
    given = occasion()
    found = CONTROLS["population"](given)
    assert given.population[found].min() >= given.population[~found].max()


@pytest.mark.parametrize(
    "name", ["edges", "edges_other_person", "edges_other_picture", "other_picture", "population"]
)
def test_what_is_not_known_gives_an_empty_mask(name):
    given = occasion()
    bare = ControlInput(given.critical, given.overall, given.face, given.other, given.generator)
    found = CONTROLS[name](bare)
    assert found.shape == SIZE
    assert not found.any()


def test_the_edge_map_is_the_smoothed_gradient_near_the_middle():
    chip = np.zeros((112, 112, 3), dtype=np.uint8)
    chip[:, 40:] = 100
    values = edge_map(chip)
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert row in (55, 56)
    assert column == pytest.approx(40, abs=1)
    # Far along the edge the Gaussian around the middle has fallen to exp(-0.5 (28/28)^2).
    assert values[28, 40] / values[56, 40] == pytest.approx(np.exp(-0.5), abs=0.02)
    # Across, the magnitude 400 of two columns is spread by a Gaussian of 4 pixels.
    peak = 2 * 400 / (4 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * (16 / 28) ** 2)
    assert values.max() == pytest.approx(peak, rel=0.03)
    assert not edge_map(np.full((20, 30, 3), 77, dtype=np.uint8)).any()


def test_the_edge_map_scales_with_the_chip():
    small = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    small = cv2.GaussianBlur(small, (0, 0), 3)
    large = cv2.resize(small, (112, 112), interpolation=cv2.INTER_LINEAR)
    down = cv2.resize(edge_map(large), (56, 56), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(down.ravel(), edge_map(small).ravel())[0, 1] > 0.98
