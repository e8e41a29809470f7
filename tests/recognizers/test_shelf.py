"""The shelf: built-in cards, a user's cards, and choosing among them."""

from pathlib import Path

import pytest

from leam.errors import CardError
from leam.recognizers.catalogue import builtin_cards, choose, read_shelf

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "cards"


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
    shelf = read_shelf(folders=[tmp_path])
    assert shelf["away"].weights is None
    assert [shelved.card.name for shelved in choose(shelf, ["all"])] == ["dlib_resnet", "here"]


def test_ten_are_at_hand_with_the_assets(assets):
    assert len(choose(read_shelf(folders=[EXAMPLES]), ["all"])) == 10


def test_names_and_card_files_are_chosen_in_order_and_once(tmp_path):
    path = write(tmp_path, "mine", file="mine.onnx")
    chosen = choose(read_shelf(), ["sface", str(path), "sface", "dlib_resnet"])
    assert [shelved.card.name for shelved in chosen] == ["sface", "mine", "dlib_resnet"]
    assert chosen[1].path == path


def test_unknown_name_lists_the_known():
    with pytest.raises(CardError, match=r"eigenfaces: no such recognizer; known are .*dlib_resnet"):
        choose(read_shelf(), ["eigenfaces"])


def test_two_cards_of_one_name_are_refused(tmp_path):
    mine = write(tmp_path, "sface", file="mine.onnx")
    with pytest.raises(
        CardError, match=r"sface.toml: the name sface is taken by the built-in card"
    ):
        read_shelf([mine])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cards = [write(tmp_path / folder, "mine", file="x") for folder in "ab"]
    with pytest.raises(CardError, match=r"the name mine is taken by .*a.mine.toml"):
        read_shelf(cards)
    assert read_shelf([cards[0], cards[0]])["mine"].path == cards[0]


def test_folder_without_cards_is_said_so(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CardError, match=r"no such folder, or no .toml card in it"):
            read_shelf(folders=[folder])


def test_wrong_card_names_its_file_and_field(tmp_path):
    write(tmp_path, "mine", channels="GBR")
    with pytest.raises(CardError, match=r"mine.toml: channels: "):
        read_shelf(folders=[tmp_path])
