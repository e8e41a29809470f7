import builtins

import pytest
import torch

from leam.errors import ModelError, WeightsError
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
