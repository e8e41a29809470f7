"""How much of a study's work on a face is parsing: processor time of both, on one thread.

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
from leam.study import Settings
from leam.study.album import Chips
from leam.study.measuring import measure_slice
from leam.study.subject import Subject


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
    subjects = [Subject(i, sample.person, sample.image) for i, sample in enumerate(samples)]
    for model in options.models.split(","):
        explainer = Explainer(load_recognizer(model))
        crop = explainer.recognizer.crop
        aligned = [crop.align(face) for face in faces]
        chips = Chips(
            np.stack([chip.image for chip in aligned]), np.stack([chip.matrix for chip in aligned])
        )
        for name in options.parsers.split(","):
            face_parser = load_parser(name)
            face_parser.parse(faces[0], crop)  # warms up
            start = time.process_time()
            parsings = [face_parser.parse(face, crop) for face in faces]
            parsed = time.process_time()
            measure_slice(subjects, chips, explainer, parsings, Settings(parser=name))
            done = time.process_time()
            each = [1000 * spent / len(subjects) for spent in (parsed - start, done - parsed)]
            print(
                f"{explainer.recognizer.name}, {name}: parsing {each[0]:.1f} ms a face, the rest {each[1]:.1f} ms"
            )


if __name__ == "__main__":
    main()
