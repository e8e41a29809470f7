"""What an installed package adds: the example package in ``tests/plugin_package`` adds one of everything."""

from __future__ import annotations

import json
import re
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution

import numpy as np
import polars as pl
import pytest
import torch
from jsonschema import Draft202012Validator
from safetensors.torch import save_file

import small
from leam import plugins
from leam.errors import CardError, InputError, LeamWarning, PluginError
from leam.explain.aggregates import AGGREGATES
from leam.explain.explainer import Explainer
from leam.explain.methods import METHODS, create_method
from leam.explain.person import PERSON_MAPS
from leam.explain.weightings import WEIGHTINGS
from leam.faces.datasets import DATASETS
from leam.faces.detectors import DETECTORS
from leam.faces.people import read_people
from leam.metrics.controls import CONTROLS
from leam.metrics.fills import FILLS, occlude
from leam.parsers import PARSERS, load_parser
from leam.plugins import Registry
from leam.recognizers.architectures import ARCHITECTURES
from leam.recognizers.catalogue import load_recognizer
from leam.report.page import render_report
from leam.report.section import SECTIONS
from leam.study.engine import ENGINES
from leam.study.run import run_study
from leam.study.stage import STAGES
from leam.study.store import RunFolder
from leam.study.summary import read_summary, summary_schema

ADDED = {
    "brightness": STAGES,
    "oval": PARSERS,
    "whole_picture": DETECTORS,
    "listing": DATASETS,
    "pooled": ARCHITECTURES,
    "squared": WEIGHTINGS,
    "median": AGGREGATES,
    "middle": PERSON_MAPS,
    "darkness": METHODS,
    "grey": FILLS,
    "border": CONTROLS,
    "backwards": ENGINES,
    "pictures": SECTIONS,
}
SETTINGS = {
    "weighting": "squared",
    "aggregate": "median",
    "parser": "oval",
    "detector": "whole_picture",
    "fill": "grey",
    "controls": ("border",),
    "person_maps": ("middle",),
}


@pytest.fixture(scope="module", autouse=True)
def _installed():
    try:
        distribution("leam-example-plugin")
    except PackageNotFoundError:
        pytest.fail("install the example: `pip install -e tests/plugin_package`")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A study with everything that the package adds."""
    folder = tmp_path_factory.mktemp("plugins")
    small.write_faces(folder / "faces")
    one = small.recognizer()
    plan = small.plan_of(folder / "faces", one, **SETTINGS)
    run_study(plan, [one], RunFolder(folder / "run"), engine="backwards")
    return folder / "run"


@pytest.mark.parametrize(("name", "registry"), ADDED.items())
def test_everything_is_listed_and_says_where_it_comes_from(name, registry):
    assert name in registry
    assert name in list(registry)
    assert registry.origin(name) == "leam-example-plugin 0.1.0"
    assert registry[name] is not None


def test_a_layout_reads_its_sources(tmp_path):
    (tmp_path / "a.list").write_text("faces\nAnn 1.png\n")
    (sample,) = read_people(tmp_path / "a.list")
    assert (sample.person, sample.path) == ("Ann", tmp_path / "1.png")


def test_the_metric_is_in_the_shards_the_table_the_summary_and_the_schema(run):
    summary = json.loads((run / "summary.json").read_text())
    figures = summary["recognizers"]["tiny"]["figures"]["brightness"]
    table = pl.read_parquet(run / "tables/brightness/tiny.parquet")
    assert table.height == 4
    assert figures["face"]["mean"] == pytest.approx(table["face"].mean(), rel=1e-6)
    assert figures["critical"]["mean"] == pytest.approx(table["critical"].mean(), rel=1e-6)
    assert figures["critical"]["mean"] != pytest.approx(figures["face"]["mean"], rel=1e-3)
    schema = json.loads((run / "summary.schema.json").read_text())
    assert schema == json.loads(json.dumps(summary_schema()))
    Draft202012Validator(schema).validate(summary)
    assert "BrightnessFigures" in schema["$defs"]
    del figures["face"]
    with pytest.raises(Exception, match="'face' is a required property"):
        Draft202012Validator(schema).validate(summary)


def test_the_metric_is_in_the_report(run):
    page = render_report(RunFolder(run)).read_text()
    found = read_summary(RunFolder(run)).recognizers["tiny"].figures["brightness"]
    assert "brightness of the critical pixels" in page.lower()
    assert f"{found.critical.mean:.3f}" in page
    assert f"{found.face.mean:.3f}" in page
    assert "Mean brightness of the aligned face, 0-1." in page


def test_the_section_is_in_the_report(run):
    page = render_report(RunFolder(run)).read_text()
    _, _, section = page.partition("Pictures of each person")
    for person in ("Eileen Collins", "Grace Hopper"):
        assert re.search(rf"<td[^>]*>{person}</td>\s*<td[^>]*>2</td>", section)


def test_the_plan_names_the_package_and_a_run_without_it_is_another(run):
    plan = RunFolder(run).plan()
    assert plan.plugins == {
        f"{ADDED[name].kind} {name}": "leam-example-plugin 0.1.0"
        for name in (
            "whole_picture",
            "oval",
            "squared",
            "median",
            "grey",
            "border",
            "middle",
            "brightness",
        )
    }
    other = plan.model_copy(update={"plugins": {**plan.plugins, "fill grey": "another 2.0"}})
    with pytest.raises(Exception, match="plug-in for fill grey"):
        RunFolder(run).start(other)


def test_the_engine_gives_the_same_bytes(run, tmp_path):
    one = small.recognizer()
    run_study(
        small.plan_of(run.parent / "faces", one, **SETTINGS), [one], RunFolder(tmp_path / "again")
    )
    assert small.digests(tmp_path / "again") == small.digests(run)


def test_the_summary_is_read_without_the_package(run, monkeypatch):
    from leam.study import summary as module

    monkeypatch.setattr(module, "recognizer_kinds", dict)
    figures = read_summary(RunFolder(run)).recognizers["tiny"].figures["brightness"]
    assert figures.model_dump()["face"]["n"] == 2


def test_the_weighting_and_the_aggregate_are_the_packages(run):
    one = small.recognizer()
    chips = np.random.default_rng(0).integers(0, 256, (2, small.SIDE, small.SIDE, 3), np.uint8)
    maps = Explainer(one, weighting="squared", aggregate="median").explain(chips)
    plain = Explainer(one, weighting="squared", aggregate="mean").explain(chips)
    sizes = [layer.shape[1:] for layer in maps.layer_maps]
    assert len(sizes) == 2
    assert not torch.allclose(maps.overall, plain.overall)


def test_the_architecture_checks_its_options(tmp_path):
    module = ARCHITECTURES["pooled"].build.__globals__["Pooled"]()
    save_file(module.state_dict(), tmp_path / "pooled.safetensors")
    card = (
        'name = "mine"\narchitecture = "pooled"\nfile = "pooled.safetensors"\ninput_size = [8, 8]\n'
    )
    (tmp_path / "mine.toml").write_text(card)
    chips = np.full((1, 8, 8, 3), 200, dtype=np.uint8)
    found = load_recognizer(tmp_path / "mine.toml").embed(chips)
    assert found.shape == (1, 8)
    (tmp_path / "mine.toml").write_text(card + "options = { depth = 3 }\n")
    with pytest.raises(CardError, match="depth is not known"):
        load_recognizer(tmp_path / "mine.toml")


def test_the_fill_the_control_the_parser_and_the_method(run):
    chip = np.zeros((8, 8, 3), dtype=np.uint8)
    mask = np.eye(8, dtype=bool)
    assert (occlude(chip, mask, "grey")[mask] == 127).all()
    assert load_parser("oval").labels == ("background", "skin")
    black = np.zeros((24, 24, 3), dtype=np.uint8)
    darkness = create_method("darkness", small.recognizer())
    with pytest.warns(LeamWarning, match=r"1 of 2 faces have no map: darkness found no pixel"):
        maps = darkness.explain(np.stack([black, black + 255])).overall
    assert maps[0].sum() == pytest.approx(1)
    assert maps[1].sum() == 0


class _Package:
    name = "broken"
    version = "1.0"


def _registry(monkeypatch, *points: tuple[str, str]) -> Registry[object]:
    found = []
    for name, value in points:
        point = EntryPoint(name, value, "leam.things")
        vars(point).update(dist=_Package())
        found.append(point)
    monkeypatch.setattr(plugins, "_installed", lambda group: found)
    return Registry("thing", "leam.things", error=InputError)


def test_a_package_that_cannot_be_imported_is_named(monkeypatch):
    registry = _registry(monkeypatch, ("bad", "leam_no_such_module:thing"))
    assert list(registry) == ["bad"]
    with pytest.raises(PluginError, match="broken: its thing bad cannot be imported"):
        registry["bad"]


def test_two_things_of_one_name_are_refused(monkeypatch):
    registry = _registry(monkeypatch, ("twice", "json:loads"), ("twice", "json:dumps"))
    with pytest.raises(PluginError, match="twice is also that of broken"):
        list(registry)


def test_a_built_in_thing_is_not_replaced(monkeypatch):
    registry = _registry(monkeypatch, ("first", "json:loads"))
    registry("first")(occlude)
    with pytest.raises(PluginError, match="first is built in"):
        registry["first"]


def test_a_decorator_does_not_replace_a_built_in_thing():
    before = dict(WEIGHTINGS)
    with pytest.raises(PluginError, match="the weighting positive is built in; register it under"):
        WEIGHTINGS("positive")(lambda activations, gradients: activations * gradients)
    assert dict(WEIGHTINGS) == before


def test_an_unknown_name_lists_the_others(monkeypatch):
    registry = _registry(monkeypatch, ("one", "json:loads"), ("two", "json:dumps"))
    with pytest.raises(InputError, match="three: no such thing; available: one, two"):
        registry["three"]


def test_a_misspelt_name_gets_the_nearest_one():
    from leam.explain.methods import METHODS
    from leam.explain.weightings import WEIGHTINGS

    with pytest.raises(InputError, match=r"gradcam: .*did you mean grad-cam\? available: "):
        _ = METHODS["gradcam"]
    with pytest.raises(InputError, match=r"channel_meen: .*did you mean channel_mean\?"):
        _ = WEIGHTINGS["channel_meen"]
    with pytest.raises(InputError, match=r"xyz: no such weighting; available: "):
        _ = WEIGHTINGS["xyz"]
