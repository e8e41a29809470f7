"""Presets: named ones, and files that state settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leam.errors import InputError
from leam.study.plan import PRESETS, Settings
from leam.study.presets import preset_lines, read_preset

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples" / "presets").glob("*.toml"))


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return read_preset(str(path))

    return read


@pytest.mark.parametrize("name", PRESETS)
def test_every_named_preset_can_be_written_and_read_back(read, name):
    settings = read_preset(name)
    assert settings == Settings(**PRESETS[name])
    assert read("\n".join(preset_lines(settings))) == settings


def test_a_written_preset_states_everything_and_has_no_base():
    settings = Settings(
        probes=2,
        second_parser="compact",
        layers=('a"é', "b"),
        groups=("gender",),
        threshold=0.5,
    )
    lines = preset_lines(settings)
    assert [line.split(" = ")[0] for line in lines[1:]] == list(Settings.model_fields)
    assert 'layers = ["a\\"é", "b"]' in lines
    assert "transfer = false" in lines
    missing = set(Settings.model_fields) - {
        line.split(" = ")[0] for line in preset_lines(Settings())
    }
    assert missing == {"probes", "second_parser", "threshold"}


def test_a_file_changes_its_base(read):
    mine = read('base = "paper"\nfill = "mean"\ntop = 0.02\nlayers = ["stages"]')
    wanted = {**PRESETS["paper"], "fill": "mean", "top": 0.02, "layers": ("stages",)}
    assert mine == Settings(**wanted)
    assert read("seed = 3") == Settings(seed=3)
    assert read("") == Settings()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 3", "'colour': no such setting; available: base, target, method, weighting"),
        ('"a\\nb" = 3', r"'a\nb': no such setting"),
        ("top = 2", "top: Input should be less than or equal to 1"),
        ("top = nan", "top: "),
        ("top = true", "top: Input should be a valid number"),
        ('seed = "1"', "seed: Input should be a valid integer"),
        ('person_maps = ["best"]', "person_maps: 'best': no such person map; available: mean"),
        ("curve = [0.1, 0.1]", "curve: a value is given twice"),
        ("layers = []", "layers: "),
        (
            'target = "reference"',
            "target: 'reference' is not available; expected 'self', 'template' or 'contrast'",
        ),
        ('weighting = "best"', "weighting: 'best': no such weighting; available: "),
        ('controls = ["moved", "a\\nb"]', r"controls: 'a\nb': no such control; available: "),
        ('second_parser = "best"', "second_parser: 'best': no such parser; available: "),
        ('base = "best"', "base: no such preset; available: quick, paper"),
        ("base = []", "base: no such preset"),
        ("top = ", "not a readable preset"),
    ],
)
def test_a_wrong_line_is_named_with_its_file(read, text, complaint):
    with pytest.raises(InputError) as caught:
        read(text)
    assert "mine.toml: " + complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: not a readable preset"):
        read_preset(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match=r"--preset best: no such preset"):
        read_preset("best")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.toml")
        with pytest.raises(InputError, match=r"a pipe or a device, not a file"):
            read_preset(str(tmp_path / "pipe.toml"))


@given(st.binary(max_size=200))
def test_whatever_bytes_a_preset_has_it_ends_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("preset") / "mine.toml"
    path.write_bytes(content)
    try:
        assert isinstance(read_preset(str(path)), Settings)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is right


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid(path):
    assert read_preset(str(path)) != Settings()


def test_v0_takes_activations_before_normalisations():
    old = read_preset("v0")
    assert old.layers == ("raw_convolutions",)
    assert (old.weighting, old.aggregate, old.fill) == ("positive", "sizes", "black")
