"""The catalogue: built-in cards, a user's cards, choosing among them, and where their weights are."""

import hashlib
from pathlib import Path

import pytest

from leam.errors import CardError, WeightsError
from leam.faces.alignment import Crop
from leam.progress import silent
from leam.recognizers import catalogue
from leam.recognizers.card import Card, read_card
from leam.recognizers.catalogue import (
    builtin_cards,
    choose,
    find,
    load_recognizer,
    locate,
    read_catalogue,
)
from leam.weights.fetching import cached_path
from leam.weights.hub import hub_file

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "cards"
DATA = b"weights"
SHA = hashlib.sha256(DATA).hexdigest()
URL = "https://example.org/models/net%20v1.onnx?download=true"


def write(folder, name, **fields):
    lines = [
        f'{key} = "{value}"'
        for key, value in {"name": name, "architecture": "onnx", **fields}.items()
    ]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))


# Cards whose checksum is not publicly known from two sources.
WITHOUT_SHA256 = {
    "cvlface_adaface_ir18_webface4m",
    "deepface_arcface",
    "deepface_facenet128",
    "deepface_facenet512",
    "deepface_openface",
    "deepface_vggface",
    "edgeface_s_gamma_05",
    "edgeface_xs_gamma_06",
    "facenet_casia",
    "ghostfacenet_v1",
}


def test_built_in_cards_can_be_had_or_say_from_where():
    for name, card in builtin_cards().items():
        assert card.name == name
        assert card.license
        assert card.source
        assert card.family
        assert card.embedding_size
        assert card.file or card.url.startswith("https://") or hub_file(card.url).is_pinned
        assert bool(card.sha256) == (name not in WITHOUT_SHA256)


def test_the_page_has_every_built_in_card_and_says_that_it_was_not_run():
    """``dlib_resnet`` is the only one whose weights could be had."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "recognizers.md").read_text()
    table = page.partition("## Eleven measured recognizers")[0].splitlines()
    rows = {line.split("|")[1].strip(" `"): line for line in table if "|" in line}
    for name, card in builtin_cards().items():
        assert name in rows
        if name != "dlib_resnet":
            assert "not run" in rows[name]
        assert ("yes" if card.sha256 else "no") in [cell.strip() for cell in rows[name].split("|")]


def test_facenets_crop_is_its_authors():
    """MTCNN's box, which has 0.9084 times the width of dlib's square and 1.2119 times the height, and is centred 0.0853
    sides higher (medians of 281 pictures of LFW), with facenet-pytorch's margin of 14 pixels of 160."""
    for name in ("facenet_vggface2", "facenet_casia"):
        card = builtin_cards()[name]
        assert card.template == "box"
        left, top, right, bottom = card.crop.margin
        enlarged = 1 + 14 / (160 - 14)
        assert 1 + left + right == pytest.approx(0.9084 * enlarged, abs=2e-3)
        assert 1 + top + bottom == pytest.approx(1.2119 * enlarged, abs=2e-3)
        assert (bottom - top) / 2 == pytest.approx(-0.0853, abs=2e-3)


def test_a_card_describes_its_crop(tmp_path):
    fields = 'name = "mine"\ntemplate = "box"\ninput_size = [160, 160]\n'
    (tmp_path / "mine.toml").write_text(fields + "margin = 0.2\nsquare = true")
    crop = read_card(tmp_path / "mine.toml").crop
    assert crop == Crop((160, 160), "box", margin=(0.1,) * 4, square=True)
    (tmp_path / "mine.toml").write_text(fields + "margin = [0, 0.1, 0.2, 0.3]")
    assert read_card(tmp_path / "mine.toml").crop.margin == (0, 0.1, 0.2, 0.3)
    points = "[[30, 50], [66, 50], [48, 70], [34, 90], [62, 90]]"
    (tmp_path / "mine.toml").write_text(f'name = "mine"\npoints = {points}')
    assert read_card(tmp_path / "mine.toml").crop.points[2] == (48, 70)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"margin": 0.1}, "only for template"),
        ({"square": True}, "only for template"),
        ({"template": "box", "window": (0, 0, 9, 9)}, "window: boxes and points have no chip"),
        ({"template": "box", "resized_chip": True}, "resized_chip: boxes and points have no chip"),
        ({"points": ((1, 2),) * 5, "template": "dlib"}, "points: replaces the template"),
        ({"points": ((1, 2),) * 4}, "points"),
    ],
)
def test_contradictions_about_the_crop_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Card(name="mine", **fields)


def test_all_means_those_whose_weights_are_at_hand(tmp_path):
    write(tmp_path, "here", file="here.onnx")
    write(tmp_path, "away", file="away.onnx")
    (tmp_path / "here.onnx").write_bytes(b"")
    entries = read_catalogue(folders=[tmp_path])
    assert entries["away"].weights is None
    assert [entry.card.name for entry in choose(entries, ["all"])] == ["dlib_resnet", "here"]


def test_ten_are_at_hand_with_the_assets(assets):
    assert len(choose(read_catalogue(folders=[EXAMPLES]), ["all"])) == 11


def test_names_and_card_files_are_chosen_in_order_and_once(tmp_path):
    path = write(tmp_path, "mine", file="mine.onnx")
    chosen = choose(read_catalogue(), ["sface", str(path), "sface", "dlib_resnet"])
    assert [entry.card.name for entry in chosen] == ["sface", "mine", "dlib_resnet"]
    assert chosen[1].path == path


def test_unknown_name_lists_the_available():
    with pytest.raises(
        CardError, match=r"eigenfaces: no such recognizer; available: .*dlib_resnet"
    ):
        choose(read_catalogue(), ["eigenfaces"])


def test_a_model_file_needs_a_card(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"a graph")
    for ask in (load_recognizer, lambda name: choose(read_catalogue(), [name])):
        with pytest.raises(
            CardError, match=r"mine\.onnx: a recognizer is named by its card, a \.toml"
        ):
            ask(str(path))


def test_two_cards_of_one_name_are_refused(tmp_path):
    mine = write(tmp_path, "sface", file="mine.onnx")
    with pytest.raises(
        CardError, match=r"sface.toml: the name sface is taken by the built-in card"
    ):
        read_catalogue([mine])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cards = [write(tmp_path / folder, "mine", file="x") for folder in "ab"]
    with pytest.raises(CardError, match=r"the name mine is taken by .*a.mine.toml"):
        read_catalogue(cards)
    assert read_catalogue([cards[0], cards[0]])["mine"].path == cards[0]


def test_folder_without_cards_is_said_so(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CardError, match=r"no such folder, or no .toml card in it"):
            read_catalogue(folders=[folder])


def test_wrong_card_names_its_file_and_field(tmp_path):
    write(tmp_path, "mine", channels="GBR")
    with pytest.raises(CardError, match=r"mine.toml: channels: "):
        read_catalogue(folders=[tmp_path])


def card(**fields):
    return Card(name="mine", **fields)


def test_a_relative_file_lies_beside_the_card(tmp_path):
    (tmp_path / "net.onnx").write_bytes(DATA)
    assert locate(card(file="net.onnx", sha256=SHA), tmp_path) == tmp_path / "net.onnx"


def test_another_file_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"something else")
    with pytest.raises(
        WeightsError, match=rf"mine: .*net.onnx has sha256 \w+, not the card's {SHA}"
    ):
        locate(card(file="net.onnx", sha256=SHA), tmp_path)


def test_assets_folder_is_named_by_a_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("LEAM_ASSETS", raising=False)
    wanted = card(file="$LEAM_ASSETS/zoo/net.onnx")
    assert find(wanted) is None
    with pytest.raises(
        WeightsError, match=r"set LEAM_ASSETS to the folder that holds zoo/net.onnx"
    ):
        locate(wanted)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "net.onnx").write_bytes(DATA)
    monkeypatch.setenv("LEAM_ASSETS", str(tmp_path))
    assert locate(wanted) == tmp_path / "zoo" / "net.onnx"


def test_file_inside_a_package_is_found_without_importing_it():
    wanted = card(file="package:face_recognition_models/models/mmod_human_face_detector.dat")
    assert locate(wanted).name == "mmod_human_face_detector.dat"


@pytest.mark.parametrize("package", ["no_such_package", "antigravity.weights"])
def test_missing_package_says_how_to_get_it(package):
    with pytest.raises(
        WeightsError, match=rf"package {package} is not installed; `pip install {package}`"
    ):
        locate(card(file=f"package:{package}/net.onnx"))


def test_missing_file_and_missing_name_are_said_so(tmp_path):
    with pytest.raises(WeightsError, match=r"mine: .*net.onnx does not exist"):
        locate(card(file="net.onnx"), tmp_path)
    with pytest.raises(WeightsError, match=r"mine: .*xxx does not exist"):
        locate(card(file="x" * 5000), tmp_path)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.onnx").touch()
    with pytest.raises(WeightsError, match=r"mine: .*net is a folder; name the .* such as a.onnx"):
        locate(card(file="net"), tmp_path)
    with pytest.raises(WeightsError, match=r"mine: the card names no file"):
        locate(card())


def test_a_file_put_into_the_cache_by_hand_is_used_and_checked(tmp_path):
    path = cached_path("mine", URL)
    assert path == tmp_path / "cache" / "mine" / "net v1.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert locate(card(url=URL, sha256=SHA)) == path


def test_a_missing_file_is_fetched_into_the_cache(monkeypatch):
    def fetch(url, target, sha256, progress, **_):
        assert (url, sha256, progress) == (URL, SHA, silent)
        target.parent.mkdir(parents=True)
        target.write_bytes(DATA)

    monkeypatch.setattr(catalogue, "fetch", fetch)
    assert locate(card(file="beside.onnx", url=URL, sha256=SHA)).read_bytes() == DATA


def test_a_model_without_a_checksum_is_named_with_the_one_it_has(caplog):
    card = builtin_cards()["dlib_resnet"]
    load_recognizer(card)
    assert not caplog.messages
    load_recognizer(card.model_copy(update={"sha256": None}))
    assert (
        "dlib_resnet: no sha256 in its card, so a changed file would not be noticed" in caplog.text
    )
    assert f'this one has sha256 = "{card.sha256}"' in caplog.text


@pytest.mark.parametrize("off", [-1, 1])
def test_a_file_of_another_size_than_the_card_says_is_refused(off):
    card = builtin_cards()["dlib_resnet"]
    size = find(card).stat().st_size
    load_recognizer(card.model_copy(update={"bytes": size}))
    with pytest.raises(WeightsError, match=f"has {size} bytes, not the card's {size + off}"):
        load_recognizer(card.model_copy(update={"bytes": size + off}))
