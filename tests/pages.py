"""The code blocks of the documentation, and a folder with the files that they name."""

from __future__ import annotations

import pickle
import re
import shlex
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import leam
from leam.demo import portraits

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# Comments, and what is written after a redirection.
_NOT_ARGUMENTS = re.compile(r"\s#.*|^#.*|\s>\s*(\S+)")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language and its lines."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> Iterator[list[str]]:
        """The commands of a shell block, as lists of arguments, without comments and redirections."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(_NOT_ARGUMENTS.sub("", line))
            if words:
                yield words


def pages() -> list[str]:
    """All pages that people write, relative to the repository."""
    top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
    return [*top, *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]


def blocks(language: str | None = None) -> list[Block]:
    """The blocks of all pages, or those in one language."""
    found = []
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, match["language"].strip(), match["text"]))
    return [block for block in found if language in {None, block.language}]


class Network(nn.Module):
    """A small recognizer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.Sequential(nn.Conv2d(3, 3, 1))
        self.layer1 = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Identity(), nn.Identity(), nn.Conv2d(8, 16, 3, 4, 1))
        self.fc = nn.Linear(16 * 49, 512)

    def forward(self, x):
        return self.fc(self.layer4(self.layer1(self.stages(x))).flatten(1))


_CARD = """
name = "NAME"
architecture = "onnx"
file = "door-camera.onnx"
embedding_size = 512
threshold = 0.35
"""
_SERVICE = """
import numpy as np

def my_service(picture):
    return np.asarray(picture, dtype=float)[::16, ::16].reshape(-1) - 127

def embed(pictures):
    return [my_service(picture) for picture in pictures]

def score(first, second):
    one, other = np.array(embed(first)), np.array(embed(second))
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
"""


def write_world(folder: Path) -> None:
    """Write the files and folders that the pages name, small, with two people in the public domain."""
    ada, bob = (Image.open(path).convert("RGB") for path in portraits().values())
    ada.save(folder / "ada.jpg")
    bob.save(folder / "bob.jpg")
    for people in ("faces", "people"):
        _write_people(folder / people, "ada", ada)
        _write_people(folder / people, "bob", bob)
    for own in ("mine", "pictures/ada"):
        shutil.copytree(folder / "faces/ada", folder / own)
    shutil.copytree(folder / "mine", folder / "cloaked")
    (folder / "people.csv").write_text("person,gender\nada,f\nbob,m\n")
    _write_pairs(folder, ada, bob)
    _write_models(folder)
    (folder / "my_api.py").write_text(_SERVICE)
    (folder / "examples").symlink_to(ROOT / "examples")


def _write_people(folder: Path, name: str, picture: Image.Image) -> None:
    (folder / name).mkdir(parents=True)
    for number, angle in enumerate((0, 4), 1):
        picture.rotate(angle).save(folder / name / f"{name}_{number:04d}.png")


def _write_pairs(folder: Path, *pictures: Image.Image) -> None:
    """Lists of pairs, their pictures, and aligned faces."""
    names = ("ada", "bob")
    chips = [_chip(picture) for picture in pictures]
    chips[0].save(folder / "chip.png")
    for name, picture, chip in zip(names, pictures, chips, strict=True):
        _write_people(folder / "lfw", name, picture)
        (folder / "faces_emore" / name).mkdir(parents=True)
        for number in (1, 2):
            chip.save(folder / "faces_emore" / name / f"{number}.png")
    genuine, impostor = "ada\t1\t2\nbob\t1\t2\n", "ada\t1\tbob\t1\nada\t2\tbob\t2\n"
    (folder / "pairs.txt").write_text(f"1\t2\n{genuine}{impostor}")
    lines = [
        f"{a}/{a}_000{i}.png,{b}/{b}_000{j}.png,{int(a == b)}"
        for a, i, b, j in [("ada", 1, "ada", 2), ("bob", 1, "bob", 2), ("ada", 1, "bob", 1)]
    ]
    (folder / "pairs.csv").write_text("\n".join(["left,right,same", *lines]) + "\n")
    encoded = [(folder / f"faces_emore/{name}/1.png").read_bytes() for name in names]
    order = [0, 0, 1, 1, 0, 1]
    (folder / "lfw.bin").write_bytes(
        pickle.dumps(([encoded[index] for index in order], [True, True, False]))
    )


def _chip(picture: Image.Image) -> Image.Image:
    face = leam.find_face(np.asarray(picture), leam.load_detector())
    return Image.fromarray(leam.Crop().align(face).image)


def _write_models(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces another exporter
        path = folder / "door-camera.onnx"
        torch.onnx.export(Network().eval(), torch.zeros(1, 3, 112, 112), path, dynamo=False)
    for card in ("door-camera", "my-model"):
        (folder / f"{card}.toml").write_text(_CARD.replace("NAME", card))
    for cards in ("cards", "my-cards"):
        (folder / cards).mkdir()
        shutil.copy(folder / "door-camera.onnx", folder / cards)
        shutil.copy(folder / "door-camera.toml", folder / cards)
