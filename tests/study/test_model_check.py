"""Checking a recognizer before it is trusted."""

import numpy as np
import pytest
from PIL import Image

from leam.errors import InputError, ModelError
from leam.study.model_check import Pair, check_model, read_pairs, verify


def test_a_check_embeds_times_and_lists(tiny):
    found = check_model(tiny)
    assert found.parameters == sum(p.numel() for p in tiny.module.parameters())
    assert found.embedding_size == 6
    assert [layer.name for layer in found.layers] == ["conv1", "conv2"]
    assert found.milliseconds > 0


def test_a_module_that_cannot_be_explained_is_refused(tiny):
    tiny.module.conv2.double()
    tiny.module.conv2.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    tiny.module.conv2.register_forward_hook(lambda _, inputs, output: output.float())
    with pytest.raises(ModelError, match=r"^tiny: parameter conv2\.weight is torch\.float64; "):
        check_model(tiny)


def test_warnings_name_what_a_card_leaves_open(tiny):
    assert [warning.partition(":")[0] for warning in tiny.card.warnings] == [
        "no sha256",
        "no licence stated",
    ]
    assert not tiny.card.model_copy(update={"sha256": "0" * 64, "license": "MIT"}).warnings


def test_pairs_are_read(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("left,right,same\na/1.jpg,a/2.jpg,1\na/1.jpg,b/1.jpg,0\n")
    assert read_pairs(path) == [Pair("a/1.jpg", "a/2.jpg", True), Pair("a/1.jpg", "b/1.jpg", False)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("left,right,same\na,b,1\na,b,yes\n", "line 3 lacks left, right, or a same of 1 or 0"),
        ("one,two\na,b\n", "line 2 lacks left"),
        ("left,right,same\n", "holds no pairs"),
        (None, "cannot be read"),
    ],
)
def test_pairs_that_are_wrong_are_named(tmp_path, text, complaint):
    path = tmp_path / "pairs.csv"
    if text:
        path.write_text(text)
    with pytest.raises(InputError, match=rf"pairs.csv: {complaint}"):
        read_pairs(path)


def test_people_are_told_apart_and_pictures_without_faces_left_out(
    assets, dlib_resnet, detector, tmp_path
):
    people = assets / "lfw" / "people"
    pairs = read_pairs(assets / "lfw" / "pairs.csv")
    chosen = [pair for pair in pairs if pair.same][:6] + [pair for pair in pairs if not pair.same][
        :6
    ]
    Image.fromarray(np.full((100, 100, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    chosen.append(Pair(chosen[0].left, str(tmp_path / "grey.png"), same=False))
    told = []

    (found,) = verify([dlib_resnet], chosen, people, detector, lambda *one: told.append(one))

    assert found.accuracy == 1
    assert found.pairs == 12
    assert list(found.exclusions) == [str(tmp_path / "grey.png")]
    assert told[-1][0] == "finding faces"
    assert told[-1][1] == told[-1][2]
    assert -0.75 < found.threshold < -0.45


def test_pairs_without_any_face_are_said_so(tiny, detector, tmp_path):
    with pytest.raises(InputError, match=r"no pair has a face in both pictures"):
        verify([tiny], [Pair("a.jpg", "b.jpg", same=True)], tmp_path, detector)
