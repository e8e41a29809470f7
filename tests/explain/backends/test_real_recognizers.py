"""With every available recognizer and real pictures, the fused backend gives the maps of the plain definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leam.explain.backends._operations import LEAST_FACES
from leam.explain.explainer import Explainer
from leam.recognizers.catalogue import load_recognizer
from plain import assert_same, plain

pytestmark = pytest.mark.slow

CARDS = Path(__file__).resolve().parents[3] / "examples" / "cards"
NAMES = ["dlib_resnet", *sorted(map(str, CARDS.glob("*.toml")))]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("threads", [1, 2], ids=["one thread", "two"], indirect=True)
@pytest.mark.parametrize("name", NAMES, ids=lambda name: Path(name).stem)
def test_fused_maps_are_those_of_the_plain_definition(assets, name):
    recognizer = load_recognizer(name)
    height, width = recognizer.card.input_size
    pictures = sorted((assets / "lfw" / "people").glob("*/*.jpg"))[:LEAST_FACES]
    # The middle of such a picture is a face.
    cut = [
        Image.open(p).convert("RGB").crop((70, 70, 180, 180)).resize((width, height))
        for p in pictures
    ]
    chips = torch.from_numpy(np.stack([np.asarray(picture) for picture in cut]))
    explainer = Explainer(recognizer)
    maps = explainer.explain(chips)
    assert maps.backend == "fused"
    assert_same(maps, plain(explainer, chips))
