"""Studies whose faces are explained by other methods than LEAM."""

from __future__ import annotations

import json

import pytest

import small
from leam.errors import InputError
from leam.report.page import render_report
from leam.study.plan import Settings
from leam.study.stage import stages_of
from leam.study.store import RunFolder
from leam.study.worker import explainer_of


@pytest.mark.parametrize("method", ["gradient-input", "hierarchical"])
def test_a_study_with_another_method_has_all_figures_but_those_of_layers(tmp_path, method):
    small.write_faces(tmp_path / "faces")
    models = small.recognizer("one"), small.recognizer("two", seed=1)
    settings = {"method": method, "target": "template", "subset": 2}
    found = small.study(tmp_path / "faces", tmp_path / "run", *models, **settings)
    figures = found["recognizers"]["one"]["figures"]
    assert found["settings"]["method"] == method
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["method"] == method
    assert {"regions", "specificity", "occlusion", "curves", "sanity"} <= set(figures)
    assert "layers" not in figures
    assert figures["occlusion"]["drop"]["mean"] is not None
    render_report(RunFolder(tmp_path / "run"))
    assert method in (tmp_path / "run" / "report.html").read_text()


def test_the_method_is_part_of_the_plan_and_its_maps(tmp_path):
    small.write_faces(tmp_path / "faces")
    one = small.recognizer()
    plans = [small.plan_of(tmp_path / "faces", one, method=name) for name in ("leam", "grad-cam")]
    assert plans[0] != plans[1]
    assert [any(s.name == "layers" for s in stages_of(plan)) for plan in plans] == [True, False]


def test_a_method_that_compares_is_refused_for_the_embedding_alone(tmp_path):
    small.write_faces(tmp_path / "faces")
    with pytest.raises(InputError, match=r"xssab: explains a similarity, not the embedding alone"):
        small.study(tmp_path / "faces", tmp_path / "run", method="xssab")
    one = small.recognizer()
    assert explainer_of(one, Settings(method="xssab", target="template")).name == "xssab"
    with pytest.raises(InputError, match="magic: no such attribution method"):
        small.plan_of(tmp_path / "faces", one, method="magic")
