"""Whether `compact` or `landmarks` is the default parser, by the rule in docs/parsers.md.

    python benchmarks/parser_default.py ASSETS --cards examples/cards --out benchmarks/parser_default.json \
        --page docs/parsers.md

ASSETS must contain parsing/celebamask, lfw and zoo.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from markdown import write_between
from numpy.typing import NDArray

from leam.errors import FaceError
from leam.faces.detection import find_face
from leam.faces.detectors import load_detector
from leam.faces.detectors.aligned import CHIPS
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.face import Face
from leam.parsers import load_parser
from leam.parsers.parsing import Parser, confusion, merged
from leam.parsers.regions import REGION_OF, REGIONS
from leam.recognizers.catalogue import choose, read_catalogue
from leam.version import installed_versions
from parsers import SPLIT, Labels, forehead_is_skin, test_faces

PARSERS = ("landmarks", "compact")
COMPARED = ("skin", "nose", "eyes", "brows", "lips", "mouth")
RECOGNIZERS = ("face_reidentification_retail_0095", "mobilefacenet_insightface_y1")
DRAWS = 2000

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def overlaps(found: Labels, truth: Labels) -> Counts:
    """Pixels in the intersection and in the union of each compared region, ``(regions, 2)``."""
    counts = merged(confusion(truth, found), forehead_is_skin(REGION_OF, REGIONS))
    shared = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - shared
    return np.stack([shared, either], axis=1)[[REGIONS.index(region) for region in COMPARED]]


def region_iou(counts: Counts) -> Floats:
    """IoU of each region: of counts ``(pictures, regions, 2)``, summed over the pictures."""
    shared, either = counts.sum(axis=0).T
    return np.asarray(shared / either, dtype=np.float64)


def difference(counts: dict[str, Counts]) -> dict[str, Any]:
    """IoU of both parsers, and the difference of their means with its 95 % interval."""
    ious = {name: region_iou(counts[name]) for name in PARSERS}
    generator = np.random.default_rng(0)
    number = len(counts[PARSERS[0]])
    drawn = []
    for _ in range(DRAWS):
        rows = generator.integers(0, number, number)
        one, other = (region_iou(counts[name][rows]).mean() for name in PARSERS)
        drawn.append(other - one)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "pictures": number,
        **{
            name: {
                "mean": float(iou.mean()),
                **dict(zip(COMPARED, map(float, iou), strict=True)),
            }
            for name, iou in ious.items()
        },
        "difference": float(ious["compact"].mean() - ious["landmarks"].mean()),
        "interval": [float(low), float(high)],
    }


def measure(tested: Sequence[tuple[Face, Labels]]) -> dict[str, dict[str, Counts]]:
    """The overlaps of each parser with the annotation, by kind of chip: ``(pictures, regions, 2)``."""
    parsers: list[Parser] = [load_parser(name) for name in PARSERS]
    found: dict[str, dict[str, list[Counts]]] = {}
    for template, crop in CHIPS.items():
        aligned = load_detector(f"aligned_{template}")
        height, width = crop.size
        for face, truth in tested:
            labels = np.asarray(
                cv2.warpAffine(truth, crop.matrix(face), (width, height), flags=cv2.INTER_NEAREST),
                dtype=np.uint8,
            )
            (alone,) = aligned.detect(crop.align(face).image)
            for kind, shown in (("cut from pictures", face), ("alone", alone)):
                for parser in parsers:
                    lists = found.setdefault(f"{width} pixels, {kind}", {})
                    lists.setdefault(parser.name, []).append(
                        overlaps(parser.parse(shown, crop).labels, labels)
                    )
    return {
        kind: {name: np.stack(lists) for name, lists in by_parser.items()}
        for kind, by_parser in found.items()
    }


def faces_of(paths: Sequence[Path]) -> dict[str, Face]:
    """The main face of each picture that has one, by the picture's stem or name of its folder and file."""
    detector, faces = DlibDetector(), {}
    for path in paths:
        with suppress(FaceError):
            faces[f"{path.parent.name}/{path.name}"] = find_face(path, detector)
    return faces


def seen_people(assets: Path, cards: Path) -> tuple[set[str], dict[str, float]]:
    """Stems of the test pictures that probably show a person of the training set, and the limits of the recognizers."""
    split = json.loads(SPLIT.read_text())
    folder = assets / "parsing" / "celebamask" / "images"
    faces = {
        part: faces_of([folder / f"{name}.jpg" for part_name in names for name in split[part_name]])
        for part, names in (("test", ["test"]), ("known", ["train", "validation"]))
    }
    with (assets / "lfw" / "pairs.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["same"] == "0"]
    people = assets / "lfw" / "people"
    lfw = faces_of(sorted({people / row[side] for row in rows for side in ("left", "right")}))
    flagged, limits = set(faces["test"]), {}
    for entry in choose(read_catalogue(folders=[cards]), list(RECOGNIZERS)):
        recognizer = entry.load()

        def embed(faces: dict[str, Face]) -> dict[str, torch.Tensor]:
            found = [
                recognizer.embed(recognizer.crop.align(face).image[None])[0]  # noqa: B023
                for face in faces.values()
            ]
            return dict(zip(faces, torch.nn.functional.normalize(torch.stack(found)), strict=True))

        pairs = embed(lfw)
        limit = max(
            float(pairs[row["left"]] @ pairs[row["right"]])
            for row in rows
            if row["left"] in pairs and row["right"] in pairs
        )
        known = torch.stack(list(embed(faces["known"]).values()))
        nearest = {name: float((known @ one).max()) for name, one in embed(faces["test"]).items()}
        flagged &= {name for name, value in nearest.items() if value > limit}
        limits[recognizer.name] = limit
    return {Path(name).stem for name in flagged}, limits


def table(found: dict[str, Any]) -> str:
    """Markdown table with one row for each kind of chip."""
    means = [f"{name}: mean" for name in PARSERS]
    titles = ["chips", "test pictures", *means, "difference", *COMPARED]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for kind, sets in found["chips"].items():
        for row in sets.values():
            low, high = row["interval"]
            cells = [
                kind,
                str(row["pictures"]),
                *(f"{row[name]['mean']:.3f}" for name in PARSERS),
                f"{row['difference']:.3f} [{low:.3f}, {high:.3f}]",
                *(", ".join(f"{row[name][region]:.2f}" for name in PARSERS) for region in COMPARED),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("assets", type=Path)
    parser.add_argument("--cards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seen, limits = seen_people(given.assets, given.cards)
    tested = list(test_faces(given.assets))
    unseen = [face.path is not None and face.path.stem not in seen for face, _ in tested]
    counts = measure(tested)
    found = {
        "versions": installed_versions(),
        "limits": limits,
        "seen": sorted(seen),
        "chips": {
            kind: {
                "all": difference(by_parser),
                "unseen": difference({name: one[unseen] for name, one in by_parser.items()}),
            }
            for kind, by_parser in counts.items()
        },
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    if given.page:
        write_between(given.page, "parser default", table(found))


if __name__ == "__main__":
    main()
