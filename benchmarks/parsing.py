"""Processor time to parse a face, compared with the time to explain it, on one thread.

python benchmarks/parsing.py FACES --models dlib_resnet,examples/cards/mobileface_v3.toml
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from leam.explain.explainer import Explainer
from leam.faces.detection import find_face
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.people import draw_people, read_people
from leam.parsers import load_parser
from leam.recognizers.catalogue import load_recognizer


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", default="dlib_resnet")
    parser.add_argument("--parsers", default="landmarks,compact")
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector = DlibDetector()
    samples = draw_people(read_people(options.faces), 16, 2, 0)
    faces = [find_face(sample.path, detector) for sample in samples]
    for model in options.models.split(","):
        explainer = Explainer(load_recognizer(model))
        crop = explainer.recognizer.crop
        chips = np.stack([crop.align(face).image for face in faces])
        for name in options.parsers.split(","):
            face_parser = load_parser(name)
            face_parser.parse(faces[0], crop)
            explainer.explain(chips)  # warm-up, like the line before
            start = time.process_time()
            for face in faces:
                face_parser.parse(face, crop)
            parsed = time.process_time()
            explainer.explain(chips)
            explained = time.process_time()
            each = [1000 * spent / len(faces) for spent in (parsed - start, explained - parsed)]
            print(
                f"{explainer.recognizer.name}, {name}: "
                f"parsing {each[0]:.1f} ms per face, explaining {each[1]:.1f} ms"
            )


if __name__ == "__main__":
    main()
