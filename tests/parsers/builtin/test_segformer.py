import builtins
import hashlib
import json

import pytest
import torch

from leam.errors import ModelError, WeightsError
from leam.parsers.builtin import segformer
from leam.parsers.builtin.segformer import read_segformer
from leam.parsers.regions import ORDERS, translate

# ``id2label`` of the public model's config.json, as published.
PUBLISHED = """background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip
    hair hat ear_r neck_l neck cloth"""


def test_the_published_classes_are_the_palettes():
    assert translate(PUBLISHED.split()) == translate(ORDERS["celebamask"])


def test_a_model_folder_loads_with_its_own_class_names(tmp_path):
    transformers = pytest.importorskip("transformers")
    names = ["background", "hair.png", "l_eye.png", "neck_l.png"]
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        num_attention_heads=[1, 2],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[1, 1],
        decoder_hidden_size=8,
        num_labels=4,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    torch.manual_seed(0)
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    model.save_pretrained(tmp_path)
    parser = read_segformer(str(tmp_path))
    assert parser.labels == ("background", "hair", "right_eye", "necklace")
    pictures = torch.rand(1, 3, 64, 64) * 255
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        expected = model((pictures / 255 - mean) / deviation).logits
        torch.testing.assert_close(parser.network(pictures), expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_is_not_at_hand_is_one_line(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(WeightsError, match="set LEAM_SEGFORMER to a folder") as raised:
        read_segformer(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_without_transformers_the_extra_is_named(monkeypatch):
    whole = builtins.__import__

    def without(name, *arguments, **named):
        if name == "transformers":
            raise ImportError(name)
        return whole(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"pip install leam-xai\[segformer\]"):
        read_segformer("anything")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_model(tmp_path, monkeypatch):
    """A small model in a hub of our own; what was downloaded is in ``asked``."""
    transformers = pytest.importorskip("transformers")
    names = ["background", "hair"]
    config = transformers.SegformerConfig(
        num_encoder_blocks=1, depths=[1], sr_ratios=[1], hidden_sizes=[8], num_attention_heads=[1],
        patch_sizes=[7], strides=[4], mlp_ratios=[1], decoder_hidden_size=8,
        id2label=dict(enumerate(names)), label2id={name: n for n, name in enumerate(names)},
    )  # fmt: skip
    folder = tmp_path / "hub" / "snapshots" / COMMIT
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))
    asked = []

    def fetch(file):
        asked.append(file)
        return folder / file.name

    def cached(file):
        return folder / file.name if file in asked else None

    monkeypatch.setattr(segformer, "hub_fetch", fetch)
    monkeypatch.setattr(segformer, "hub_cached", cached)
    return folder, asked


def test_the_first_use_keeps_commit_and_checksums_and_says_so(hub_model, tmp_path, caplog):
    folder, asked = hub_model
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    parser = read_segformer("o/n")
    assert parser.sha256 == sha256
    assert [(file.name, file.revision) for file in asked] == [
        ("config.json", None),
        ("model.safetensors", COMMIT),
    ]
    assert (
        f"no checksum of o/n is known; model.safetensors of commit {COMMIT} has sha256 {sha256}"
        in (caplog.text)
    )
    kept = json.loads((tmp_path / "cache" / "segformer" / "first_use.json").read_text())["o/n"]
    assert kept["commit"] == COMMIT
    caplog.clear()
    read_segformer("o/n")
    assert not caplog.messages
    assert {file.revision for file in asked[2:]} <= {COMMIT}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_model_that_changed_since_its_first_use_is_refused(hub_model, name):
    folder, _ = hub_model
    read_segformer("o/n")
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(WeightsError, match=f"{name} is not that of the first use; remove"):
        read_segformer("o/n")


def test_a_stated_commit_is_the_one_that_is_asked_for(hub_model):
    _, asked = hub_model
    read_segformer(f"o/n@{COMMIT}")
    assert {file.revision for file in asked} == {COMMIT}
    with pytest.raises(WeightsError, match="no such folder"):
        read_segformer("o/n@main")


@pytest.mark.parametrize("text", ["", "[]", '{"o/n": 3}', "[" * 100_000])
def test_a_damaged_record_is_not_taken_for_none(hub_model, tmp_path, text):
    read_segformer("o/n")
    (tmp_path / "cache" / "segformer" / "first_use.json").write_text(text)
    with pytest.raises(WeightsError, match=r"first_use.json is damaged; remove it"):
        read_segformer("o/n")
