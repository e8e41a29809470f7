"""Cards: what they accept, and how they name what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ('channels = "GBR"', "channels: Input should be 'RGB', 'BGR' or 'GRAY'"),
        ('channels = "GRAY"\nmean = [0, 0, 0]', "mean: expected one value"),
        ("mean = [0, 0]", "mean: expected one value, or one for each of three"),
        ("output = true", "output.str: Input should be a valid string"),
        ("std = [1, 0, 1]", "std.1: Input should be greater than 0"),
        ("input_size = [112]", "input_size.1: Field required"),
        ("input_size = [0, 112]", "input_size.0: "),
        ('sha256 = "abc"', "sha256: String should match pattern"),
        ("embedding_size = -1", "embedding_size: "),
        ('similarity = "l2"', "similarity: "),
        ('name = "../evil"', "name: "),
        ('family = ""', "family: String should have at least 1 character"),
        ("resized_chip = 112", "resized_chip: Input should be a valid boolean"),
        ("colour = 3", "colour: Extra inputs are not permitted"),
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
