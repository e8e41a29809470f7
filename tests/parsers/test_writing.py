import json
import os
import stat

import numpy as np
import pytest
from PIL import Image

from leam.demo import portraits
from leam.faces.detection import find_face
from leam.figures import figure_bytes
from leam.parsers import load_parser
from leam.parsers.drawing import parsing_figure
from leam.parsers.parsing import Frame
from leam.parsers.regions import INDEX, LABELS, REGIONS
from leam.parsers.writing import write_parsing


@pytest.fixture(scope="module")
def written(tmp_path_factory, detector):
    face = find_face(portraits()["Grace Hopper"], detector)
    folder = tmp_path_factory.mktemp("parsed") / "new"
    record = write_parsing(face, load_parser("compact"), folder)
    return face, folder, record


def test_the_label_picture_holds_label_positions_in_their_colours(written):
    face, folder, _ = written
    image = Image.open(folder / "labels.png")
    labels = np.asarray(image)
    assert labels.shape == face.picture.shape[:2]
    assert labels.max() < len(LABELS)
    assert (labels == INDEX["nose"]).any()
    nose = np.asarray(image.convert("RGB"))[labels == INDEX["nose"]]
    assert (nose == LABELS[INDEX["nose"]].colour).all()


@pytest.mark.skipif(os.name != "posix", reason="needs modes of files")
def test_only_the_user_can_read_a_parsing(written):
    _, folder, _ = written
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    files = dict.fromkeys(("labels.png", "overlay.png", "areas.json"), 0o600)
    assert modes == {folder.name: 0o700, **files}


def test_the_overlay_is_the_figure_of_the_parsing(written):
    face, folder, _ = written
    figure = parsing_figure(face, load_parser("compact").parse(face, Frame.of(face)), "compact")
    assert (folder / "overlay.png").read_bytes() == figure_bytes(figure)


def test_areas_are_strict_json_and_add_up(written):
    _, folder, record = written
    stored = json.loads((folder / "areas.json").read_text(), parse_constant=pytest.fail)
    assert stored["parser"] == "compact"
    assert tuple(stored["picture"]) == tuple(stored["chip"]) == REGIONS
    assert stored == record.model_dump()
    assert sum(row.area for row in record.chip.values()) == pytest.approx(1, abs=1e-4)
    assert stored["chip"]["forehead"] == {"area": 0, "confidence": None}
