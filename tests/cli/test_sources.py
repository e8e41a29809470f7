"""What help reads from source code is what the modules contain."""

import importlib
import re
from pathlib import Path

import pytest

import leam.cli
from leam.cli.sources import stated

TEXTS = [path.read_text("utf-8") for path in Path(leam.cli.__file__).parent.glob("*.py")]
PLACES = sorted({place for text in TEXTS for place in re.findall(r"\{(leam[\w.]*):(\w+)\}", text)})


@pytest.mark.parametrize(("module", "name"), PLACES)
def test_what_the_source_states_is_what_is_imported(module, name):
    found = getattr(importlib.import_module(module), name)
    text = stated(module, name)
    if (module, name) == ("leam.faces.detectors", "DETECTORS"):
        assert text is None
    elif isinstance(found, str):
        assert text == found
    else:
        assert sorted(text.split(", ")) == sorted(found)


def test_there_are_such_texts():
    assert ("leam.explain.methods", "METHODS") in PLACES
