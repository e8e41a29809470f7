"""The page of an explanation has the maps, the regions and what they were made of, and needs no network."""

from __future__ import annotations

import base64
import dataclasses
import re

import numpy as np
import pytest
import torch

from leam.explain.explainer import Explainer
from leam.explain.explanation import explain_faces, explain_pair
from leam.explain.person_explanation import explain_person
from leam.explain.pictures import bright_end, enlarge, overlay
from leam.faces.detection import find_face
from leam.parsers import load_parser
from leam.report.explanation import explanation_page, person_page
from leam.report.pictures import jpeg
from tiny import TinyNet, wrap


@pytest.fixture(scope="module")
def explainer():
    torch.manual_seed(0)
    return Explainer(wrap(TinyNet(32), 32, similarity="euclidean", threshold=-0.5))


@pytest.fixture(scope="module")
def parser():
    return load_parser()


@pytest.fixture(scope="module")
def faces(portrait, detector):
    face = find_face(portrait, detector)
    return face, find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)


def test_a_page_says_everything_and_loads_nothing(faces, explainer, parser):
    (explanation,) = explain_faces(faces[:1], explainer, parser)
    page, record = explanation_page(explanation), explanation.record()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    for said in (
        f"What tiny relies on in {explanation.name}",
        *(record.image_sha256, record.sha256, record.parser, record.image),
        *(f"{100 * row.share:.1f} %" for row in record.regions.values()),
        *record.regions,
        *("1 conv1 (4 x 32x32)", "2 conv2 (5 x 16x16)"),
        *(f"{name} {version}" for name, version in record.versions.items()),
    ):
        assert said in page, said
    # Face, map, critical pixels, regions and two layers, each with a text for readers who cannot see it.
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) == 6
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)
    assert len(page) < 500_000


def test_the_page_of_a_pair_has_both_faces_and_the_decision(faces, explainer, parser):
    one, _ = explain_pair(*faces, explainer, parser)
    page = explanation_page(one)
    assert f"{one.verdict[0].upper()}{one.verdict[1:]}." in page
    assert one.verdict.startswith("distance ")
    assert "0.500, from the recognizer&#39;s card" in page
    assert page.count("what makes them alike (brightest") == 4  # caption and text of two pictures
    assert page.count("<th") > 10
    alone = explanation_page(dataclasses.replace(one, mate=None))
    assert alone.count("what makes them alike (brightest") == 2


POINTS = ((10, 12), (22, 12), (16, 18), (11, 24), (21, 24))


@pytest.mark.parametrize(
    ("card", "alignment"),
    [
        ({"points": POINTS}, "five points of the card"),
        ({"template": "box", "margin": 0.2, "square": True}, "box"),
    ],
)
def test_how_the_input_was_cut_out_is_recorded(faces, parser, card, alignment):
    torch.manual_seed(0)
    explainer = Explainer(wrap(TinyNet(32), 32, **card))
    (explanation,) = explain_faces(faces[:1], explainer, parser)
    assert f"32x32 RGB, aligned by {alignment}<" in explanation_page(explanation)
    made = explanation.record().input
    assert made.points == (list(POINTS) if "points" in card else None)
    assert (made.margin, made.square) == (card.get("margin", 0), card.get("square", False))


def test_limitations_are_on_the_page(faces, explainer, parser):
    several = dataclasses.replace(faces[0], found=3)
    (explanation,) = explain_faces([several], explainer, parser)
    assert "one of 3 faces in the picture" in explanation_page(explanation)


def test_the_page_of_a_person_names_the_pictures(faces, explainer, parser):
    found = explain_person(faces, explainer, parser)
    page, record = person_page(found), found.record()
    assert "What tiny relies on in 2 pictures of one person" in page
    for one in record.pictures:
        assert one.sha256 in page
    assert "Do not apply this map to these pictures" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)


def test_names_are_escaped(faces, explainer, parser, tmp_path):
    odd = dataclasses.replace(faces[0].file, path=tmp_path / "<b>.png")
    (explanation,) = explain_faces([dataclasses.replace(faces[0], file=odd)], explainer, parser)
    page = explanation_page(explanation)
    assert "&lt;b&gt;.png" in page
    assert "<b>.png" not in page


def test_the_layers_have_one_scale(faces, explainer, parser):
    (explanation,) = explain_faces(faces[:1], explainer, parser)
    page, each = explanation_page(explanation), explanation.maps.at_input_size()[:, 0].numpy()
    for values in each:
        drawn = overlay(explanation.chip.image, values, highest=bright_end(each))
        assert base64.b64encode(jpeg(enlarge(drawn, 7))).decode() in page
    assert f"≥ {bright_end(each) * each[0].size:.3g} times the mean of the map" in page
