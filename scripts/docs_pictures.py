"""Make the pictures of the documentation from two portraits in the public domain.

    LEAM_ASSETS=... python scripts/docs_pictures.py

The grid needs the recognizers of examples/cards, whose files lie in the folder named by LEAM_ASSETS.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import leam
from leam.demo import portraits
from leam.explain.methods import create_method

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images"
CARDS = ROOT / "examples" / "cards"
RECOGNIZERS = {
    "dlib_resnet": "dlib_resnet",
    "edgeface_xs_q": CARDS / "edgeface_xs_q.toml",
    "mobileface_v3": CARDS / "mobileface_v3.toml",
    "mobilefacenet_caffe": CARDS / "mobilefacenet_caffe.toml",
}
METHODS = ("leam", "grad-cam", "input-gradients", "integrated-gradients", "occlusion", "corrrise")
LAYERS = 6
PARSERS = ("landmarks", "compact")
SIDE, GAP, LABEL = 180, 6, 30
"""Pixels of a cell, between cells, and of a row of labels."""
BRIGHTEST = 8.0
"""The scale ends where a pixel has this many times the mean share."""

Pixels = NDArray[np.uint8]
Rows = dict[str, list[Pixels | None]]


def main() -> None:
    """Write all pictures."""
    detector, parser = leam.load_detector(), leam.load_parser()
    face, other = (leam.find_face(path, detector) for path in portraits().values())
    rows: Rows = {}
    for name, card in RECOGNIZERS.items():
        recognizer = leam.load_recognizer(card)
        chip = recognizer.crop.align(face).image
        rows[name] = [chip]
        for method in METHODS:
            try:
                (one,) = leam.explain_faces([face], create_method(method, recognizer), parser)
                rows[name].append(shown(chip, one.maps.overall[0].numpy()))
            except leam.LeamError:  # the method found nothing
                rows[name].append(None)
    save("grid", rows, ["face", *METHODS])

    explainer = leam.Explainer(leam.load_recognizer())
    (one,) = leam.explain_faces([face], explainer, parser)
    chosen = np.linspace(0, len(one.maps.layers) - 1, LAYERS).round().astype(int)
    layers = [shown(one.chip.image, one.maps.layer_maps[index][0].numpy()) for index in chosen]
    save("layers", {"": layers}, [one.maps.layers[index].name for index in chosen])

    pairs = [
        leam.explain_faces([first], explainer, parser, references=[second])[0]
        for first, second in ((face, other), (other, face))
    ]
    rows = {
        "alike": [shown(pair.chip.image, pair.maps.overall[0].numpy()) for pair in pairs],
        "different": [
            shown(pair.chip.image, pair.difference.overall) for pair in pairs if pair.difference
        ],
    }
    save("pair", rows, ["first face", "second face"])

    crop = leam.Crop()
    chip = crop.align(face).image
    drawn = [regions(chip, leam.load_parser(name).parse(face, crop).regions) for name in PARSERS]
    save("regions", {"": [chip, *drawn]}, ["face", *PARSERS])


def shown(chip: Pixels, share: NDArray[np.floating]) -> Pixels:
    """A map over the grey face. One scale for all maps: the share of a pixel over the mean share."""
    relative = share * share.size / BRIGHTEST
    value = cv2.resize(relative.astype(np.float32), chip.shape[1::-1]).clip(0, 1)
    colours = cv2.applyColorMap((255 * value).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)[:, :, None] * 0.75
    weight = (0.15 + 0.85 * np.sqrt(value))[:, :, None]
    return (colours[:, :, ::-1] * weight + grey * (1 - weight)).round().astype(np.uint8)


def regions(chip: Pixels, labels: NDArray[np.uint8]) -> Pixels:
    """Regions in colours over the face."""
    hues = (labels.astype(int) * 180 // len(leam.REGIONS)).astype(np.uint8)
    full = np.full_like(hues, 200)
    colours = cv2.cvtColor(np.dstack([hues, full, full]), cv2.COLOR_HSV2RGB)
    mixed = np.where(labels[:, :, None] == 0, chip, chip * 0.55 + colours * 0.45)
    return mixed.round().astype(np.uint8)


def save(name: str, rows: Rows, columns: list[str]) -> None:
    """Write rows of cells with labels, dark text on white."""
    font = ImageFont.load_default(16)
    left = 20 + round(max(map(font.getlength, rows))) if any(rows) else 0
    width = left + len(columns) * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, LABEL + len(rows) * (SIDE + GAP) - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(columns):
        middle = left + column * (SIDE + GAP) + SIDE // 2
        draw.text((middle, LABEL // 2), label, "#222222", font, anchor="mm")
    for row, (label, cells) in enumerate(rows.items()):
        top = LABEL + row * (SIDE + GAP)
        draw.text((left - 10, top + SIDE // 2), label, "#222222", font, anchor="rm")
        for column, cell in enumerate(cells):
            place = (left + column * (SIDE + GAP), top)
            if cell is None:
                middle = (place[0] + SIDE // 2, top + SIDE // 2)
                draw.text(middle, "no map", "#666666", font, anchor="mm")
                continue
            resized = Image.fromarray(cell).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(resized, place)
    sheet.save(FOLDER / f"{name}.jpg", quality=88, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
