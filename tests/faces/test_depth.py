"""Values of any depth are scaled by what they contain."""

import numpy as np
import pytest

from leam.faces.depth import to_eight_bits


@pytest.mark.parametrize(
    ("highest", "bits"),
    [(1, 1), (2, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (16383, 14), (16384, 16)],
)
def test_integers_have_the_smallest_depth_that_holds_them(highest, bits):
    values = np.array([[0, highest // 2, highest]], np.uint16)
    scaled, note = to_eight_bits(values)
    assert scaled.dtype == np.uint8
    np.testing.assert_allclose(scaled, values * 255.0 / (2**bits - 1), atol=0.51)
    assert note == f"{bits}-bit values in 16 bits are scaled to 8 bits"


def test_deep_integers_and_negative_ones():
    scaled, note = to_eight_bits(np.array([[-5, 0, 2**24 - 1]], np.int32))
    assert scaled.tolist() == [[0, 0, 255]]
    assert note == "24-bit values in 32 bits are scaled to 8 bits"


@pytest.mark.parametrize(
    ("values", "expected", "scale"),
    [
        ([0, 0.5, 1], [0, 128, 255], "0 to 1"),
        ([0, 0.5, 1.2], [0, 128, 255], "0 to 1"),
        ([-1, 0, 1], [0, 128, 255], "-1 to 1"),
        ([0, 128, 255.5], [0, 128, 255], "0 to 255"),
        ([0, 65535], [0, 255], "0 to 65535"),
    ],
)
def test_floats_are_on_a_known_scale(values, expected, scale):
    scaled, note = to_eight_bits(np.array([values], np.float32))
    assert scaled.tolist() == [expected]
    assert note == f"floats from {scale} are scaled to 8 bits"


@pytest.mark.parametrize("values", [[np.nan, 1], [np.inf, 0], [-2.1, 2.6], [-0.5, 200]])
def test_floats_on_no_scale_are_refused(values):
    with pytest.raises(ValueError, match=r"not finite|on no known scale"):
        to_eight_bits(np.array([values]))


def test_eight_bits_stay_and_rows_beyond_the_first_block_are_scaled():
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert to_eight_bits(values) == (values, "")
    tall = np.full((600, 2), 4095, np.uint16)
    assert to_eight_bits(tall)[0].min() == 255
