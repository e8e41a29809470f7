"""A small study that takes seconds, to be broken in every way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from PIL import Image

from leam.demo import portraits
from leam.faces.people import read_dataset
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from leam.study.plan import Plan, Settings
from leam.study.run import plan_study, run_study
from leam.study.store import RunFolder
from tiny import TinyNet

SIDE = 24


def write_faces(folder: Path) -> None:
    """Two people, two pictures of each."""
    for person, path in portraits().items():
        (folder / person).mkdir(parents=True)
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((360, 360))
        for number in range(2):
            picture.rotate(4 * number).save(folder / person / f"{number}.png")


def recognizer(name: str = "tiny", seed: int = 0) -> Recognizer:
    torch.manual_seed(seed)
    return Recognizer(TinyNet(SIDE), Card(name=name, input_size=(SIDE, SIDE)))


def plan_of(faces: Path, *recognizers: Recognizer, **settings: object) -> Plan:
    found = read_dataset(faces)
    return plan_study(
        "faces", found.samples, recognizers, Settings(**settings), exclusions=found.exclusions
    )


def study(faces: Path, out: Path, *recognizers: Recognizer, **settings: object) -> dict:
    """Run a study of a folder of faces and give its summary."""
    models = recognizers or (recognizer(),)
    run_study(plan_of(faces, *models, **settings), models, RunFolder(out))
    return json.loads((out / "summary.json").read_text())


def digests(run: Path) -> dict[str, str]:
    files = sorted([*run.glob("tables/**/*.parquet"), run / "summary.json", run / "run.json"])
    return {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def log_of(run: Path) -> list[str]:
    """The log's lines without their times."""
    log = run / "log.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.partition(" ")[2] for line in lines]
