"""The section on provenance: the command, and citations."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from leam.report.parts import Code, Fold, Table
from leam.report.section import SECTIONS
from leam.report.sections.provenance import command_of
from leam.study.plan import Settings
from leam.study.presets import read_preset

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_repeats_the_study(context, tmp_path):
    parts = list(SECTIONS["provenance"]().parts(context))
    command, citation = [part.text for part in parts if isinstance(part, Code)]
    assert command == (
        "leam study faces --out run --models alpha,beta,gamma --people 13 --images 2 --people-table PEOPLE "
        "--preset settings.toml"
    )
    (preset,) = [part for part in parts if isinstance(part, Fold)]
    path = tmp_path / preset.title
    path.write_text(preset.parts[0].text, encoding="utf-8")
    assert read_preset(str(path)) == context.settings
    assert "version = {1.2.3}" in citation


def test_the_command_repeats_the_audit(context):
    settings = Settings(audit=True, fmr=0.01, groups=("gender", "age"), seed=3)
    plan = context.plan.only(["beta"]).model_copy(
        update={"settings": settings, "source": "my faces"}
    )
    options = (
        "--people-table PEOPLE --group gender --group age --fmr 0.01 --parser landmarks --detector dlib --rotate none "
        "--seed 3"
    )
    started = "leam audit 'my faces' --out run --models beta --people 13 --images 2"
    assert command_of(plan) == f"{started} {options}"
    pairs = plan.model_copy(update={"pairs": ((0, 1),)})
    started = "leam audit PICTURES --pairs 'my faces' --out run --models beta"
    assert command_of(pairs) == f"{started} {options}"
    unknown = plan.model_copy(update={"images": (), "source": "[removed]"})
    assert command_of(unknown) == f"leam audit DATA --out run --models beta {options}"


def test_the_citation_is_that_of_the_citation_file(context):
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (text,) = [
        part.text
        for part in SECTIONS["provenance"]().parts(context)
        if isinstance(part, Code) and "@misc" in part.text
    ]
    plain = text.replace(r"{\l}", "ł").replace(r"{\'e}", "é").replace("{AI}", "AI")
    for given, family in re.findall(r'given-names: "(.+)"\n +family-names: "(.+)"', cited):
        assert f"{family}, {given}" in plain
    assert (
        "Explainable AI for Analyzing Person-Specific Patterns in Facial Recognition Tasks" in cited
    )
    assert (
        "Explainable AI for Analyzing Person-Specific Patterns in Facial Recognition Tasks" in plain
    )
    assert "2509.17457" in cited
    assert "2509.17457" in plain


def test_provenance_without_faces_does_not_say_from_where(context):
    parts = list(SECTIONS["provenance"]().parts(replace(context, faces=False)))
    assert isinstance(parts[0], Table)
    assert "data" not in dict(parts[0].rows)
