"""Layer Embedding Activation Mapping (LEAM): which parts of a face a recognizer relies on.

A first explanation:

    import leam

    recognizer = leam.load_recognizer("dlib_resnet")
    face = leam.find_face("ada.jpg", leam.DlibDetector())
    (explanation,) = leam.explain_faces([face], leam.Explainer(recognizer), leam.load_parser())
    print(dict(zip(leam.REGIONS, explanation.share)))
"""

from leam.errors import LeamError
from leam.faces import Chip, Crop, DlibDetector, Face, find_face, read_picture
from leam.faces.people import Sample, add_groups, draw_people, read_people
from leam.mapping import Explainer, Maps, contrast_target, reference_target, self_target
from leam.measures import (
    Estimate,
    bhattacharyya,
    bootstrap_mean,
    critical_mask,
    drop,
    occlude,
    region_areas,
    region_shares,
)
from leam.parsers import LABELS, REGIONS, Parsing, load_parser
from leam.recognizers import Card, Recognizer, load_recognizer
from leam.report import render_report, write_explanation
from leam.study import Plan, RunFolder, Settings, plan_study, run_study
from leam.study.explanation import Explanation, explain_faces
from leam.version import __version__

__all__ = [
    "LABELS",
    "REGIONS",
    "Card",
    "Chip",
    "Crop",
    "DlibDetector",
    "Estimate",
    "Explainer",
    "Explanation",
    "Face",
    "LeamError",
    "Maps",
    "Parsing",
    "Plan",
    "Recognizer",
    "RunFolder",
    "Sample",
    "Settings",
    "__version__",
    "add_groups",
    "bhattacharyya",
    "bootstrap_mean",
    "contrast_target",
    "critical_mask",
    "draw_people",
    "drop",
    "explain_faces",
    "find_face",
    "load_parser",
    "load_recognizer",
    "occlude",
    "plan_study",
    "read_people",
    "read_picture",
    "reference_target",
    "region_areas",
    "region_shares",
    "render_report",
    "run_study",
    "self_target",
    "write_explanation",
]
