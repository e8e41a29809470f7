"""Checking a recognizer before it is trusted."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from leam.errors import InputError, ModelError
from leam.faces.people import Dataset, Pair, Sample
from leam.study.model_check import _fold_accuracies, check_model, read_pairs, verify
from tiny import wrap


def test_a_check_embeds_times_and_lists(tiny):
    found = check_model(tiny)
    assert found.parameters == sum(p.numel() for p in tiny.module.parameters())
    assert found.embedding_size == 6
    assert [layer.name for layer in found.layers] == ["conv1", "conv2"]
    assert found.milliseconds > 0


def test_a_module_that_cannot_be_explained_is_refused(tiny):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.module.relu2 = torch.jit.script(nn.ReLU())
    with pytest.raises(ModelError, match=r"^tiny: module relu2 is a TorchScript module"):
        check_model(tiny)


class _Layers(nn.Module):
    """A convolution, then a function of its output, and a mean."""

    def __init__(self, after):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.after = after

    def forward(self, x):
        return self.after(self.conv(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("after", "complaint"),
    [
        (lambda x: torch.relu(x - 1e6), "two different pictures give one embedding"),
        (lambda x: x / x.new_zeros(1), "embeddings are not finite"),
        (
            lambda x: x * torch.arange(len(x)).view(-1, 1, 1, 1),
            "the embedding of a picture is zero",
        ),
        (lambda x: x + torch.rand(1) * x.std(), "one picture gives different embeddings"),
        (lambda x: x - x.mean(0), "the embedding of a picture depends on the others"),
    ],
    ids=["dead", "not finite", "zero", "random", "mixing"],
)
def test_a_network_that_does_not_embed_each_picture_is_called_that(after, complaint):
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=rf"^tiny: .*{complaint}"):
        check_model(wrap(_Layers(after)))


class _MixesGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient + 3 * gradient.flip(0) * torch.linspace(-1, 1, gradient.shape[-1])


def test_a_map_that_depends_on_the_batch_is_called_that():
    torch.manual_seed(0)
    network = wrap(_Layers(lambda x: _MixesGradients.apply(x).square()))
    with pytest.raises(ModelError, match="the map of a picture depends on the others"):
        check_model(network)


def test_an_untrained_network_is_doubted():
    torch.manual_seed(0)
    network = wrap(_Layers(nn.BatchNorm2d(6)))
    assert any("network looks untrained" in doubt for doubt in check_model(network).warnings)
    network.module.after.running_mean.fill_(0.1)
    assert not any("untrained" in doubt for doubt in check_model(network).warnings)


def test_nearly_equal_embeddings_are_doubted():
    torch.manual_seed(0)
    network = wrap(_Layers(lambda x: x * 0.001 + 1))
    assert any("mean cosine of 1.0000" in doubt for doubt in check_model(network).warnings)


def test_how_the_network_compares_with_its_file_is_kept(tiny):
    tiny.reference = "not compared: onnxruntime is not installed"
    found = check_model(tiny)
    assert found.reference == tiny.reference
    assert tiny.reference in found.warnings


def test_warnings_name_what_a_card_leaves_open(tiny):
    assert [warning.partition(":")[0] for warning in tiny.card.warnings] == [
        "no sha256",
        "no licence stated",
    ]
    assert not tiny.card.model_copy(update={"sha256": "0" * 64, "license": "MIT"}).warnings


def test_pairs_are_read(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("left,right,same\na/1.jpg,a/2.jpg,1\na/1.jpg,b/1.jpg,0\n")
    assert read_pairs(path).pairs == [
        Pair("a/1.jpg", "a/2.jpg", True),
        Pair("a/1.jpg", "b/1.jpg", False),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("left,right,same\na,b,1\na,b,yes\n", ": line 3 lacks left, right, or a same of 1 or 0"),
        (
            "left,right,same\na,,1\n",
            ", line 2: expected 3 values, left and right and same not empty",
        ),
        ("image,person\na,b\n", ": holds no pairs; expected LFW"),
        ("one,two\na,b\n", ": the column 'image' is missing"),
        ("left,right,same\n", ": holds no pairs"),
        (None, ": no such file or folder"),
    ],
)
def test_pairs_that_are_wrong_are_named(tmp_path, text, complaint):
    path = tmp_path / "pairs.csv"
    if text:
        path.write_text(text)
    with pytest.raises(InputError, match=rf"pairs.csv{complaint}"):
        read_pairs(path)


def test_people_are_told_apart_and_pictures_without_faces_left_out(
    assets, dlib_resnet, detector, tmp_path
):
    people = assets / "lfw" / "people"
    whole = read_pairs(assets / "lfw" / "pairs.csv", people)
    pairs = [[pair for pair in whole.pairs if pair.same is same][:6] for same in (True, False)]
    # Two folds of six pairs each.
    chosen = [replace(pair, fold=place % 2) for half in pairs for place, pair in enumerate(half)]
    Image.fromarray(np.full((100, 100, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    chosen.append(Pair(chosen[0].left, "grey", same=False, fold=1))
    chosen.append(Pair(chosen[0].left, "nowhere", same=False, fold=1))
    grey = Sample(tmp_path / "grey.png", "grey", "grey")
    dataset = Dataset({**whole.people, "grey": [grey]}, pairs=chosen)
    told = []

    (found,) = verify([dlib_resnet], dataset, detector, lambda *one: told.append(one))

    assert found.accuracy == 1
    assert found.pairs == 12
    assert found.folds == (1.0, 1.0)
    assert list(found.exclusions) == ["grey", "nowhere"]
    assert found.exclusions["nowhere"] == "nowhere: no such picture in the data set"
    assert told[-1][0] == "finding faces"
    assert told[-1][1] == told[-1][2]
    assert -0.75 < found.threshold < -0.45


def test_pairs_without_any_face_are_said_so(tiny, detector):
    with pytest.raises(InputError, match=r"no pair has a face in both pictures"):
        verify([tiny], Dataset({}, pairs=[Pair("a.jpg", "b.jpg", same=True)]), detector)


def test_a_fold_is_decided_at_the_threshold_of_the_others():
    # Alone, each fold has a threshold without errors; the other fold's is wrong for one of its three pairs.
    scores = np.array([0.1, 0.2, 0.5, 0.3, 0.6, 0.7])
    same = np.array([False, True, True, False, True, True])
    assert _fold_accuracies(scores, same, [0, 0, 0, 1, 1, 1]) == pytest.approx((2 / 3, 2 / 3))


def test_folds_beside_one_kind_of_pairs_have_no_accuracy():
    same, scores = np.array([True, True, False, False]), np.array([0.9, 0.8, 0.1, 0.2])
    assert _fold_accuracies(scores, same, [0, 0, 1, 1]) == ()
    assert _fold_accuracies(scores, same, [0, 1, 0, 1]) == (1.0, 1.0)
    assert _fold_accuracies(scores, same, [None] * 6) == ()
    assert _fold_accuracies(scores, same, [0] * 6) == ()
