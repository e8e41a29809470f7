from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from leam.errors import InputError, LayerError, StudyError
from leam.faces.people import add_groups, draw_people, read_people
from leam.measures.baselines import BASELINES
from leam.measures.occlusion import FRACTIONS
from leam.recognizers import Card, Recognizer, load_recognizer
from leam.report import render_report
from leam.study import RunFolder, Settings, plan_study, run_study
from leam.study.plan import PRESETS
from tiny import TinyNet


def summary_of(folder: RunFolder) -> dict:
    return json.loads((folder.path / "summary.json").read_text())


def schema() -> dict:
    return json.loads((resources.files("leam.study") / "summary.schema.json").read_text())


def digests(folder: RunFolder) -> dict[str, str]:
    """Of everything that must come out the same whatever happened on the way."""
    files = [
        *folder.path.glob("tables/**/*.parquet"),
        folder.path / "summary.json",
        folder.path / "run.json",
    ]
    return {
        str(f.relative_to(folder.path)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(files)
    }


def test_summary_keeps_its_contract(finished):
    summary = summary_of(finished)
    jsonschema.validate(summary, schema())
    assert summary["people"] == 2
    assert summary["images"] == 12
    reasons = {one["path"]: one["reason"] for one in summary["skipped"]}
    assert set(reasons) == {"Grace Hopper/broken.jpg", "Solo/only.png"}
    assert "not a picture" in reasons["Grace Hopper/broken.jpg"]
    assert reasons["Solo/only.png"] == "the only usable picture of Solo"


def test_the_schema_refuses_what_is_not_the_contract(finished):
    summary = summary_of(finished)
    del summary["models"]["dlib_resnet"]["bc"]["critical"]["same"]["low"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary, schema())


def test_views_of_one_face_have_more_alike_maps_than_two_faces(finished):
    bc = summary_of(finished)["models"]["dlib_resnet"]["bc"]
    assert bc["critical"]["same"]["mean"] > bc["critical"]["different"]["mean"]


def test_tables_are_tidy_and_agree_with_the_summary(finished):
    table = finished.read_table("regions/dlib_resnet")
    overall = table.filter(pl.col("layer") == "overall")
    sums = overall.group_by("image").agg(pl.col("share", "mass", "area").sum())
    for column in ("share", "mass", "area"):
        np.testing.assert_allclose(sums[column], 1, atol=1e-5)
    nose = overall.filter(pl.col("region") == "nose")
    figures = summary_of(finished)["models"]["dlib_resnet"]["regions"]["nose"]
    assert figures["share"]["mean"] == pytest.approx(nose["share"].mean(), rel=1e-5)
    assert figures["share"]["n"] == 2
    layers = table["layer"].unique().to_list()
    assert len(layers) == 28
    assert table.height == 12 * 28 * overall["region"].n_unique()
    faces = finished.read_table("faces")
    assert faces.height == 14
    assert faces.filter(pl.col("reason") == "").height == 13


def test_a_study_in_parts_ends_with_the_same_bytes(finished, plan, dlib_resnet, tmp_path):
    class Killed(BaseException):
        pass

    folder = RunFolder(tmp_path / "run")
    for limit in (1, 2, 3):
        calls = []

        def killed(_what, _done, _all, calls=calls, limit=limit):
            calls.append(1)
            if len(calls) > limit:
                raise Killed

        with pytest.raises(Killed):
            run_study(plan, [dlib_resnet], folder, progress=killed)
    run_study(plan, [dlib_resnet], folder)
    assert digests(folder) == digests(finished)


def test_finished_work_is_not_done_again_and_damaged_work_is(finished, plan, dlib_resnet, tmp_path):
    folder = RunFolder(tmp_path / "run")
    run_study(plan, [dlib_resnet], folder)
    shard = folder.shard("dlib_resnet", 0)
    before = shard.stat().st_mtime_ns
    run_study(plan, [dlib_resnet], folder)
    assert shard.stat().st_mtime_ns == before
    shard.write_bytes(shard.read_bytes()[:1000])
    run_study(plan, [dlib_resnet], folder)
    assert digests(folder) == digests(finished)


def test_another_study_is_refused_unless_restarted(samples, plan, dlib_resnet, tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        folder.start(plan)
    other = plan_study("views", samples, [dlib_resnet], Settings(top=0.02))
    with folder.locked():
        with pytest.raises(StudyError, match=r"another top \(0.01, now 0.02\).*--restart"):
            folder.start(other)
        folder.start(other, restart=True)
    assert folder.plan() == other
    fewer = plan_study("views", samples[:-1], [dlib_resnet], Settings(top=0.02))
    with folder.locked(), pytest.raises(StudyError, match="another choice of pictures"):
        folder.start(fewer)


def test_two_processes_do_not_share_a_folder(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with (
        first.locked(),
        pytest.raises(StudyError, match="another process is at work"),
        second.locked(),
    ):
        pass


def test_what_a_kill_left_half_written_is_cleared_away(plan, tmp_path):
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "run" / "shards").mkdir(parents=True)
    leftovers = [
        tmp_path / "run" / ".part-1-run.json",
        tmp_path / "run" / "shards" / ".part-1-x.npz",
    ]
    for leftover in leftovers:
        leftover.touch()
    with folder.locked():
        folder.start(plan)
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(StudyError, match="holds no study"), RunFolder(tmp_path).locked():
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.doc"]


def test_choices_that_cannot_work_fail_before_the_work(samples, dlib_resnet, tmp_path):
    with pytest.raises(InputError, match="wanted is at least one"):
        plan_study("views", samples, [dlib_resnet, dlib_resnet])
    with pytest.raises(InputError, match="glitter: unknown"):
        plan_study("views", samples, [dlib_resnet], Settings(fill="glitter"))
    wrong = plan_study("views", samples, [dlib_resnet], Settings(layers=("nothing",)))
    with pytest.raises(LayerError, match="layer nothing: no such layer"):
        run_study(wrong, [dlib_resnet], RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_model_cannot_take_the_name_of_a_stage(samples):
    with pytest.raises(InputError, match="model faces: a study keeps its own work"):
        plan_study("views", samples, [Recognizer(TinyNet(112), Card(name="faces"))])


def test_no_usable_person(dlib_resnet, tmp_path):
    (tmp_path / "faces" / "Ann").mkdir(parents=True)
    (tmp_path / "faces" / "Ann" / "a.jpg").write_bytes(b"x")
    plan = plan_study("faces", read_people(tmp_path / "faces"), [dlib_resnet])
    with pytest.raises(StudyError, match="no person with two usable pictures"):
        run_study(plan, [dlib_resnet], RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("target", ["template", "contrast"])
def test_other_targets_run(samples, dlib_resnet, tmp_path, target):
    few = draw_people(samples, 2, 2, 0)
    plan = plan_study(
        "views", few, [dlib_resnet], Settings(target=target, baselines=("scattered",))
    )
    folder = RunFolder(tmp_path / "run")
    run_study(plan, [dlib_resnet], folder)
    jsonschema.validate(summary_of(folder), schema())


@pytest.fixture(scope="module")
def twenty(assets, dlib_resnet, tmp_path_factory) -> dict:
    """The summary of twenty people under two recognizers, with everything that can be measured."""
    lfw = assets / "lfw"
    samples = add_groups(draw_people(read_people(lfw / "people"), 20, 2, 0), lfw / "people.csv")
    cards = Path(__file__).parents[2] / "examples" / "cards"
    recognizers = [dlib_resnet, load_recognizer(cards / "mobilefacenet_xiaoccer.toml")]
    settings = Settings(**PRESETS["paper"], groups=("gender",), second_parser="compact")
    folder = RunFolder(tmp_path_factory.mktemp("twenty") / "run")
    run_study(plan_study("lfw", samples, recognizers, settings), recognizers, folder)
    render_report(folder)
    summary = summary_of(folder)
    jsonschema.validate(summary, schema())
    return summary


def test_twenty_people_end_to_end(twenty):
    summary = twenty
    assert (summary["people"], summary["images"]) == (20, 40)
    model = summary["models"]["dlib_resnet"]
    assert model["bc"]["critical"]["same"]["mean"] > model["bc"]["critical"]["different"]["mean"]
    assert model["occlusion"]["drop"]["mean"] > model["occlusion"]["baselines"]["moved"]["mean"]
    nose = model["regions"]["nose"]
    assert nose["share"]["mean"] > nose["area"]["mean"]
    assert sum(region["area"]["mean"] for region in model["regions"].values()) == pytest.approx(
        1, abs=1e-6
    )


def test_hiding_more_hurts_more_and_the_critical_pixels_most(twenty):
    for model in twenty["models"].values():
        curve = model["occlusion"]["curve"]
        assert [point["fraction"] for point in curve["critical"]] == list(FRACTIONS)
        drops = [point["mean"] for point in curve["critical"]]
        assert drops == sorted(drops)
        assert model["occlusion"]["drop"]["mean"] == pytest.approx(drops[FRACTIONS.index(0.01)])
        baselines = model["occlusion"]["baselines"]
        assert set(baselines) == set(BASELINES)
        # Another person's mask is no random one: models look at much the same places in everybody.
        random = [found["mean"] for name, found in baselines.items() if name != "other_person"]
        assert model["occlusion"]["drop"]["mean"] > max(random)


def test_masks_transfer_and_their_diagonal_is_the_models_own_drop(twenty):
    transfer = twenty["transfer"]
    assert transfer["masks"] == [*transfer["models"], "scattered"]
    for row, name in enumerate(transfer["models"]):
        own = twenty["models"][name]["occlusion"]["drop"]["mean"]
        # The diagonal goes through a map kept in half precision.
        assert transfer["drop"][row][row]["mean"] == pytest.approx(own, rel=0.05)
        assert all(
            found["mean"] > transfer["drop"][row][-1]["mean"]
            for found in transfer["drop"][row][:-1]
        )


def test_agreement_is_symmetric_and_complete_with_itself(twenty):
    agreement = twenty["agreement"]
    means = np.array([[found["mean"] for found in row] for row in agreement["critical"]])
    np.testing.assert_allclose(np.diag(means), 1, atol=1e-5)
    np.testing.assert_allclose(means, means.T)
    assert sorted(agreement["order"]) == sorted(agreement["models"])


def test_groups_and_their_gap(twenty):
    gender = twenty["groups"]["gender"]
    assert set(gender["values"]) <= {"female", "male"}
    for row in gender["gaps"]:
        first, second = (
            gender["values"][row[side]]["drop"][row["model"]]["mean"]
            for side in ("first", "second")
        )
        assert row["difference"]["mean"] == pytest.approx(first - second)
        assert row["p_adjusted"] >= row["p"]


def test_a_second_parser_moves_shares_and_they_still_sum_to_one(twenty):
    for model in twenty["models"].values():
        second = model["second_parser"]
        assert {"hair", "neck", "forehead"} <= set(second)
        assert sum(found["share"]["mean"] for found in second.values()) == pytest.approx(
            1, abs=1e-4
        )
        moved = second["nose"]["share"]["mean"] - model["regions"]["nose"]["share"]["mean"]
        assert second["nose"]["moved"]["mean"] == pytest.approx(moved, abs=1e-6)
        assert sum(abs(found["moved"]["mean"]) for found in second.values()) > 0.01


def test_layers_differ_in_their_focus(twenty):
    layers = twenty["models"]["dlib_resnet"]["layers"]
    assert [layer["depth"] for layer in layers.values()] == sorted(
        layer["depth"] for layer in layers.values()
    )
    noses = [layer["regions"]["nose"]["mean"] for layer in layers.values()]
    assert max(noses) > 1.5 * min(noses)
    for layer in layers.values():
        assert sum(found["mean"] for found in layer["regions"].values()) == pytest.approx(
            1, abs=1e-4
        )


class Silent(nn.Module):
    """A recognizer that answers some faces with NaN."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 5, stride=4)
        self.fc = nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embeddings = self.fc(self.conv(x).relu().mean(dim=(2, 3)))
        return embeddings * torch.where(x.mean(dim=(1, 2, 3)) > self.limit, 1.0, torch.nan)[:, None]


@pytest.mark.parametrize("limit", [-10.0, -0.2, 10.0])
def test_a_recognizer_that_returns_nan_costs_its_own_figures_only(samples, tmp_path, limit):
    module = Silent()
    module.limit = limit
    silent = Recognizer(module, Card(name="silent"))
    other = Recognizer(TinyNet(112), Card(name="sound"))
    few = [replace(s, groups={"kind": s.person}) for s in draw_people(samples, 2, 4, 0)]
    settings = Settings(**PRESETS["paper"], groups=("kind",))
    folder = RunFolder(tmp_path / "run")
    recognizers = [silent, other]
    run_study(plan_study("views", few, recognizers, settings), recognizers, folder)
    summary = summary_of(folder)
    jsonschema.validate(summary, schema())
    render_report(folder)
    found = summary["models"]["silent"]["occlusion"]["drop"]
    assert (found["mean"] is None) == (limit > 1)
    assert summary["models"]["sound"]["occlusion"]["drop"]["n"] == 2


def test_an_unknown_group_is_refused(samples, dlib_resnet):
    with pytest.raises(InputError, match="group height: no such column; known are none"):
        plan_study("views", samples, [dlib_resnet], Settings(groups=("height",)))
