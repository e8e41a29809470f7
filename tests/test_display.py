"""Cards in notebooks hold what they are given, escaped."""

from leam.display import card


def test_a_card_has_facts_rows_and_pictures():
    html = card(
        "A <title>",
        {"input": "112x112", "licence": None},
        header=("layer", "size"),
        rows=[("conv&1", 3)],
        pictures={"a map": b"png"},
    )
    assert "A &lt;title&gt;" in html
    assert ">input</th>" in html
    assert "licence" not in html
    assert ">layer</th>" in html
    assert ">conv&amp;1</th>" in html
    assert ">3</td>" in html
    assert 'alt="a map" src="data:image/png;base64,cG5n"' in html


def test_a_card_without_facts_has_no_table():
    assert "<table" not in card("title")
