"""The page of people: what it holds, what it leaves out, and who never gets one."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from handmade import NAMES, PEOPLE
from leam.errors import FaceError, StudyError, printable
from leam.faces.alignment import Crop
from leam.faces.face import Face
from leam.parsers.regions import REGIONS
from leam.report import sprites
from leam.report.page import render_report
from leam.report.people import (
    MOST_BYTES,
    face_tile,
    has_people_page,
    people_link,
    people_page,
)
from leam.report.sprites import chosen_layers, fitting, layer_sprite, map_sprite, shares, small_map
from leam.study.run_data import RunData
from leam.study.store import RunFolder

NOSE = REGIONS.index("nose")


def scripts(page: str) -> dict[str, str]:
    """The texts of the page's data elements by their names."""
    found = re.findall(
        r'<script type="(?:text/plain|application/json)" id="(.*?)">(.*?)</script>', page, re.DOTALL
    )
    return dict(found)


def index_of(page: str) -> dict:
    return json.loads(scripts(page)["index"])


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


@pytest.fixture(scope="module")
def page(context) -> str:
    return people_page(context)


@pytest.fixture(scope="module")
def index(page) -> dict:
    return index_of(page)


def test_everybody_is_listed_with_their_pictures(index):
    assert [one[0] for one in index["people"]] == list(PEOPLE)
    assert index["people"][1] == ["b", 2, ["b/0.png", "b/1.png"], ["", ""]]
    assert [one["name"] for one in index["recognizers"]] == list(NAMES)
    assert [layer[:2] for layer in index["recognizers"][0]["layers"]] == [
        [1, "first"], [2, "second"], [3, "third"],
    ]  # fmt: skip


def test_figures_are_those_of_the_tables(context, index):
    beta = index["recognizers"][1]
    table = context.run.table("specificity", "beta")
    assert floats(beta["own"])[:3] == pytest.approx(table["critical_genuine"].to_list()[:3])
    assert np.isnan(floats(beta["own"])[-1])
    assert floats(beta["others"])[4] == pytest.approx(table["critical_impostor"][4])
    assert floats(beta["drop"])[3] == pytest.approx(0.065)
    assert floats(beta["control"])[3] == pytest.approx(0.0325)
    assert beta["controlName"] == "scattered"
    assert index["recognizers"][2]["unit"] == "growth of the Euclidean distance"


def test_shares_are_means_over_a_persons_pictures(context, index):
    found = np.frombuffer(base64.b64decode(index["recognizers"][0]["share"]), "<u2")
    found = found.reshape(len(PEOPLE), -1)[:, index["regions"].index("nose")] / 65534
    assert found == pytest.approx([0.01 * (2 * k + 0.5) for k in range(len(PEOPLE))], abs=1e-4)


def test_faces_and_maps_are_in_their_places(index, page):
    files, side = scripts(page), index["sizes"]["face"]
    faces = picture(files["faces-0"])
    assert faces.shape == (4 * side, 8 * side, 3)
    greys = faces[side // 2 :: side, side // 2 :: side, 1].ravel()[:26].astype(float)
    assert greys == pytest.approx([20 + 15 * (k // 2) for k in range(26)], abs=3)
    maps = picture(files["maps-gamma-0"])[..., 0]
    # Three maps for each person, all bright at the recognizer's place in the first row.
    tile = maps[32:64, 3 * 32 : 4 * 32]
    assert np.unravel_index(tile.argmax(), tile.shape)[1] // 4 == 2
    layers = picture(files["layers-alpha-0"])[..., 0]
    assert layers.shape == (13 * 16, 3 * 16)
    tile = layers[:16, 16:32].astype(int)
    assert tile[2, 4:].mean() > 150
    assert tile[4:, 2].mean() > 150
    assert tile[6:, 6:].mean() < 40


def test_the_page_says_what_its_pictures_are(page):
    assert "Faces are stored with 160x160 pixels" in page
    assert "people are shown" not in page
    assert "Layers are evenly spaced" not in page


def test_layers_that_do_not_fit_are_left_out(context, monkeypatch):
    monkeypatch.setattr(sprites, "_LAYER_BYTES", 100_000)
    page = people_page(context, most=11_000_000)
    assert [[one[1] for one in found["layers"]] for found in index_of(page)["recognizers"]] == [
        ["first", "third"]
    ] * 3
    assert "fit into the page: 2 of 3 of alpha, 2 of 3 of beta, 2 of 3 of gamma." in page
    assert len(index_of(page)["people"]) == len(PEOPLE)


def test_a_tiny_page_has_some_of_the_people(context):
    page = people_page(context, most=108_000)
    index = index_of(page)
    assert len(index["people"]) < len(PEOPLE)
    assert all(len(one[2]) == 1 for one in index["people"])
    count = len(index["people"])
    assert f"{count} of 13 people are shown, drawn at random with the seed of the study" in page
    assert "the first pictures are shown (up to 1 of 2)" in page
    assert index == index_of(people_page(context, most=108_000))


def test_nothing_is_loaded_from_elsewhere(page):
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert html.unescape(policy[1]).startswith("default-src 'none'; script-src 'sha256-")
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


HOSTILE = "</script><img src=x onerror=alert(1)>\udc80\x07<!--"


def test_names_cannot_end_the_data(context):
    images = tuple(
        replace(one, person=HOSTILE) if one.person == "c" else one for one in context.plan.images
    )
    images = tuple(replace(one, person="c" * 5000) if one.person == "d" else one for one in images)
    plan = context.plan.model_copy(update={"images": images})
    page = people_page(replace(context, plan=plan, run=RunData(plan, context.run.folder)))
    assert "<img src=x" not in page
    assert page.count("</script>") == page.count("<script")
    assert index_of(page)["people"][2][0] == printable(HOSTILE)
    assert index_of(page)["people"][3][0] == "c" * 5000
    page.encode()


def test_links_are_those_of_the_page():
    assert people_link("Ada Lovelace & co") == "people.html#person=Ada%20Lovelace%20%26%20co"
    assert people_link("a\x07", "x/y") == "people.html#person=a%5Cx07&recognizer=x%2Fy"


def test_nobody_is_shown_without_faces(context):
    with pytest.raises(ValueError, match="shows faces"):
        people_page(replace(context, faces=False))


def test_audits_and_studies_without_recognizers_have_no_page(context):
    assert has_people_page(context)
    audit = context.settings.model_copy(update={"audit": True})
    plan = context.plan.model_copy(update={"settings": audit})
    assert not has_people_page(replace(context, plan=plan))
    nothing = context.summary.model_copy(update={"recognizers": {}})
    assert not has_people_page(replace(context, summary=nothing))


def test_a_person_who_is_larger_than_a_page_ends_nothing(context):
    images = tuple(replace(one, person="c" * 200_000) for one in context.plan.images[:2])
    plan = context.plan.model_copy(update={"images": (*images, *context.plan.images[2:])})
    page = people_page(
        replace(context, plan=plan, run=RunData(plan, context.run.folder)), most=101_000
    )
    assert len(index_of(page)["people"]) == 1


@pytest.mark.usefixtures("_without_charts")
def test_a_report_without_faces_removes_the_page(write_run, tmp_path):
    folder = write_run(tmp_path / "run")
    render_report(folder)
    page = folder.path / "people.html"
    assert page.stat().st_mode & 0o777 == 0o600
    assert folder.is_unchanged("people.html")
    report = folder.path / "report.html"
    assert 'href="people.html"' in report.read_text(encoding="utf-8")
    assert 'href="report.html"' in page.read_text(encoding="utf-8")
    render_report(folder, faces=False)
    assert not page.exists()
    assert "people.html" not in report.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_without_charts")
def test_a_study_of_which_not_everything_is_kept_has_no_page(write_run, tmp_path):
    folder = write_run(tmp_path / "run")
    render_report(folder)
    folder.keep("maps")
    for name in NAMES:
        assert not (folder.path / "shards" / "means" / name).exists()
    render_report(folder)
    assert not (folder.path / "people.html").exists()


def test_a_page_that_somebody_changed_is_set_aside(tmp_path, plan):
    folder = RunFolder(tmp_path / "run")
    folder.start(plan)
    folder.write_text("people.html", "ours")
    (folder.path / "people.html").write_text("theirs")
    folder.discard("people.html")
    assert [one.name for one in folder.path.glob("people*")] == ["people.html.kept"]
    folder.discard("people.html")


def test_a_missing_shard_is_named(write_run, context, tmp_path):
    folder = write_run(tmp_path / "run")
    folder.shard("regions/beta", 1).unlink()
    with pytest.raises(StudyError, match="the maps of beta disappeared"):
        people_page(replace(context, run=RunData(context.plan, folder)))


def test_pictures_that_are_gone_are_said(write_run, context, tmp_path):
    folder = write_run(tmp_path / "run")
    images = [
        replace(one, path="/nowhere/x.png") if place == 3 else one
        for place, one in enumerate(context.plan.images)
    ]
    plan = context.plan.model_copy(update={"images": tuple(images)})
    page = people_page(replace(context, plan=plan, run=RunData(plan, folder)))
    assert "or have changed since the study: 1." in page
    moves = floats(index_of(page)["moves"]).reshape(26, -1)
    assert np.flatnonzero(~moves.any(axis=1)).tolist() == [3]


def test_without_stored_layers_the_page_says_so(write_run, context, tmp_path):
    folder = write_run(tmp_path / "run")
    folder.shard("layer_maps/beta", 0).unlink()
    page = people_page(replace(context, run=RunData(context.plan, folder)))
    assert "no maps of single layers for beta:" in page
    assert not index_of(page)["recognizers"][1]["layers"]


def face_of(size: tuple[int, int] = (200, 220)) -> Face:
    """A face in a picture whose colours say where a pixel is."""
    columns, rows = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    shown = np.stack([columns, rows, np.full_like(rows, 128)], axis=2).astype(np.uint8)
    five = np.array([[80, 80], [120, 84], [98, 104], [82, 124], [114, 127]], dtype=np.float64)
    return Face(shown, (60, 50, 150, 150), 1.0, np.zeros((68, 2)), five, five)


def test_a_tile_becomes_each_crop():
    crops = [
        Crop((112, 112)),
        Crop((112, 96), window=(0, 8, 112, 96)),
        Crop((64, 48), "box", margin=(0.2, 0.1, 0.2, 0)),
    ]
    face = face_of()
    tile, moves = face_tile(face, crops, 96)
    assert tile.shape == (96, 96, 3)
    for crop, move in zip(crops, moves, strict=True):
        # Where points of the crop come from, through the tile and directly.
        inverse = np.linalg.inv(np.vstack([move, [0, 0, 1]]))
        direct = np.linalg.inv(np.vstack([crop.matrix(face), [0, 0, 1]]))
        for x, y in ((0.3, 0.3), (0.5, 0.7), (0.9, 0.4)):
            u, v, _ = inverse @ [x, y, 1]
            assert 0 < u < 96
            assert 0 < v < 96
            at = tile[int(v), int(u), :2]
            wanted = direct @ [x * crop.size[1] - 0.5, y * crop.size[0] - 0.5, 1]
            assert at == pytest.approx(wanted[:2], abs=1.6)


def test_a_face_without_a_place_is_refused():
    face = replace(face_of(), five_points=np.full((5, 2), np.nan))
    with pytest.raises(FaceError):
        face_tile(face, [Crop()], 96)


ROOM = float(MOST_BYTES)


@pytest.mark.parametrize(
    ("people", "pictures", "layers", "wanted"),
    [
        (20, 2, [27], (20, 2, 160)),
        (1000, 2, [40] * 11, (1000, 2, 96)),
        (1000, 12, [40] * 11, (1000, 2, 96)),
        (100, 50, [40], (100, 24, 128)),
    ],
)
def test_what_fits(people, pictures, layers, wanted):
    found = fitting([pictures] * people, layers, ROOM)
    assert (found.people, found.pictures, found.side) == wanted


def test_of_very_many_people_some_are_shown():
    found = fitting([2] * 100_000, [40] * 11, ROOM)
    assert 1000 < found.people < 10_000
    assert found.pictures == 1


def test_layers_are_evenly_spaced_and_all_if_they_fit():
    assert [len(one) for one in chosen_layers([27, 0, 3], 10, ROOM)] == [27, 0, 3]
    first, second = chosen_layers([27, 48], 1000, 700_000)
    assert first.tolist() == [0, 5, 10, 16, 21, 26]
    assert len(second) == 6
    assert [len(one) for one in chosen_layers([27, 48], 1000, 0)] == [0, 0]


def test_maps_come_back_nearly_as_they_were():
    rows, columns = np.mgrid[:32, :32] / 31
    maps = np.stack([np.exp(-8 * ((rows - k / 9) ** 2 + (columns - 0.4) ** 2)) for k in range(9)])
    maps = (maps / maps.mean(axis=(1, 2), keepdims=True)).astype(np.float32)
    text, end = map_sprite(maps)
    sprite = picture(text)[..., 0].astype(np.float64)
    assert sprite.shape == (64, 256)
    for k in range(9):
        tile = sprite[32 * (k // 8) :, 32 * (k % 8) :][:32, :32]
        found = end * (tile / 255) ** 2
        assert np.abs(found - maps[k]).mean() < 0.05
    text, end = layer_sprite(maps[None, :, ::2, ::2][:, :, :14, :14])
    tile = picture(text)[..., 0][1:15, 17:31].astype(np.float64)
    assert np.abs(end * (tile / 255) ** 2 - maps[1, ::2, ::2][:14, :14]).mean() < 0.15


def test_maps_are_in_multiples_of_their_mean():
    assert small_map(np.full((64, 48), 7.0)) == pytest.approx(1)
    assert not small_map(np.full((8, 8), np.nan)).any()
    assert shares(np.array([0, 0.5, 1, np.nan])).tolist() == [0, 32767, 65534, 65535]
