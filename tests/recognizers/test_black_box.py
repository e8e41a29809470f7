"""Black boxes: what is asked, what is kept, and how they fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import leam
from leam.errors import CardError, InputError, ModelError
from leam.explain.explainer import Explainer
from leam.recognizers.black_box import BlackBox, imported
from leam.recognizers.catalogue import load_recognizer

SIZE = (6, 5)
PICTURES = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)


class Service:
    """Means of the colours, or minus their distance; remembers what it was asked."""

    def __init__(self, limit: int | None = None) -> None:
        self.asked: list[bytes] = []
        self.sizes: list[int] = []
        self.limit = limit

    def embed(self, pictures):
        assert pictures.dtype == np.uint8
        assert pictures.shape[1:] == (*SIZE, 3)
        if self.limit is not None and len(self.asked) + len(pictures) > self.limit:
            raise TimeoutError("no answer\nfor a minute")
        self.asked += [picture.tobytes() for picture in pictures]
        self.sizes.append(len(pictures))
        return pictures.mean(axis=(1, 2))

    def score(self, left, right):
        return -np.abs(self.embed(left) - right.mean(axis=(1, 2))).sum(axis=1)


def test_embeddings_are_those_of_the_function():
    box = leam.BlackBox(embed=Service().embed, input_size=SIZE)
    expected = torch.from_numpy(PICTURES.mean(axis=(1, 2))).float()
    torch.testing.assert_close(box.embed(PICTURES), expected)
    torch.testing.assert_close(box.embed(torch.from_numpy(PICTURES).float() + 0.2), expected)
    assert box.embed(PICTURES[:0]).shape[0] == 0


def test_scores_are_those_of_the_function_and_embeddings_are_refused():
    service = Service()
    box = BlackBox(score=service.score, input_size=SIZE)
    means = PICTURES.mean(axis=(1, 2))
    found = box.compare(PICTURES[:2], PICTURES[2:])
    np.testing.assert_allclose(found, -np.abs(means[:2] - means[2:]).sum(axis=1), rtol=1e-6)
    with pytest.raises(ModelError, match="gives scores of two pictures, not embeddings"):
        box.embed(PICTURES)


def test_no_picture_is_asked_twice():
    service = Service()
    box = BlackBox(embed=service.embed, input_size=SIZE, batch_size=3)
    box.embed(np.concatenate([PICTURES, PICTURES]))
    box.embed(PICTURES[::-1].copy())
    assert len(service.asked) == len(set(service.asked)) == box.calls == 4
    assert service.sizes == [3, 1]


def test_a_pair_is_asked_once_in_each_direction():
    service = Service()
    box = BlackBox(score=service.score, input_size=SIZE)
    for _ in range(2):
        box.compare(PICTURES[:1], PICTURES[1:2])
        box.compare(PICTURES[1:2], PICTURES[:1])
    assert box.calls == 2


def test_answers_survive_in_a_file_also_after_a_failure(tmp_path):
    service = Service(limit=2)
    path = tmp_path / "new" / "answers.sqlite"
    box = BlackBox(embed=service.embed, input_size=SIZE, cache=path)
    message = r"failed after 2 calls: TimeoutError: no answer; .*answers.sqlite keeps the answers"
    with pytest.raises(ModelError, match=message):
        box.embed(PICTURES)
    service.limit = None
    again = BlackBox(embed=service.embed, input_size=SIZE, cache=path)
    np.testing.assert_allclose(again.embed(PICTURES), PICTURES.mean(axis=(1, 2)), rtol=1e-6)
    assert again.calls == 2
    assert len(service.asked) == len(set(service.asked)) == 4


def test_another_function_gets_none_of_the_answers(tmp_path):
    path = tmp_path / "answers.sqlite"
    for number, service in enumerate((Service(), Service())):
        box = BlackBox(embed=service.embed, name=f"box{number}", input_size=SIZE, cache=path)
        box.embed(PICTURES)
        assert len(service.asked) == 4


def test_the_budget_is_kept_and_progress_is_shown():
    service, shown = Service(), []
    box = BlackBox(embed=service.embed, input_size=SIZE, budget=3)
    box.progress = lambda *what: shown.append(what)
    box.embed(PICTURES[:2])
    with pytest.raises(ModelError, match="2 more calls are needed, but 1 of the budget of 3"):
        box.embed(PICTURES)
    assert len(service.asked) == 2
    assert shown == [("calls", 1, 3), ("calls", 2, 3)]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            np.zeros(2),
            r"shape \(2,\), expected embeddings of shape \(2, D\); if it compares .* --returns scores",
        ),
        (np.zeros((3, 4)), r"shape \(3, 4\), expected"),
        (np.zeros((2, 0)), r"shape \(2, 0\), expected"),
        (np.full((2, 3), np.nan), "embeddings that are not finite"),
        ("text", "ValueError"),
        (None, r"shape \(\), expected embeddings"),
    ],
)
def test_what_is_no_answer_is_refused(returned, message):
    box = BlackBox(embed=lambda _: returned, input_size=SIZE, batch_size=2)
    with pytest.raises(ModelError, match=message):
        box.embed(PICTURES[:2])


def test_embeddings_of_several_lengths_are_refused():
    answers = iter((np.zeros((1, 2)), np.zeros((1, 3))))
    box = BlackBox(embed=lambda _: next(answers), input_size=SIZE)
    with pytest.raises(ModelError, match=r"embeddings of lengths \[2, 3\]"):
        box.embed(PICTURES[:2])


def test_one_function_and_one_way_of_stating_the_crop():
    embed = Service().embed
    for options in ({}, {"embed": embed, "score": embed}):
        with pytest.raises(InputError, match="give either embed or score"):
            BlackBox(**options)
    with pytest.raises(CardError, match="BlackBox: input_size"):
        BlackBox(embed=embed, input_size=(0, 0))
    with pytest.raises(InputError, match="give either card or input_size"):
        BlackBox(embed=embed, card=leam.Card(name="one"), input_size=SIZE)


def test_there_are_no_layers_to_explain():
    with pytest.raises(ModelError, match="a black box has no layers and no gradients"):
        Explainer(BlackBox(embed=Service().embed, input_size=SIZE))


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "their_api.py").write_text(
        "def embed(pictures):\n    return pictures.mean(axis=(1, 2))\n"
        "def score(left, right):\n    return -abs(left.mean((1, 2, 3)) - right.mean((1, 2, 3)))\n"
    )
    (tmp_path / "broken_api.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def card(folder, options: str):
    path = folder / "box.toml"
    path.write_text(
        f'name = "box"\narchitecture = "black_box"\ninput_size = [6, 5]\n[options]\n{options}\n'
    )
    return path


def test_a_card_names_the_function(module):
    box = load_recognizer(card(module, 'function = "their_api:embed"\nbatch = 4'))
    assert isinstance(box, BlackBox)
    assert (box.name, box.returns, box.batch_size) == ("box", "embeddings", 4)
    np.testing.assert_allclose(box.embed(PICTURES), PICTURES.mean(axis=(1, 2)), rtol=1e-6)
    scores = load_recognizer(card(module, 'function = "their_api:score"\nreturns = "scores"'))
    assert scores.returns == "scores"
    assert scores.sha256 != box.sha256


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("", CardError, "options.function is missing"),
        ('function = "their_api:embed"\nreturns = "both"', CardError, "available: embeddings"),
        ('function = "their_api:embed"\nspeed = 1', CardError, "options.speed is not known"),
        ('function = "their_api"', InputError, "expected module:function"),
        ('function = "their_api:none"', ModelError, "has no function none"),
        ('function = "no_such_api:embed"', ModelError, "cannot be imported"),
        ('function = "broken_api:embed"', ModelError, "nothing_of_this_name"),
    ],
)
def test_mistakes_of_a_card(module, options, error, message):
    with pytest.raises(error, match=message):
        load_recognizer(card(module, options))


def test_functions_inside_classes_can_be_named():
    assert imported("collections:Counter.fromkeys") is not None
