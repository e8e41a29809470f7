"""Several recognizers on one face: the same maps as each gives alone, and their coefficients in one geometry."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from leam.compare.recognizers import (
    ComparedFace,
    RecognizerComparison,
    compare_recognizers,
    comparison_of,
)
from leam.errors import InputError
from leam.explain.explainer import Explainer
from leam.explain.explanation import explain_faces
from leam.explain.masks import critical_mask
from leam.faces.detection import find_face
from leam.metrics.overlap import bhattacharyya
from leam.parsers import load_parser
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from tiny import TinyNet

SIDE, TOP = 32, 0.05


def method(name: str, seed: int, **fields: object) -> Explainer:
    torch.manual_seed(seed)
    return Explainer(Recognizer(TinyNet(SIDE), Card(name=name, input_size=(SIDE, SIDE), **fields)))


@pytest.fixture(scope="module")
def face(detector, portrait):
    return find_face(portrait, detector)


@pytest.fixture(scope="module")
def methods():
    # The second one sees the same face in another crop.
    return [method("alpha", 0), method("beta", 1, template="dlib"), method("gamma", 0)]


@pytest.fixture(scope="module")
def found(face, methods) -> ComparedFace:
    (one,) = compare_recognizers([face], methods, load_parser("landmarks"), top=TOP)
    return one


def test_each_recognizer_gives_what_it_gives_alone(face, methods, found):
    for one in methods:
        (alone,) = explain_faces([face], one, load_parser("landmarks"), top=TOP)
        assert found.record.recognizers[one.recognizer.name].regions == alone.regions
    (first,) = explain_faces([face], methods[0], load_parser("landmarks"), top=TOP)
    np.testing.assert_allclose(found.maps[0], first.maps.overall[0], atol=1e-7)
    assert (found.chip == first.chip.image).all()


def test_maps_are_compared_in_the_geometry_of_the_first(found):
    maps = torch.from_numpy(found.maps)
    masks = critical_mask(maps, TOP)
    for i in range(3):
        for j in range(3):
            assert found.record.maps[i][j] == pytest.approx(
                bhattacharyya(maps[i], maps[j]), abs=1e-6
            )
            shared = (masks[i] & masks[j]).sum() / masks[i].sum()
            assert found.record.critical[i][j] == pytest.approx(float(shared), abs=1e-6)
    # Equal networks agree entirely, others do not.
    assert found.record.critical[0][2] == pytest.approx(1)
    assert found.record.critical[0][1] < 1
    assert np.allclose(found.maps.sum(axis=(1, 2)), 1, atol=1e-5)


def test_a_map_outside_the_first_picture_is_not_compared(found, monkeypatch, face, methods):
    def outside(maps, sources, targets, size):
        nothing = torch.zeros((1, *size))
        return nothing if sources[0] is not targets[0] else maps

    monkeypatch.setattr("leam.compare.recognizers.carry_maps", outside)
    (one,) = compare_recognizers([face], methods[:2], load_parser("landmarks"), top=TOP)
    assert one.record.critical[0] == [pytest.approx(1), None]
    assert one.record.maps[1] == [None, None]


def test_progress_counts_every_map(face, methods):
    told: list[tuple[str, int, int | None]] = []
    list(
        compare_recognizers(
            [face, face],
            methods[:2],
            load_parser("landmarks"),
            progress=lambda *one: told.append(one),
        )
    )
    assert told == [("explaining", done, 4) for done in range(5)]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["alpha"], "one recognizer"), (["alpha", "alpha"], "of the same name: alpha, alpha")],
)
def test_fewer_than_two_recognizers_cannot_be_compared(face, names, message):
    methods = [method(name, 0) for name in names]
    with pytest.raises(InputError, match=message):
        list(compare_recognizers([face], methods, load_parser("landmarks")))


def test_the_record_can_be_read_again(found, methods, portrait):
    record = comparison_of([found], methods, "landmarks", TOP)
    text = record.to_json()
    assert RecognizerComparison.model_validate_json(text).to_json() == text
    loaded = json.loads(text)
    assert (loaded["compare_version"], loaded["kind"], loaded["method"]) == (
        1,
        "recognizers",
        "leam",
    )
    assert loaded["faces"][0]["image"] == str(portrait)
    assert loaded["recognizers"] == ["alpha", "beta", "gamma"]
