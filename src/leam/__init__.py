"""Layer Embedding Activation Mapping (LEAM): which parts of a face a recognizer relies on.

A first explanation:

    import leam

    explanation = leam.explain("ada.jpg")
    print(explanation.to_frame())
    explanation.save("ada")

Names are imported from their modules when they are first used, so that ``import leam`` itself costs next to nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from leam.version import __version__ as __version__

if TYPE_CHECKING:
    # Each name is its own alias, so that type checkers take it as exported.
    from leam.errors import LeamError as LeamError
    from leam.errors import LeamWarning as LeamWarning
    from leam.explain import explain as explain
    from leam.explain.explainer import Explainer as Explainer
    from leam.explain.explainer import Maps as Maps
    from leam.explain.explanation import Explanation as Explanation
    from leam.explain.explanation import explain_faces as explain_faces
    from leam.explain.explanation import explain_pair as explain_pair
    from leam.explain.masks import critical_mask as critical_mask
    from leam.explain.person import PersonMap as PersonMap
    from leam.explain.person import Population as Population
    from leam.explain.person import person_map as person_map
    from leam.explain.person_explanation import explain_person as explain_person
    from leam.explain.person_explanation import population_of_faces as population_of_faces
    from leam.explain.targets import contrast_target as contrast_target
    from leam.explain.targets import reference_target as reference_target
    from leam.explain.targets import self_target as self_target
    from leam.faces.alignment import Chip as Chip
    from leam.faces.alignment import Crop as Crop
    from leam.faces.detection import find_face as find_face
    from leam.faces.detectors import load_detector as load_detector
    from leam.faces.face import Face as Face
    from leam.faces.people import Sample as Sample
    from leam.faces.people import add_groups as add_groups
    from leam.faces.people import draw_people as draw_people
    from leam.faces.people import read_people as read_people
    from leam.faces.reading import read_picture as read_picture
    from leam.limits import memory_limit as memory_limit
    from leam.limits import set_memory_limit as set_memory_limit
    from leam.metrics.fills import occlude as occlude
    from leam.metrics.occlusion import similarity_drop as similarity_drop
    from leam.metrics.overlap import bhattacharyya as bhattacharyya
    from leam.metrics.overlap import bhattacharyya_matrix as bhattacharyya_matrix
    from leam.metrics.statistics import Estimate as Estimate
    from leam.metrics.statistics import bootstrap_mean as bootstrap_mean
    from leam.parsers import load_parser as load_parser
    from leam.parsers.parsing import Parsing as Parsing
    from leam.parsers.regions import LABELS as LABELS
    from leam.parsers.regions import REGIONS as REGIONS
    from leam.parsers.shares import region_areas as region_areas
    from leam.parsers.shares import region_shares as region_shares
    from leam.recognizers.black_box import BlackBox as BlackBox
    from leam.recognizers.card import Card as Card
    from leam.recognizers.catalogue import load_recognizer as load_recognizer
    from leam.recognizers.recognizer import Recognizer as Recognizer
    from leam.report.page import render_report as render_report
    from leam.study.finished import Run as Run
    from leam.study.finished import open_run as open_run
    from leam.study.plan import Plan as Plan
    from leam.study.plan import Settings as Settings
    from leam.study.run import plan_study as plan_study
    from leam.study.run import run_study as run_study
    from leam.study.store import RunFolder as RunFolder

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
    "Run": "leam.study.finished",
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
    "explain_pair": "leam.explain.explanation",
    "explain_person": "leam.explain.person_explanation",
    "find_face": "leam.faces.detection",
    "load_detector": "leam.faces.detectors",
    "load_parser": "leam.parsers",
    "load_recognizer": "leam.recognizers.catalogue",
    "memory_limit": "leam.limits",
    "occlude": "leam.metrics.fills",
    "open_run": "leam.study.finished",
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

__all__ = ["__version__", "explain", *sorted(_MODULES)]  # noqa: PLE0604  the names that __getattr__ knows


def __getattr__(name: str) -> object:
    if name == "explain":
        # The package is the function; importing it puts it into this namespace.
        return import_module("leam.explain")
    if name not in _MODULES:
        raise AttributeError(f"module 'leam' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Before other packages are imported, which read their own variables then.
if os.environ.get("LEAM_OFFLINE"):
    import_module("leam.weights.fetching").pass_offline_on()
