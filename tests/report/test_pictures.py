"""Mean faces, mean maps and galleries show what the shards and tables hold."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmade import LAYERS, NAMES, grey_of, margins
from leam.errors import StudyError
from leam.report.parts import Cards, ColourBar, Fold, Heading, Picture
from leam.report.pictures import (
    colour_bar,
    gallery,
    layer_pictures,
    overall_picture,
    scale_end,
)
from leam.report.section import SECTIONS, Context
from leam.study.explained import Explained
from leam.study.means import mean_maps
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.store import RunFolder


def pixels(picture: Picture) -> np.ndarray:
    """A picture's grey values, ``(h, w)``."""
    return cv2.imdecode(np.frombuffer(picture.jpeg, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)


def colourful(picture: Picture) -> np.ndarray:
    """How colourful each pixel is, ``(h, w)``: maps are coloured, faces here are grey."""
    decoded = cv2.imdecode(np.frombuffer(picture.jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
    return np.ptp(decoded.astype(int), axis=2)


def greys(picture: Picture) -> list[int]:
    """The greys of the faces in a strip, at the lower left corner of every second cell."""
    sheet = pixels(picture)
    cells = np.array_split(sheet, 4, axis=1)
    return [int(np.median(cell[-20:, 20:-20])) for cell in cells[::2]]


@pytest.mark.parametrize("place", range(3))
def test_means_are_over_the_faces_of_all_slices(context, place):
    means = mean_maps(context.run, NAMES[place])
    assert (means.face == 100 + place).all()
    assert means.overall[0, place] == 64
    assert means.overall.sum() == 64
    for layer in range(LAYERS):
        assert means.layers[layer].sum(axis=1).tolist() == [
            16 if r == layer else 0 for r in range(4)
        ]


def test_the_mean_map_stands_to_the_right_of_the_mean_face(context):
    picture = overall_picture(context.means["gamma"], "gamma")
    sheet = pixels(picture)
    assert sheet.shape == (16, 32)
    assert np.abs(sheet[:, :16].astype(int) - 102).max() < 12
    bright = np.unravel_index(np.argmax(colourful(picture)), sheet.shape)
    assert bright[0] < 4
    assert 16 + 2 <= bright[1] < 16 + 8


def test_layers_stand_from_early_to_late(context):
    found = layer_pictures(context.means["alpha"], "alpha")
    assert [picture.caption for picture in found] == ["1", "2", "3"]
    brightest = [int(np.argmax(pixels(picture).mean(axis=1))) // 2 for picture in found]
    assert brightest == [0, 1, 2]


def test_a_flat_map_does_not_look_like_a_peaked_one(context):
    means = context.means["alpha"]
    peaked, flat = np.full((8, 8), 0.1), np.full((8, 8), 0.9)
    peaked[:2], flat[:2] = 1, 1
    highest = scale_end([peaked, flat])
    assert highest == pytest.approx(1 / peaked.mean())
    drawn = [
        colourful(overall_picture(dataclasses.replace(means, overall=one), "alpha", None, highest))
        for one in (peaked, flat, 100 * flat)
    ]
    tops = [sheet[:4, 18:].mean() for sheet in drawn]
    assert tops[1] == tops[2]
    assert tops[0] > 1.5 * tops[1]


def test_all_maps_of_a_section_share_the_scale_that_it_shows(context):
    means = context.means
    ends = {
        "support": scale_end(one.overall for one in means.values()),
        "layers": scale_end(layer for one in means.values() for layer in one.layers),
    }
    for name, end in ends.items():
        parts = list(SECTIONS[name]().parts(context))
        assert [part for part in parts if isinstance(part, ColourBar)] == [colour_bar(end)]
        shown = [one for part in parts if isinstance(part, Cards) for one in part.pictures]
        drawn = [
            picture
            for recognizer in NAMES
            for picture in (
                [overall_picture(means[recognizer], recognizer, None, end)]
                if name == "support"
                else layer_pictures(means[recognizer], recognizer, None, end)
            )
        ]
        assert [dataclasses.replace(one, recognizer="") for one in shown] == drawn


def test_all_maps_of_galleries_share_a_scale(plan, folder, tmp_path):
    copied = _copy(plan, folder, tmp_path)
    found = gallery(copied, "alpha")
    shards = [copied.folder.read_shard(Explained, "explain/alpha", i) for i in range(2)]
    maps = (values.astype(float) for part in shards for values in part.density)
    assert found.highest == pytest.approx(scale_end(maps))


def test_many_layers_are_thinned_out_from_the_first_to_the_last(context):
    means = context.means["alpha"]
    many = dataclasses.replace(means, layers=np.ones((100, 4, 4)))
    captions = [int(picture.caption) for picture in layer_pictures(many, "alpha")]
    assert len(captions) == 36
    assert (captions[0], captions[-1]) == (1, 100)
    assert captions == sorted(captions)


@pytest.mark.parametrize("place", range(3))
def test_galleries_show_the_most_and_the_least_person_specific_maps(context, place):
    table = margins(place).to_dicts()
    known = [row for row in table if np.isfinite(row["critical_genuine"])]
    order = sorted(known, key=lambda row: row["critical_impostor"] - row["critical_genuine"])
    found = gallery(context.run, NAMES[place])
    for pictures, expected in ((found.most, order[:6]), (found.least, order[:-7:-1])):
        assert [picture.caption for picture in pictures] == [
            f"genuine {row['critical_genuine']:.3f}, impostor {row['critical_impostor']:.3f}"
            for row in expected
        ]
        for picture, row in zip(pictures, expected, strict=True):
            assert greys(picture) == pytest.approx([grey_of(row["person"])] * 2, abs=4)


def test_galleries_have_their_headings(context):
    parts = list(SECTIONS["specificity"]().parts(context))
    folds = [part for part in parts if isinstance(part, Fold)]
    assert [(fold.title, fold.unfolded) for fold in folds] == [
        ("People, alpha", True),
        ("People, beta", False),
        ("People, gamma", False),
    ]
    for name, fold in zip(NAMES, folds, strict=True):
        found = gallery(context.run, name)
        _, bar, most, one, least, other = fold.parts
        assert bar == colour_bar(found.highest)
        assert (most, least) == (Heading("Most person-specific"), Heading("Least person-specific"))
        assert isinstance(one, Cards)
        assert isinstance(other, Cards)
        assert one.pictures == found.most
        assert other.pictures == found.least


def test_without_faces_there_are_no_galleries(context):
    hidden = Context(context.plan, context.summary, context.run, faces=False)
    assert not any(isinstance(p, Fold) for p in SECTIONS["specificity"]().parts(hidden))


def test_few_people_are_shown_once(context, plan, folder, tmp_path):
    copied = _copy(plan, folder, tmp_path)
    copied.folder.write_table("specificity/alpha", [margins(0).head(11)])
    found = gallery(copied, "alpha")
    assert (len(found.most), found.least) == (6, [])


def test_pictures_that_are_gone_leave_the_gallery_empty(plan, folder, tmp_path):
    moved = plan.model_copy(
        update={"images": tuple(dataclasses.replace(i, path="gone.png") for i in plan.images)}
    )
    found = gallery(_copy(moved, folder, tmp_path), "alpha")
    assert (found.most, found.least) == ([], [])


def test_shards_that_disappeared_are_named(plan, folder, tmp_path):
    copied = _copy(plan, folder, tmp_path)
    shutil.rmtree(copied.folder.path / "shards" / "explain" / "beta")
    with pytest.raises(StudyError, match="the maps of beta disappeared; run the study again"):
        mean_maps(copied, "beta")


def _copy(plan: Plan, folder: RunFolder, tmp_path: Path) -> RunData:
    shutil.copytree(folder.path, tmp_path / "run")
    return RunData(plan.only(NAMES), RunFolder(tmp_path / "run"))
