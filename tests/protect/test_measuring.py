"""The whole measurement on a few pictures of one person."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from leam.errors import FaceError, InputError
from leam.faces.detection import find_face
from leam.faces.face import Face
from leam.faces.reading import PictureFile, checksum
from leam.parsers import load_parser
from leam.protect.linking import Threshold
from leam.protect.measuring import FILES, Others, Tools, find_thresholds, measure
from leam.protect.record import ProtectRecord
from leam.report.protection import protection_page


@pytest.fixture(scope="module")
def faces(portrait, detector) -> list[Face]:
    """Three pictures of one person: a portrait, and two versions in another light."""
    face = find_face(portrait, detector)
    return [
        replace(face, picture=cv2.convertScaleAbs(face.picture, alpha=alpha))
        for alpha in (1.0, 0.8, 0.6)
    ]


@pytest.fixture(scope="module")
def tools(dlib_resnet, detector) -> Tools:
    thresholds = {dlib_resnet.name: Threshold(-0.6, "card")}
    return Tools([dlib_resnet], thresholds, detector, load_parser())


def file_of(picture: np.ndarray, name: str) -> PictureFile:
    from pathlib import Path

    return PictureFile(Path(name), "0" * 64, checksum(picture))


@pytest.fixture(scope="module")
def measured(faces, tools):
    black = np.zeros_like(faces[1].picture)
    files = {1: (black, file_of(black, "b.png"))}
    return measure(faces, tools, ["sunglasses", "none", "blur"], files=files)


def test_unchanged_pictures_are_linked_and_hidden_ones_are_not(measured):
    changes = measured.record.changes
    assert list(changes) == ["none", "sunglasses", "blur", FILES]
    before = changes["none"].recognizers["dlib_resnet"].with_unchanged
    assert (before.linked, before.pairs) == (3, 3)
    black = changes[FILES]
    assert (black.pictures, black.found, black.pixels) == (1, 0, pytest.approx(1, abs=0.05))
    assert black.recognizers["dlib_resnet"].with_unchanged.linked == 0
    assert black.recognizers["dlib_resnet"].among_changed.pairs == 0
    assert black.gain == 1
    assert measured.record.best == FILES


def test_the_gain_is_per_changed_pixel(measured):
    for name in ("sunglasses", "blur"):
        one = measured.record.changes[name]
        assert one.gain_per_pixel == pytest.approx(one.gain / one.pixels)
    helping = {k: v.gain_per_pixel for k, v in measured.record.changes.items() if v.gain}
    assert measured.record.best_per_pixel == max(helping, key=helping.get)


def test_the_record_is_json_and_complete(measured, tools):
    record = measured.record
    text = json.dumps(record.model_dump(mode="json"), allow_nan=False)
    assert ProtectRecord.model_validate_json(text) == record
    assert record.recognizers["dlib_resnet"].sha256 == tools.recognizers[0].sha256
    assert record.pictures[1].protected == "b.png"
    assert record.pictures[0].protected is None
    assert set(measured.examples) == set(record.changes)


def test_the_strongest_recognizer_counts(faces, tools, dlib_resnet):
    """A recognizer that links everything is stronger than one that links nothing."""
    other = type(dlib_resnet)(
        dlib_resnet.module, dlib_resnet.card.model_copy(update={"name": "eager"})
    )
    both = replace(
        tools,
        recognizers=[dlib_resnet, other],
        thresholds={"dlib_resnet": Threshold(0.0, "option"), "eager": Threshold(-9.0, "option")},
    )
    record = measure(faces, both, ["sunglasses"]).record
    assert record.changes["sunglasses"].strongest == "eager"
    assert record.changes["sunglasses"].gain == 0
    assert record.best is None
    assert record.best_per_pixel is None


def test_repeats_give_the_same_record(faces, tools):
    first, second = (measure(faces[:2], tools, ["jpeg"]).record for _ in range(2))
    assert first == second


def test_mistakes(faces, tools):
    with pytest.raises(InputError, match="at least two pictures"):
        measure(faces[:1], tools, [])
    with pytest.raises(InputError, match="the same picture as"):
        measure([faces[0], replace(faces[0])], tools, [])
    with pytest.raises(InputError, match="to the person and to the population"):
        measure(faces, tools, [], others=Others([faces[0]], ["other"]))
    cropped = np.zeros((50, 200, 3), np.uint8)
    with pytest.raises(FaceError, match=r"c\.png: no face found by .*cropped"):
        measure(faces, tools, [], files={0: (cropped, file_of(cropped, "c.png"))})


def test_thresholds(faces, dlib_resnet, tiny):
    found, without = find_thresholds([dlib_resnet, tiny])
    assert found == {"dlib_resnet": Threshold(-0.6, "card")}
    assert "states no threshold" in without["tiny"]
    assert find_thresholds([dlib_resnet], value=-0.5)[0]["dlib_resnet"].source == "option"
    with pytest.raises(InputError, match=r"tiny: its card states no threshold; .*--population"):
        find_thresholds([tiny])
    others = Others(faces, ["a", "a", "b"])
    known = find_thresholds([dlib_resnet], others=others)[0]["dlib_resnet"]
    assert (known.source, known.pairs, known.fmr.mean) == ("card", 2, 1.0)
    with pytest.raises(InputError, match=r"--fmr 0\.01"):
        find_thresholds([dlib_resnet], fmr=0.01, others=others)


def test_the_page_shows_every_change_and_warns(measured):
    page = protection_page(measured)
    assert page.count("<img") == len(measured.record.changes)
    for one in measured.record.changes.values():
        assert one.description in page
    for limit in measured.record.limits:
        assert limit.replace("'", "&#39;") in page
    assert "nothing is optimised against a recognizer" in page
    assert "3 of 3" in page
    assert "numbers of pairs of 3 pictures" in page
