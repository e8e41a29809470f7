"""How much of a study's work on a face is parsing: processor time of both, on one thread.

python benchmarks/parsing.py FACES --models dlib_resnet,examples/cards/mobileface_v3.toml
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from leam.faces import DlibDetector, find_face
from leam.faces.people import draw_people, read_people
from leam.mapping import Explainer
from leam.parsers import load_parser
from leam.recognizers import load_recognizer
from leam.study import Settings
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
    subjects = [
        Subject(place, sample.person, sample.image, find_face(sample.path, detector))
        for place, sample in enumerate(draw_people(read_people(options.faces), 16, 2, 0))
    ]
    for model in options.models.split(","):
        explainer = Explainer(load_recognizer(model))
        crop = explainer.recognizer.crop
        for name in options.parsers.split(","):
            face_parser = load_parser(name)
            face_parser.parse(subjects[0].face, crop)  # warms up
            start = time.process_time()
            parsings = [face_parser.parse(subject.face, crop) for subject in subjects]
            parsed = time.process_time()
            measure_slice(subjects, explainer, parsings, Settings(parser=name))
            done = time.process_time()
            each = [1000 * spent / len(subjects) for spent in (parsed - start, done - parsed)]
            print(
                f"{explainer.recognizer.name}, {name}: parsing {each[0]:.1f} ms a face, the rest {each[1]:.1f} ms"
            )


if __name__ == "__main__":
    main()
