"""Train the ``compact`` parser on CelebAMask-HQ images.

python training/compact.py CELEBAMASK_FOLDER points.npz RUN_FOLDER --minutes 65
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from augment import Example, augmented, plain, sided
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leam.faces.face import five_points_of
from leam.parsers.builtin.compact import CompactNet
from leam.parsers.network import head_matrix

CLASSES = 19
BATCH = 16
RATE = 2e-3
DECAY = 0.02
AVERAGE = 0.998
# The side of the pictures in pixels, up to this fraction of the time. Small pictures are faster and suffice at first.
STAGES = ((0.4, 144), (1.0, 192))
# Pictures are stored slightly larger than they are used.
CACHED_SIDE = 256
MASK_SIDE = 512
# The weight of a class is its frequency to the negative of this power, so that rare classes have a higher weight.
RARITY = 0.15


def main() -> None:
    """Train for the given time, and save the averaged weights as ``RUN_FOLDER/weights.pt``."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    given.run.mkdir(parents=True, exist_ok=True)
    split = json.loads((Path(__file__).parent / "split.json").read_text())
    examples = load(given.folder, given.points, split["train"])
    validation = load(given.folder, given.points, split["validation"])
    net = CompactNet(CLASSES).to(memory_format=torch.channels_last)
    if given.start:
        net.load_state_dict(torch.load(given.start, weights_only=True))
    average = copy.deepcopy(net).eval()
    stages = STAGES[-1:] if given.start else STAGES
    report = 0.1
    for step, done in enumerate(train(net, examples, stages, given)):
        update_average(average, net, min(AVERAGE, (step + 1) / (step + 21)))
        if done >= report:
            checkpoint(f"{done:.0%} step {step}", average, validation, given.run)
            report += 0.1
    checkpoint("final", average, validation, given.run)


def train(
    net: CompactNet,
    examples: list[Example],
    stages: tuple[tuple[float, int], ...],
    given: argparse.Namespace,
) -> Iterator[float]:
    """Train until the time is over. Yields the elapsed fraction of the time after each step."""
    weights = class_weights(examples)
    optimizer = torch.optim.AdamW(parameter_groups(net), lr=given.rate, betas=(0.9, 0.99))
    begin = time.monotonic()

    def done() -> float:
        return (time.monotonic() - begin) / (60 * given.minutes)

    def side() -> int:
        return next((side for until, side in stages if done() < until), stages[-1][1])

    for step, (pictures, labels) in enumerate(batches(examples, side, given.seed)):
        if done() >= 1:
            return
        for group in optimizer.param_groups:
            group["lr"] = given.rate * schedule(done(), step)
        train_step(net, optimizer, weights, pictures, labels)
        yield done()


def checkpoint(when: str, average: CompactNet, validation: list[Example], run: Path) -> None:
    """Save the weights and print their accuracy on the validation images."""
    torch.save(average.state_dict(), run / "weights.pt")
    accuracy, f1 = evaluate(average, validation)
    print(f"{when} accuracy {accuracy:.4f} f1 {f1:.4f}", flush=True)


def load(folder: Path, points: Path, names: list[str]) -> list[Example]:
    """Decode pictures and masks, and locate each head by its landmarks."""
    found = np.load(points)
    rows = {name: row for row, name in enumerate(found["names"])}
    five = np.array([five_points_of(landmarks) for landmarks in found["landmarks"]])
    # If no face was found, use the mean position of the others, since the images are aligned.
    five = np.where(np.isnan(five), np.nanmean(five, axis=0), five)
    examples = []
    for name in names:
        picture = np.asarray(Image.open(folder / "images" / f"{name}.jpg").convert("RGB"))
        picture = cv2.resize(picture, (CACHED_SIDE, CACHED_SIDE), interpolation=cv2.INTER_AREA)
        labels = np.asarray(Image.open(folder / "masks" / f"{name}.png"), dtype=np.uint8)
        labels = sided(labels)
        to_head = head_matrix(five[rows[name]], MASK_SIDE)
        to_head[:, 2] += 0.5
        examples.append(Example(picture, labels, to_head / MASK_SIDE))
    return examples


def class_weights(examples: list[Example]) -> Tensor:
    """Weights of the classes, with a mean of 1 over pixels."""
    counts = sum(np.bincount(e.labels.ravel(), minlength=CLASSES) for e in examples)
    frequency = torch.tensor(counts / counts.sum(), dtype=torch.float32)
    weights = frequency.clamp(min=1e-5) ** -RARITY
    return weights / (weights * frequency).sum()


def parameter_groups(net: torch.nn.Module) -> list[dict[str, object]]:
    """Apply weight decay to convolutions, but not to normalisations and biases."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]


def batches(
    examples: list[Example], side: Callable[[], int], seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random views without end. The next batch is prepared in the background.

    Yields:
        Pictures ``(n, 3, side, side)`` float32 and labels ``(n, side / 2, side / 2)`` int64.
    """
    # Two generators, since one is used in the background and generators are not thread-safe.
    shuffler, rng = np.random.default_rng(seed).spawn(2)

    def batch(indices: np.ndarray) -> tuple[Tensor, Tensor]:
        now = side()
        return stack([augmented(examples[index], now, rng) for index in indices])

    with ThreadPoolExecutor(1) as background:
        ready = None
        while True:
            shuffled = shuffler.permutation(len(examples))
            for start in range(0, len(examples) - BATCH + 1, BATCH):
                upcoming = background.submit(batch, shuffled[start : start + BATCH])
                if ready is not None:
                    yield ready.result()
                ready = upcoming


def stack(views: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    """Stack views into a batch."""
    pictures = torch.from_numpy(np.stack([picture for picture, _ in views]))
    labels = torch.from_numpy(np.stack([labels for _, labels in views]))
    return pictures.permute(0, 3, 1, 2).float(), labels.long()


def train_step(
    net: CompactNet,
    optimizer: torch.optim.Optimizer,
    weights: Tensor,
    pictures: Tensor,
    labels: Tensor,
) -> None:
    """Update the network with one batch."""
    net.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = net(pictures)
    value = loss(scores.float(), labels, weights)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()


def loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy plus Dice loss: 1 minus the mean Dice coefficient of the classes present."""
    logarithms = scores.log_softmax(dim=1)
    entropy = functional.nll_loss(logarithms, labels, weights)
    truth = functional.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float()
    probabilities = logarithms.exp()
    both = (probabilities * truth).sum(dim=(0, 2, 3))[1:]
    either = (probabilities + truth).sum(dim=(0, 2, 3))[1:]
    present = truth.sum(dim=(0, 2, 3))[1:] > 0
    dice = 2 * both[present] / either[present]
    return entropy + 1 - dice.mean()


def schedule(done: float, step: int) -> float:
    """Factor of the learning rate: linear warm-up over 200 steps, times a cosine decay."""
    return min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def update_average(average: torch.nn.Module, net: torch.nn.Module, keep: float) -> None:
    """Update the exponential moving average of the weights."""
    for mean, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)


@torch.inference_mode()
def evaluate(net: torch.nn.Module, examples: list[Example]) -> tuple[float, float]:
    """Pixel accuracy and mean F1 over the classes, on plain views at half resolution."""
    confusion = torch.zeros(CLASSES, CLASSES)
    for example in examples:
        pictures, labels = stack([plain(example, STAGES[-1][1])])
        found = net(pictures).argmax(dim=1)
        confusion += torch.bincount((labels * CLASSES + found).ravel(), minlength=CLASSES**2).view(
            CLASSES, CLASSES
        )
    right = confusion.diagonal()
    f1 = 2 * right / (confusion.sum(0) + confusion.sum(1)).clamp(min=1)
    return (right.sum() / confusion.sum()).item(), f1[confusion.sum(1) > 0].mean().item()


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="folder with images/ and masks/")
    arguments.add_argument("points", type=Path, help="output of points.py")
    arguments.add_argument("run", type=Path, help="output folder for weights.pt")
    arguments.add_argument("--minutes", type=float, default=65)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--rate", type=float, default=RATE)
    arguments.add_argument("--start", type=Path, help="weights to continue from, at full size")
    return arguments.parse_args()


if __name__ == "__main__":
    main()
