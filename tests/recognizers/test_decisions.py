"""A Euclidean similarity is called a distance, in every sentence."""

import pytest

from leam.recognizers.decisions import amount, measured, noun, verdict


@pytest.mark.parametrize(
    ("kind", "similarity", "threshold", "said"),
    [
        ("cosine", 0.4, 0.363, "similarity 0.400 reaches the threshold 0.363: same person"),
        ("cosine", 0.363, 0.363, "similarity 0.363 reaches the threshold 0.363: same person"),
        ("cosine", -0.1, 0.2, "similarity -0.100 is below the threshold 0.200: different people"),
        ("euclidean", -0.5, -0.6, "distance 0.500 is within the threshold 0.600: same person"),
        ("euclidean", -0.6, -0.6, "distance 0.600 is within the threshold 0.600: same person"),
        ("euclidean", -0.7, -0.6, "distance 0.700 is above the threshold 0.600: different people"),
    ],
)
def test_the_decision_is_said_in_words(kind, similarity, threshold, said):
    assert verdict(similarity, threshold, kind) == said
    assert said.startswith(f"{measured(similarity, kind)} ")
    assert f"{noun(kind)} {amount(similarity, kind)} " in said


def test_without_a_threshold_there_is_no_decision():
    assert verdict(-0.5, None, "euclidean") == (
        "distance 0.500; no decision, since the recognizer's card states no threshold"
    )
