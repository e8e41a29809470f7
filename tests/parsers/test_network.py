"""Parsers that are networks: their view of the head, their labels, and their weights."""

import importlib

import numpy as np
import pytest
import torch

from leam.errors import WeightsError
from leam.faces.alignment import Crop, transform_points
from leam.faces.face import Face
from leam.parsers import load_parser, network
from leam.parsers.network import HeadParser, head_matrix, inverse, weights_of
from leam.parsers.parsing import Frame, unchecked_weights
from leam.parsers.regions import INDEX
from serving import DATA, SHA, serving

FIVE = np.array([[110.0, 120], [150, 121], [131, 145], [114, 168], [147, 169]])


def face_of(picture, five_points=FIVE):
    landmarks = np.zeros((68, 2))
    return Face(picture, (0, 0, 1, 1), 1.0, landmarks, five_points, np.zeros((5, 2)))


@pytest.fixture(autouse=True)
def _local_servers(monkeypatch):
    """The servers of these tests are on this machine."""
    monkeypatch.setenv("LEAM_ALLOW_LOCAL", "1")


@pytest.fixture
def picture():
    """Red carries the columns, green the rows, so that colours tell where a pixel came from."""
    rows, columns = np.mgrid[0:260, 0:250]
    return np.stack([columns, np.minimum(rows, 255), np.zeros_like(rows)], axis=-1).astype(np.uint8)


def by_red(threshold):
    """A network that calls the pixels right of a column nose, and the others skin."""

    def network(pictures):
        red = pictures[:, 0] - threshold
        return torch.stack([-red, red], dim=1)

    return network


def test_labels_land_where_the_picture_has_them(picture):
    parser = HeadParser("red", ("skin", "nose"), 128, by_red(130))
    face = face_of(picture)
    parsing = parser.parse(face, Frame.of(face))
    seen = parsing.confidence > 0
    columns = np.broadcast_to(np.arange(250), (260, 250))
    nose = parsing.labels == INDEX["nose"]
    assert seen.mean() > 0.3
    # One view pixel is about one and a half picture pixels.
    assert (nose[seen & (columns > 132)]).all()
    assert not (nose[seen & (columns < 128)]).any()


def test_a_crop_shows_what_the_frame_shows(picture):
    parser = HeadParser("red", ("skin", "nose"), 128, by_red(130))
    face, crop = face_of(picture), Crop()
    chip = parser.parse(face, crop)
    frame = parser.parse(face, Frame.of(face))
    at = transform_points(inverse(crop.matrix(face)), network._pixels(slice(0, 112), 112))
    x, y = np.round(at).astype(int).transpose(2, 0, 1)
    same = chip.labels == frame.labels[y, x]
    assert same.mean() > 0.98


def test_outside_the_view_nothing_is_claimed(picture):
    parser = HeadParser("all nose", ("skin", "nose"), 64, by_red(-1))
    face = face_of(picture)
    parsing = parser.parse(face, Frame.of(face))
    points = transform_points(head_matrix(FIVE, 64), network._pixels(slice(0, 260), 250))
    outside = ((points < -0.5) | (points > 63.5)).any(axis=-1)
    assert outside.any()
    assert (parsing.labels[outside] == INDEX["background"]).all()
    assert (parsing.confidence[outside] == 0).all()
    assert (parsing.labels[~outside] == INDEX["nose"]).all()


def test_beyond_the_pictures_edge_is_background_for_certain(picture):
    five = FIVE - [100, 90]
    parser = HeadParser("all nose", ("skin", "nose"), 64, by_red(-1))
    face, crop = face_of(picture, five), Crop()
    parsing = parser.parse(face, crop)
    corner = inverse(crop.matrix(face))[:, 2]
    assert (corner < -1).all(), "the chip's corner lies outside the picture"
    assert parsing.labels[0, 0] == INDEX["background"]
    assert parsing.confidence[0, 0] == 1


def test_blocks_change_nothing(picture, monkeypatch):
    parser = HeadParser("red", ("skin", "nose"), 64, by_red(130))
    face = face_of(picture)
    whole = parser.parse(face, Frame.of(face))
    monkeypatch.setattr(network, "_MAX_PIXELS", 1000)
    blocks = parser.parse(face, Frame.of(face))
    assert (whole.labels == blocks.labels).all()
    assert (whole.confidence == blocks.confidence).all()


def test_confidence_is_the_softmax():
    picture = np.full((260, 250, 3), 140, dtype=np.uint8)

    def network(pictures):
        scores = torch.tensor([0.0, 1.5])[None, :, None, None]
        return scores.expand(1, 2, 32, 32)

    face = face_of(picture)
    parsing = HeadParser("sure", ("skin", "nose"), 64, network).parse(face, Crop())
    assert parsing.confidence.dtype == np.float32
    np.testing.assert_allclose(parsing.confidence, 1 / (1 + np.exp(-1.5)), rtol=1e-5)


def test_fine_scores_are_averaged_before_they_are_thinned_out():
    """Stripes finer than a crop's pixels must not show as stripes."""
    picture = np.full((260, 250, 3), 140, dtype=np.uint8)

    def network(pictures):
        stripes = torch.zeros(1, 2, 512, 512)
        stripes[:, 0, :, ::2] = 2
        stripes[:, 1, :, 1::2] = 8
        return stripes

    face = face_of(picture)
    parsing = HeadParser("stripes", ("skin", "nose"), 512, network).parse(face, Crop(size=(56, 56)))
    assert (parsing.labels == INDEX["nose"]).all()


def test_inverse_undoes():
    matrix = head_matrix(FIVE, 192)
    points = np.array([[3.0, 4], [100, 7]])
    np.testing.assert_allclose(
        transform_points(inverse(matrix), transform_points(matrix, points)), points
    )


def test_head_matrix_puts_the_template_on_itself():
    five = network._FIVE_POINTS * 200 - 0.5
    np.testing.assert_allclose(head_matrix(five, 200), np.eye(2, 3), atol=1e-9)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))
    for parser in ("BISENET", "FACER", "MEDIAPIPE"):
        monkeypatch.delenv(f"LEAM_{parser}", raising=False)
    return tmp_path / "cache"


def test_the_public_file_is_fetched_once_and_checked_each_time(cache):
    with serving() as server:
        path = weights_of("facer", server.url, SHA)
        url = server.url
    assert path == cache / "facer" / "model.bin"
    assert path.read_bytes() == DATA
    assert weights_of("facer", url, SHA) == path
    path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=rf"facer: .*model\.bin has sha256 \w+, not {SHA}"):
        weights_of("facer", url, SHA)


def test_a_named_file_comes_first(tmp_path, monkeypatch, caplog):
    (tmp_path / "mine.pt").write_bytes(b"mine")
    monkeypatch.setenv("LEAM_FACER", str(tmp_path / "mine.pt"))
    assert weights_of("facer", "http://127.0.0.1:1/model.bin", SHA) == tmp_path / "mine.pt"
    assert caplog.messages == ["parser facer: no checksum of what LEAM_FACER names"]


def test_weights_without_a_published_checksum_are_named(monkeypatch):
    monkeypatch.delenv("LEAM_SEGFORMER", raising=False)
    assert unchecked_weights("facer") == ()
    assert "of the first use" in unchecked_weights("segformer")[0]
    monkeypatch.setenv("LEAM_SEGFORMER", "folder")
    assert unchecked_weights("segformer") == (
        "parser segformer: no checksum of what LEAM_SEGFORMER names",
    )


@pytest.mark.parametrize("parser", ["bisenet", "facer", "mediapipe"])
def test_offline_says_which_file_to_put_where_or_which_variable_to_set(parser, cache, monkeypatch):
    if parser == "mediapipe":
        pytest.importorskip("mediapipe")
    module = importlib.import_module(f"leam.parsers.builtin.{parser}")
    monkeypatch.setattr(module, "_URL", "http://127.0.0.1:1/released.bin")
    with pytest.raises(WeightsError) as raised:
        load_parser(parser)
    message = str(raised.value)
    assert message.startswith(f"{parser}: http://127.0.0.1:1/released.bin: cannot be reached")
    assert message.endswith(
        f"put it at {cache / parser / 'released.bin'}; or set LEAM_{parser.upper()} to a file of your own"
    )
