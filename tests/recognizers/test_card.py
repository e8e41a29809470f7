"""Cards: what they accept, and how they name what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import endures
from leam.errors import CardError, LeamError
from leam.recognizers.card import Card, read_card


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return read_card(path)

    return read


def test_a_card_is_a_few_lines(read):
    card = read('name = "mine"\ninput_size = [112, 96]\nwindow = [0, 8, 112, 96]\nmean = [0, 0, 0]')
    assert card.input_size == card.crop.size == (112, 96)
    assert card.crop.window == (0, 8, 112, 96)
    assert card.mean == (0, 0, 0)
    assert card.std == (127.5,)
    assert card.family is None
    assert not card.crop.resized_chip
    assert read('name = "mine"\nresized_chip = true').crop.resized_chip


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            'channels = "GBR"',
            "channels: 'GBR' is not available; did you mean RGB? expected 'RGB', 'BGR' or 'GRAY'",
        ),
        ('channels = "GRAY"\nmean = [0, 0, 0]', "mean: expected one value"),
        ("mean = [0, 0]", "mean: expected one value, or one for each of three"),
        ("output = true", "output: expected a name, or a whole number"),
        ("std = [1, 0, 1]", "std: expected one number above 0, or three, in square brackets"),
        ("input_size = [112]", "input_size: expected two whole numbers"),
        (
            "input_size = [0, 112]",
            "input_size: expected two whole numbers, height and width, each from 1",
        ),
        ('sha256 = "abc"', "sha256: String should match pattern"),
        ("embedding_size = -1", "embedding_size: "),
        ('similarity = "l2"', "similarity: "),
        ('name = "../evil"', "name: "),
        ('family = ""', "family: String should have at least 1 character"),
        ("resized_chip = 112", "resized_chip: Input should be a valid boolean"),
        ("colour = 3", "colour: no such field"),
        ("not toml", "not a readable card"),
    ],
)
def test_a_wrong_line_is_named(read, line, complaint):
    start = "" if line.startswith("name") else 'name = "mine"\n'
    with pytest.raises(CardError) as caught:
        read(start + line)
    assert "mine.toml: " + complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_card_is_said_so(tmp_path):
    with pytest.raises(CardError, match=r"none.toml: no such card"):
        read_card(tmp_path / "none.toml")


@given(st.binary(max_size=200))
def test_whatever_bytes_a_card_has_it_ends_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("card") / "card.toml"
    path.write_bytes(content)
    try:
        assert isinstance(read_card(path), Card)
    except LeamError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is right


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('template = "box"\nmargin = "big"', "margin: expected one number, or four: left, top,"),
        ("points = [[1, 2], [3, 4]]", "points: expected five points, each an x and a y"),
        ("window = [1, 2]", "window: expected four whole numbers"),
        ('channels = "RGBB"', "did you mean RGB"),
        ('tempalte = "box"', "tempalte: no such field; did you mean template"),
    ],
)
def test_a_wrong_field_is_told_with_its_form(tmp_path, line, message):
    (tmp_path / "card.toml").write_text(f'name = "m"\n{line}\n')
    with pytest.raises(CardError) as caught:
        read_card(tmp_path / "card.toml")
    assert message in str(caught.value)
    assert ".float" not in str(caught.value)


SECRET = "https://ann:Pa55word@example.org/m.onnx?token=T0ken#frag"


def test_no_output_has_the_secrets_of_an_address():
    card = Card(name="mine", url=SECRET)
    shown = "https://example.org/m.onnx?..."
    assert card.url == SECRET
    assert card.public.url == card.public.public.url == shown
    assert card.model_dump()["url"] == card.model_dump(mode="json")["url"] == shown
    assert '"url":"https://example.org/m.onnx?..."' in card.model_dump_json()
    assert Card(name="mine", url="hf://o/n/f.onnx@main").public.url == "hf://o/n/f.onnx@main"
    assert Card(name="mine").public == Card(name="mine")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"file": "m.onnx"}, ("mine: no sha256 in its card",)),
        ({"url": SECRET}, ("mine: no sha256 in its card",)),
        ({"file": "m.onnx", "sha256": "0" * 64}, ()),
        ({}, ()),
    ],
)
def test_a_file_without_a_checksum_is_named(fields, expected):
    assert Card(name="mine", **fields).unchecked == expected


@pytest.mark.parametrize(
    "text",
    [
        "options = " + "{a=" * 50_000,
        "mean = " + "[" * 100_000,
        ".".join("a" * 400_000) + " = 1",
        "[" + ".".join("a" * 400_000) + "]",
    ],
    ids=["tables", "arrays", "dots", "header"],
)
def test_a_card_that_is_deep_is_refused_at_once(read, text):
    with endures(5), pytest.raises(CardError, match="not a readable card"):
        read(text)
