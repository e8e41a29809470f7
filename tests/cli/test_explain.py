"""``leam explain`` and ``leam parse``."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
from PIL import Image

from leam.cli.faces import folders_for
from leam.demo import portraits
from leam.faces.reading import PictureFile


def test_explain_writes_everything_and_it_agrees(spawn, tmp_path, portrait):
    out = tmp_path / "Zoë's face"
    result = spawn("explain", portrait, "--out", out, "--top", 0.02, COLUMNS="40")
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name for path in out.iterdir()} == {
        "explanation.html", "explanation.json", "layers.png", "maps.npz", "overlay.png",
    }  # fmt: skip
    record = json.loads((out / "explanation.json").read_text())
    with np.load(out / "maps.npz", allow_pickle=False) as maps:
        assert maps["critical"].sum() == record["critical_pixels"] == 450
        assert maps["overall"].sum() == pytest.approx(1, abs=1e-4)
        assert maps["overall"][maps["critical"]].min() >= maps["overall"][~maps["critical"]].max()
        layers = [name for name in maps if name.startswith("layer/")]
        assert len(layers) == len(record["layers"]) == 27
    assert record["model"] == "dlib_resnet"
    assert record["top"] == 0.02
    assert sum(row["share"] for row in record["regions"].values()) == pytest.approx(1, abs=1e-5)
    with Image.open(out / "overlay.png") as picture:
        assert picture.width > 1000
    lines = result.stdout.splitlines()
    assert lines[0] == f"{portrait.name} · dlib_resnet"
    for name, row in record["regions"].items():
        numbers = [f"{100 * row[key]:.1f}" for key in ("share", "mass", "area")]
        assert any(
            line.split()[0] == name and line.split()[1::2] == numbers for line in lines if line
        )
    assert f"written: {out}" in lines


@pytest.mark.slow
def test_explain_prints_nothing_but_json(leam, tmp_path, portrait):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"x")
    result = leam("explain", portrait, bad, "--out", tmp_path / "out", "--json")
    assert result.returncode == 1
    assert result.stderr.startswith("leam: ")
    assert result.stderr.count("\n") == 1
    (record,) = json.loads(result.stdout)
    assert record.pop("folder") == str(tmp_path / "out" / portrait.stem)
    written = tmp_path / "out" / portrait.stem / "explanation.json"
    assert record == json.loads(written.read_text())


@pytest.mark.slow
def test_explain_the_similarity_of_two_faces_on_both(leam, tmp_path):
    one, two = portraits().values()
    out = tmp_path / "pair"
    result = leam("explain", one, "--with", two, "--out", out, "--layers", "blocks.1*,conv")
    assert result.returncode == 0, result.stderr
    records = [
        json.loads((out / path.stem / "explanation.json").read_text()) for path in (one, two)
    ]
    assert records[0]["similarity"] == pytest.approx(records[1]["similarity"])
    assert records[0]["similarity"] < records[0]["threshold"]
    assert [record["target"] for record in records] == ["reference", "reference"]
    assert [record["reference"] for record in records] == [str(two), str(one)]
    assert records[0]["layers"][-1]["name"] == "conv"
    assert f"distance to {two.name}: {-records[0]['similarity']:.3f}" in result.stdout
    assert "similarity" not in result.stdout.replace(str(out), "")
    for path, other in ((one, two), (two, one)):
        page = (out / path.stem / "explanation.html").read_text("utf-8")
        assert f"Distance {-records[0]['similarity']:.3f} is above the threshold 0.600" in page
        assert f"What makes them alike and different, on {other.name}" in page


@pytest.mark.slow
def test_the_face_alone_beside_another_picture(leam, tmp_path):
    one, two = portraits().values()
    result = leam("explain", one, "--with", two, "--target", "self", "--out", tmp_path, "--json")
    (record,) = json.loads(result.stdout)
    assert record["target"] == "self"
    assert record["reference"] is None


@pytest.mark.parametrize(
    ("backend", "used"), [("plain", "plain"), ("fused", "fused"), ("auto", "fused")]
)
def test_the_backend_is_chosen(leam, tmp_path, portrait, backend, used):
    options = ("--backend", backend, "--layers", "conv", "--json")
    (record,) = json.loads(leam("explain", portrait, "--out", tmp_path / "out", *options).stdout)
    assert record["backend"] == used


def test_figures_have_the_formats_that_are_asked_for(leam, tmp_path, portrait):
    options = ("--layers", "conv", "--format", "svg, pdf", "--out", tmp_path / "out")
    assert leam("explain", portrait, *options).returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "explanation.html", "explanation.json", "maps.npz",
        "layers.pdf", "layers.svg", "overlay.pdf", "overlay.svg",
    }  # fmt: skip


def test_a_preset_sets_what_is_explained(leam, complaint, tmp_path, portrait):
    preset = tmp_path / "mine.toml"
    preset.write_text(
        'target = "template"\nlayers = ["conv"]\nweighting = "signed"\naggregate = "max"\ntop = 0.02\n'
        'backend = "plain"\nparser = "compact"'
    )
    options = ("explain", portrait, "--preset", preset, "--json", "--out")
    refused = complaint(leam(*options, tmp_path / "none"))
    assert "its target template needs the person's other pictures" in refused
    (stated,) = json.loads(leam(*options, tmp_path / "one", "--target", "self").stdout)
    assert [layer["name"] for layer in stated["layers"]] == ["conv"]
    assert (stated["weighting"], stated["aggregate"], stated["top"]) == ("signed", "max", 0.02)
    assert (stated["backend"], stated["parser"]) == ("plain", "compact")
    changed = (
        "--target",
        "self",
        "--weighting",
        "positive",
        "--top",
        0.05,
        "--parser",
        "landmarks",
    )
    (changed,) = json.loads(leam(*options, tmp_path / "two", *changed).stdout)
    assert (changed["weighting"], changed["aggregate"], changed["top"]) == ("positive", "max", 0.05)
    assert changed["parser"] == "landmarks"


@pytest.mark.slow
def test_mistakes_of_explain(leam, complaint, tmp_path, portrait):
    grey = tmp_path / "grey.png"
    Image.new("RGB", (100, 100), "grey").save(grey)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    out = ("--out", tmp_path / "out")
    for arguments, message in (
        ((grey, *out), "grey.png: no face found"),
        ((tmp_path / "none.jpg", *out), "none.jpg: no such file"),
        ((portrait, "--out", tmp_path / "full"), "exists and is not empty"),
        ((portrait, "--out", tmp_path / "grey.png"), "exists and is not empty"),
        ((portrait, *out, "--model", "nobody"), "nobody: no such recognizer"),
        ((portrait, *out, "--layers", "conv9"), "layer conv9: no such layer"),
        ((portrait, *out, "--layers", ","), "--layers: no layer named"),
        ((portrait, *out, "--layers", "fc"), "layer fc: has no spatial extent"),
        ((portrait, *out, "--weighting", "best"), "best: no such weighting"),
        ((portrait, *out, "--aggregate", "best"), "best: no such aggregate"),
        ((portrait, *out, "--backend", "best"), "best: no such backend"),
        ((portrait, *out, "--parser", "best"), "best: no such parser"),
        ((portrait, *out, "--detector", "best"), "best: no such detector"),
        ((portrait, *out, "--top", 0), "--top 0.0: "),
        ((portrait, *out, "--format", "png,gif"), "gif: not a format of figures; available: png"),
        ((portrait, *out, "--target", "other"), "--target other: no such target; available: self"),
        ((portrait, *out, "--target", "reference"), "name the other picture with --with"),
        ((portrait, "--out", grey / "below"), "grey.png"),
    ):
        assert message in complaint(leam("explain", *arguments)), arguments


def test_force_writes_into_a_full_folder(leam, tmp_path, portrait):
    (tmp_path / "mine.txt").write_text("mine")
    options = ("--out", tmp_path, "--parser", "landmarks")
    assert leam("parse", portrait, *options).returncode == 1
    assert leam("parse", portrait, *options, "--force").returncode == 0


def test_parse_writes_labels_overlay_and_areas(leam, complaint, tmp_path, portrait):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    folder = tmp_path / "parsed"
    result = leam("parse", portrait, bad, "--parser", "compact", "--out", folder)
    assert "bad.jpg: not a picture" in complaint(result)
    (inside,) = folder.iterdir()
    assert {path.name for path in inside.iterdir()} == {"areas.json", "labels.png", "overlay.png"}
    areas = json.loads((inside / "areas.json").read_text())
    assert areas["parser"] == "compact"
    nose = areas["chip"]["nose"]
    row = f"nose {100 * nose['area']:.1f} % {nose['confidence']:.2f}"
    assert row in [" ".join(line.split()) for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_parse_prints_nothing_but_json(leam, tmp_path, portrait):
    result = leam("parse", portrait, "--out", tmp_path / "out", "--json")
    (record,) = json.loads(result.stdout)
    assert record.pop("folder") == str(tmp_path / "out")
    assert record == json.loads((tmp_path / "out" / "areas.json").read_text())


def test_mistakes_of_parse(leam, complaint, tmp_path, portrait):
    unknown = complaint(leam("parse", portrait, "--parser", "nobody", "--out", tmp_path / "new"))
    assert "nobody: no such parser; available: bisenet" in unknown
    full = complaint(leam("parse", portrait, "--out", tmp_path.parent))
    assert full.endswith("choose another --out, or add --force")


class Picture:
    def __init__(self, path, member=""):
        self.file = PictureFile(path, "", 0, member)


def test_folders_are_named_after_pictures(tmp_path):
    faces = [Picture(tmp_path / name) for name in ("ada.jpg", "b/ada.png", "...jpg")]
    faces.append(Picture(tmp_path / "clip.mp4", "frame=12"))
    assert [path.name for path in folders_for(tmp_path, faces, alone=False)] == [
        "ada",
        "ada-2",
        "face",
        "clip-frame12",
    ]
    assert folders_for(tmp_path, faces[:1], alone=True) == [tmp_path]


def test_names_of_folders_are_short_enough_for_file_systems(tmp_path):
    faces = [Picture(tmp_path / f"{'é' * 125}.{suffix}") for suffix in ("jpg", "png")]
    faces.append(Picture(tmp_path / f"{'v' * 251}.mp4", "frame=12"))
    folders = folders_for(tmp_path, faces, alone=False)
    assert len(set(folders)) == 3
    assert folders[2].name.endswith("v-frame12")
    for folder in folders:
        folder.mkdir()


def test_a_pair_is_explained_both_ways_in_words(leam, tmp_path):
    one, two = portraits().values()
    out = tmp_path / "pair"
    options = ("--layers", "conv", "--out", out)
    result = leam("explain", one, "--with", two, *options)
    assert result.returncode == 0, result.stderr
    said = "is above the threshold 0.600: different people (threshold from the card of dlib_resnet)"
    assert result.stdout.count(said) == 2
    record = json.loads((out / one.stem / "explanation.json").read_text())
    assert record["decision"] == "different people"
    assert record["difference"]["critical_pixels"] == record["critical_pixels"]
    shares = record["difference"]["regions"]
    assert sum(row["share"] for row in shares.values()) == pytest.approx(1, abs=1e-5)
    assert set(shares) == set(record["regions"])
    with np.load(out / one.stem / "maps.npz") as maps:
        assert maps["difference"].sum() == pytest.approx(1, abs=1e-4)
        assert maps["difference_critical"].sum() == record["difference"]["critical_pixels"]
        assert not np.allclose(maps["difference"], maps["overall"], atol=1e-6)
    with Image.open(out / one.stem / "overlay.png") as picture:
        assert picture.height > 600


def test_another_method_is_named_and_has_no_layers(leam, tmp_path, portrait):
    options = ("--method", "input-gradients", "--out", tmp_path / "out")
    result = leam("explain", portrait, *options)
    assert f"{portrait.name} · dlib_resnet · input-gradients" in result.stdout
    assert not (tmp_path / "out" / "layers.png").exists()
    record = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert record["method"] == "input-gradients"
    assert (record["weighting"], record["backend"], record["layers"]) == (None, None, [])


@pytest.fixture
def people(tmp_path):
    """A folder with two pictures of one person, two of another and one of a third."""
    folder = tmp_path / "people"
    for number, (person, path) in enumerate([*portraits().items(), *portraits().items()][:3]):
        (folder / f"{number}-{person}").mkdir(parents=True)
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
            picture.thumbnail((300, 300))
        for turn in range(1 if number == 2 else 2):
            picture.rotate(4 * turn + number).save(folder / f"{number}-{person}" / f"{turn}.png")
    return folder


@pytest.mark.parametrize("target", ["template", "contrast"])
def test_people_in_a_folder_are_explained_by_their_other_pictures(leam, tmp_path, people, target):
    out = tmp_path / "out"
    options = ("--target", target, "--layers", "conv", "--out", out, "--json")
    result = leam("explain", people, *options)
    assert result.returncode == 0, result.stderr
    assert "fewer than two usable pictures; not explained" in result.stderr
    records = json.loads(result.stdout)
    first, _, third = sorted(path.name for path in people.iterdir())
    assert len(records) == 4
    assert records[0]["folder"] == str(out / first / "0")
    assert {record["target"] for record in records} == {target}
    files = {record["image"]: record["image_sha256"] for record in records}
    for record in records[:2]:
        (other,) = record["template"]
        assert other in files.values()
        assert other != record["image_sha256"]
        if target == "contrast":
            # The third person shows the first one again, so is nearest.
            assert record["impostors"][0] == third
        else:
            assert record["impostors"] is None


def test_one_persons_pictures_in_contrast_to_others(leam, complaint, tmp_path, people):
    own = min(people.iterdir())
    options = (own, "--target", "contrast", "--layers", "conv", "--json")
    alone = complaint(leam("explain", *options, "--out", tmp_path / "none"))
    assert "--target contrast needs pictures of other people" in alone
    others = ("--population", people, "--out", tmp_path / "out")
    records = json.loads(leam("explain", *options, *others).stdout)
    assert [record["folder"] for record in records] == [
        str(tmp_path / "out" / name) for name in ("0", "1")
    ]


@pytest.fixture
def api(tmp_path, monkeypatch):
    """A module in the working directory whose functions fail after a number of pictures."""
    (tmp_path / "my_api.py").write_text(
        "asked, limit = [], None\n"
        "def embed(pictures):\n"
        "    if limit is not None and len(asked) + len(pictures) > limit:\n"
        "        raise TimeoutError('no answer')\n"
        "    asked.extend(picture.tobytes() for picture in pictures)\n"
        "    return pictures[:, ::16, ::16].reshape(len(pictures), -1).astype(float)\n"
        "def score(left, right):\n"
        "    return -abs(embed(left) - embed(right)).mean(axis=1)\n"
        "def constant(pictures):\n"
        "    return [[1.0, 2.0]] * len(pictures)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_api", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_black_box_is_explained_within_its_budget(leam, tmp_path, api, portrait):
    out = tmp_path / "out"
    options = ("--black-box", "my_api:embed", "--calls", 40, "--out", out)
    result = leam("explain", portrait, *options)
    assert result.returncode == 0, result.stderr
    assert "at most 40 calls of my_api:embed" in result.stderr
    asked = sys.modules["my_api"].asked
    assert 20 < len(asked) == len(set(asked)) <= 40
    record = json.loads((out / "explanation.json").read_text())
    assert (record["method"], record["calls"], record["model"]) == (
        "hierarchical",
        40,
        "my_api.embed",
    )
    # The answers are kept: the same command asks nothing.
    assert leam("explain", portrait, *options).returncode == 0
    assert len(sys.modules["my_api"].asked) == len(asked)


def test_a_black_box_that_fails_is_continued(leam, complaint, tmp_path, api, portrait):
    options = ("--black-box", "my_api:embed", "--calls", 40, "--out", tmp_path / "out")
    importlib.import_module("my_api").limit = 10
    message = complaint(leam("-q", "explain", portrait, *options))
    assert "my_api:embed failed after 10 calls: TimeoutError: no answer" in message
    assert "run the same command again to go on" in message
    sys.modules["my_api"].limit = None
    assert leam("explain", portrait, *options).returncode == 0
    asked = sys.modules["my_api"].asked
    assert len(asked) == len(set(asked)) <= 40


def test_scores_of_two_pictures_are_explained(leam, tmp_path, api):
    one, two = portraits().values()
    options = ("--black-box", "my_api:score", "--returns", "scores", "--calls", 30, "--json")
    result = leam("explain", one, "--with", two, *options, "--out", tmp_path / "out")
    first, second = json.loads(result.stdout)
    assert first["similarity"] == second["similarity"] < 0
    assert first["decision"] is None
    assert first["difference"]["critical_pixels"] == first["critical_pixels"]
    options = options[:-1]  # in words
    said = leam("explain", one, "--with", two, *options, "--out", tmp_path / "out").stdout
    assert said.count("decision: none, since the recognizer's card states no threshold") == 2


def test_a_black_box_decides_by_the_threshold_of_its_card(leam, tmp_path, api):
    one, two = portraits().values()
    card = tmp_path / "api.toml"
    text = 'name = "api"\narchitecture = "black_box"\noptions = {{ function = "my_api:embed" }}\nthreshold = {}\n'
    decisions = {
        0.999: "is below the threshold 0.999: different people (threshold from the card of api)",
        -0.9: "reaches the threshold -0.900: same person (threshold from the card of api)",
    }
    for threshold, decision in decisions.items():
        card.write_text(text.format(threshold))
        options = ("--model", card, "--calls", 30, "--force", "--out", tmp_path / "out")
        result = leam("explain", one, "--with", two, *options)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count(decision) == 2


def test_mistakes_of_methods_and_black_boxes(leam, complaint, tmp_path, api, portrait):
    out = ("--out", tmp_path / "out")
    box = ("--black-box", "my_api:embed")
    for arguments, message in (
        (("--method", "magic"), "magic: no such attribution method; available: "),
        (("--method", "xssab"), "explains a similarity, not the embedding alone; choose --target"),
        (("--method", "occlusion", "--weighting", "signed"), "--weighting signed: not used by"),
        (("--calls", 10), "leam: its number of calls is fixed"),
        (("--method", "corrrise", "--calls", 2), "corrrise: 2 calls are too few"),
        (("--target", "contrast"), "no person with two usable pictures"),
        (("--target", "contrast", "--with", portrait), "--target contrast: leave out --with"),
        (("--population", tmp_path), "add --person"),
        (("--returns", "scores"), "--returns scores: add --black-box"),
        ((*box, "--returns", "both"), "--returns both: available: embeddings, scores"),
        ((*box, "--model", "dlib_resnet"), "leave out --model"),
        ((*box, "--method", "grad-cam"), "grad-cam: needs gradients, which my_api.embed does not"),
        (("--black-box", "my_api:none"), "has no function none"),
        (("--black-box", "my_api"), "expected module:function"),
        (("--black-box", "my_api:score"), "two batches, add --returns scores"),
        ((*box, "--returns", "scores", "--with", portrait), "leave out --returns scores"),
        (("--black-box", "my_api:constant"), "hierarchical found no pixel that supports the score"),
    ):
        assert message in complaint(leam("-q", "explain", portrait, *out, *arguments)), arguments
