"""Single explanations: what is saved, and that it is true however one tries to make it lie."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import stat

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file

import leam
from leam.errors import InputError, LeamWarning, ModelError
from leam.explain.doubts import way_out
from leam.explain.explainer import Explainer
from leam.explain.explanation import (
    Explanation,
    ExplanationRecord,
    explain_faces,
    explain_pair,
    target_in_words,
)
from leam.faces.detection import find_face
from leam.figures import figure_bytes
from leam.parsers import load_parser
from leam.parsers.builtin.compact import WEIGHTS, read_compact
from leam.parsers.regions import REGIONS
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from leam.version import installed_versions
from tiny import TinyNet, wrap

SIDE = 32


def tiny(**fields) -> Recognizer:
    torch.manual_seed(0)
    return wrap(TinyNet(SIDE), SIDE, **fields)


@pytest.fixture(scope="module")
def parser():
    return load_parser()


@pytest.fixture
def face(portrait, detector, tmp_path):
    path = tmp_path / "ada.png"
    path.write_bytes(portrait.read_bytes())
    return find_face(path, detector)


def explain(face, parser, recognizer=None, **options) -> Explanation:
    return explain_faces([face], Explainer(recognizer or tiny()), parser, **options)[0]


def saved(explanation, folder) -> dict:
    explanation.save(folder)
    return json.loads((folder / "explanation.json").read_text("utf-8"))


def test_everything_that_made_it_is_saved(face, parser, detector, tmp_path):
    recognizer = tiny(threshold=0.4, channels="BGR")
    explainer = Explainer(
        recognizer, layers=["conv2"], weighting="magnitude", aggregate="max", backend="plain"
    )
    mate = find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)
    (explanation,) = explain_faces([face], explainer, parser, references=[mate], top=0.05)
    record = saved(explanation, tmp_path / "out")
    assert record["versions"] == installed_versions()
    assert "numba" not in record["versions"]
    expected = {
        "schema_version": 1,
        "image": str(face.path),
        "image_sha256": hashlib.sha256(face.path.read_bytes()).hexdigest(),
        "reference": None,
        "reference_sha256": hashlib.sha256(mate.picture.tobytes()).hexdigest(),
        "face": {
            "box": list(face.box),
            "matrix": recognizer.crop.matrix(face).tolist(),
            "found": 1,
            "detector": "dlib",
            "turned": 0,
        },
        "model": "tiny",
        "sha256": recognizer.sha256,
        "device": "cpu",
        "precision": "float32",
        "input": {
            "input_size": [SIDE, SIDE],
            "template": "arcface",
            "window": None,
            "resized_chip": False,
            "margin": 0.0,
            "square": False,
            "points": None,
            "channels": "BGR",
            "mean": [127.5],
            "std": [127.5],
        },
        "similarity_kind": "cosine",
        "threshold": 0.4,
        "target": "reference",
        "score": record["similarity"],
        "decision": record["decision"],
        "difference": None,
        "template": None,
        "impostors": None,
        "method": "leam",
        "calls": None,
        "weighting": "magnitude",
        "aggregate": "max",
        "backend": "plain",
        "top": 0.05,
        "critical_pixels": round(0.05 * SIDE**2),
        "parser": "landmarks",
        "parser_sha256": None,
        "layers": [
            {"name": "conv2", "place": "conv2", "channels": 5, "size": [16, 16], "empty": False}
        ],
        "notes": ["this method maps magnitudes: it does not tell what makes the faces different"],
    }
    assert {name: record[name] for name in expected} == expected
    assert ExplanationRecord.model_validate(record) == explanation.record()


def test_the_similarity_is_that_of_the_two_faces(face, parser, detector):
    recognizer = tiny()
    mate = find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)
    explanation = explain(face, parser, recognizer, references=[mate])
    chips = np.stack([recognizer.crop.align(one).image for one in (face, mate)])
    first, second = recognizer.embed(chips)
    assert explanation.similarity == pytest.approx(float(recognizer.similarity(first, second)))


def test_regions_are_sorted_by_share_and_add_up(face, parser):
    regions = explain(face, parser).regions
    assert list(regions) == sorted(regions, key=lambda name: -regions[name].share)
    for part in ("share", "mass", "area"):
        assert sum(getattr(row, part) for row in regions.values()) == pytest.approx(1, abs=1e-5)


def test_arrays_and_pictures_are_those_of_the_explanation(face, parser, tmp_path):
    explanation = explain(face, parser)
    explanation.save(tmp_path / "new" / "folder")
    if os.name == "posix":
        modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "new").rglob("*")}
        assert modes == {path: 0o700 if path.is_dir() else 0o600 for path in modes}
    with np.load(tmp_path / "new" / "folder" / "maps.npz") as arrays:
        assert set(arrays) == {
            "overall",
            "critical",
            "regions",
            "face",
            "layer/conv1",
            "layer/conv2",
        }
        np.testing.assert_array_equal(arrays["overall"], explanation.maps.overall[0])
        np.testing.assert_array_equal(arrays["layer/conv2"], explanation.maps.layer_maps[1][0])
        np.testing.assert_array_equal(arrays["critical"], explanation.critical)
        np.testing.assert_array_equal(arrays["regions"], explanation.parsing.regions)
        np.testing.assert_array_equal(arrays["face"], explanation.chip.image)
    for name in ("overlay", "layers"):
        data = (tmp_path / "new" / "folder" / f"{name}.png").read_bytes()
        assert data == figure_bytes(explanation.plot(name))


def test_several_faces_give_what_each_gives_alone(face, parser, detector, portrait):
    other = find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)
    explainer = Explainer(tiny(), backend="plain")
    both = explain_faces([face, other], explainer, parser)
    for one, together in zip((face, other), both, strict=True):
        (alone,) = explain_faces([one], explainer, parser)
        torch.testing.assert_close(alone.maps.overall, together.maps.overall)
        assert alone.provenance == together.provenance
        np.testing.assert_allclose(alone.share, together.share)


def test_empty_layers_several_faces_and_tokens_are_noted(face, parser):
    explanation = explain(dataclasses.replace(face, found=3), parser)
    empty = explanation.maps.empty.clone()
    empty[1] = True
    silent = dataclasses.replace(
        explanation, maps=dataclasses.replace(explanation.maps, empty=empty)
    )
    assert silent.notes == [
        f"one of 3 faces in the picture: the one at {face.box[0]:.0f}, {face.box[1]:.0f} (upper left corner)",
        "no support found in 1 of 2 layers: conv2" + way_out("signed") + " (leam.Explainer(..., "
        "weighting=...) for leam.explain_faces; --weighting of `leam explain`)",
    ]
    assert [layer.empty for layer in silent.record().layers] == [False, True]


def test_a_face_without_any_map_is_refused(face, parser):
    recognizer = tiny()
    torch.nn.init.zeros_(recognizer.module.fc.weight)
    torch.nn.init.zeros_(recognizer.module.fc.bias)
    cause = "its embedding is zero; check the card"
    with (
        pytest.warns(LeamWarning, match=cause),
        pytest.raises(ModelError, match=f"ada.png: {cause}"),
    ):
        explain(face, parser, recognizer)


def test_a_face_whose_layers_have_no_map_names_them_and_another_weighting(face, parser):
    recognizer = tiny()
    torch.nn.init.zeros_(recognizer.module.fc.weight)
    cause = r"every layer's map is zero or not finite \(conv1, conv2\); if a .* such as absolute"
    where = (
        r" \(leam.Explainer\(..., weighting=...\) for leam.explain_faces; --weighting of `leam expl"
    )
    with pytest.warns(LeamWarning, match=cause), pytest.raises(ModelError, match=cause + where):
        explain(face, parser, recognizer)


@pytest.mark.parametrize("top", [0, 1.5])
def test_a_fraction_that_is_none_is_refused(face, parser, top):
    with pytest.raises(InputError, match="must be above 0 and at most 1"):
        explain(face, parser, top=top)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_reference_for_each_face_is_needed(face, parser, count):
    message = f"^{count} references for 2 faces; give one for each face$"
    with pytest.raises(InputError, match=message):
        explain_faces([face, face], Explainer(tiny()), parser, references=[face] * count)


@pytest.mark.parametrize("references", [None, []])
def test_faces_are_needed(parser, references):
    with pytest.raises(InputError, match=r"^no faces to explain; give at least one$"):
        explain_faces([], Explainer(tiny()), parser, references=references)


# What follows tries to lie.


def test_saving_takes_a_folder_and_nothing_that_could_contradict_the_explanation():
    parameters = ["self", "folder", "formats"]
    assert list(inspect.signature(leam.Explanation.save).parameters) == parameters
    assert list(inspect.signature(leam.Explanation.record).parameters) == ["self"]


def test_a_card_cannot_claim_the_weights_of_a_module_in_memory(face, parser, tmp_path):
    claimed = hashlib.sha256(b"the published weights").hexdigest()
    explanation = explain(face, parser, tiny(sha256=claimed))
    assert claimed not in json.dumps(saved(explanation, tmp_path))
    assert explanation.provenance.sha256 == tiny().sha256


def test_a_module_changed_after_loading_is_not_reported_as_the_file(face, parser, dlib_resnet):
    recognizer = leam.load_recognizer("dlib_resnet")
    assert explain(face, parser, recognizer).provenance.sha256 == recognizer.card.sha256
    explainer = Explainer(recognizer)
    recognizer.module.fc.weight.data.mul_(-1)
    (changed,) = explain_faces([face], explainer, parser)
    assert changed.provenance.sha256 not in {recognizer.card.sha256, dlib_resnet.sha256}


def test_weights_changed_after_explaining_do_not_change_the_record(face, parser, tmp_path):
    recognizer = tiny()
    before = recognizer.sha256
    explanation = explain(face, parser, recognizer)
    recognizer.module.fc.weight.data.zero_()
    assert saved(explanation, tmp_path)["sha256"] == before != recognizer.sha256


def test_the_hash_is_of_the_bytes_read_not_of_what_is_there_later(face, parser, tmp_path):
    read = hashlib.sha256(face.path.read_bytes()).hexdigest()
    Image.new("RGB", (64, 64)).save(face.path)
    assert saved(explain(face, parser), tmp_path / "out")["image_sha256"] == read


def test_a_changed_picture_is_not_reported_as_the_file(face, parser, tmp_path):
    blurred = dataclasses.replace(face, picture=face.picture // 2)
    record = saved(explain(blurred, parser), tmp_path)
    assert record["image"] is None
    assert record["image_sha256"] == hashlib.sha256(blurred.picture.tobytes()).hexdigest()


def test_moved_landmarks_are_recorded(face, parser, tmp_path):
    moved = dataclasses.replace(face, five_points=face.five_points + np.array([9.0, -4.0]))
    first, second = (saved(explain(f, parser), tmp_path)["face"] for f in (face, moved))
    assert first["box"] == second["box"]
    assert first["matrix"] != second["matrix"]


def test_the_backend_is_the_one_that_computed_the_maps(face, parser, tmp_path):
    recognizer = tiny()
    explainer = Explainer(recognizer)
    module = recognizer.module
    assert saved(explain_faces([face], explainer, parser)[0], tmp_path)["backend"] == "fused"
    # The network now leaves out an activation that was fused with its convolution.
    module.forward = lambda x: module.fc(module.relu2(module.conv2(module.conv1(x))).flatten(1))
    assert saved(explain_faces([face], explainer, parser)[0], tmp_path)["backend"] == "plain"


def test_pixels_changed_after_explaining_do_not_change_the_record(face, parser, tmp_path):
    read = hashlib.sha256(face.path.read_bytes()).hexdigest()
    explanation = explain(face, parser)
    face.picture[:] = 0
    record = saved(explanation, tmp_path)
    assert (record["image"], record["image_sha256"]) == (str(face.path), read)


def test_another_file_for_a_parser_is_recorded(face, tmp_path):
    other = tmp_path / "other.safetensors"
    with safe_open(WEIGHTS, framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) * 2 for name in stored.keys()}  # noqa: SIM118
        save_file(tensors, other, stored.metadata())
    for path in (WEIGHTS, other):
        made = explain(face, read_compact(path)).provenance
        assert made.parser == "compact"
        assert made.parser_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_settings_cannot_be_changed_after_the_explainer_was_made():
    explainer = Explainer(tiny())
    for name in ("recognizer", "layers", "weighting", "aggregate", "backend"):
        with pytest.raises(AttributeError, match="create another"):
            setattr(explainer, name, "other")


def test_nothing_of_the_record_can_be_overwritten(face, parser):
    explanation = explain(face, parser)
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.provenance = None
    with pytest.raises(ValidationError, match="frozen"):
        explanation.provenance.parser = "bisenet"
    with pytest.raises(ValidationError, match="frozen"):
        explanation.record().top = 0.5


def test_the_card_of_a_recognizer_cannot_be_exchanged():
    recognizer = tiny()
    with pytest.raises(AttributeError):
        recognizer.card = Card(name="another")


def test_a_record_of_another_version_is_refused(face, parser, tmp_path):
    record = saved(explain(face, parser), tmp_path)
    with pytest.raises(ValidationError, match="schema_version"):
        ExplanationRecord.model_validate({**record, "schema_version": 2})


def test_every_field_is_documented():
    for name, field in ExplanationRecord.model_fields.items():
        assert field.description, name


def test_the_regions_have_the_parsers_names(face, parser):
    assert set(explain(face, parser).regions) <= set(REGIONS)


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_figures_say_what_they_show(face, parser):
    explanation = explain(face, parser)
    shown = texts(explanation.plot())
    for said in ("ada.png · tiny", "2 layers", "top 1 % of the map", "times the mean of the map"):
        assert said in shown, said
    layers = texts(explanation.plot("layers"))
    for said in ("1 conv1", "4 x 32x32", "2 conv2", "overall", "one scale for all maps"):
        assert said in layers, said
    with pytest.raises(InputError, match=r"face: no such figure; available: overlay, layers"):
        explanation.plot("face")


def test_figures_are_written_in_the_formats_that_are_asked_for(face, parser, tmp_path):
    explanation = explain(face, parser)
    explanation.save(tmp_path / "out", ["pdf", "svg"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "explanation.json", "maps.npz",
        "layers.pdf", "layers.svg", "overlay.pdf", "overlay.svg",
    }  # fmt: skip
    assert ">ada.png · tiny</text>" in (tmp_path / "out" / "overlay.svg").read_text("utf-8")
    with pytest.raises(
        InputError, match=r"^gif: not a format of figures; available: png, svg, pdf$"
    ):
        explanation.save(tmp_path / "new", ["gif"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "threshold", "said"),
    [
        ("cosine", 2.0, "is below the threshold 2.000: different people"),
        ("cosine", -1.0, "reaches the threshold -1.000: same person"),
        ("cosine", None, "no decision, since the recognizer's card states no threshold"),
        ("euclidean", -1e9, "is within the threshold 1000000000.000: same person"),
        ("euclidean", 0.0, "is above the threshold 0.000: different people"),
    ],
)
def test_a_pair_shows_both_faces_and_the_decision_in_words(
    face, parser, detector, kind, threshold, said
):
    recognizer = tiny(similarity=kind, threshold=threshold)
    mate = find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)
    one, two = explain_pair(face, mate, Explainer(recognizer), parser)
    assert one.similarity == pytest.approx(two.similarity)
    assert (one.mate.face, two.mate.face) == (mate, face)
    assert said in one.verdict
    noun, other = ("distance", "similarity") if kind == "euclidean" else ("similarity", "distance")
    assert one.verdict.startswith(f"{noun} {abs(one.similarity):.3f}")
    shown = texts(one.plot())
    assert one.verdict in shown
    assert shown.count("what makes them alike") == shown.count("what makes them different") == 2
    assert ("threshold from the card of tiny" in shown) == (threshold is not None)
    for text in (repr(one), shown):
        assert noun in text
        assert other not in text
    assert "see this face's own explanation" in texts(dataclasses.replace(one, mate=None).plot())


def test_targets_are_said_with_their_values():
    assert target_in_words("self", 3.0, "cosine") == "the embedding"
    assert target_in_words("template", 0.5, "cosine") == "template, similarity 0.500"
    assert target_in_words("template", -0.5, "euclidean") == "template, distance 0.500"
    assert target_in_words("contrast", -0.5, "euclidean") == "contrast, -0.500"


def test_everything_shows_itself_in_a_line(face, parser, detector):
    explanation = explain(face, parser)
    mate = find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)
    largest = next(iter(explanation.regions))
    assert repr(explanation).startswith(f"Explanation(ada.png · tiny: critical pixels: {largest} ")
    pair = explain_pair(face, mate, Explainer(tiny()), parser)
    values = (face, explanation, *pair, explanation.maps, explanation.chip, explanation.parsing)
    for value in values:
        assert len(repr(value)) < 200
        assert "object at" not in repr(value)
        assert "\n" not in repr(value)
    assert len(repr(pair)) < 500
    assert repr(face).startswith("Face('ada.png', 512x512 pixels, box (")


def test_a_notebook_shows_the_figure_and_the_regions(face, parser, tmp_path):
    html = explain(face, parser)._repr_html_()
    assert html.count("<img ") == 1
    assert "data:image/png;base64," in html
    assert "<td" in html
    odd = dataclasses.replace(face.file, path=tmp_path / "<b>ada.png")
    shown = explain(dataclasses.replace(face, file=odd), parser)._repr_html_()
    assert "&lt;b&gt;ada" in shown
    assert "<b>" not in shown


def test_regions_become_a_frame(face, parser, detector):
    explanation = explain(face, parser)
    frame = explanation.to_frame()
    assert frame.columns == ["image", "model", "region", "share", "mass", "area"]
    assert frame["region"].to_list() == list(explanation.regions)
    assert frame["share"].sum() == pytest.approx(1, abs=1e-5)
    mate = find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)
    one, _ = explain_pair(face, mate, Explainer(tiny()), parser)
    assert one.to_frame().columns[-2:] == ["difference_share", "difference_mass"]
    assert one.to_frame()["difference_share"].sum() == pytest.approx(1, abs=1e-5)
    magnitudes = Explainer(tiny(), weighting="magnitude")
    one, _ = explain_pair(face, mate, magnitudes, parser)
    assert one.to_frame()["difference_share"].null_count() == len(one.regions)
