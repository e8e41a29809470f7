"""Train a small recognizer on drawn faces, so that the region it relies on is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.planted.drawing import SIDE, Sketch
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer

EMBEDDING_SIZE = 32
_BATCH = 32
_LEARNING_RATE = 5e-3
# Scale of the cosines before the softmax, as in margin losses.
_SCALE = 16.0


def train_recognizer(sketch: Sketch, seed: int, steps: int = 600) -> Recognizer:
    """Train a recognizer with a softmax over cosines, on new images of a sketch's people at every step.

    Args:
        sketch: Draws the people.
        seed: Random seed of weights and images.
        steps: Number of batches of 32 images.

    Returns:
        A recognizer of 112x112 RGB chips with cosine similarity.
    """
    # Do not change the caller's random state.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, people = _network(), nn.Parameter(torch.randn(sketch.people, EMBEDDING_SIZE))
    recognizer = Recognizer(module, _card(sketch))
    optimiser = torch.optim.Adam([*module.parameters(), people], lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=steps)
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        person = generator.integers(0, sketch.people, _BATCH)
        faces = sketch.draw(person, int(generator.integers(2**32)))
        cosines = _cosines(module(recognizer.preprocess(faces.chips)), people)
        loss = functional.cross_entropy(_SCALE * cosines, torch.from_numpy(person))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    module.zero_grad(set_to_none=True)
    module.eval()
    return recognizer


def _network() -> nn.Sequential:
    """Four convolutions and a fully connected head, which depends on positions as ArcFace's does."""
    widths = (3, 8, 16, 32, 32)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        convolution = nn.Conv2d(before, after, 3, stride=2, padding=1)
        layers += [convolution, nn.BatchNorm2d(after), nn.PReLU(after)]
    side = SIDE // 16
    head = nn.Linear(widths[-1] * side**2, EMBEDDING_SIZE)
    # Near zero, so that the final weights are learnt ones.
    nn.init.normal_(head.weight, std=1e-3)
    return nn.Sequential(*layers, nn.Flatten(), head)


def _cosines(embeddings: Tensor, people: Tensor) -> Tensor:
    return functional.normalize(embeddings, dim=1) @ functional.normalize(people, dim=1).T


def _card(sketch: Sketch) -> Card:
    return Card(
        name=f"planted_{sketch.region}", input_size=(SIDE, SIDE), embedding_size=EMBEDDING_SIZE
    )
