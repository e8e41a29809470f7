"""The embedding among several outputs: the only tensor, the one that the card names, or an error that lists them."""

from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from leam.errors import ModelError
from leam.recognizers.card import Card
from leam.recognizers.outputs import embedding_of

E, NORM, TOKENS = torch.ones(2, 6), torch.zeros(2, 1), torch.zeros(2, 5, 6)


class Named(NamedTuple):
    norm: object
    embedding: object


@dataclass
class Data:
    norm: object
    embedding: object = None


def chosen(given, **fields):
    return embedding_of(Card(name="m", **fields), given)


@pytest.mark.parametrize(
    ("output", "fields"),
    [
        (E, {}),
        ((E,), {}),
        ([None, E], {}),
        ({"embedding": E, "loss": None}, {}),
        (Data(None, E), {}),
        (SimpleNamespace(features=E), {}),
        ({"head": {"features": [E]}}, {}),
        ((E, NORM), {"output": 0}),
        ((NORM, E), {"output": -1}),
        ((None, E, NORM), {"output": 1}),
        ({"norm": NORM, "embedding": E}, {"output": "embedding"}),
        ({"norm": NORM, "embedding": E}, {"output": 1}),
        ({1: E, 0: NORM}, {"output": 1}),
        (OrderedDict(tokens=TOKENS, pooled=E), {"output": "pooled"}),
        (Named(NORM, E), {"output": "embedding"}),
        (Named(NORM, E), {"output": 1}),
        (Data(NORM, E), {"output": "embedding"}),
        ((NORM, {"deep": E}), {"output": "1.deep"}),
        ((E, NORM), {"embedding_size": 6}),
        (OrderedDict(tokens=TOKENS, pooled=E), {"embedding_size": 6}),
    ],
)
def test_the_embedding_is_taken(output, fields):
    assert chosen(output, **fields) is E


@pytest.mark.parametrize(
    ("output", "fields", "message"),
    [
        (
            (E, NORM),
            {},
            r"several tensors \(in a tuple\); available: 0 \(2, 6\), 1 \(2, 1\)\. .*output = 0$",
        ),
        ({"a": E, "b": E}, {"embedding_size": 6}, r'a \(2, 6\), b \(2, 6\).*output = "a"$'),
        ((E, NORM), {"embedding_size": 7}, "several tensors"),
        ((E, NORM), {"output": 2}, r"no output 2; available: 0 \(2, 6\), 1 \(2, 1\)"),
        ({"a": E}, {"output": "embedding"}, r"no output 'embedding'; available: a \(2, 6\)"),
        ([], {}, "returns a list without a tensor"),
        (None, {}, "returns a NoneType without a tensor"),
        ("text", {}, "returns a str without a tensor"),
        (E.numpy(), {}, "returns a ndarray without a tensor; .* leam.BlackBox, which takes arrays"),
    ],
)
def test_an_unclear_output_is_listed(output, fields, message):
    with pytest.raises(ModelError, match=message) as caught:
        chosen(output, **fields)
    assert "\n" not in str(caught.value)


def test_an_object_that_contains_itself_ends():
    output = SimpleNamespace(features=E)
    output.itself = output
    assert chosen(output, output="features") is E
