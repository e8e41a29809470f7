"""Standard protections: what they change, where, and what they leave."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from leam.faces.protections import PROTECTIONS, ProtectionInput

HIDING = ("sunglasses", "face_mask", "sunglasses_and_mask", "hat", "cover")


def drawn(scale: int = 1, turned: float = 0.0) -> ProtectionInput:
    """A noise picture with the points of a face 80 pixels wide, turned about its middle."""
    points = np.zeros((68, 2))
    jaw = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([100 + 40 * np.cos(jaw), 100 + 60 * np.sin(jaw)], axis=1)
    points[17:27] = np.stack([np.linspace(70, 130, 10), np.full(10, 88.0)], axis=1)
    points[27:31] = np.stack([np.full(4, 100.0), np.linspace(98, 122, 4)], axis=1)
    points[31:36] = np.stack([np.linspace(93, 107, 5), np.full(5, 126.0)], axis=1)
    for start, x in ((36, 84), (42, 116)):
        points[start : start + 6] = (x, 100)
    points[48:] = (100, 140)
    angle = np.radians(turned)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (points - 100) @ turn + 100
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    picture = cv2.resize(noise, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    areas = np.zeros(picture.shape[:2], dtype=bool)
    areas[: 10 * scale] = True
    return ProtectionInput(picture, points * scale, areas)


def changed(face: ProtectionInput, name: str) -> np.ndarray:
    """Which pixels a protection changes."""
    before = face.picture.copy()
    after = PROTECTIONS[name](face)
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    assert (face.picture == before).all()
    return (after != before).any(axis=2)


@pytest.mark.parametrize("name", [name for name in PROTECTIONS if name != "none"])
def test_each_changes_the_picture_and_is_repeatable(name):
    assert changed(drawn(), name).any()
    assert (PROTECTIONS[name](drawn()) == PROTECTIONS[name](drawn())).all()


def test_none_changes_nothing():
    assert not changed(drawn(), "none").any()


@pytest.mark.parametrize("turned", [0, 30, -90])
@pytest.mark.parametrize(
    ("name", "covered", "left"),
    [
        ("sunglasses", [36, 42], [8, 30, 57]),
        ("face_mask", [30, 33, 57], [17, 26, 36, 42]),
        ("sunglasses_and_mask", [30, 33, 36, 42, 57], []),
        ("hat", [], [8, 30, 36, 42, 57]),
    ],
)
def test_coverings_follow_the_landmarks(name, covered, left, turned):
    face = drawn(turned=turned)
    where = changed(face, name)
    at = {p: where[tuple(np.rint(face.landmarks[p][::-1]).astype(int))] for p in (*covered, *left)}
    assert all(at[point] for point in covered)
    assert not any(at[point] for point in left)


def test_a_hat_covers_the_forehead():
    face = drawn()
    where = changed(face, "hat")
    assert where[40:76, 80:120].all()


@pytest.mark.parametrize("name", HIDING)
def test_coverings_grow_with_the_picture(name):
    once, twice = (changed(drawn(scale), name).mean() for scale in (2, 4))
    assert twice == pytest.approx(once, rel=0.08)


@pytest.mark.parametrize("name", ["blur", "pixelate"])
def test_the_face_alone_is_changed(name):
    face = drawn()
    where = changed(face, name)
    rows, columns = face.box
    assert where[rows, columns].mean() > 0.9
    where[rows, columns] = False
    assert not where.any()


@pytest.mark.parametrize("name", ["blur", "pixelate", "downscale", "jpeg"])
def test_detail_is_lost(name):
    face = drawn(2)
    after = PROTECTIONS[name](face)
    rows, columns = face.box
    edges = [
        np.abs(np.diff(picture[rows, columns].astype(float), axis=0)).mean()
        for picture in (face.picture, after)
    ]
    assert edges[1] < 0.8 * edges[0]


def test_cover_hides_the_areas_and_nothing_without_them():
    face = drawn()
    assert (changed(face, "cover") == face.areas).all()
    assert not changed(ProtectionInput(face.picture, face.landmarks), "cover").any()


def test_a_face_at_the_edge_is_protected_as_far_as_it_is_in_the_picture():
    face = drawn()
    moved = ProtectionInput(face.picture, face.landmarks - 90, face.areas)
    for name in PROTECTIONS:
        assert PROTECTIONS[name](moved).shape == face.picture.shape
