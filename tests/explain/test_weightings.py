"""Every weighting by hand, place by place."""

import pytest
import torch

from leam.errors import InputError
from leam.explain.weightings import WEIGHTINGS

GENERATOR = torch.Generator().manual_seed(0)
ACTIVATIONS, GRADIENTS = torch.randn(2, 2, 3, 4, 5, generator=GENERATOR)


def by_hand(name: str, face: int, row: int, column: int) -> float:
    total = 0.0
    for channel in range(3):
        a = ACTIVATIONS[face, channel, row, column].item()
        g = GRADIENTS[face, channel, row, column].item()
        mean = GRADIENTS[face, channel].mean().item()
        total += {
            "signed": a * g,
            "positive": a * max(g, 0.0),
            "channel_mean": a * mean,
            "magnitude": a * g,
            "absolute": abs(a * g),
        }[name]
    return abs(total) if name == "magnitude" else max(total, 0.0)


@pytest.mark.parametrize("name", ["signed", "positive", "channel_mean", "magnitude", "absolute"])
def test_formula(name):
    found = WEIGHTINGS[name](ACTIVATIONS, GRADIENTS)
    assert found.shape == (2, 4, 5)
    for face in range(2):
        for row in range(4):
            for column in range(5):
                wanted = by_hand(name, face, row, column)
                assert found[face, row, column].item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_maps_are_non_negative_and_each_faces_own(name):
    found = WEIGHTINGS[name](ACTIVATIONS, GRADIENTS)
    assert (found >= 0).all()
    alone = WEIGHTINGS[name](ACTIVATIONS[1:], GRADIENTS[1:])
    torch.testing.assert_close(alone[0], found[1])


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_nothing_active_or_no_gradient_gives_an_empty_map(name):
    none = torch.zeros_like(ACTIVATIONS)
    assert not WEIGHTINGS[name](none, GRADIENTS).any()
    assert not WEIGHTINGS[name](ACTIVATIONS, none).any()


def test_an_unknown_weighting_is_named():
    with pytest.raises(InputError, match="magic: no such weighting; available: signed"):
        WEIGHTINGS["magic"]


def test_signed_products_that_cancel_before_a_layer_normalisation_give_an_empty_map():
    activations = ACTIVATIONS.clone().requires_grad_()
    normalised = torch.nn.functional.layer_norm(activations.movedim(1, -1), (3,), eps=0)
    weights = torch.rand(normalised.shape, generator=GENERATOR)
    (gradients,) = torch.autograd.grad((normalised * weights).sum(), [activations])
    assert not WEIGHTINGS["signed"](ACTIVATIONS, gradients).any()
    one = torch.cat([gradients[:1], GRADIENTS[1:]])
    assert WEIGHTINGS["signed"](ACTIVATIONS, one).sum(dim=(1, 2)).gt(0).tolist() == [False, True]
