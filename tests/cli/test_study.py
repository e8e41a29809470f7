"""``leam study``, ``leam report`` and ``leam demo``."""

from __future__ import annotations

import json
import re

import pytest

from leam.cli.inputs import settings_of
from leam.cli.study import names_of
from leam.errors import InputError
from leam.study.plan import PRESETS


@pytest.mark.slow
def test_study_and_report(leam, spawn, complaint, monkeypatch, tmp_path, faces):
    (faces / "Grace Hopper" / "cut.jpg").write_bytes(
        (faces / "Grace Hopper" / "0.jpg").read_bytes()[:2000]
    )
    run = tmp_path / "run"
    result = spawn("study", "faces", "--out", "run", cwd=tmp_path)
    assert result.returncode == 0
    # A slow machine also prints progress.
    assert [line[: len("leam: people")] for line in result.stderr.splitlines()][:3] == [
        "leam: 2 of 5",
        "leam: people",
        "leam: estima",
    ]
    assert "2 of 5 pictures have the same bytes as one of the same person" in result.stderr
    assert "2 people, 4 faces; excluded pictures: 1" in result.stdout
    figures = json.loads((run / "summary.json").read_text())["recognizers"]["dlib_resnet"][
        "figures"
    ]
    masks = figures["specificity"]["operands"]["critical"]
    occlusion = figures["occlusion"]
    estimates = (
        figures["regions"]["regions"]["nose"]["share"],
        masks["genuine"],
        masks["impostor"],
        occlusion["drop"],
        occlusion["controls"]["scattered"],
        occlusion["controls"]["moved"],
    )
    row = ["dlib_resnet", *(f"{estimate['mean']:.3f}" for estimate in estimates)]
    assert row in [line.split() for line in result.stdout.splitlines()]
    assert result.stdout.splitlines()[-1] == "report: run/report.html"
    page = (run / "report.html").read_text()
    assert "cut.jpg" in page
    # The page loads nothing.
    elements = re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL)
    assert not re.search(r"<(?!a )[^>]*(src|href)=.(?!data:|#)[^\s>]", elements)
    (run / "report.html").unlink()
    monkeypatch.chdir(tmp_path)
    report = leam("report", run, "--no-faces", "--json")
    found = json.loads(report.stdout)
    assert found["report"] == str(run / "report.html")
    assert [one["section"] for one in found["findings"]] == ["regions", "occlusion", "specificity"]
    # The console, JSON and the page have the same sentences.
    lines = [line[3:] for line in result.stdout.splitlines()]
    assert all(one["text"] in lines for one in found["findings"])
    assert all(one["verdict"] == "inconclusive (n = 2)" for one in found["findings"])
    assert found["unsaid"][0].startswith("2 people are too few")
    assert all(one["text"].replace("'", "&#39;") in page for one in found["findings"])
    anonymous = (run / "report.html").read_text()
    assert len(anonymous) < len(page)
    assert "top" in complaint(leam("study", "faces", "--out", "run", "--top", 0.05))
    again = leam("study", "faces", "--out", "run", "--json")
    found = json.loads(again.stdout)
    assert found["report"] == "run/report.html"
    assert found["summary"] == json.loads((run / "summary.json").read_text())
    assert "this study is finished" in again.stderr


@pytest.mark.slow
def test_a_long_study_in_one_process_suggests_workers(leam, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr("leam.cli.study._LONG", 5)
    hint = "using one of 3 cores; --workers 3 uses all of them"
    assert hint not in leam("study", "faces", "--out", "run").stderr
    monkeypatch.setattr("leam.cli.study._LONG", 4)
    assert hint in leam("study", "faces", "--out", "run").stderr
    assert not leam("study", "faces", "--out", "run", "--quiet").stderr


def test_mistakes_of_study(leam, complaint, monkeypatch, tmp_path, portrait):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").write_text("mine")
    (tmp_path / "faces" / "Ann").mkdir(parents=True)
    (tmp_path / "faces" / "Ann" / "a.png").write_bytes(portrait.read_bytes())
    for arguments, message in (
        (("empty", "--out", "run"), "empty: no pictures found"),
        (("nowhere", "--out", "run"), "nowhere: no such file or folder"),
        (("faces", "--out", "foreign"), "foreign: "),
        (("faces", "--out", "run"), "no person with two usable pictures"),
        (("faces", "--out", "run2", "--models", ","), "at least one"),
        (("faces", "--out", "run2", "--target", "reference"), "--target reference: "),
        (("faces", "--out", "run2", "--top", 2), "--top 2.0: "),
        (("faces", "--out", "run2", "--preset", "all"), "--preset all: no such preset; available: quick, paper"),
        (("faces", "--out", "run2", "--parser", "best"), "best: no such parser"),
        (("faces", "--out", "run2", "--fill", "best"), "best: no such fill"),
        (("faces", "--out", "run2", "--backend", "best"), "best: no such backend"),
        (("faces", "--out", "run2", "--group", "age"), "group age: no such column"),
        (("faces", "--out", "run2", "--people-table", "no.csv"), "no.csv: "),
        (("faces", "--out", "run2", "--card", "mine.txt"), "mine.txt: no such recognizer"),
        (("faces", "--out", "run2", "--address", "auto"), "--address: "),
        (("faces", "--out", "run2", "--engine", "ray", "--workers", 2), "--workers: "),
        (("faces", "--out", "run2", "--engine", "spark"), "spark: no such engine; available: local, ray"),
    ):  # fmt: skip
        assert message in complaint(leam("study", *arguments)), arguments
    assert "foreign" in complaint(leam("report", tmp_path / "foreign"))


def test_settings_are_the_presets_changed_by_options():
    paper = settings_of("paper")
    assert (paper.subset, paper.seed) == (PRESETS["paper"]["subset"], 0)
    changed = settings_of("paper", subset=0, seed=3, backend="plain", groups=("gender",))
    assert (changed.subset, changed.seed, changed.backend) == (0, 3, "plain")
    assert changed.groups == ("gender",)
    assert changed.transfer
    with pytest.raises(InputError, match=r"--subset -1: "):
        settings_of("quick", subset=-1)


def test_recognizers_by_name_and_card(tmp_path):
    assert names_of(None, None) == [None]
    assert names_of("a, b", [tmp_path]) == ["a", "b", str(tmp_path)]
    assert names_of(None, [tmp_path]) == [str(tmp_path)]


@pytest.fixture
def settings(monkeypatch):
    """The settings that ``leam study`` would use."""
    found = []

    def stop(_source, _samples, _recognizers, settings, **_):
        found.append(settings)
        raise InputError("stopped")

    monkeypatch.setattr("leam.study.run.plan_study", stop)
    return found


def test_panel_is_the_old_name_of_subset(leam, settings, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    result = leam("study", "faces", "--out", "run", "--panel", 1)
    assert result.stderr.splitlines() == [
        "leam: --panel is deprecated and will be removed; use --subset",
        "leam: stopped",
    ]
    assert leam("study", "faces", "--out", "run", "--subset", 2).stderr == "leam: stopped\n"
    assert [one.subset for one in settings] == [1, 2]
    assert "--panel" not in leam("study", "--help").stdout


def test_options_reach_the_settings(leam, settings, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    options = (
        "--layers stages,conv --weighting signed --aggregate last --top 0.1 --fill mean --seed 4"
    )
    leam(
        "study", "faces", "--out", "run", *options.split(), "--backend", "plain", "--rotate", "auto"
    )
    leam("study", "faces", "--out", "run", "--backend", "auto")
    (one, two) = settings
    assert (one.layers, one.weighting, one.aggregate) == (("stages", "conv"), "signed", "last")
    assert (one.top, one.fill, one.seed, one.backend) == (0.1, "mean", 4, "plain")
    assert (one.rotate, two.rotate) == ("auto", "none")
    assert two == settings_of("quick")


def test_options_override_a_preset_file(leam, settings, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(
        'base = "v0"\nseed = 5\nfill = "mean"\ntop = 0.02\nbackend = "plain"\ngroups = ["gender"]'
    )
    study = ("study", "faces", "--out", "run", "--preset", "mine.toml")
    leam(*study)
    leam(*study, "--fill", "blur", "--seed", 0, "--backend", "fused", "--group", "age")
    (stated, changed) = settings
    assert (stated.fill, stated.seed, stated.backend) == ("mean", 5, "plain")
    assert (stated.top, stated.layers, stated.groups) == (0.02, ("raw_convolutions",), ("gender",))
    assert (changed.fill, changed.seed, changed.backend) == ("blur", 0, "fused")
    assert (changed.top, changed.layers, changed.groups) == (0.02, ("raw_convolutions",), ("age",))


def test_printed_settings_are_a_preset(leam, settings, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    study = ("study", "faces", "--out", "run")
    printed = leam(*study, "--preset", "paper", "--fill", "mean", "--print-settings")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine.toml").write_text(printed.stdout, encoding="utf-8")
    leam(*study, "--preset", "mine.toml")
    assert settings == [settings_of("paper", fill="mean")]


def test_mistakes_in_a_preset_file(leam, complaint, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("colour = 3")
    study = ("study", "faces", "--out", "run", "--preset")
    assert "mine.toml: 'colour': no such setting" in complaint(leam(*study, "mine.toml"))
    assert "none.toml: not a readable preset" in complaint(leam(*study, "none.toml"))
    (tmp_path / "mine.toml").write_text("top = 0.5")
    assert "--top 2.0: " in complaint(leam(*study, "mine.toml", "--top", 2))


@pytest.mark.slow
def test_demo(leam, tmp_path):
    result = leam("demo", "--out", tmp_path / "demo")
    assert result.returncode == 0
    # A slow machine also prints progress.
    assert [line[: len("leam: people")] for line in result.stderr.splitlines()][:2] == [
        "leam: people",
        "leam: estima",
    ]
    *_, proof, where = result.stdout.splitlines()
    assert proof.startswith("Two people are too few")
    assert where.startswith(f"open {tmp_path / 'demo' / 'study' / 'report.html'} in a browser; ")
    assert "What was found" in result.stdout
    assert (tmp_path / "demo" / "study" / "report.html").is_file()
    assert (tmp_path / "demo" / "explain" / "Grace Hopper" / "layers.png").is_file()
    # The demo may overwrite its own output.
    again = leam("demo", "--out", tmp_path / "demo", "--json", "--quiet")
    assert (again.returncode, again.stderr) == (0, "")
    found = json.loads(again.stdout)
    assert [one["model"] for one in found["explanations"]] == ["dlib_resnet"] * 2
    assert found["findings"][0]["text"] in result.stdout
    assert found["summary"]["people"] == 2


def test_what_is_not_used_and_how_many_people_have_a_value_is_said(
    leam, monkeypatch, tmp_path, faces
):
    monkeypatch.chdir(tmp_path)
    (faces / "Grace Hopper" / "notes.txt").write_text("text")
    (tmp_path / "people.csv").write_text("person,gender\nGrace Hopper,f\n")
    found = leam(
        "study", "faces", "--out", "run", "--people-table", "people.csv", "--models", "nobody"
    )
    assert found.stderr.splitlines()[:2] == [
        "leam: 1 of 2 people have a value for gender",
        "leam: files not used: 1 (1 not a picture)",
    ]


def test_a_table_of_other_people_is_refused(leam, complaint, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("person,gender\nNobody,f\n")
    result = leam("study", "faces", "--out", "run", "--people-table", "people.csv")
    assert "people.csv: names none of the people; it has 'Nobody'" in complaint(result)
