"""Finished studies whose tables are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from leam.metrics.statistics import Numbers
from leam.recognizers.card import Card
from leam.results.summary import RecognizerSummary, Summary
from leam.study.plan import Plan, PlannedImage, PlannedModel, Settings
from leam.study.store import RunFolder

PEOPLE = tuple(f"person {number:02d}" for number in range(20))


def values(people: Sequence[str], seed: int, shift: float) -> Numbers:
    """A value for each person, the same for the same person in each study, plus noise and a shift."""
    own = np.random.default_rng(1).normal(0.5, 0.2, len(PEOPLE))
    noise = np.random.default_rng(seed).normal(0, 0.02, len(people))
    return own[[int(name[-2:]) for name in people]] + noise + shift


def tables(people: Sequence[str], seed: int, shift: float) -> dict[str, pl.DataFrame]:
    """Tables of one recognizer: the nose, the drop and the coefficient are shifted, the eyes are not."""
    nose, eyes = values(people, seed, shift), values(people, seed + 1, 0)
    who = {"person": people, "image": [f"{name}/0.png" for name in people]}
    regions = [
        pl.DataFrame({**who, "layer": "overall", "region": region, "share": share})
        for region, share in (("nose", nose), ("eyes", eyes))
    ]
    # Shares of single layers must not count.
    regions.append(pl.DataFrame({**who, "layer": "conv1", "region": "nose", "share": 100 * nose}))
    drops = [
        pl.DataFrame({**who, "mask": mask, "drop": drop})
        for mask, drop in (("critical", nose), ("scattered", eyes / 2))
    ]
    effects = [
        pl.DataFrame({**who, "fill": fill, "mask": mask, "drop": drop})
        for fill, factor in (("mean", 1), ("black", 100))
        for mask, drop in (
            ("other_picture", factor * nose),
            ("population", eyes / 4),
            ("critical", nose),
        )
    ]
    return {
        "regions": pl.concat(regions),
        "occlusion": pl.concat(drops),
        "effect": pl.concat(effects),
        "specificity": pl.DataFrame(
            {"person": people, "critical_genuine": nose, "critical_impostor": eyes / 3}
        ),
        "layers": pl.DataFrame({**who, "layer": "overall", "spread": eyes}),
    }


def make_run(
    path: Path,
    people: Sequence[str] = PEOPLE,
    *,
    shift: float = 0.0,
    seed: int = 0,
    names: Sequence[str] = ("alpha",),
    similarity: str = "cosine",
    sha256: str = "a" * 64,
    version: str = "1.0",
    **settings: object,
) -> RunFolder:
    """Write a finished study of people, in which some figures are shifted."""
    cards = [Card(name=one, input_size=(8, 8)) for one in names]
    plan = Plan(
        versions={"leam": version},
        source="faces",
        settings=Settings.model_validate({"effect": True, **settings}),
        models=tuple(PlannedModel(card=card, sha256=sha256) for card in cards),
        images=tuple(
            PlannedImage(image=f"{one}/0.png", person=one, path=f"/f/{one}", sha256=f"{one}{seed}")
            for one in people
        ),
    )
    run = RunFolder(path)
    run.start(plan)
    for one in names:
        for stage, table in tables(people, seed, shift).items():
            if stage != "effect" or plan.settings.effect:
                run.write_table(f"{stage}/{one}", [table])
    summary = Summary(
        versions=plan.versions, settings=plan.settings.model_dump(mode="json"), people=len(people),
        images=len(people), exclusions=[], failed=[], figures={},
        recognizers={
            one: RecognizerSummary(similarity=similarity, sha256=sha256, figures={}) for one in names
        },
    )  # fmt: skip
    run.write_text("summary.json", summary.to_json())
    run.write_manifest()
    return run
