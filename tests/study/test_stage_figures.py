"""Figures of every stage, from shards and tables that were written by hand: each number in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import shards
from leam.metrics.statistics import Estimate, bootstrap_mean
from leam.parsers.regions import REGIONS
from leam.progress import silent
from leam.recognizers.card import Card
from leam.results.summary import Exclusion, Failure, RecognizerSummary
from leam.study.plan import Plan, PlannedModel
from leam.study.run_data import RunData
from leam.study.stage import STAGES
from leam.study.stages.agreement import Agreement, AgreementFigures
from leam.study.stages.control_maps import ControlMaps, ControlMapStage
from leam.study.stages.curves import CurveFigures, Curves, Grid
from leam.study.stages.effect import (
    CONTRASTS,
    FILLS,
    MASKS,
    EffectFigures,
    Effects,
    PersonEffect,
)
from leam.study.stages.groups import GroupFigures, Groups, _members
from leam.study.stages.layers import Focus, LayerFigures, Layers
from leam.study.stages.occlusion import Occluded, Occlusion, OcclusionFigures
from leam.study.stages.regions import RegionFigures, Regions, RegionShares
from leam.study.stages.sanity import Randomised, Sanity, SanityFigures
from leam.study.stages.second_parser import SecondParser, SecondParserFigures, SecondShares
from leam.study.stages.specificity import PersonSpecificity, SpecificityFigures
from leam.study.stages.stability import Stability, StabilityFigures, Stable
from leam.study.stages.swap import SWAPPED, Swap, SwapFigures, Swapped
from leam.study.stages.transfer import Transfer, TransferFigures, Transferred
from leam.study.stages.verification import Decisions, Verification, VerificationFigures
from leam.study.store import RunFolder
from leam.study.summary import read_summary, write_summary
from leam.study.worker import StoredFigures
from planned import SIDE, planned

PEOPLE = "aabbccdd"
NAMES = ("one", "two")
GENERATOR = np.random.default_rng(5)


def plan_of(people: str = PEOPLE, **settings: object) -> Plan:
    """Four people with two pictures each in two slices, and two recognizers."""
    other = PlannedModel(card=Card(name="two", input_size=(SIDE, SIDE)), sha256="1")
    plan = planned(people, 2, **settings)
    return plan.model_copy(update={"models": (*plan.models, other)})


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def values(*shape: int) -> np.ndarray:
    """Numbers that are all different, some below zero."""
    return (GENERATOR.permutation(int(np.prod(shape))).reshape(shape) / 10 - 0.3).astype(np.float32)


def expected(column: np.ndarray, people: Sequence[object]) -> Estimate:
    """The estimate of one column of values."""
    owners = np.unique(np.array(list(people)), return_inverse=True)[1]
    found = bootstrap_mean(column.astype(np.float64), owners, 0)
    assert found.mean is not None
    return found


def same(found: Estimate, wanted: Estimate) -> bool:
    """Equal up to rounding."""
    assert [found.mean, found.low, found.high] == pytest.approx(
        [wanted.mean, wanted.low, wanted.high], abs=1e-6
    )
    return found.n == wanted.n


def parts(count: int = 8, slices: int = 2) -> list[list[int]]:
    """Positions by slice."""
    return [part.tolist() for part in np.array_split(np.arange(count), slices)]


def test_occlusion(folder):
    plan = plan_of(controls=("scattered", "moved"), top=0.02, fill="blur")
    run, drops = RunData(plan, folder), values(8, 3)
    pieces = np.arange(24, dtype=np.int32).reshape(8, 3) ** 2
    for index, rows in enumerate(parts()):
        ones = np.ones(len(rows), dtype=np.float32)
        shard = Occluded(np.array(rows), ones, drops[rows], pieces[rows], 10 + pieces[rows])
        folder.write_shard("occlusion/two", index, shard)
    folder.write_table("occlusion/two", Occlusion().tabulate(run, "two"))
    found = Occlusion().summarise(run, "two")
    assert isinstance(found, OcclusionFigures)
    assert (found.fraction, found.fill) == (0.02, "blur")
    assert same(found.drop, expected(drops[:, 0], PEOPLE))
    assert list(found.controls) == list(found.margins) == ["scattered", "moved"]
    for place, control in enumerate(found.controls, start=1):
        assert same(found.controls[control], expected(drops[:, place], PEOPLE))
        difference = drops[:, 0].astype(float) - drops[:, place]
        assert same(found.margins[control].difference, expected(difference, PEOPLE))
        means = difference.reshape(4, 2).mean(axis=1)
        assert found.margins[control].d == pytest.approx(means.mean() / means.std(ddof=1), rel=1e-5)
        assert 0 < (found.margins[control].p or 0) <= 1
        # The first face has an empty critical mask, of 0 pieces.
        assert found.pieces[control].count == np.median(pieces[:, place])
        assert found.pieces[control].largest == np.median(10 + pieces[:, place])
        assert found.margins[control].p != found.margins[control].d
    assert found.pieces["critical"].count == np.median(pieces[1:, 0])
    assert found.strongest == max(found.controls, key=lambda name: found.controls[name].mean)


def test_effect(folder):
    plan = plan_of(effect=True, top=0.02)
    run = RunData(plan, folder)
    drops, energy = values(8, len(FILLS), len(MASKS)), values(8, len(FILLS), len(MASKS)) + 2
    drops[2, 1, 3] = np.nan
    for index, rows in enumerate(parts()):
        folder.write_shard("effect/one", index, Effects(np.array(rows), drops[rows], energy[rows]))
    folder.write_table("effect/one", PersonEffect().tabulate(run, "one"))
    table = folder.read_table("effect/one")
    row = (pl.col("image") == "b/3") & (pl.col("fill") == "blur") & (pl.col("mask") == "edges")
    assert table.filter(row).rows() == [
        ("b", "b/3", "blur", "edges", drops[3, 2, 4], energy[3, 2, 4], "one")
    ]
    found = PersonEffect().summarise(run, "one")
    assert isinstance(found, EffectFigures)
    assert list(found.fills) == list(FILLS)
    assert found.fraction == 0.02
    for f, one in enumerate(found.fills.values()):
        for m, mask in enumerate(MASKS):
            assert one.drops[mask].mean == pytest.approx(np.nanmean(drops[:, f, m]), rel=1e-5)
            assert one.energy[mask].mean == pytest.approx(energy[:, f, m].mean(), rel=1e-5)
    # The means of each person's two pictures; person b has one under the population's mask.
    each = np.nanmean(drops.reshape(4, 2, len(FILLS), len(MASKS)).astype(float), axis=1)
    own, picture, person, population, edges, edges_picture, edges_person = np.moveaxis(each, 2, 0)
    expected = {
        "own_other_person": own - person,
        "own_population": own - population,
        "edges_other_person": edges - edges_person,
        "own_beyond_edges": own - person - edges + edges_person,
        "other_picture_other_person": picture - person,
        "other_picture_population": picture - population,
        "edges_other_picture_other_person": edges_picture - edges_person,
        "other_picture_beyond_edges": picture - person - edges_picture + edges_person,
    }
    assert list(expected) == list(CONTRASTS)
    for f, one in enumerate(found.fills.values()):
        for name, contrast in one.contrasts.items():
            difference = expected[name][:, f]
            assert contrast.drop.mean == pytest.approx(difference.mean(), rel=1e-5)
            assert contrast.d.mean == pytest.approx(
                difference.mean() / difference.std(ddof=1), rel=1e-4
            )
            assert contrast.drop.n == 4


def test_curves(folder):
    fills, fractions = ("black", "mean"), (0.1, 0.2, 0.4)
    plan = plan_of(curve_controls=("scattered",), fills=fills, curve=fractions, subset=4, top=0.22)
    drops = values(4, 2, 2, 3)
    for index, rows in enumerate(parts(4)):
        shard = Grid(np.array([2 * row for row in rows]), drops[rows])
        folder.write_shard("curves/one", index, shard)
    found = Curves().summarise(RunData(plan, folder), "one")
    assert isinstance(found, CurveFigures)
    assert list(found.curves) == list(fills)
    for f, fill in enumerate(fills):
        assert list(found.curves[fill]) == ["critical", "scattered"]
        for m, points in enumerate(found.curves[fill].values()):
            assert [point.fraction for point in points] == list(fractions)
            for t, point in enumerate(points):
                assert same(point.value, expected(drops[:, f, m, t], "abcd"))
        margin = expected(drops[:, f, 0, 1].astype(float) - drops[:, f, 1, 1], "abcd")
        assert same(found.margins[fill]["scattered"], margin)
    assert found.fraction == 0.2


def test_verification(folder):
    right = GENERATOR.random((4, 2, 2, 2, 11)) < 0.6
    # Each curve is recognized by its first steps.
    for place, (way, order) in enumerate(np.ndindex(2, 2)):
        right[:, :, way, order, :5] = np.arange(5) <= place
    for index, rows in enumerate(parts(4)):
        shard = Decisions(np.array([2 * row for row in rows]), right[rows])
        folder.write_shard("verification/one", index, shard)
    found = Verification().summarise(RunData(plan_of(subset=4), folder), "one")
    assert isinstance(found, VerificationFigures)
    curves = (
        found.deletion.map,
        found.deletion.random,
        found.insertion.map,
        found.insertion.random,
    )
    for (way, order), curve in zip(np.ndindex(2, 2), curves, strict=True):
        accuracy = right[:, :, way, order].mean(axis=1)
        assert [point.fraction for point in curve.points] == [step / 10 for step in range(11)]
        for step, point in enumerate(curve.points):
            assert same(point.value, expected(accuracy[:, step], "abcd"))
        # By the trapezoidal rule.
        areas = (accuracy.sum(axis=1) - (accuracy[:, 0] + accuracy[:, -1]) / 2) / 10
        assert same(curve.area, expected(areas, "abcd"))


def test_sanity(folder):
    rank, ssim = values(4, 5).astype(np.float64), values(4, 5).astype(np.float64) + 10
    for index, rows in enumerate(parts(4)):
        # The last step is invalid in the second slice alone.
        fault = np.array([["", "", "", "", "the same" if index else ""]] * len(rows))
        shard = Randomised(np.array([2 * row for row in rows]), rank[rows], ssim[rows], fault)
        folder.write_shard("sanity/one", index, shard)
    found = Sanity().summarise(RunData(plan_of(subset=4), folder), "one")
    assert isinstance(found, SanityFigures)
    assert [step.randomised for step in found.steps] == [0.2, 0.4, 0.6, 0.8, 1]
    assert [step.invalid for step in found.steps] == [None] * 4 + ["the same"]
    assert found.steps[-1].rank.mean is found.steps[-1].ssim.mean is None
    for place, step in enumerate(found.steps[:-1]):
        assert same(step.rank, expected(rank[:, place], "abcd"))
        assert same(step.ssim, expected(ssim[:, place], "abcd"))


def test_swap_and_stability(folder):
    ranking, sensitivity, flip = values(4, 4), values(4), values(4) + 5
    for index, rows in enumerate(parts(4)):
        at = np.array([2 * row for row in rows])
        folder.write_shard("swap/one", index, Swapped(at, ranking[rows]))
        folder.write_shard("stability/one", index, Stable(at, sensitivity[rows], flip[rows]))
    run = RunData(plan_of(subset=4), folder)
    swapped, stable = Swap().summarise(run, "one"), Stability().summarise(run, "one")
    assert isinstance(swapped, SwapFigures)
    assert isinstance(stable, StabilityFigures)
    assert list(swapped.regions) == ["nose", "eyes", "brows", "lips"] == list(SWAPPED)
    for place, one in enumerate(swapped.regions.values()):
        assert same(one, expected(ranking[:, place], "abcd"))
    assert same(stable.max_sensitivity, expected(sensitivity, "abcd"))
    assert same(stable.flip_consistency, expected(flip, "abcd"))


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (stage, name)
        for stage in ("curves", "verification", "sanity", "swap", "stability")
        for name in NAMES
    ],
)
def test_a_recognizer_without_the_subset_has_no_figures(folder, stage, name):
    assert STAGES[stage]().summarise(RunData(plan_of(subset=4), folder), name) is None


def write_regions(
    folder: RunFolder, name: str, share: np.ndarray, mass: np.ndarray, area: np.ndarray
) -> None:
    """Maps and region shares of eight faces; the late layer's maps are empty."""
    for index, rows in enumerate(parts(len(share))):
        folder.write_shard(f"explain/{name}", index, shards.explained(rows))
        one = RegionShares(share[rows], mass[rows], area[rows], area[rows])
        folder.write_shard(f"regions/{name}", index, one)


def test_regions(folder):
    share, mass, area = (
        values(8, 3, len(REGIONS)),
        values(8, 3, len(REGIONS)),
        values(8, len(REGIONS)) + 1,
    )
    write_regions(folder, "one", share, mass, area)
    control = shards.control_maps(range(8), np.zeros((8, 4, 4), bool), np.zeros((8, 4, 4), bool))
    random = control.random_share.copy()
    # The last person is not explained with random weights.
    random[6:] = np.nan
    for index, rows in enumerate(parts()):
        arrays = {**vars(control), "random_share": random}
        part = ControlMaps(**{name: array[rows] for name, array in arrays.items()})
        folder.write_shard("control_maps/one", index, part)
    run = RunData(plan_of(), folder)
    folder.write_table("regions/one", Regions().tabulate(run, "one"))
    folder.write_table("control_maps/one", ControlMapStage().tabulate(run, "one"))
    found = Regions().summarise(run, "one")
    assert isinstance(found, RegionFigures)
    assert list(found.regions) == run.regions()
    for region, one in found.regions.items():
        place = REGIONS.index(region)
        assert same(one.share, expected(share[:, 0, place], PEOPLE))
        assert same(one.mass, expected(mass[:, 0, place], PEOPLE))
        assert same(one.area, expected(area[:, place], PEOPLE))
        assert same(one.density, expected(share[:, 0, place] / area[:, place], PEOPLE))
        own, edges = share[:, 0, place], control.edge_share[:, place]
        assert same(one.edges, expected(edges, PEOPLE))
        assert same(one.random_weights, expected(random[:6, place], PEOPLE[:6]))
        assert list(one.margins) == ["area", "edges", "random_weights"]
        assert same(one.margins["area"], expected(own - area[:, place], PEOPLE))
        assert same(one.margins["edges"], expected(own - edges, PEOPLE))
        over_random = expected(own[:6] - random[:6, place], PEOPLE[:6])
        assert same(one.margins["random_weights"], over_random)


def test_second_parser(folder):
    plan = plan_of(second_parser="compact")
    first, second, area = (values(8, len(REGIONS)) for _ in range(3))
    share = np.stack([first] * 3, axis=1)
    write_regions(folder, "one", share, -share, np.abs(first))
    for index, rows in enumerate(parts()):
        shard = SecondShares(np.array(rows), second[rows], area[rows])
        folder.write_shard("second_parser/one", index, shard)
    run = RunData(plan, folder)
    found = SecondParser().summarise(run, "one")
    assert isinstance(found, SecondParserFigures)
    assert set(found.regions) == {*run.regions("landmarks"), *run.regions("compact")}
    for region, one in found.regions.items():
        place = REGIONS.index(region)
        assert same(one.share, expected(second[:, place], PEOPLE))
        assert same(one.area, expected(area[:, place], PEOPLE))
        assert same(one.moved, expected(second[:, place] - first[:, place], PEOPLE))


def test_layers(folder):
    share, mass = values(8, 3, len(REGIONS)), np.abs(values(8, 3, len(REGIONS))) + 0.1
    write_regions(folder, "one", share, mass, np.abs(share[:, 0]))
    spread, centre = values(8, 3), values(8, 3, 2)
    for index, rows in enumerate(parts()):
        folder.write_shard("layers/one", index, Focus(spread[rows], centre[rows]))
    run = RunData(plan_of(), folder)
    folder.write_table("regions/one", Regions().tabulate(run, "one"))
    folder.write_table("layers/one", Layers().tabulate(run, "one"))
    found = Layers().summarise(run, "one")
    assert isinstance(found, LayerFigures)
    assert {name: layer.depth for name, layer in found.layers.items()} == {"early": 1}
    early = found.layers["early"]
    assert same(early.spread, expected(spread[:, 1], PEOPLE))
    assert same(early.x, expected(centre[:, 1, 0], PEOPLE))
    assert same(early.y, expected(centre[:, 1, 1], PEOPLE))
    assert list(early.regions) == run.regions()
    for region, one in early.regions.items():
        assert same(one, expected(mass[:, 1, REGIONS.index(region)], PEOPLE))
    profiles = mass[:, 1:] / mass[:, 1:].sum(axis=2, keepdims=True)
    middle = profiles.mean(axis=1, keepdims=True)
    divergence = (profiles * np.log2(profiles / middle)).sum(axis=2).mean(axis=1)
    assert same(found.divergence, expected(divergence, PEOPLE))
    assert found.divergences[0][1] == pytest.approx(divergence.mean(), abs=1e-5)


def blobs(places: Sequence[int]) -> np.ndarray:
    """Maps with one bright pixel each in the first row, ``(n, 4, 4)``."""
    density = np.full((len(places), SIDE, SIDE), 0.01)
    density[np.arange(len(places)), 0, list(places)] = 10
    return density


@pytest.fixture
def specific(folder) -> tuple[SpecificityFigures, pl.DataFrame]:
    """Figures and table of four people.

    Persons a, b and c have a pixel of their own; d's two pictures show those of a and b. The edges of all faces are the
    same pixel. Each person has two regions of its own, whose areas differ between its two pictures, but not their
    densities. With random weights the four pictures of a slice show pixels of their own.
    """
    plan, places = plan_of(subset=4), [0, 0, 1, 1, 2, 2, 0, 1]
    areas = np.zeros((8, len(REGIONS)), dtype=np.float32)
    faces, persons = np.arange(8), np.arange(8) // 2
    areas[faces, 2 * persons] = np.where(faces % 2, 0.25, 0.75)
    areas[faces, 2 * persons + 1] = np.where(faces % 2, 0.75, 0.25)
    for index, rows in enumerate(parts()):
        density = blobs([places[row] for row in rows])
        folder.write_shard("explain/one", index, shards.explained(rows, density))
        share = np.stack([areas[rows]] * 3, axis=1)
        found = replace(shards.region_shares(rows), share=share, area=areas[rows])
        folder.write_shard("regions/one", index, found)
        edges, random = blobs([3] * len(rows)) > 1, blobs([row % 4 for row in rows]) > 1
        folder.write_shard("control_maps/one", index, shards.control_maps(rows, edges, random))
        folder.write_shard("detect", index, shards.detections(len(rows)))
    run = RunData(plan, folder)
    run.__dict__["people"] = {name: number for number, name in enumerate("abcd")}
    folder.write_table("specificity/one", PersonSpecificity().tabulate(run, "one"))
    table = folder.read_table("specificity/one")
    found = PersonSpecificity().summarise(run, "one")
    assert isinstance(found, SpecificityFigures)
    return found, table


# The AUC of the critical masks.
AUC = 0.75 * (1 - 4 / 24) + 0.5 * (0.75 * 4 / 24 + 0.25 * 20 / 24)


def test_specificity(specific):
    found, table = specific
    assert table["person"].to_list() == list("abcd")
    assert table["model"].to_list() == ["one"] * 4
    assert table["critical_genuine"].to_list() == [1, 1, 1, 0]
    # Of six pairs with other people's pictures each of a's meets one of d's, and so do b's; d's meet two each.
    assert table["critical_impostor"].to_list() == pytest.approx([1 / 6, 1 / 6, 0, 2 / 6])
    assert list(found.operands) == ["critical", "dense", "density", "halves", "pattern"]
    critical = found.operands["critical"]
    assert critical.genuine.mean == pytest.approx(0.75)
    assert critical.impostor.mean == pytest.approx(4 / 24)
    assert (critical.pairs.genuine, critical.pairs.impostor) == (4, 24)
    assert critical.histogram.genuine[-1] == pytest.approx(0.75)
    assert critical.histogram.impostor[-1] == pytest.approx(4 / 24, abs=1e-5)
    assert (critical.histogram.edges[0], critical.histogram.edges[-1]) == (0, 1)
    assert critical.auc.mean == pytest.approx(AUC)
    assert critical.chance.auc.mean == pytest.approx(0.5, abs=0.1)
    assert critical.p is not None
    assert 0 < critical.p < 0.3


def test_specificity_beside_controls(specific):
    found, table = specific
    edges, areas, random = (found.controls[name] for name in ("edges", "areas", "random_weights"))
    assert (edges.genuine.mean, edges.impostor.mean, edges.auc.mean) == (1, 1, 0.5)
    assert (areas.impostor.mean, areas.auc.mean) == (0, 1)
    assert areas.genuine.mean == pytest.approx(2 * np.sqrt(0.25 * 0.75))
    assert (random.genuine.mean, random.impostor.mean, random.auc.mean) == (0, 0, 0.5)
    assert edges.critical.mean == areas.critical.mean == pytest.approx(AUC)
    assert edges.difference.mean == pytest.approx(AUC - 0.5)
    assert areas.difference.mean == pytest.approx(AUC - 1)
    # Within slices: all genuine pairs of a, b and c, but not that of d; of eight impostor pairs none.
    assert random.critical.mean == pytest.approx(0.75 + 0.25 / 2)
    assert random.difference.mean == pytest.approx(0.375)
    # All faces have the same landmarks and edges, so that all impostor pairs match.
    for name in ("landmarks", "edges"):
        assert found.matched[name].auc.mean == pytest.approx(AUC)
        assert found.matched[name].change.mean == pytest.approx(0)
    assert found.operands["density"].genuine.mean == pytest.approx(1)
    assert found.operands["density"].impostor.mean == pytest.approx(0)
    assert table["edges_genuine"].to_list() == [1] * 4
    assert table["areas_impostor"].to_list() == [0] * 4


def test_transfer(folder):
    plan, drops = plan_of(transfer=True), {name: values(8, 3) for name in NAMES}
    for name in NAMES:
        for index, rows in enumerate(parts()):
            shard = Transferred(np.array(NAMES), np.array(rows), drops[name][rows])
            folder.write_shard(f"transfer/{name}", index, shard)
    found = Transfer().summarise_study(RunData(plan, folder))
    assert isinstance(found, TransferFigures)
    assert (found.recognizers, found.masks) == (list(NAMES), [*NAMES, "scattered"])
    for place, name in enumerate(NAMES):
        columns = drops[name]
        for mask in range(3):
            assert same(found.drop[place][mask], expected(columns[:, mask], PEOPLE))
        target = found.targets[name]
        assert same(target.own, expected(columns[:, place], PEOPLE))
        assert same(target.others, expected(columns[:, 1 - place], PEOPLE))
        assert same(target.random, expected(columns[:, 2], PEOPLE))
        excess = columns[:, 1 - place].astype(float) - columns[:, 2]
        assert same(target.others_over_random.difference, expected(excess, PEOPLE))


def test_agreement(folder):
    """The first two recognizers show the same pixel for persons a and b; the third one never agrees."""
    plan = plan_of()
    third = PlannedModel(card=Card(name="three", input_size=(SIDE, SIDE)), sha256="2")
    plan = plan.model_copy(update={"models": (*plan.models, third)})
    shown = {"one": [0] * 8, "two": [0] * 4 + [1] * 4, "three": [2] * 8}
    for name, places in shown.items():
        for index, rows in enumerate(parts()):
            density = blobs([places[row] for row in rows])
            folder.write_shard(f"explain/{name}", index, shards.explained(rows, density))
            folder.write_shard(
                f"regions/{name}", index, shards.region_shares([1 + row for row in rows])
            )
    found = Agreement().summarise_study(RunData(plan, folder))
    assert isinstance(found, AgreementFigures)
    assert found.recognizers == ["one", "two", "three"]
    assert [[cell.mean for cell in row] for row in found.critical] == [
        [1, 0.5, 0],
        [0.5, 1, 0],
        [0, 0, 1],
    ]
    assert all(found.rank[i][i].mean == pytest.approx(1) for i in range(3))
    assert found.rank[0][1].mean > found.rank[0][2].mean
    assert found.order.index("three") in {0, 2}
    assert (sorted(found.merges[0][:2]), found.merges[0][2]) == ([0, 1], 0.5)


def profiles(layers: Sequence[Sequence[int]]) -> RegionShares:
    """Shares of faces whose layers have all their mass in one region; the overall map has the mean over layers."""
    mass = np.zeros((len(layers), 1 + len(layers[0]), len(REGIONS)), dtype=np.float32)
    for face, regions in enumerate(layers):
        for layer, region in enumerate(regions, start=1):
            mass[face, layer, region] = 1
        mass[face, 0] = mass[face, 1:].mean(axis=0)
    return RegionShares(mass, mass, mass[:, 0], mass[:, 0])


@pytest.mark.parametrize(
    ("regions", "within", "between", "unrelated"),
    [
        # Overall maps agree perfectly, but single layers differ between recognizers as they do within one.
        ({"one": (1, 2, 3, 4), "two": (2, 3, 4, 1)}, 1, 1, 8 / 12),
        ({"one": (1, 2, 3, 4), "two": (1, 2, 3, 4)}, 1, 0, 1),
        ({"one": (1, 1, 1, 1), "two": (2, 2, 2, 2)}, 0, 1, 1),
        # Layers at the same relative depth are compared: the first, the middle and the last one.
        ({"one": (1, 2, 3), "two": (1, 9, 2, 9, 3)}, 1, 0, 1),
    ],
)
def test_layers_are_compared_with_layers(folder, regions, within, between, unrelated):
    for name, layers in regions.items():
        for index, rows in enumerate(parts()):
            folder.write_shard(f"explain/{name}", index, shards.explained(rows, blobs([0] * 4)))
            folder.write_shard(f"regions/{name}", index, profiles([layers] * 4))
    found = Agreement().summarise_study(RunData(plan_of(), folder))
    assert isinstance(found, AgreementFigures)
    assert found.depths == min(map(len, regions.values()))
    for one in (found.layers, *found.layers_of.values()):
        assert one.within.mean == pytest.approx(within, abs=1e-6)
        assert one.between.mean == pytest.approx(between, abs=1e-6)
        assert one.unrelated.mean == pytest.approx(unrelated, abs=1e-6)
        assert one.margin.difference.mean == pytest.approx(within - between, abs=1e-6)


FEMALE, MALE = "abcdef", "ghijkl"


def write_groups(folder: RunFolder, run: RunData, drops: dict[str, np.ndarray]) -> None:
    """Tables with one picture of each person whose drop was measured, and one whose drop was not."""
    people = FEMALE + MALE
    images = [image.image for image in run.plan.images]
    others = [f"{person}/other" for person in people]
    yaw = np.tile(np.arange(6.0), 2)
    folder.write_table(
        "faces",
        [
            pl.DataFrame(
                {
                    "person": list(people) * 2,
                    "image": [*images, *others],
                    "reason": [""] * 24,
                    "group_gender": (["female"] * 6 + ["male"] * 6) * 2,
                    # Persons at one place of both groups have the same pose, but not in their other picture.
                    "yaw": [*-yaw, *(9 * np.arange(12.0))],
                    "pitch": [0.5] * 24,
                    "roll": [0.0] * 24,
                }
            )
        ],
    )
    for index, part in enumerate(run.plan.slices):
        # The parser sees much hair on one group and little on the other.
        area = np.zeros((len(part), len(REGIONS)), dtype=np.float32)
        area[:, REGIONS.index("hair")] = [0.9 - 0.8 * (position < 6) for position in part]
        share = np.zeros((len(part), 3, len(REGIONS)), dtype=np.float32)
        folder.write_shard("explain/one", index, shards.explained(part))
        folder.write_shard("regions/one", index, RegionShares(share, share, area, area))
    for name in NAMES:
        rows = [
            (p, i, m, d + (m == "moved"))
            for p, i, d in zip(people, images, drops[name], strict=True)
            for m in ("critical", "moved")
        ] + [(p, i, "critical", np.nan) for p, i in zip(people, others, strict=True)]
        columns = ["person", "image", "mask", "drop"]
        folder.write_table(f"occlusion/{name}", [pl.DataFrame(rows, columns, orient="row")])
        shares = [
            (p, i, region, layer, False, value + place + 9 * (layer != "overall"))
            for p, i, value in (
                *zip(people, images, drops[name], strict=True),
                *zip(people, others, 7 + drops[name], strict=True),
            )
            for place, region in enumerate(("nose", "eyes", "brows", "lips", "skin"), start=1)
            for layer in ("overall", "early")
        ]  # fmt: skip
        columns = ["person", "image", "region", "layer", "empty", "share"]
        folder.write_table(f"regions/{name}", [pl.DataFrame(shares, columns, orient="row")])


def test_a_person_has_the_value_that_no_picture_contradicts(folder):
    values = {"a": ["f", None], "b": ["f", "m"], "c": ["m", "m"], "d": [None, None]}
    rows = [(person, value) for person, found in values.items() for value in found]
    folder.write_table("faces", [pl.DataFrame(rows, ["person", "group_gender"], orient="row")])
    run = RunData(plan_of("abcd", groups=("gender",)), folder)
    assert _members(run, "gender", set("abcd")) == {"f": ["a"], "m": ["c"]}


def test_groups(folder):
    plan = plan_of("abcdefghijkl", groups=("gender",), parser="compact")
    run = RunData(plan, folder)
    drops = {
        "one": np.array([9, 8, 9.5, 8.5, 9, 8.2, 1, 2, 1.5, 2.5, 1, 2.2]),
        "two": np.array([1, 2, 3, 4, 5, 6, 2, 1, 4, 3, 6, 5.5]),
    }
    write_groups(folder, run, drops)
    found = Groups().summarise_study(run)
    assert isinstance(found, GroupFigures)
    column = found.columns["gender"]
    assert {value: group.people for value, group in column.groups.items()} == {
        "female": 6,
        "male": 6,
    }
    assert column.covariates == ["yaw", "pitch", "roll", "glasses", "hair", "hat"]
    for place, name in enumerate(NAMES):
        female, male = drops[name][:6], drops[name][6:]
        assert column.groups["female"].drop[name].mean == pytest.approx(female.mean())
        assert column.groups["male"].drop[name].mean == pytest.approx(male.mean())
        for number, region in enumerate(("nose", "eyes", "brows", "lips"), start=1):
            share = column.groups["female"].share[name][region]
            assert share.mean == pytest.approx(female.mean() + number)
        rows = column.gaps[5 * place : 5 * place + 5]
        assert [row.of for row in rows] == ["drop", "nose", "eyes", "brows", "lips"]
        assert {(row.recognizer, row.first, row.second) for row in rows} == {
            (name, "female", "male")
        }
        for row in rows:
            assert row.difference.mean == pytest.approx(female.mean() - male.mean())
            assert row.difference.n == 12
            assert row.matched.difference.mean == pytest.approx((female - male).mean())
            assert row.matched.difference.n == 6
            assert row.matched_on_all.difference.n == 0
            assert row.p_adjusted is not None
            assert row.p is not None
            assert row.p_adjusted >= row.p
        effect = (female.mean() - male.mean()) / np.sqrt(
            (female.var(ddof=1) + male.var(ddof=1)) / 2
        )
        assert rows[0].d == pytest.approx(effect)
        # The mean difference of the matched is that of all, so that the effects are equal.
        assert rows[0].matched.d == pytest.approx(effect)
        assert rows[0].imbalance["yaw"] == pytest.approx(0)
    # Ten gaps in two classes of p-values: of the five clear ones, each counts double.
    clear, unclear = column.gaps[0], column.gaps[5]
    assert clear.p_adjusted == pytest.approx(2 * (clear.p or 0), rel=1e-6)
    assert unclear.p_adjusted == pytest.approx(unclear.p, rel=1e-6)


def test_the_summary_lists_what_was_left_out(folder):
    """The second person has one usable picture, and the recognizer ``two`` failed."""
    plan = plan_of()
    folder.start(plan)
    crop = plan.models[0].card.crop.name
    reasons = ["", "", "no face", "", "", "", "", ""]
    for index, rows in enumerate(parts()):
        some = [reasons[row] for row in rows]
        folder.write_shard("detect", index, shards.detections(4, some))
        folder.write_shard(f"parse/landmarks/{crop}", index, shards.parsings(4, some))
    stable = StabilityFigures(
        max_sensitivity=Estimate(1 / 3, 0.25, 0.5, 4), flip_consistency=Estimate(0.75, 0.5, 1, 3)
    )
    stored = RecognizerSummary(similarity="cosine", sha256="0", figures={"stability": stable})
    text = np.frombuffer(stored.model_dump_json().encode(), dtype=np.uint8)
    folder.write_shard("summarise/one", 0, StoredFigures(text))
    written = write_summary(plan, folder, {"two": "broken"}, silent)
    found = read_summary(folder)
    assert (found.people, found.images) == (3, 6) == (written.people, written.images)
    assert found.exclusions == [
        Exclusion(image="b/2", reason="no face"),
        Exclusion(image="b/3", reason="the only usable picture of b"),
    ]
    assert found.failed == [Failure(recognizer="two", reason="broken")]
    assert list(found.recognizers) == ["one"]
    one = found.each(StabilityFigures)["one"]
    assert one.max_sensitivity == Estimate(0.33333333, 0.25, 0.5, 4)
    assert one.flip_consistency == Estimate(0.75, 0.5, 1, 3)
    assert found.settings["top"] == 0.01
    assert found.figures == {}
