"""Compare face parsers with annotated masks and with each other, and draw contact sheets of their labels.

python benchmarks/parsers.py scores ASSETS results.json [--parsers compact,landmarks,...]
python benchmarks/parsers.py agreement ASSETS results.json [--people 1000]
python benchmarks/parsers.py sheets ASSETS FOLDER [--parsers ...]
python benchmarks/parsers.py table results.json

ASSETS must contain parsing/celebamask, parsing/unet_simonenkel.pth and lfw/people. Results are added
to the file by parser; the last command prints them as Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from leam.errors import FaceError
from leam.faces.alignment import Crop, Matrix, transform_points
from leam.faces.detection import find_face
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.face import Face, Points
from leam.parsers import load_parser
from leam.parsers.network import HeadParser
from leam.parsers.parsing import Counts, Frame, Parser, Parsing, accuracy, confusion, f1, merged
from leam.parsers.regions import (
    GROUP_OF,
    GROUPS,
    LABELS,
    ORDERS,
    REGION_OF,
    REGIONS,
    label_values,
    translate,
)

BASELINE = "unet_simonenkel"
SPLIT = Path(__file__).parents[1] / "training" / "split.json"
FINE = ("nose", "eyes", "brows", "lips")
CHIP = Crop()
TIMED = 30
TITLES = {
    "frame": "whole frames, 512 pixels",
    "chip": "chips, 112 pixels, cut from frames",
    "chip_alone": "chips, 112 pixels, nothing around them",
}
VIEWS = tuple(TITLES)
MEANS = {
    "accuracy": "pixel accuracy",
    "groups_f1": "mean F1 of the 11 groups",
    "fine_f1": "mean F1 of nose, eyes, brows, lips",
}
SHEET_ROWS, SHEET_COLUMNS, SHEET_TILE = 10, 3, 160

Labels = NDArray[np.uint8]


def main() -> None:
    """Run one of the commands."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("command", choices=("scores", "agreement", "sheets", "table"))
    arguments.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    arguments.add_argument("--parsers", default=f"{BASELINE},landmarks,compact")
    arguments.add_argument("--people", type=int, default=1000)
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    names = given.parsers.split(",")
    if given.command == "table":
        print_table(json.loads(given.paths[0].read_text()))
        return
    assets, out = given.paths
    if given.command == "scores":
        add(out, {"scores": scores(assets, names)})
    elif given.command == "agreement":
        add(out, {"agreement": agreement(assets, given.people)})
    else:
        sheets(assets, names, out)


def scores(assets: Path, names: list[str]) -> dict[str, object]:
    """Measure accuracy and F1 on the test images, and the time, of each parser."""
    tested = list(test_faces(assets))
    print(f"{len(tested)} test images with a face")
    return {name: {"images": len(tested), **score(assets, name, tested)} for name in names}


def score(assets: Path, name: str, tested: list[tuple[Face, Labels]]) -> dict[str, object]:
    """Measure a parser on whole frames, on chips cut from frames, and on chips without their surroundings."""
    whole = load(assets, name, tested[0][0].picture.shape[0])
    alone = load(assets, name, CHIP.size[0])
    counts: dict[str, Counts] = {}
    for face, truth in tested:
        chip, chip_truth = chip_face(face), chip_labels(face, truth)
        views = {
            "frame": (whole, face, Frame.of(face), truth),
            "chip": (whole, face, CHIP, chip_truth),
            "chip_alone": (alone, chip, Frame.of(chip), chip_truth),
        }
        for view, (parser, shown, crop, labels) in views.items():
            try:
                found = parser.parse(shown, crop).labels
            except FaceError:
                # A parser that finds no face labels nothing.
                found = np.zeros(crop.size, dtype=np.uint8)
            added = confusion(labels, found)
            counts[view] = counts[view] + added if view in counts else added
    print(name, {view: round(accuracy(found), 4) for view, found in counts.items()})
    result: dict[str, object] = {view: summary(found, whole) for view, found in counts.items()}
    result["milliseconds"] = milliseconds(whole, [face for face, _ in tested[:TIMED]])
    return result


def summary(counts: Counts, parser: Parser) -> dict[str, object]:
    """Scores from a confusion matrix ``(labels, labels)``, with left and right merged.

    A part that a parser does not distinguish scores 0. The annotations label the forehead as skin.
    """
    regions = merged(counts, forehead_is_skin(REGION_OF, REGIONS))
    by_region = dict(zip(REGIONS, f1(regions).tolist(), strict=True))
    by_group = dict(zip(GROUPS, f1(merged(counts, GROUP_OF)).tolist(), strict=True))
    return {
        "accuracy": accuracy(regions),
        "groups_f1": statistics.mean(by_group.values()),
        "fine_f1": statistics.mean(by_region[region] for region in FINE),
        "by_group": by_group,
        "by_region": {region: value for region, value in by_region.items() if region != "forehead"},
        "labels": len(parser.labels),
    }


def forehead_is_skin(parts: tuple[int, ...], names: tuple[str, ...]) -> tuple[int, ...]:
    """Positions of regions, with forehead merged into skin, since no data set annotates it."""
    forehead, skin = names.index("forehead"), names.index("skin")
    return tuple(skin if part == forehead else part for part in parts)


def milliseconds(parser: Parser, faces: list[Face]) -> float:
    """Median processor time to parse a 112x112 chip on one thread, without detection."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parser.parse(faces[0], CHIP)
    taken = []
    for face in faces:
        begin = time.process_time()
        parser.parse(face, CHIP)
        taken.append(1000 * (time.process_time() - begin))
    torch.set_num_threads(threads)
    return statistics.median(taken)


def agreement(assets: Path, people: int) -> dict[str, object]:
    """Agreement of ``landmarks`` and ``compact`` on chips of LFW, with one picture per person."""
    one, other = load_parser("landmarks"), load_parser("compact")
    total = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    images = 0
    for face in lfw_faces(assets, people):
        total += confusion(one.parse(face, CHIP).labels, other.parse(face, CHIP).labels)
        images += 1
    regions = merged(total, forehead_is_skin(REGION_OF, REGIONS))
    pixels = regions.sum()
    by_region = {
        region: {
            "f1": value,
            "landmarks_area": float(regions[row].sum() / pixels),
            "compact_area": float(regions[:, row].sum() / pixels),
        }
        for row, (region, value) in enumerate(zip(REGIONS, f1(regions).tolist(), strict=True))
        if region != "forehead"
    }
    return {"images": images, "accuracy": accuracy(regions), "by_region": by_region}


def sheets(assets: Path, names: list[str], folder: Path) -> None:
    """Draw contact sheets: chips, annotated masks if available, and the labels of each parser."""
    folder.mkdir(parents=True, exist_ok=True)
    parsers = [load(assets, name, 512) for name in names]
    count = SHEET_ROWS * SHEET_COLUMNS
    strips = []
    for face, truth in islice(test_faces(assets), count):
        chip = CHIP.align(face).image
        true = Parsing(chip_labels(face, truth), np.ones(CHIP.size, dtype=np.float32))
        drawn = overlay(chip, true)
        strips.append([chip, drawn, *(paint(parser, face) for parser in parsers)])
    write_sheet(strips, folder / "test.png")
    parsers = [parser for parser in parsers if parser.name != BASELINE]
    faces = lfw_faces(assets, count)
    strips = [
        [CHIP.align(face).image, *(paint(parser, face) for parser in parsers)] for face in faces
    ]
    write_sheet(strips, folder / "lfw.png")


def overlay(chip: NDArray[np.uint8], parsing: Parsing) -> NDArray[np.uint8]:
    """A chip ``(h, w, 3)``, tinted with the colours of the labels."""
    colours = np.array([label.colour for label in LABELS])[parsing.labels]
    return np.round(0.4 * chip + 0.6 * colours).astype(np.uint8)


def paint(parser: Parser, face: Face) -> NDArray[np.uint8]:
    """Draw the labels of a parser over the chip."""
    return overlay(CHIP.align(face).image, parser.parse(face, CHIP))


def write_sheet(strips: list[list[NDArray[np.uint8]]], path: Path) -> None:
    """Arrange strips of equally large pictures in columns, enlarged."""
    rows = [np.hstack(strip) for strip in strips]
    columns: list[NDArray[np.uint8]] = [
        np.vstack(rows[at : at + SHEET_ROWS]) for at in range(0, len(rows), SHEET_ROWS)
    ]
    columns = [column for column in columns if column.shape == columns[0].shape]
    scale = SHEET_TILE / CHIP.size[0]
    sheet = cv2.resize(np.hstack(columns), None, fx=scale, fy=scale)
    Image.fromarray(np.asarray(sheet, dtype=np.uint8)).save(path)
    print(path)


def test_faces(assets: Path) -> Iterator[tuple[Face, Labels]]:
    """The test images in which a face is found, with their annotated labels ``(512, 512)``."""
    detector, table = DlibDetector(), label_values(translate(ORDERS["celebamask"]))
    folder = assets / "parsing" / "celebamask"
    for name in json.loads(SPLIT.read_text())["test"]:
        labels = table[np.asarray(Image.open(folder / "masks" / f"{name}.png"))]
        with suppress(FaceError):
            yield find_face(folder / "images" / f"{name}.jpg", detector), labels


def lfw_faces(assets: Path, people: int) -> Iterator[Face]:
    """The first picture of evenly spaced people, if a face is found in it."""
    detector = DlibDetector()
    everyone = sorted((assets / "lfw" / "people").iterdir())
    for person in everyone[:: max(1, len(everyone) // people)][:people]:
        with suppress(FaceError):
            yield find_face(min(person.glob("*.jpg")), detector)


def chip_face(face: Face) -> Face:
    """A face reduced to its aligned chip."""
    chip = CHIP.align(face)
    return replace(
        face,
        picture=chip.image,
        landmarks=transform_points(chip.matrix, face.landmarks),
        five_points=transform_points(chip.matrix, face.five_points),
        corner_points=transform_points(chip.matrix, face.corner_points),
    )


def chip_labels(face: Face, truth: Labels) -> Labels:
    """Warp annotated labels ``(H, W)`` of a picture to its chip; background outside the picture."""
    height, width = CHIP.size
    warped = cv2.warpAffine(truth, CHIP.matrix(face), (width, height), flags=cv2.INTER_NEAREST)
    return np.asarray(warped, dtype=np.uint8)


def load(assets: Path, name: str, picture_side: int) -> Parser:
    """Load a parser by name. The reference network gets the whole picture, resized to a square."""
    if name != BASELINE:
        return load_parser(name)
    network = UNet().eval()
    path = assets / "parsing" / f"{BASELINE}.pth"
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def view(points: Points, side: int) -> Matrix:  # noqa: ARG001  wherever the face is
        scale = side / picture_side
        return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])

    return HeadParser(BASELINE, translate(ORDERS[BASELINE]), 256, network, view)


class UNet(nn.Module):
    """The architecture of ``unet_simonenkel.pth``, inferred from the shapes of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.enc1, self.enc2, self.bottleneck = pair(3, 32), pair(32, 64), pair(64, 128)
        self.up1, self.dec1 = nn.ConvTranspose2d(128, 64, 2, stride=2), pair(128, 64)
        self.up2, self.dec2 = nn.ConvTranspose2d(64, 32, 2, stride=2), pair(64, 32)
        self.out = nn.Conv2d(32, 19, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores ``(n, 19, h, w)`` of RGB pictures ``(n, 3, h, w)``, 0-255."""
        fine = self.enc1(pictures / 127.5 - 1)
        middle = self.enc2(nn.functional.max_pool2d(fine, 2))
        coarse = self.bottleneck(nn.functional.max_pool2d(middle, 2))
        middle = self.dec1(torch.cat([self.up1(coarse), middle], dim=1))
        scores: Tensor = self.out(self.dec2(torch.cat([self.up2(middle), fine], dim=1)))
        return scores


def pair(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with a ReLU."""
    first = nn.Conv2d(inputs, outputs, 3, padding=1)
    second = nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def print_table(results: dict[str, Any]) -> None:
    """Print all results as Markdown tables with one column per parser."""
    parsers = results["scores"]
    for view in VIEWS:
        scored = [result[view] for result in parsers.values()]
        print_head(TITLES[view], *parsers)
        for key, title in MEANS.items():
            print_row(title, *(f"**{row[key]:.3f}**" for row in scored))
        for group in GROUPS:
            print_row(group, *(f"{row['by_group'][group]:.3f}" for row in scored))
        print_row("lips", *(f"{row['by_region']['lips']:.3f}" for row in scored))
    print_head("processor milliseconds a chip", *parsers)
    print_row("", *(f"{result['milliseconds']:.1f}" for result in parsers.values()))
    agreed = results["agreement"]
    print_head(f"{agreed['images']} LFW chips", "F1", "area, landmarks", "area, compact")
    for region, row in agreed["by_region"].items():
        areas = (row["landmarks_area"], row["compact_area"])
        print_row(region, f"{row['f1']:.3f}", *(f"{100 * area:.1f} %" for area in areas))


def print_head(*cells: str) -> None:
    """Print the header of a Markdown table."""
    print()
    print_row(*cells)
    print_row(*["---"] * len(cells))


def print_row(*cells: str) -> None:
    """Print one row of a Markdown table."""
    print("|", " | ".join(cells), "|")


def add(path: Path, results: dict[str, dict[str, object]]) -> None:
    """Add results to a JSON file."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    for key, value in results.items():
        stored[key] = {**stored.get(key, {}), **value}
    path.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
