"""Train the ``compact`` parser on CelebAMask-HQ images.

python training/compact.py CELEBAMASK_FOLDER points.npz RUN_FOLDER --minutes 65
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator
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
from leam.parsers.compact import CompactNet
from leam.parsers.head import head_matrix

CLASSES = 19
BATCH = 16
RATE = 2e-3
DECAY = 0.02
AVERAGE = 0.998
# Most can be learned on small pictures: until this share of the time, the side in pixels.
STAGES = ((0.4, 144), (1.0, 192))
# Pictures are kept a little larger than they are looked at.
CACHED_SIDE = 256
MASK_SIDE = 512
# Rare classes count for more: their frequency to this power, inverted.
RARITY = 0.15


def main() -> None:
    """Train until the minutes are over; keep the averaged weights in ``RUN_FOLDER/weights.pt``."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    given.run.mkdir(parents=True, exist_ok=True)
    split = json.loads((Path(__file__).parent / "split.json").read_text())
    train = load(given.folder, given.points, split["train"])
    validation = load(given.folder, given.points, split["validation"])
    net = CompactNet(CLASSES).to(memory_format=torch.channels_last)
    if given.start:
        net.load_state_dict(torch.load(given.start, weights_only=True))
    average = copy.deepcopy(net).eval()
    weights = class_weights(train)
    optimizer = torch.optim.AdamW(parameter_groups(net), lr=given.rate, betas=(0.9, 0.99))
    stages = STAGES[-1:] if given.start else STAGES
    begin, step, losses, report = time.monotonic(), 0, [], 0.1
    with ThreadPoolExecutor(1) as background:
        pending = None
        for order in orders(len(train), np.random.default_rng(given.seed)):
            done = (time.monotonic() - begin) / (60 * given.minutes)
            if done >= 1:
                break
            side = next(side for until, side in stages if done < until)
            upcoming = background.submit(batch, train, order, side)
            ready, pending = pending, upcoming
            if ready is None:
                continue
            for group in optimizer.param_groups:
                group["lr"] = given.rate * schedule(done, step)
            losses.append(train_step(net, optimizer, weights, *ready.result()))
            step += 1
            update_average(average, net, min(AVERAGE, step / (step + 20)))
            if done >= report:
                torch.save(average.state_dict(), given.run / "weights.pt")
                accuracy, f1 = evaluate(average, validation)
                line = f"{done:.0%} step {step} side {side} loss {np.mean(losses):.4f}"
                print(f"{line} accuracy {accuracy:.4f} f1 {f1:.4f}", flush=True)
                losses, report = [], report + 0.1
    torch.save(average.state_dict(), given.run / "weights.pt")
    print("final accuracy {:.4f} f1 {:.4f}".format(*evaluate(average, validation)), flush=True)


def load(folder: Path, points: Path, names: list[str]) -> list[Example]:
    """Decode pictures and masks once, and place each head by its landmarks."""
    found = np.load(points)
    rows = {name: row for row, name in enumerate(found["names"])}
    five = np.array([five_points_of(landmarks) for landmarks in found["landmarks"]])
    # Where no face was found, the frame itself says where the face is.
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
    """A weight per class, one on average over pixels."""
    counts = sum(np.bincount(e.labels.ravel(), minlength=CLASSES) for e in examples)
    frequency = torch.tensor(counts / counts.sum(), dtype=torch.float32)
    weights = frequency.clamp(min=1e-5) ** -RARITY
    return weights / (weights * frequency).sum()


def parameter_groups(net: torch.nn.Module) -> list[dict[str, object]]:
    """Convolutions decay; norms and biases do not."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]


def orders(count: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, int]]:
    """Endless batches of indices, each with a seed of its own."""
    while True:
        shuffled = rng.permutation(count)
        for start in range(0, count - BATCH + 1, BATCH):
            yield shuffled[start : start + BATCH], int(rng.integers(2**63))


def batch(
    examples: list[Example], order: tuple[np.ndarray, int], side: int
) -> tuple[Tensor, Tensor]:
    """Random views: pictures ``(n, 3, side, side)``, labels ``(n, side / 2, side / 2)``."""
    indices, seed = order
    rng = np.random.default_rng(seed)
    return stack([augmented(examples[index], side, rng) for index in indices])


def stack(views: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    """Views as one batch."""
    pictures = torch.from_numpy(np.stack([picture for picture, _ in views]))
    labels = torch.from_numpy(np.stack([labels for _, labels in views]))
    return pictures.permute(0, 3, 1, 2).float(), labels.long()


def train_step(
    net: CompactNet,
    optimizer: torch.optim.Optimizer,
    weights: Tensor,
    pictures: Tensor,
    labels: Tensor,
) -> float:
    """One update; the loss before it."""
    net.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = net(pictures)
    value = loss(scores.float(), labels, weights)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return value.item()


def loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy, and one minus the mean Dice coefficient of the classes present."""
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
    """Warm up over 200 steps, then fall along a cosine."""
    return min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def update_average(average: torch.nn.Module, net: torch.nn.Module, keep: float) -> None:
    """Move the averaged weights a step towards the trained ones."""
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
    arguments.add_argument("folder", type=Path, help="holds images/ and masks/")
    arguments.add_argument("points", type=Path, help="made by points.py")
    arguments.add_argument("run", type=Path, help="where weights.pt goes")
    arguments.add_argument("--minutes", type=float, default=65)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--rate", type=float, default=RATE)
    arguments.add_argument("--start", type=Path, help="weights to go on from, at full size")
    return arguments.parse_args()


if __name__ == "__main__":
    main()
