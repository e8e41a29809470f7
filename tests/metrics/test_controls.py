"""Every control hides as many pixels as the critical mask, and knows only what it claims."""

import cv2
import numpy as np
import pytest
from hypothesis import given as example
from hypothesis import settings
from hypothesis import strategies as st

from leam.metrics.controls import CONTROLS, ControlInput

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
    return ControlInput(masks[0], overall, face, masks[1], np.random.default_rng(seed))


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
