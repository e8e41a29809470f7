"""The catalogue: built-in cards, a user's cards, choosing among them, and where their weights are."""

import hashlib
from pathlib import Path

import pytest

from leam.errors import CardError, WeightsError
from leam.progress import silent
from leam.recognizers import catalogue
from leam.recognizers.card import Card
from leam.recognizers.catalogue import builtin_cards, choose, find, locate, read_catalogue
from leam.weights.fetching import cached_path

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


def test_built_in_cards_can_be_had_or_say_from_where():
    for name, card in builtin_cards().items():
        assert card.name == name
        assert card.license
        assert card.file or card.url.startswith("https://")
        assert card.sha256 or name in {
            "facenet_casia",
            "edgeface_s_gamma_05",
            "edgeface_xs_gamma_06",
        }


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
    with pytest.raises(WeightsError, match=r"mine: the card names no file"):
        locate(card())


def test_a_file_put_into_the_cache_by_hand_is_used_and_checked(tmp_path):
    path = cached_path("mine", URL)
    assert path == tmp_path / "cache" / "mine" / "net v1.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert locate(card(url=URL, sha256=SHA)) == path


def test_a_missing_file_is_fetched_into_the_cache(monkeypatch):
    def fetch(url, target, sha256, progress):
        assert (url, sha256, progress) == (URL, SHA, silent)
        target.parent.mkdir(parents=True)
        target.write_bytes(DATA)

    monkeypatch.setattr(catalogue, "fetch", fetch)
    assert locate(card(file="beside.onnx", url=URL, sha256=SHA)).read_bytes() == DATA
