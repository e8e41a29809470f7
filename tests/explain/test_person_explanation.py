"""The explanation of a person from several pictures."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from leam.errors import InputError
from leam.explain.explainer import Explainer
from leam.explain.person_explanation import explain_person, population_of_faces
from leam.faces.detection import find_face
from leam.parsers import load_parser
from leam.parsers.regions import REGIONS
from small import recognizer


@pytest.fixture(scope="module")
def faces(detector, portrait):
    """Four pictures with a face at the same place, of different brightness."""
    face = find_face(portrait, detector)
    return [
        replace(face, picture=(face.picture * scale).astype(np.uint8))
        for scale in (1, 0.8, 0.6, 0.4)
    ]


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(recognizer())


def test_map_mask_and_regions(faces, explainer, tmp_path):
    parser = load_parser("landmarks")
    found = explain_person(faces[:3], explainer, parser, top=0.05)
    maps = torch.cat([one.maps.overall for one in found.pictures])
    torch.testing.assert_close(found.person_map.map, maps.mean(dim=0))
    assert found.critical.sum() == round(0.05 * maps[0].numel())
    # The three parsings are the same, so that they are the most frequent one.
    np.testing.assert_array_equal(found.regions, found.pictures[0].parsing.regions)
    chips = np.stack([one.chip.image for one in found.pictures])
    np.testing.assert_array_equal(found.face, np.rint(chips.mean(axis=0)))
    record = found.record()
    nose = found.regions == REGIONS.index("nose")
    assert record.regions["nose"].share == pytest.approx(
        found.critical[nose].sum() / found.critical.sum()
    )
    assert [one.sha256 for one in record.pictures] == [face.sha256 for face in faces[:3]]
    folder = tmp_path / "new"
    found.save(folder)
    assert json.loads((folder / "person.json").read_text()) == record.model_dump(mode="json")
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_person_shows_itself(faces, explainer, tmp_path):
    found = explain_person(faces[:2], explainer, load_parser("landmarks"))
    first = next(iter(found.record().regions))
    assert repr(found).startswith(
        f"PersonExplanation(2 pictures of one person · {explainer.recognizer.name} · mean: "
        f"critical pixels: {first} "
    )
    assert len(repr(found.person_map)) < 100
    said = [text.get_text() for text in found.plot().findobj(Text)]
    assert "mean of the aligned faces" in said
    assert "person map" in said
    assert "data:image/png" in found._repr_html_()
    found.save(tmp_path / "new", ["pdf"])
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "maps.npz", "overlay.pdf", "person.json",
    }  # fmt: skip


def test_the_map_refuses_its_pictures(faces, explainer):
    found = explain_person(faces[:3], explainer, load_parser("landmarks"))
    assert found.person_map.mask_for(faces[3].sha256).any()
    with pytest.raises(InputError, match="cannot be applied to it"):
        found.person_map.mask_for(faces[1].sha256)


def test_a_population_of_faces(faces, explainer):
    shifted = [
        replace(faces[0], picture=np.roll(faces[0].picture, n, axis=1).copy()) for n in range(1, 25)
    ]
    people = [str(n // 2) for n in range(24)]
    population = population_of_faces(shifted, people, explainer)
    assert population.people == 12
    assert population.pictures == {face.sha256 for face in shifted}
    found = explain_person(
        faces[:2], explainer, load_parser("landmarks"), estimate="shrunk", population=population
    )
    record = found.record()
    assert record.estimate == "shrunk"
    assert record.population is not None
    assert (record.population.people, len(record.population.pictures)) == (12, 24)
    with pytest.raises(InputError, match="belongs to the person and to the population"):
        explain_person(
            shifted[:1],
            explainer,
            load_parser("landmarks"),
            estimate="shrunk",
            population=population,
        )
