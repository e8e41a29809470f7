"""A recognizer: preprocessing, embedding, similarity, and the module left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from leam.errors import CardError, ModelError
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from tiny import TinyNet, wrap


class Then(nn.Module):
    """A small network whose embedding is passed through a function."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.function = TinyNet(), function

    def forward(self, x):
        return self.function(self.net(x))


def test_preprocessing_by_hand():
    card = Card(name="m", input_size=(1, 1), channels="BGR", mean=(1, 2, 3), std=(2, 4, 8))
    chips = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    inputs = Recognizer(nn.Identity(), card).preprocess(chips)
    assert inputs.flatten().tolist() == [(30 - 1) / 2, (20 - 2) / 4, (10 - 3) / 8]


def test_embedding_in_pieces_is_embedding_at_once(tiny, chips):
    torch.testing.assert_close(tiny.embed(chips, batch_size=2), tiny.embed(chips))


def test_nothing_of_the_module_is_changed(tiny, chips):
    tiny.module.train()
    tiny.module.conv1.eval()
    tiny.module.conv2.weight.requires_grad_(False)
    tiny.embed(chips)
    assert tiny.module.training
    assert not tiny.module.conv1.training
    assert not tiny.module.conv2.weight.requires_grad
    assert all(parameter.grad is None for parameter in tiny.module.parameters())


def test_similarity_is_cosine_or_minus_distance():
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [3.0, 4.0]])
    kinds = {kind: wrap(nn.Identity(), similarity=kind) for kind in ("cosine", "euclidean")}
    assert kinds["cosine"].similarity(a, b).tolist() == pytest.approx([24 / 25, 1])
    assert kinds["euclidean"].similarity(a, b).tolist() == pytest.approx([-(2**0.5), 0])


@pytest.mark.parametrize("shape", [(5, 8, 9, 3), (5, 3, 8, 8), (8, 8, 3)])
def test_chips_of_another_shape_are_refused(tiny, shape):
    with pytest.raises(ModelError, match=r"tiny: chips of shape \("):
        tiny.embed(torch.zeros(shape))


def test_outputs_that_are_no_embedding_are_refused(chips):
    with pytest.raises(ModelError, match=r"embeddings of shape \(5, 6\) .* expected \(5, 7\)"):
        wrap(TinyNet(), embedding_size=7).embed(chips)
    with pytest.raises(ModelError, match=r"embeddings of shape \(30,\) .* expected \(5, D\)"):
        wrap(Then(lambda e: e.flatten())).embed(chips)
    with pytest.raises(ModelError, match=r"embeddings of torch.int64, expected floats"):
        wrap(Then(lambda e: e.argmax(1, keepdim=True))).embed(chips)


def test_an_architecture_can_be_registered(tmp_path):
    @architecture("tiny_test")
    def build(card, path):
        assert path.read_bytes() == b"w"
        return TinyNet()

    (tmp_path / "w.bin").write_bytes(b"w")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\narchitecture = "tiny_test"\nfile = "w.bin"\ninput_size = [8, 8]'
    )
    assert isinstance(load_recognizer(tmp_path / "mine.toml").module, TinyNet)


def test_unknown_names_list_the_available(tmp_path):
    with pytest.raises(CardError, match="eigenfaces: no such recognizer; `leam models` lists them"):
        load_recognizer("eigenfaces")
    with pytest.raises(ModelError, match=r"vgg: no such architecture; available: .*onnx"):
        load_recognizer(Card(name="m", architecture="vgg"))


def test_options_are_checked(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"w")
    card = Card(name="m", architecture="iresnet", file="w.pth", options={"dpeth": 50})
    with pytest.raises(CardError, match=r"m: options.dpeth is not known; available: depth, eps"):
        load_recognizer(card, folder=tmp_path)
    assert Card(name="m", options={"eps": 1}).number("eps", 0.5) == 1
    with pytest.raises(CardError, match=r"m: options.eps is 'small', not a number"):
        Card(name="m", options={"eps": "small"}).number("eps", 0.5)
