"""Whole studies, small and real."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from leam.errors import InputError, LayerError, ModelError, StudyError
from leam.faces.people import add_groups, draw_people, read_people
from leam.metrics.controls import CONTROLS
from leam.metrics.fills import FILLS
from leam.metrics.occlusion import FRACTIONS
from leam.plugins import Registry
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from leam.report.page import render_report
from leam.results.summary import Summary
from leam.study.engine import EngineOptions
from leam.study.plan import PRESETS, Settings
from leam.study.run import plan_study, run_study
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.curves import CurveFigures
from leam.study.stages.effect import EffectFigures
from leam.study.stages.groups import GroupFigures
from leam.study.stages.layers import LayerFigures
from leam.study.stages.occlusion import OcclusionFigures
from leam.study.stages.regions import RegionFigures
from leam.study.stages.sanity import SanityFigures
from leam.study.stages.second_parser import SecondParserFigures
from leam.study.stages.specificity import SpecificityFigures
from leam.study.stages.stability import StabilityFigures
from leam.study.stages.swap import SwapFigures
from leam.study.stages.transfer import TransferFigures
from leam.study.stages.verification import VerificationFigures
from leam.study.store import RunFolder
from leam.study.summary import read_summary, summary_schema
from tiny import TinyNet

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("run")]


def json_of(folder: RunFolder) -> dict:
    return json.loads((folder.path / "summary.json").read_text())


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
    jsonschema.validate(json_of(finished), summary_schema())
    summary = read_summary(finished)
    assert (summary.people, summary.images) == (2, 12)
    assert summary.recognizers["dlib_resnet"].weighting == "signed"
    reasons = {one.image: one.reason for one in summary.exclusions}
    assert set(reasons) == {"Grace Hopper/broken.jpg", "Solo/only.png"}
    assert "not a picture" in reasons["Grace Hopper/broken.jpg"]
    assert reasons["Solo/only.png"] == "the only usable picture of Solo"


def test_the_schema_refuses_what_is_not_the_contract(finished):
    summary = json_of(finished)
    figures = summary["recognizers"]["dlib_resnet"]["figures"]
    del figures["specificity"]["operands"]["critical"]["genuine"]["low"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary, summary_schema())


def test_an_older_or_damaged_summary_is_refused_in_a_line(finished, tmp_path):
    found = json_of(finished)
    for broken, why in (
        ({key: value for key, value in found.items() if key != "schema_version"}, "version 1, but"),
        (found | {"schema_version": 99}, "version 99, but"),
        (found | {"people": -1}, "people: "),
        ([], "version None, but"),
    ):
        (tmp_path / "summary.json").write_text(json.dumps(broken))
        with pytest.raises(StudyError, match=rf"summary\.json: .*{why}"):
            read_summary(RunFolder(tmp_path))
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(StudyError, match=r"summary\.json: not JSON"):
        read_summary(RunFolder(tmp_path))


def test_views_of_one_face_have_more_alike_maps_than_two_faces(finished):
    found = read_summary(finished).each(SpecificityFigures)["dlib_resnet"].operands["critical"]
    assert found.genuine.mean > found.impostor.mean


def test_tables_are_tidy_and_agree_with_the_summary(finished):
    table = finished.read_table("regions/dlib_resnet")
    overall = table.filter(pl.col("layer") == "overall")
    sums = overall.group_by("image").agg(pl.col("share", "mass", "area").sum())
    for column in ("share", "mass", "area"):
        np.testing.assert_allclose(sums[column], 1, atol=1e-5)
    nose = overall.filter(pl.col("region") == "nose")
    figures = read_summary(finished).each(RegionFigures)["dlib_resnet"].regions["nose"]
    assert figures.share.mean == pytest.approx(nose["share"].mean(), rel=1e-5)
    assert figures.share.n == 2
    layers = table["layer"].unique().to_list()
    assert len(layers) == 28
    assert table.height == 12 * 28 * overall["region"].n_unique()
    faces = finished.read_table("faces")
    assert faces.height == 14
    assert faces.filter(pl.col("reason") == "").height == 12
    assert faces.filter(pl.col("yaw").is_not_nan()).height == 13


def test_a_study_works_in_one_thread_and_leaves_the_number_as_it_was(plan, dlib_resnet, tmp_path):
    before, seen = torch.get_num_threads(), set()
    folder = RunFolder(tmp_path / "run")
    try:
        torch.set_num_threads(3)
        tell = lambda *_: seen.add(torch.get_num_threads())  # noqa: E731
        run_study(plan, [dlib_resnet], folder, progress=tell)
        assert seen == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_two_processes_end_with_the_same_bytes(finished, plan, dlib_resnet, tmp_path):
    folder = RunFolder(tmp_path / "run")
    run_study(plan, [dlib_resnet], folder, options=EngineOptions(workers=2))
    assert digests(folder) == digests(finished)


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
    shard = folder.shard("explain/dlib_resnet", 0)
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
    run = tmp_path / "run"
    run.mkdir()
    for place in (run / "run.json", run / "shards" / "x.npz", run / "tables" / "x.parquet"):
        place.parent.mkdir(exist_ok=True)
        leftover = place.with_name(f".part-0123456789abcdef-{place.name}")
        leftover.touch()
        with RunFolder(run).locked():
            RunFolder(run).start(plan)
        assert not leftover.exists()
    (run / ".part-mine").touch()
    with RunFolder(run).locked():
        RunFolder(run).start(plan)
    assert (run / ".part-mine").exists()


def test_what_a_killed_worker_left_half_written_is_cleared_away(samples, tmp_path):
    left = tmp_path / "run" / "tables" / "regions" / ".part-0123456789abcdef-tiny.parquet"

    def leave(what: str, _done: int, _all: int) -> None:
        if what == "computing figures":
            left.parent.mkdir(parents=True, exist_ok=True)
            left.touch()

    model = Recognizer(TinyNet(112), Card(name="tiny"))
    plan = plan_study("views", draw_people(samples, 2, 2, 0), [model])
    run_study(plan, [model], RunFolder(tmp_path / "run"), progress=leave)
    assert left.parent.is_dir()
    assert not left.exists()


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(StudyError, match="holds no study"), RunFolder(tmp_path).locked():
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.doc"]


def test_choices_that_cannot_work_fail_before_the_work(samples, dlib_resnet, tmp_path):
    with pytest.raises(InputError, match="expected at least one"):
        plan_study("views", samples, [dlib_resnet, dlib_resnet])
    with pytest.raises(InputError, match="glitter: no such fill; available: "):
        plan_study("views", samples, [dlib_resnet], Settings(fill="glitter"))
    wrong = plan_study("views", samples, [dlib_resnet], Settings(layers=("nothing",)))
    with pytest.raises(LayerError, match="layer nothing: no such layer"):
        run_study(wrong, [dlib_resnet], RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_recognizer_may_have_the_name_of_a_stage(samples, tmp_path):
    torch.manual_seed(0)
    recognizers = [
        Recognizer(TinyNet(112), Card(name=name)) for name in ("detect", "parse", "transfer")
    ]
    few = draw_people(samples, 2, 2, 0)
    folder = RunFolder(tmp_path / "run")
    run_study(plan_study("views", few, recognizers, Settings(transfer=True)), recognizers, folder)
    assert set(read_summary(folder).recognizers) == {"detect", "parse", "transfer"}


def test_no_usable_person(dlib_resnet, tmp_path):
    (tmp_path / "faces" / "Ann").mkdir(parents=True)
    (tmp_path / "faces" / "Ann" / "a.jpg").write_bytes(b"x")
    plan = plan_study("faces", read_people(tmp_path / "faces"), [dlib_resnet])
    with pytest.raises(StudyError, match="no person with two usable pictures"):
        run_study(plan, [dlib_resnet], RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("target", ["template", "contrast"])
def test_other_targets_run(samples, dlib_resnet, tmp_path, target):
    few = draw_people(samples, 2, 2, 0)
    plan = plan_study("views", few, [dlib_resnet], Settings(target=target, controls=("scattered",)))
    folder = RunFolder(tmp_path / "run")
    run_study(plan, [dlib_resnet], folder)
    jsonschema.validate(json_of(folder), summary_schema())


@pytest.fixture(scope="module")
def twenty(assets, dlib_resnet, tmp_path_factory) -> Summary:
    """The summary of twenty people under two recognizers, with everything that can be measured."""
    lfw = assets / "lfw"
    samples = add_groups(draw_people(read_people(lfw / "people"), 20, 2, 0), lfw / "people.csv")
    cards = Path(__file__).parents[2] / "examples" / "cards"
    recognizers = [dlib_resnet, load_recognizer(cards / "mobilefacenet_xiaoccer.toml")]
    settings = Settings(
        **{**PRESETS["paper"], "subset": 4}, groups=("gender",), second_parser="compact"
    )
    folder = RunFolder(tmp_path_factory.mktemp("twenty") / "run")
    run_study(plan_study("lfw", samples, recognizers, settings), recognizers, folder)
    render_report(folder)
    jsonschema.validate(json_of(folder), summary_schema())
    return read_summary(folder)


def test_twenty_people_end_to_end(twenty):
    assert (twenty.people, twenty.images) == (20, 40)
    one = twenty.recognizers["dlib_resnet"]
    critical = one.get(SpecificityFigures).operands["critical"]
    assert critical.genuine.mean > critical.impostor.mean
    occlusion = one.get(OcclusionFigures)
    assert occlusion.drop.mean > occlusion.controls["moved"].mean
    regions = one.get(RegionFigures).regions
    assert regions["nose"].share.mean > regions["nose"].area.mean
    assert sum(region.area.mean for region in regions.values()) == pytest.approx(1, abs=1e-6)


def test_hiding_more_hurts_more_and_the_critical_pixels_most(twenty):
    for name, figures in twenty.each(CurveFigures).items():
        curve = figures.curves["black"]["critical"]
        assert [point.fraction for point in curve] == list(FRACTIONS)
        assert {point.value.n for point in curve} == {4}
        drops = [point.value.mean for point in curve]
        assert drops[-1] > drops[FRACTIONS.index(0.01)] > drops[0]
        assert set(figures.curves) == {"black", "mean", "blur", "road"} <= set(FILLS)
        occlusion = twenty.recognizers[name].get(OcclusionFigures)
        assert (
            set(occlusion.controls) == set(occlusion.margins) == set(PRESETS["paper"]["controls"])
        )
        assert set(occlusion.controls) <= set(CONTROLS)
        # Maps of other people are not random: recognizers rely on much the same places in everybody.
        others = {"other_person", "population"}
        random = {k: found for k, found in occlusion.controls.items() if k not in others}
        assert occlusion.drop.mean > max(found.mean for found in random.values())
        for control, found in random.items():
            difference = occlusion.drop.mean - found.mean
            assert occlusion.margins[control].difference.mean == pytest.approx(difference)


def test_the_effect_agrees_with_the_occlusion(twenty):
    for one in twenty.recognizers.values():
        occlusion, effect = one.get(OcclusionFigures), one.get(EffectFigures)
        drops = effect.fills[occlusion.fill].drops
        assert drops["critical"].mean == pytest.approx(occlusion.drop.mean, abs=1e-6)
        for control in ("other_person", "population", "edges"):
            found = occlusion.controls[control].mean
            assert drops[control].mean == pytest.approx(found, abs=1e-6)
        assert one.get(SpecificityFigures).controls["random_weights"].auc.n > 0
        assert one.get(RegionFigures).regions["nose"].margins["edges"].n == 20


def test_the_subset_is_measured(twenty):
    for one in twenty.recognizers.values():
        verification = one.get(VerificationFigures)
        for way in (verification.deletion, verification.insertion):
            for curve in (way.map, way.random):
                heights = [point.value.mean for point in curve.points]
                assert len(heights) == 11
                area = np.mean([(a + b) / 2 for a, b in pairwise(heights)])
                assert curve.area.mean == pytest.approx(area)
        whole = verification.deletion.map.points[0].value.mean
        assert whole == verification.insertion.random.points[-1].value.mean
        steps = one.get(SanityFigures).steps
        assert len(steps) == 5
        assert steps[-1].rank.mean < 0.9
        stability = one.get(StabilityFigures)
        assert 0 < stability.max_sensitivity.mean < 2
        assert stability.flip_consistency.mean > 0.3
        # What was exchanged is found: the area of a region's ROC curve is 0.5 by chance.
        assert min(found.mean for found in one.get(SwapFigures).regions.values()) > 0.6


def test_the_diagonal_of_the_transfer_is_the_recognizers_own_drop(twenty):
    transfer = twenty.get(TransferFigures)
    assert transfer.masks == [*transfer.recognizers, "scattered"]
    for row, name in enumerate(transfer.recognizers):
        own = twenty.recognizers[name].get(OcclusionFigures).drop.mean
        # The diagonal goes through a map kept in half precision.
        assert transfer.drop[row][row].mean == pytest.approx(own, rel=0.05)
        target = transfer.targets[name]
        assert target.own == transfer.drop[row][row]
        others = [cell.mean for i, cell in enumerate(transfer.drop[row][:-1]) if i != row]
        assert target.others.mean == pytest.approx(np.mean(others), rel=1e-5)


def test_agreement_is_symmetric_and_complete_with_itself(twenty):
    agreement = twenty.get(AgreementFigures)
    means = np.array([[found.mean for found in row] for row in agreement.critical])
    np.testing.assert_allclose(np.diag(means), 1, atol=1e-5)
    np.testing.assert_allclose(means, means.T)
    assert sorted(agreement.order) == sorted(agreement.recognizers)
    assert len(agreement.merges) == len(agreement.recognizers) - 1
    ranks = np.array([[found.mean for found in row] for row in agreement.rank])
    np.testing.assert_allclose(np.diag(ranks), 1, atol=1e-5)
    assert agreement.regions[0][0].mean == pytest.approx(0, abs=1e-6)
    assert agreement.depths == 10
    for one in (agreement.layers, *agreement.layers_of.values()):
        assert all(0 < kind.mean < 1 for kind in (one.between, one.unrelated))
        difference = one.within.mean - one.between.mean
        assert one.margin.difference.mean == pytest.approx(difference, abs=1e-6)
    # With two recognizers, each is the only other one.
    first, second = agreement.layers_of.values()
    assert first.between == second.between == agreement.layers.between


def test_groups_and_their_gap(twenty):
    found = twenty.get(GroupFigures).columns["gender"]
    assert set(found.groups) <= {"female", "male"}
    # The second parser sees what the first does not.
    assert found.covariates == ["yaw", "pitch", "roll", "glasses", "hair", "hat"]
    if len(found.groups) == 2:
        assert len(found.gaps) == 2 * 5
    for row in found.gaps:
        first, second = (
            found.groups[group].drop[row.recognizer].mean
            if row.of == "drop"
            else found.groups[group].share[row.recognizer][row.of].mean
            for group in (row.first, row.second)
        )
        assert row.difference.mean == pytest.approx(first - second, abs=1e-6)
        assert row.p_adjusted >= row.p
        fewest = min(group.people for group in found.groups.values())
        assert row.matched_on_all.difference.n <= row.matched.difference.n <= fewest


def test_a_second_parser_moves_shares_and_they_still_sum_to_one(twenty):
    for one in twenty.recognizers.values():
        second, first = one.get(SecondParserFigures).regions, one.get(RegionFigures).regions
        assert {"hair", "neck", "forehead"} <= set(second)
        total = sum(found.share.mean for found in second.values())
        assert total == pytest.approx(1, abs=1e-4)
        moved = second["nose"].share.mean - first["nose"].share.mean
        assert second["nose"].moved.mean == pytest.approx(moved, abs=1e-6)
        assert sum(abs(found.moved.mean) for found in second.values()) > 0.01


def test_layers_differ_in_their_focus(twenty):
    figures = twenty.each(LayerFigures)["dlib_resnet"]
    layers = list(figures.layers.values())
    assert [layer.depth for layer in layers] == sorted(layer.depth for layer in layers)
    matrix = np.array(figures.divergences)
    assert matrix.shape == (len(layers), len(layers))
    upper = matrix[np.triu_indices(len(layers), 1)]
    # Pairs in which a layer has no map for a face count for the other faces only.
    assert upper.min() < figures.divergence.mean < upper.max()
    assert figures.divergence.mean == pytest.approx(upper.mean(), rel=0.3)
    noses = [layer.regions["nose"].mean for layer in layers]
    assert max(noses) > 1.5 * min(noses)
    for layer in layers:
        assert sum(found.mean for found in layer.regions.values()) == pytest.approx(1, abs=1e-4)


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
    settings = Settings(**{**PRESETS["paper"], "subset": 2, "fills": ("black",)}, groups=("kind",))
    folder = RunFolder(tmp_path / "run")
    recognizers = [silent, other]
    run_study(plan_study("views", few, recognizers, settings), recognizers, folder)
    jsonschema.validate(json_of(folder), summary_schema())
    render_report(folder)
    found = read_summary(folder).each(OcclusionFigures)
    assert (found["silent"].drop.mean is None) == (limit > 1)
    assert found["sound"].drop.n == 2


def test_an_unknown_group_is_refused(samples, dlib_resnet):
    with pytest.raises(InputError, match="group height: no such column; available: none"):
        plan_study("views", samples, [dlib_resnet], Settings(groups=("height",)))


def test_a_recognizer_that_is_not_the_plans_is_refused(samples, tmp_path):
    """Outputs would bear the name and the checksum of another recognizer."""
    few = draw_people(samples, 2, 2, 0)
    torch.manual_seed(0)
    one, other = Recognizer(TinyNet(112), Card(name="a")), Recognizer(TinyNet(112), Card(name="b"))
    plan = plan_study("views", few, [one, other])
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(InputError, match="the plan has a, b, in this order"):
        run_study(plan, [other, one], folder)
    with pytest.raises(InputError, match="the plan has a, b"):
        run_study(plan, [one], folder)
    renamed = Recognizer(other.module, Card(name="a"))
    with pytest.raises(InputError, match="a: its weights have sha256"):
        run_study(plan, [renamed, other], folder)
    with torch.no_grad():
        one.module.fc.bias += 1
    with pytest.raises(InputError, match=r"a: its weights have sha256 .* plan the study again"):
        run_study(plan, [one, other], folder)
    recarded = Recognizer(other.module, Card(name="b", mean=(0, 0, 0)))
    plan = plan_study("views", few, [one, other])
    with pytest.raises(InputError, match="b: its card differs from the plan"):
        run_study(plan, [one, recarded], folder)
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("settings", "error", "why"),
    [
        ({"fills": ("glitter",)}, InputError, "glitter: no such fill"),
        ({"controls": ("glitter",)}, InputError, "glitter: no such control"),
        ({"weighting": "glitter"}, InputError, "glitter: no such weighting"),
        ({"aggregate": "glitter"}, InputError, "glitter: no such aggregate"),
        ({"backend": "glitter"}, InputError, "glitter: no such backend"),
        ({"parser": "glitter"}, ModelError, "glitter: no such parser"),
        ({"second_parser": "glitter"}, ModelError, "glitter: no such parser"),
        ({"detector": "glitter"}, ModelError, "glitter: no such detector"),
    ],
)
def test_every_name_in_the_settings_is_checked(samples, dlib_resnet, settings, error, why):
    with pytest.raises(error, match=why):
        plan_study("views", samples, [dlib_resnet], Settings(**settings))


def test_an_unknown_engine_is_refused(plan, dlib_resnet, tmp_path):
    with pytest.raises(InputError, match=r"glitter: no such engine; available: .*local"):
        run_study(plan, [dlib_resnet], RunFolder(tmp_path / "run"), engine="glitter")
    assert not (tmp_path / "run").exists()


def test_the_presets_name_what_there_is():
    fields: tuple[tuple[str, Registry[object]], ...] = (("controls", CONTROLS), ("fills", FILLS))
    for name, preset in PRESETS.items():
        settings = Settings.model_validate(preset)
        for field, registry in fields:
            assert set(getattr(settings, field)) <= set(registry), name
