"""A small study written by hand, without a run. Its figures are all different, so that a swapped one is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from leam.metrics.statistics import Estimate
from leam.recognizers.card import Card
from leam.report.section import SECTIONS
from leam.results.figures import PairedDifference, Point
from leam.results.summary import Exclusion, Failure, RecognizerSummary, Summary
from leam.study.explained import Explained
from leam.study.plan import Plan, PlannedImage, PlannedModel, Settings
from leam.study.preparation import Detections
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.curves import CurveFigures
from leam.study.stages.effect import CONTRASTS, FILLS, MASKS, EffectFigures
from leam.study.stages.groups import GroupFigures
from leam.study.stages.layers import LayerFigures
from leam.study.stages.occlusion import OcclusionFigures
from leam.study.stages.person_maps import PersonMapFigures
from leam.study.stages.regions import RegionFigures
from leam.study.stages.sanity import SanityFigures
from leam.study.stages.second_parser import SecondParserFigures
from leam.study.stages.specificity import SpecificityFigures
from leam.study.stages.stability import StabilityFigures
from leam.study.stages.swap import SwapFigures
from leam.study.stages.transfer import TransferFigures
from leam.study.stages.verification import VerificationFigures
from leam.study.store import RunFolder

NAMES = ("alpha", "beta", "gamma")
BASES = (0.1, 0.133, 0.166)
"""Each recognizer's figures start here."""
PEOPLE = "abcdefghijklm"
SIDE, LAYER_SIDE, LAYERS = 8, 4, 3


def e(mean: float | None, n: int = 12) -> Estimate:
    """An estimate whose interval reaches 0.05 below and 0.07 above its mean."""
    if mean is None:
        return Estimate(None, None, None, 0)
    return Estimate(mean, mean - 0.05, mean + 0.07, n)


def paired(mean: float, p: float | None, d: float | None) -> PairedDifference:
    return PairedDifference(difference=e(mean), p=p, d=d)


def points(*values: tuple[float, float]) -> list[Point]:
    return [Point(fraction=fraction, value=e(value, 4)) for fraction, value in values]


def specificity(first: float) -> SpecificityFigures:
    """Figures that start at ``first`` and differ by operand by 0.1."""

    def operand(base: float) -> SpecificityFigures.Operand:
        return SpecificityFigures.Operand(
            genuine=e(base + 0.02, 11),
            impostor=e(base + 0.01),
            auc=e(base + 0.5),
            d_prime=e(base + 1),
            chance=SpecificityFigures.Chance(genuine=e(base + 0.003), auc=e(base + 0.4)),
            p=base / 2,
            pairs=SpecificityFigures.Pairs(genuine=7, impostor=70),
            histogram=SpecificityFigures.Histogram(
                edges=[0, base, 2 * base], genuine=[0.25, 0.75], impostor=[0.9, 0.1]
            ),
        )

    def control(base: float) -> SpecificityFigures.Control:
        return SpecificityFigures.Control(
            genuine=e(base + 0.2),
            impostor=e(base + 0.1),
            auc=e(base + 0.3),
            critical=e(base + 0.4),
            difference=e(base - 0.1, 10),
        )

    names = ("critical", "dense", "density", "halves", "pattern")
    controls = ("edges", "areas", "random_weights")
    return SpecificityFigures(
        operands={name: operand(first + place / 10) for place, name in enumerate(names)},
        controls={name: control(first + place / 10) for place, name in enumerate(controls)},
        matched={
            name: SpecificityFigures.Matched(auc=e(first + add), change=e(add / 10))
            for name, add in (("landmarks", 0.6), ("edges", 0.7))
        },
    )


def regions(base: float) -> RegionFigures:
    def region(place: int) -> RegionFigures.Region:
        share = base + place / 10
        return RegionFigures.Region(
            share=e(share, 10 + place),
            area=e(share / 4),
            mass=e(share / 2),
            density=e(4),
            edges=e(share / 5),
            random_weights=e(share / 6),
            margins={"area": e(share / 3), "edges": e(share / 10), "random_weights": e(share)},
        )

    return RegionFigures(regions={r: region(i) for i, r in enumerate(("eyes", "nose", "hat"))})


def second_parser(base: float) -> SecondParserFigures:
    def region(place: int) -> SecondParserFigures.Region:
        return SecondParserFigures.Region(
            share=e(base + 0.05 + place / 10), area=e(0.3), moved=e((base + place) / 50)
        )

    found = {r: region(i) for i, r in enumerate(("nose", "lips"))}
    still = SecondParserFigures.Region(share=e(0), area=e(0), moved=Estimate(0, 0, 0, 12))
    return SecondParserFigures(regions={**found, "clothes": still})


def occlusion(base: float) -> OcclusionFigures:
    return OcclusionFigures(
        fraction=0.02,
        fill="mean",
        drop=e(base, 9),
        controls={"scattered": e(base / 2, 8), "moved": e(base / 4, 7)},
        margins={
            "scattered": paired(base / 2 + 0.11, base / 10, base * 3),
            "moved": paired(base * 3 / 4 + 0.2, None, None),
        },
        strongest="scattered",
        pieces={
            mask: OcclusionFigures.Pieces(count=count, largest=2 * count + 1)
            for mask, count in (("critical", 6), ("scattered", 90), ("moved", 5))
        },
    )


def effect(base: float) -> EffectFigures:
    """Drops differ by mask by 0.01 and by fill by 0.1; contrasts by 0.02."""

    def fill(first: float) -> EffectFigures.Fill:
        return EffectFigures.Fill(
            drops={mask: e(first + m / 100, 9) for m, mask in enumerate(MASKS)},
            energy={mask: e(0.5) for mask in MASKS},
            contrasts={
                name: EffectFigures.Contrast(
                    drop=e(first + c / 50 - 0.1),
                    p=0.01,
                    d=e(first + c / 50 + 1),
                    per_energy=e(first + c / 50 + 10),
                )
                for c, name in enumerate(CONTRASTS)
            },
        )

    return EffectFigures(
        fraction=0.02, fills={name: fill(base + f / 10) for f, name in enumerate(FILLS)}
    )


def person_maps(base: float) -> PersonMapFigures:
    """Drops differ by mask by 0.01, by fill by 0.1 and by number of pictures by 1; contrasts by 0.02."""
    kinds = ("mean", "edges")
    masks = [f"{kind}_{whose}" for kind in kinds for whose in ("own", "other")]

    def fill(first: float) -> PersonMapFigures.FillFigures:
        controls = {"mean": ("other", "population", "edges"), "edges": ("other",)}
        return PersonMapFigures.FillFigures(
            drops={
                mask: e(first + m / 100, 9)
                for m, mask in enumerate((*masks, "population", "edges_population"))
            },
            contrasts={
                kind: {
                    control: EffectFigures.Contrast(
                        drop=e(first + k / 10 + c / 50 - 0.1),
                        p=0.01,
                        d=e(first + k / 10 + c / 50 + 1),
                        per_energy=e(first + k / 10 + c / 50 + 10),
                    )
                    for c, control in enumerate(names)
                }
                for k, (kind, names) in enumerate(controls.items())
            },
            verdicts={"mean": "supported" if first > 1 else "inconclusive (n = 12)"},
        )

    def count(number: int) -> PersonMapFigures.CountFigures:
        overlap = {
            kind: PersonMapFigures.Overlap(
                genuine=e(base + k / 10, 6),
                impostor=e(base + k / 10 - 0.05, 6),
                auc=e(base + k / 10 + 0.2, 6),
                d_prime=e(base + k / 10 + 0.3, 6),
            )
            for k, kind in enumerate(kinds)
        }
        return PersonMapFigures.CountFigures(
            people=12,
            probes=20,
            fills={name: fill(base + number - 1 + f / 10) for f, name in enumerate(FILLS)},
            overlap=overlap if number == 1 else {},
        )

    return PersonMapFigures(counts={str(number): count(number) for number in (1, 3)})


def curves(base: float) -> CurveFigures:
    return CurveFigures(
        curves={
            fill: {
                mask: points((0.01, base + f / 10 + m / 100), (0.05, base + 0.5 + f / 10 + m / 100))
                for m, mask in enumerate(("critical", "moved"))
            }
            for f, fill in enumerate(("mean", "blur"))
        },
        fraction=0.01,
        margins={"mean": {"moved": e(base)}, "blur": {"moved": e(-base)}},
    )


def verification(base: float) -> VerificationFigures:
    def curve(start: float) -> VerificationFigures.Curve:
        values = points((0, start), (0.5, start + 0.03), (1, start + 0.06))
        return VerificationFigures.Curve(area=e(start + 0.2, 4), points=values)

    return VerificationFigures(
        deletion=VerificationFigures.Orders(map=curve(base), random=curve(base + 0.1)),
        insertion=VerificationFigures.Orders(map=curve(base + 0.2), random=curve(base + 0.3)),
    )


def sanity(base: float) -> SanityFigures:
    return SanityFigures(
        steps=[
            SanityFigures.Step(
                randomised=part, rank=e(base - part / 10, 14), ssim=e(base + part / 10, 14)
            )
            for part in (0.5, 1.0)
        ]
    )


def layers(base: float, names: tuple[str, ...]) -> LayerFigures:
    """Layers at depths 1, 2 and 3; those without a name are absent."""
    return LayerFigures(
        layers={
            name: LayerFigures.Layer(
                depth=depth,
                spread=e(0.9),
                x=e(0.5),
                y=e(0.5),
                regions={r: e((depth + i) / 100) for i, r in enumerate(("eyes", "nose", "hat"))},
            )
            for depth, name in enumerate(names, start=1)
            if name
        },
        divergence=e(base + 0.05, 13),
        divergences=[],
    )


def recognizer(place: int) -> RecognizerSummary:
    base = BASES[place]
    names = ("first", "", "third") if place == 0 else ("first", "second", "third")
    swapped = {region: e(base + 0.4 + i / 100, 4) for i, region in enumerate(("nose", "lips"))}
    return RecognizerSummary(
        similarity="euclidean" if NAMES[place] == "gamma" else "cosine",
        sha256=str(place) * 64,
        weighting=None if place else "signed",
        figures={
            "regions": regions(base),
            "second_parser": second_parser(base),
            "specificity": specificity(base),
            "occlusion": occlusion(base),
            "effect": effect(base),
            "person_maps": person_maps(base),
            "curves": curves(base),
            "verification": verification(base),
            "sanity": sanity(base),
            "swap": SwapFigures(regions=swapped),
            "stability": StabilityFigures(
                max_sensitivity=e(base + 0.01, 4), flip_consistency=e(base + 0.6, 4)
            ),
            "layers": layers(base, names),
        },
    )


def divergences(base: float) -> AgreementFigures.Divergences:
    return AgreementFigures.Divergences(
        within=e(base, 14),
        between=e(base + 0.01, 14),
        unrelated=e(base + 0.02, 14),
        margin=paired(base - 0.11, base / 3, None),
    )


def agreement() -> AgreementFigures:
    """Values by the places of two recognizers: 0.12 stands for the first and the second one."""
    count = len(NAMES)

    def matrix(add: float) -> list[list[Estimate]]:
        return [
            [e(1 if i == j else add + (i + 1) / 10 + (j + 1) / 100) for j in range(count)]
            for i in range(count)
        ]

    return AgreementFigures(
        recognizers=list(NAMES),
        critical=matrix(0),
        rank=matrix(0.5),
        regions=matrix(0.3),
        depths=10,
        layers=divergences(0.2),
        layers_of={name: divergences(base) for name, base in zip(NAMES, BASES, strict=True)},
        order=["gamma", "alpha", "beta"],
        merges=[[0, 1, 0.3, 2], [2, 3, 0.7, 3]],
    )


def transfer() -> TransferFigures:
    return TransferFigures(
        recognizers=list(NAMES),
        masks=[*NAMES, "scattered"],
        drop=[[e((i + 1) / 10 + (j + 1) / 100) for j in range(4)] for i in range(3)],
        targets={
            name: TransferFigures.Target(
                own=e(0.4 + i / 10, 6),
                others=e(0.2 + i / 10),
                random=e(0.1 + i / 10),
                others_over_random=paired(0.03 + i / 10, 0.01 + i / 10, 0.5),
            )
            for i, name in enumerate(NAMES)
        },
    )


def groups() -> GroupFigures:
    def gap(base: float, n: int) -> GroupFigures.Gap:
        return GroupFigures.Gap(
            difference=e(base, n), p=base / 2, p_adjusted=base / 4, d=base * 2, delta=base * 3
        )

    def row(recognizer: str, of: str, groups: tuple[str, str], base: float) -> GroupFigures.Row:
        return GroupFigures.Row(
            **dict(gap(base, 12)),
            first=groups[0],
            second=groups[1],
            recognizer=recognizer,
            of=of,
            matched=gap(base + 0.01, 11),
            matched_on_all=gap(base + 0.02, 3),
            imbalance={"yaw": 0.1},
        )

    def group(people: int) -> GroupFigures.Group:
        return GroupFigures.Group(people=people, drop={}, share={})

    first, second = ("female", "male"), ("male", "other")
    return GroupFigures(
        columns={
            "gender": GroupFigures.Column(
                groups={"female": group(15), "male": group(16), "other": group(17)},
                covariates=["yaw", "pitch", "hair"],
                gaps=[
                    row("alpha", "drop", first, 0.1),
                    row("alpha", "nose", first, 0.2),
                    row("beta", "drop", first, 0.3),
                    row("alpha", "drop", second, 0.4),
                ],
            ),
            "age": GroupFigures.Column(groups={"old": group(8)}, covariates=["yaw"], gaps=[]),
        }
    )


def make_summary(settings: Settings) -> Summary:
    return Summary(
        versions={"leam": "1.2.3", "torch": "4.5"},
        settings=settings.model_dump(mode="json"),
        people=13,
        images=26,
        exclusions=[
            Exclusion(image="n/0.png", reason="no face"),
            Exclusion(image="n/1.png", reason="the only usable picture of n"),
        ],
        failed=[Failure(recognizer="delta", reason="out of <memory>")],
        recognizers={name: recognizer(place) for place, name in enumerate(NAMES)},
        figures={"agreement": agreement(), "transfer": transfer(), "groups": groups()},
    )


# Where InsightFace expects the points in a picture of 112x112 pixels: a chip is the whole picture.
_FIVE = np.array(
    [
        [38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366],
        [41.5493, 92.3655], [70.7299, 92.2041],
    ]
)  # fmt: skip


def changed(summary: Summary, stage: str, change: Any) -> Summary:
    """The summary with each recognizer's figures of a stage changed by a function of them and their place."""
    recognizers = {
        name: one.model_copy(
            update={"figures": {**one.figures, stage: change(one.figures[stage], place)}}
        )
        for place, (name, one) in enumerate(summary.recognizers.items())
    }
    return summary.model_copy(update={"recognizers": recognizers})


def of_study(summary: Summary, **figures: object) -> Summary:
    return summary.model_copy(update={"figures": {**summary.figures, **figures}})


def without(summary: Summary, stage: str) -> Summary:
    recognizers = {
        name: one.model_copy(
            update={"figures": {k: found for k, found in one.figures.items() if k != stage}}
        )
        for name, one in summary.recognizers.items()
    }
    return summary.model_copy(update={"recognizers": recognizers})


def grey_of(person: str) -> int:
    """The grey of a person's pictures."""
    return 20 + 15 * PEOPLE.index(person)


def explained(positions: range, place: int) -> Explained:
    """Maps of a slice: a bright spot at the recognizer's place in the first row; layer k has it in row k."""
    count = len(positions)
    density = np.zeros((count, SIDE, SIDE), dtype=np.float16)
    density[:, 0, place] = 64
    layer_sum = np.zeros((LAYERS, LAYER_SIDE, LAYER_SIDE), dtype=np.float32)
    for layer in range(LAYERS):
        layer_sum[layer, layer] = count * 4
    return Explained(
        layers=np.array(["first", "second", "third"]),
        position=np.array(positions, dtype=np.int64),
        matrix=np.zeros((count, 2, 3)),
        embedding=np.zeros((count, 2), dtype=np.float32),
        density=density,
        density_sum=density.sum(axis=0, dtype=np.float64),
        critical=np.zeros((count, SIDE), dtype=np.uint8),
        empty=np.zeros((count, 1 + LAYERS), dtype=bool),
        layer_sum=layer_sum,
        face_sum=np.full((SIDE, SIDE, 3), count * (100 + place), dtype=np.int64),
    )


def detections(count: int) -> Detections:
    return Detections(
        reason=np.array([""] * count),
        note=np.array([""] * count),
        box=np.zeros((count, 4)),
        score=np.ones(count),
        detector=np.array(["dlib"] * count),
        found=np.ones(count, dtype=np.int64),
        turned=np.zeros(count, dtype=np.int64),
        landmarks=np.zeros((count, 68, 2)),
        five_points=np.stack([_FIVE] * count),
        corner_points=np.zeros((count, 5, 2)),
    )


def margins(place: int) -> pl.DataFrame:
    """Coefficients of all people, ranked differently under each recognizer; person ``m`` has none."""
    order = np.roll(np.arange(len(PEOPLE)), 5 * place) / 100
    genuine = 0.3 + 2 * order
    genuine[-1] = np.nan
    return pl.DataFrame(
        {"person": list(PEOPLE), "critical_genuine": genuine, "critical_impostor": 0.2 + order}
    )


def text(mean: float, digits: int = 3, scale: float = 1) -> str:
    """How :func:`e` of a mean is written, from the eight digits that ``summary.json`` has."""
    values = (float(f"{value:.8g}") for value in (mean, mean - 0.05, mean + 0.07))
    middle, low, high = (f"{scale * value:.{digits}f}" for value in values)
    return f"{middle} [{low}, {high}]"


def make_plan(pictures: Path) -> Plan:
    """Thirteen people with two pictures each in two slices; each person's pictures have a grey of their own."""
    images = []
    for person in PEOPLE:
        for number in range(2):
            path = pictures / f"{person}{number}.png"
            cv2.imwrite(str(path), np.full((112, 112, 3), grey_of(person), dtype=np.uint8))
            images.append(
                PlannedImage(
                    image=f"{person}/{number}.png", person=person, path=str(path), sha256=None
                )
            )
    cards = [
        Card(
            name=name,
            input_size=(SIDE, SIDE),
            license=None if name == "beta" else f"licence of {name}",
            source="example.org" if name == "alpha" else None,
        )
        for name in (*NAMES, "delta")
    ]
    return Plan(
        versions={"leam": "1.2.3", "torch": "4.5"},
        plugins={"fill grey": "plug 0.1"},
        source="faces",
        settings=Settings(
            top=0.02,
            fill="mean",
            fills=("mean", "blur"),
            curve=(0.01, 0.05),
            second_parser="compact",
            subset=4,
            transfer=True,
            groups=("gender", "age"),
        ),
        models=tuple(
            PlannedModel(card=card, sha256=f"{place}" * 64) for place, card in enumerate(cards)
        ),
        images=tuple(images),
        people_per_slice=8,
    )


def write_finished(plan: Plan, path: Path) -> RunFolder:
    """A finished run folder."""
    folder = RunFolder(path)
    folder.start(plan)
    for index, part in enumerate(plan.slices):
        folder.write_shard("detect", index, detections(len(part)))
        for place, name in enumerate(NAMES):
            folder.write_shard(f"explain/{name}", index, explained(part, place))
    for place, name in enumerate(NAMES):
        folder.write_table(f"specificity/{name}", [margins(place)])
    folder.write_text("summary.json", make_summary(plan.settings).to_json())
    folder.write_manifest()
    return folder


def only_built_in(patch: pytest.MonkeyPatch) -> None:
    """Leave out the sections of a report that other installed packages add."""
    list(SECTIONS)
    kept = {n: s for n, s in SECTIONS._things.items() if s.__module__.startswith("leam.report.")}
    patch.setattr(SECTIONS, "_things", kept)
    patch.setattr(SECTIONS, "_entry_points", {})
