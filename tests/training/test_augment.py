"""The training views: what is done to the picture is done to its mask."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

TRAINING = Path(__file__).parents[2] / "training"
LEFT_EYE, RIGHT_EYE, LEFT_BROW, HAIR = 4, 5, 6, 13


@pytest.fixture(scope="module")
def augment():
    spec = importlib.util.spec_from_file_location("augment", TRAINING / "augment.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["augment"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["augment"]


@pytest.fixture
def example(augment):
    """Red is the right half, and the mask says so: the person's left eye there, the other here."""
    picture = np.zeros((256, 256, 3), dtype=np.uint8)
    picture[:, 128:, 0] = 255
    picture[:, :128, 1] = 255
    labels = np.full((512, 512), RIGHT_EYE, dtype=np.uint8)
    labels[:, 256:] = LEFT_EYE
    to_head = np.array([[1 / 512, 0, 0.5 / 512], [0, 1 / 512, 0.5 / 512]])
    return augment.Example(picture, labels, to_head)


def test_a_plain_view_keeps_picture_and_mask_together(augment, example):
    picture, labels = augment.plain(example, 64)
    assert picture.shape == (64, 64, 3)
    assert labels.shape == (32, 32)
    assert (labels[:, :16] == RIGHT_EYE).all()
    assert (labels[:, 16:] == LEFT_EYE).all()
    assert (picture[:, :30, 1] > 250).all()
    assert (picture[:, 34:, 0] > 250).all()


def test_mirrored_views_keep_the_persons_left_to_the_right(augment, example, monkeypatch):
    """After mirroring the colours have changed sides, and the names of the eyes have not."""
    monkeypatch.setattr(augment, "_damage", lambda picture, rng: picture)
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(20):
        picture, labels = augment.augmented(example, 64, rng)
        columns = (
            np.nonzero(labels == LEFT_EYE)[1].mean(),
            np.nonzero(labels == RIGHT_EYE)[1].mean(),
        )
        assert columns[0] > columns[1]
        red = np.nonzero(picture[:, :, 0] > 200)[1].mean()
        green = np.nonzero(picture[:, :, 1] > 200)[1].mean()
        mirrored += red < green
    assert 3 < mirrored < 17


def test_swapped_masks_are_put_right(augment, example):
    swapped = augment.MIRRORED[example.labels]
    assert (augment.sided(swapped) == example.labels).all()
    assert augment.sided(example.labels) is example.labels
    alone = np.full((8, 8), HAIR, dtype=np.uint8)
    alone[0, 0] = LEFT_BROW
    assert augment.sided(alone) is alone


def test_views_are_random_and_repeatable(augment, example):
    one = augment.augmented(example, 64, np.random.default_rng(3))
    same = augment.augmented(example, 64, np.random.default_rng(3))
    other = augment.augmented(example, 64, np.random.default_rng(4))
    assert (one[0] == same[0]).all()
    assert (one[1] == same[1]).all()
    assert (one[0] != other[0]).any()


def test_the_split_has_150_test_images_and_no_overlap():
    split = json.loads((TRAINING / "split.json").read_text())
    train, validation, test = (set(split[part]) for part in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (800, 50, 150)
    assert len(train | validation | test) == 1000
