"""``leam.explain``: the commonest work in one call, for pictures and aligned faces in any form."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import leam
from leam.demo import portraits
from leam.errors import FaceError, InputError, LeamError, LeamWarning, ModelError
from tiny import TinyNet, wrap

SIDE = 32


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """A small picture, in which a face is found quickly."""
    path = tmp_path_factory.mktemp("pictures") / "ada.png"
    with Image.open(portraits()["Eileen Collins"]) as opened:
        opened.convert("RGB").crop((120, 0, 340, 220)).save(path)
    return path


@pytest.fixture
def recognizer():
    torch.manual_seed(0)
    return wrap(TinyNet(SIDE), SIDE)


@pytest.fixture
def aligned(portrait, recognizer, detector):
    """Two aligned faces, ``(2, 32, 32, 3)`` uint8."""
    chip = recognizer.crop.align(leam.find_face(portrait, detector)).image
    return np.stack([chip, chip[:, ::-1]])


def test_the_package_is_a_function_beside_its_modules():
    module = importlib.import_module("leam.explain.methods")
    assert leam.explain.methods is module
    assert leam.explain is sys.modules["leam.explain"]
    assert importlib.import_module("leam").explain is leam.explain
    assert callable(leam.explain)
    assert next(iter(inspect.signature(leam.explain).parameters)) == "faces"
    assert "leam.explain" in leam.explain.__doc__
    assert "explain" in leam.__all__
    assert "explain" in dir(leam)


@pytest.mark.parametrize(
    "first",
    ["import leam", "from leam import explain", "import leam.explain", "import leam.explain.masks"],
)
def test_it_is_callable_however_it_is_imported_and_imports_nothing_slow(first):
    code = (
        f"{first}\nimport leam, sys\nassert callable(leam.explain) and leam.explain.explain\n"
        "print(*{'torch', 'cv2', 'matplotlib', 'dlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "dlib" not in done.stdout
    assert "masks" in first or done.stdout.split() == []


def test_a_picture_is_explained_by_the_defaults(portrait):
    explanation = leam.explain(portrait)
    made = explanation.provenance
    assert (made.model, made.parser, made.face.detector) == ("dlib_resnet", "landmarks", "dlib")
    assert made.image == str(portrait)
    (expected,) = leam.explain_faces(
        [explanation.face], leam.Explainer(leam.load_recognizer()), leam.load_parser()
    )
    assert explanation.record() == expected.record()


def test_pictures_in_every_form_are_explained(portrait, recognizer, detector):
    with Image.open(portrait) as opened:
        picture = opened.convert("RGB")
    array = np.asarray(picture)
    sources = [portrait, str(portrait), picture, array, torch.tensor(array)]
    face = leam.find_face(portrait, detector)
    made = leam.explain([*sources, face], recognizer, detector=detector)
    assert isinstance(made, list)
    for one in made:
        torch.testing.assert_close(one.maps.overall, made[0].maps.overall)
    assert [one.name for one in made] == [portrait.name] * 2 + ["face"] * 3 + [portrait.name]
    assert isinstance(leam.explain(face, recognizer), leam.Explanation)
    assert len(leam.explain((face,), recognizer)) == 1


def test_settings_are_used(portrait, recognizer, detector):
    options = {"method": "input-gradients", "parser": "compact", "detector": detector, "top": 0.1}
    made = leam.explain(portrait, recognizer, **options).provenance
    assert (made.model, made.method, made.parser, made.top) == (
        "tiny", "input-gradients", "compact", 0.1,
    )  # fmt: skip


def test_a_pair_is_explained_on_both_faces(portrait, recognizer, detector):
    with Image.open(portrait) as opened:
        other = opened.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    one = leam.explain(portrait, recognizer, with_=other, detector=detector)
    assert one.provenance.target == "reference"
    assert one.mate.reference is one.face
    face, mate = one.face, one.reference
    two, three = leam.explain([face, face], recognizer, with_=[mate, face])
    assert two.similarity == pytest.approx(one.similarity)
    assert three.similarity == pytest.approx(1)
    with pytest.raises(InputError, match=r"^with_: 3 pictures for 2; give one, or one for each$"):
        leam.explain([face, face], recognizer, with_=[mate] * 3)


def test_aligned_faces_are_explained_as_they_are(aligned, recognizer):
    maps = leam.Explainer(recognizer).explain(aligned)
    forms = [
        (aligned, {}),
        (torch.tensor(aligned), {}),
        (aligned.astype(np.float32), {}),
        (aligned / 255, {"range": (0, 1)}),
        (
            torch.tensor(aligned).permute(0, 3, 1, 2) / 127.5 - 1,
            {"range": (-1, 1), "layout": "BCHW"},
        ),
    ]
    for batch, options in forms:
        made = leam.explain(batch, recognizer, **options)
        assert len(made) == 2
        for one, chip, overall in zip(made, aligned, maps.overall, strict=True):
            np.testing.assert_array_equal(one.chip.image, chip)
            torch.testing.assert_close(one.maps.overall[0], overall)


def test_a_module_gets_the_batch_as_it_is_given(aligned):
    torch.manual_seed(0)
    seen = []

    class Watched(TinyNet):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    for low, high in ((-1, 1), (0, 255), (-0.5, 2)):
        batch = low + torch.tensor(aligned).permute(0, 3, 1, 2) / 255 * (high - low)
        seen.clear()
        made = leam.explain(batch, Watched(SIDE), range=(low, high))
        assert [one.provenance.model for one in made] == ["Watched"] * 2
        torch.testing.assert_close(seen[-1][: len(batch)], batch, rtol=0, atol=1e-5 * (high - low))
        np.testing.assert_array_equal(made[0].chip.image, aligned[0])
    made = leam.explain(aligned / 255, Watched(SIDE), range=(0, 1), layout="BHWC")
    np.testing.assert_array_equal(made[1].chip.image, aligned[1])


def test_pairs_of_aligned_faces(aligned, recognizer):
    one, two = leam.explain(aligned, recognizer, with_=aligned[::-1])
    assert one.similarity == pytest.approx(two.similarity)
    with pytest.raises(InputError, match=r"^with_: give a batch of aligned faces, one for each"):
        leam.explain(aligned, recognizer, with_=aligned[:1])


def test_nothing_is_guessed(aligned, portrait, recognizer):
    first = torch.tensor(aligned).permute(0, 3, 1, 2)
    module = TinyNet(SIDE)
    for arguments, options, error, message in (
        ((aligned / 255, recognizer), {}, InputError, r"such as range=\(0, 1\)"),
        ((first, recognizer), {}, ModelError, 'if they are, add layout="BCHW"'),
        ((first, module), {}, InputError, "TinyNet: a batch of torch.uint8; give floats"),
        ((first / 255, module), {}, InputError, r"such as range=\(0, 1\)"),
        ((aligned / 255, module), {"range": (0, 1)}, InputError, 'taken as BCHW; add layout="BHWC"'),
        ((first / 255, module), {"range": (1, 0)}, InputError, "expected two numbers"),
        ((portrait, module), {}, InputError, "TinyNet: how pictures become its input is not known; give leam.Reco"),
        ((aligned[0] / 255, recognizer), {}, InputError, "the picture: an array of float64"),
        ((portrait, recognizer), {"range": (0, 1)}, InputError, "range and layout describe a batch"),
        ((aligned, recognizer), {"detector": "dlib"}, InputError, "detector: not used for a batch"),
        ((portrait, recognizer), {"with_": aligned}, InputError, "with_: a batch, but faces is none"),
        ((portrait, "nobody"), {}, LeamError, "nobody: no such recognizer"),
        ((portrait, recognizer), {"parser": "nobody"}, LeamError, "nobody: no such parser"),
        ((portrait, recognizer), {"method": "xssab"}, InputError, "give the other picture as with_"),
        (("none.jpg", recognizer), {}, LeamError, "none.jpg: no such file"),
        ((portrait, recognizer), {"method": 3}, InputError, "^method: of type int; expected a name"),
        ((portrait, recognizer), {"parser": 3}, InputError, "^parser: of type int; expected a name or"),
        ((portrait, recognizer), {"detector": 3}, InputError, "^detector: of type int; expected a name"),
        ((portrait, recognizer), {"method": None}, InputError, "^method: of type NoneType; expected a name"),
        ((portrait, recognizer), {"parser": type(leam.load_parser())}, InputError, "^parser: of type "),
        ((portrait, 3), {}, InputError, "^recognizer: of type int; expected a name, a card"),
        ((portrait, recognizer), {"top": "1"}, InputError, "^top '1': must be above 0 and at most 1"),
        ((portrait, recognizer), {"top": float("nan")}, InputError, "^top nan: must be above 0"),
        ((aligned, recognizer), {"range": 3}, InputError, "^range 3: expected two numbers"),
        ((aligned, recognizer), {"range": (1, 0)}, InputError, r"^range \(1, 0\): expected two numbers"),
        ((aligned, recognizer), {"range": ("a", "b")}, InputError, r"^range \('a', 'b'\): expected two"),
        ((aligned, recognizer), {"layout": "HWC"}, InputError, "^layout 'HWC': not known; available: BHWC"),
        ((first[0] / 255, module), {}, InputError, r"^TinyNet: one face of shape \(3, 32, 32\), .*give x\[None\]$"),
        ((first / 50 - 2, module), {}, InputError, r"looks standardised, .*leam.Card\(..., mean=..., std=...\)\)"),
        ((aligned / 50 - 2, recognizer), {}, InputError, "^tiny: the batch looks standardised"),
        (("", recognizer), {}, InputError, "^the picture: an empty path"),
        ((None, recognizer), {}, InputError, "^the picture: of type NoneType"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            leam.explain(*arguments, **options)


def test_each_picture_of_a_list_needs_one_to_compare_with(portrait, recognizer, detector):
    face = leam.find_face(portrait, detector)
    for mates in ([face, None, face], (face, None, None)):
        with pytest.raises(
            InputError, match=r"^with_: no picture for number 2; give one for each$"
        ):
            leam.explain([face] * 3, recognizer, with_=mates)
    with pytest.raises(InputError, match=r"^with_: no picture for number 1; give one for each$"):
        leam.explain([face], recognizer, with_=[None])


def test_a_bad_picture_without_a_path_is_named_by_its_place(portrait, recognizer, detector):
    face, empty = leam.find_face(portrait, detector), np.zeros((80, 80, 3), np.uint8)
    for arguments, with_, error, message in (
        ([face, empty, face], None, FaceError, "^picture 2 of 3: no face found by dlib"),
        ([face, None], None, InputError, "^picture 2 of 2: of type NoneType; expected a path"),
        ([empty], None, FaceError, "^the picture: no face found by dlib"),
        ([face, face], [face, empty], FaceError, "^with_, picture 2 of 2: no face found by dlib"),
        (face, empty, FaceError, "^with_: no face found by dlib"),
        ([face, "none.jpg"], None, LeamError, "^none.jpg: no such file"),
    ):
        with pytest.raises(error, match=message):
            leam.explain(arguments, recognizer, with_=with_, detector=detector)


def test_a_picture_that_is_compared_with_itself_is_named(portrait):
    with pytest.raises(InputError, match=r"ada.png: is compared with itself: nothing can make"):
        leam.explain(portrait, with_=portrait)


def test_a_feature_map_as_embedding_is_flattened_with_a_warning(aligned):
    class Unpooled(TinyNet):
        def forward(self, x):
            return super().forward(x)[:, :, None, None].expand(-1, -1, 2, 2)

    batch = torch.tensor(aligned).permute(0, 3, 1, 2) / 255
    module = Unpooled(SIDE)
    with pytest.warns(
        LeamWarning, match=r"^Unpooled: .*feature map of shape \(\d+, \d+, 2, 2\)"
    ) as seen:
        leam.explain(batch, module, range=(0, 1))
    assert seen[0].filename == __file__
    assert not module._forward_hooks


def test_a_batch_that_requires_gradients_is_explained(aligned, recognizer):
    batch = torch.tensor(aligned).float().requires_grad_()
    (one, _), (two, _) = leam.explain(batch, recognizer), leam.explain(aligned, recognizer)
    torch.testing.assert_close(one.maps.overall, two.maps.overall)
    torch.testing.assert_close(
        leam.Explainer(recognizer).explain(batch).overall[:1], one.maps.overall
    )
    assert batch.grad is None


def test_maps_replace_only_maps(aligned, recognizer, tmp_path):
    maps = leam.Explainer(recognizer).explain(aligned)
    with pytest.raises(InputError, match=r"is a folder; give the path of an .npz file in it$"):
        maps.save(tmp_path)
    foreign = tmp_path / "thesis.txt"
    foreign.write_text("mine")
    with pytest.raises(InputError, match=r"thesis.txt: exists and is no .npz file"):
        maps.save(foreign)
    assert foreign.read_text() == "mine"
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("thesis.txt", "mine")
    with pytest.raises(InputError, match=r"archive.zip: exists and is no .npz file"):
        maps.save(archive)
    for _ in range(2):
        maps.save(tmp_path / "maps.npz")
    with pytest.raises(InputError, match=r"^plot: faces of type str; expected the aligned faces"):
        maps.plot("unknown")
    with pytest.raises(InputError, match=r"^plot: faces of float64, expected uint8, 0-255$"):
        maps.plot(aligned / 255)


def test_pictures_that_are_aligned_faces_are_not_detected(aligned, recognizer, tmp_path):
    path = tmp_path / "chip.png"
    Image.fromarray(aligned[0]).save(path)
    made = leam.explain(path, recognizer, detector="aligned")
    np.testing.assert_array_equal(made.chip.image, aligned[0])


def test_a_resized_chip_is_no_aligned_face(aligned):
    fields = {"resized_chip": True, "template": "arcface"}
    recognizer = wrap(TinyNet(SIDE), SIDE, **fields)
    message = r"^tiny: takes chips of 112x112 pixels that it resizes; .*detector=\"aligned\"$"
    with pytest.raises(InputError, match=message):
        leam.explain(aligned, recognizer)


def test_maps_are_found_by_name_plotted_saved_and_tabulated(aligned, recognizer, tmp_path):
    maps = leam.Explainer(recognizer).explain(aligned)
    assert list(maps) == ["conv1", "conv2", "overall"]
    assert maps["conv2"] is maps.layer_maps[1]
    assert maps["overall"] is maps.overall
    assert "conv1" in maps
    with pytest.raises(LeamError, match=r"^layer conv_2: .*did you mean conv2\? list\(maps\)"):
        maps["conv_2"]
    assert repr(maps) == "Maps(2 faces, 2 layers, 32x32, backend fused)"
    assert "conv1, conv2" in maps._repr_html_()
    titles = [axes.get_title() for axes in maps.plot(aligned).axes]
    assert titles[:2] == ["overall\nface 1", "overall\nface 2"]
    titles = [axes.get_title().split("\n")[0] for axes in maps.face(0).plot().axes]
    assert titles[:3] == ["conv1", "conv2", "overall"]
    with pytest.raises(InputError, match=r"expected \(2, 32, 32, 3\): those that were explained"):
        maps.plot(aligned[:1])
    maps.save(tmp_path / "new" / "maps.npz")
    with np.load(tmp_path / "new" / "maps.npz") as arrays:
        assert set(arrays) == {
            "overall", "layer/conv1", "layer/conv2", "embeddings", "scores", "empty",
        }  # fmt: skip
        np.testing.assert_array_equal(arrays["layer/conv2"], maps["conv2"])
    frame = maps.to_frame()
    assert frame.columns == ["face", "layer", "row", "column", "value"]
    assert frame.height == 2 * (32 * 32 + 16 * 16 + 32 * 32)
    one = frame.filter(face=1, layer="conv2", row=3, column=5)
    assert one["value"].to_list() == [float(maps["conv2"][1, 3, 5])]


def test_recognizers_and_explainers_show_themselves_in_a_line(recognizer):
    said = "Recognizer(tiny, 32x32 RGB, arcface, similarity, cpu, float32)"
    assert repr(recognizer) == said
    explainer = leam.Explainer(recognizer)
    assert repr(explainer) == (
        "Explainer(tiny: 2 layers, weighting signed, aggregate smooth, backend fused)"
    )
    distance = wrap(TinyNet(SIDE), SIDE, similarity="euclidean", threshold=-0.6)
    assert "distance with threshold 0.600" in repr(distance)
    for shown, text in ((recognizer, "32x32 RGB"), (explainer, "5 x 16x16")):
        assert text in shown._repr_html_()
    for name in ("landmarks", "compact"):
        assert name in repr(leam.load_parser(name))
        assert len(repr(leam.load_parser(name))) < 100
    assert repr(leam.load_detector("aligned")) == "AlignedDetector(aligned)"
