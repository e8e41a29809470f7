"""Layer Embedding Activation Mapping (LEAM): which parts of a face a recognizer relies on.

A first explanation:

    import leam

    recognizer = leam.load_recognizer("dlib_resnet")
    face = leam.find_face("ada.jpg", leam.load_detector())
    (explanation,) = leam.explain_faces([face], leam.Explainer(recognizer), leam.load_parser())
    explanation.save("ada")

Names are imported from their modules when they are first used, so that ``import leam`` itself costs next to nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from leam.version import __version__

if TYPE_CHECKING:
    from leam.errors import LeamError, LeamWarning
    from leam.explain.explainer import Explainer, Maps
    from leam.explain.explanation import Explanation, explain_faces
    from leam.explain.masks import critical_mask
    from leam.explain.person import PersonMap, Population, person_map
    from leam.explain.person_explanation import explain_person, population_of_faces
    from leam.explain.targets import contrast_target, reference_target, self_target
    from leam.faces.alignment import Chip, Crop
    from leam.faces.detection import find_face
    from leam.faces.detectors import load_detector
    from leam.faces.face import Face
    from leam.faces.people import Sample, add_groups, draw_people, read_people
    from leam.faces.reading import read_picture
    from leam.limits import memory_limit, set_memory_limit
    from leam.metrics.fills import occlude
    from leam.metrics.occlusion import similarity_drop
    from leam.metrics.overlap import bhattacharyya, bhattacharyya_matrix
    from leam.metrics.statistics import Estimate, bootstrap_mean
    from leam.parsers import load_parser
    from leam.parsers.parsing import Parsing
    from leam.parsers.regions import LABELS, REGIONS
    from leam.parsers.shares import region_areas, region_shares
    from leam.recognizers.black_box import BlackBox
    from leam.recognizers.card import Card
    from leam.recognizers.catalogue import load_recognizer
    from leam.recognizers.recognizer import Recognizer
    from leam.report.page import render_report
    from leam.study.plan import Plan, Settings
    from leam.study.run import plan_study, run_study
    from leam.study.store import RunFolder

_MODULES = {
    "BlackBox": "leam.recognizers.black_box",
    "Card": "leam.recognizers.card",
    "Chip": "leam.faces.alignment",
    "Crop": "leam.faces.alignment",
    "Estimate": "leam.metrics.statistics",
    "Explainer": "leam.explain.explainer",
    "Explanation": "leam.explain.explanation",
    "Face": "leam.faces.face",
    "LABELS": "leam.parsers.regions",
    "LeamError": "leam.errors",
    "LeamWarning": "leam.errors",
    "Maps": "leam.explain.explainer",
    "Parsing": "leam.parsers.parsing",
    "PersonMap": "leam.explain.person",
    "Plan": "leam.study.plan",
    "Population": "leam.explain.person",
    "REGIONS": "leam.parsers.regions",
    "Recognizer": "leam.recognizers.recognizer",
    "RunFolder": "leam.study.store",
    "Sample": "leam.faces.people",
    "Settings": "leam.study.plan",
    "add_groups": "leam.faces.people",
    "bhattacharyya": "leam.metrics.overlap",
    "bhattacharyya_matrix": "leam.metrics.overlap",
    "bootstrap_mean": "leam.metrics.statistics",
    "contrast_target": "leam.explain.targets",
    "critical_mask": "leam.explain.masks",
    "draw_people": "leam.faces.people",
    "explain_faces": "leam.explain.explanation",
    "explain_person": "leam.explain.person_explanation",
    "find_face": "leam.faces.detection",
    "load_detector": "leam.faces.detectors",
    "load_parser": "leam.parsers",
    "load_recognizer": "leam.recognizers.catalogue",
    "memory_limit": "leam.limits",
    "occlude": "leam.metrics.fills",
    "person_map": "leam.explain.person",
    "plan_study": "leam.study.run",
    "population_of_faces": "leam.explain.person_explanation",
    "read_people": "leam.faces.people",
    "read_picture": "leam.faces.reading",
    "reference_target": "leam.explain.targets",
    "region_areas": "leam.parsers.shares",
    "region_shares": "leam.parsers.shares",
    "render_report": "leam.report.page",
    "run_study": "leam.study.run",
    "self_target": "leam.explain.targets",
    "set_memory_limit": "leam.limits",
    "similarity_drop": "leam.metrics.occlusion",
}
"""Where each public name is defined."""

__all__ = ["__version__", *sorted(_MODULES)]  # noqa: PLE0604  the names that __getattr__ knows


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'leam' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


# Before other packages are imported, which read their own variables then.
if os.environ.get("LEAM_OFFLINE"):
    import_module("leam.weights.fetching").pass_offline_on()
