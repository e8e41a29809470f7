"""Differences between two finished studies, person by person where possible.

The rule, fixed before any data are seen:

- **What is compared.** Figures with a value for each person, of recognizers in both studies. Where they have no
  recognizer in common and one each, these two are compared.
- **What is not.** A figure whose settings differ is refused and named: the target, the method and its settings for
  all figures, the parser for regions, the fraction of critical pixels (``top``) for all that depends on critical masks,
  the fill for similarity drops, and the kind of similarity. Figures in one study only are listed.
- **Pairing.** If at least :data:`leam.metrics.statistics.FEWEST` people have a value in both studies, differences are
  paired by person, over these people: the interval is that of the mean paired difference, the p-value that of a
  sign-flip test. Otherwise the studies are taken as independent samples: the interval is that of the difference of the
  two means, the p-value that of a permutation test. Studies that share people (by name) or pictures (by SHA-256) are
  not independent, and of studies whose names were removed this is not known: such figures have no p-value. Without
  pairing, figures of impostor pairs have none either: the value of a person depends on the other people of the study,
  which no interval over people takes into account.
- **Verdict.** *inconclusive (n = ...)* with fewer than ten people, with fewer than ten in one of two samples, and where
  people are not paired and the studies are not known to be independent; *differs* if the 95 % interval excludes zero
  and the p-value after Holm's correction over all differences is below 0.05; *no difference shown* otherwise, which
  does not state that the figures are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from leam.compare import Comparison
from leam.errors import InputError
from leam.explain.methods import LEAM
from leam.metrics.statistics import (
    FEWEST,
    NOTHING,
    Estimate,
    Numbers,
    bootstrap_difference,
    bootstrap_mean,
    finite,
    holm,
    label_permutation_p,
    sign_flip_p,
)
from leam.progress import Progress, silent
from leam.results.figures import Model
from leam.results.summary import Summary
from leam.study.masks import CRITICAL
from leam.study.plan import Plan, Settings
from leam.study.run_data import OVERALL, RunData
from leam.study.stage import stages_of
from leam.study.store import RunFolder
from leam.study.summary import read_summary

DIFFERS: Final = "differs"
NO_DIFFERENCE: Final = "no difference shown"
SHARE: Final = "part of the critical pixels"
"""Unit of the shares of regions."""

# Settings on which every figure depends; the last three only for the method ``leam``.
_METHOD = ("target", "method", "weighting", "aggregate", "layers")
_OF_LEAM = 2
# Settings that change which pictures and people are measured, not what is measured.
_NOTED = ("detector", "rotate", "probes", "seed")
_EFFECT_FILL = "mean"
# The mask that is judged, then those that it is compared with.
_EFFECT_MASKS = ("other_picture", "other_person", "population")
_EFFECT_NAMES = ("drop, another picture's mask", "drop, that mask")
_IMPOSTOR, _MARGIN = "bc, two people", "bc, one - two"
# The level of the corrected p-values.
_LEVEL = 0.05

Values = Mapping[str, float]
"""A figure's value for each person."""


class Side(Model):
    """One of the two studies."""

    folder: str
    """The folder, as it was named."""
    source: str
    """The data set."""
    people: int
    """People with usable pictures."""
    pictures: int
    """Usable pictures."""
    recognizers: dict[str, str]
    """SHA-256 of the weights by recognizer."""
    version: str
    """Version of LEAM."""


class Difference(Model):
    """One figure of one recognizer in both studies."""

    figure: str
    """What is compared."""
    unit: str
    """Unit of the estimates: ``part of the critical pixels``, ``cosine``, ``euclidean``, ``bc``, or ``part of the
    largest entropy``."""
    recognizer: str
    """The recognizer, or that of the first and that of the second study."""
    first: Estimate
    """The figure of the first study, over the people that are compared."""
    second: Estimate
    """The figure of the second study."""
    difference: Estimate
    """Second minus first, with its 95 % interval."""
    n: int
    """Number of people; of two samples, that of the smaller one."""
    paired: bool
    """Whether the difference is paired by person."""
    p: float | None
    """Two-sided p-value; null with fewer than ten people in a sample, for samples not known to be independent, and for
    impostor pairs of people that are not paired."""
    p_holm: float | None
    """The p-value after Holm's correction over all differences."""
    verdict: str
    """``differs``, ``no difference shown`` or ``inconclusive (n = ...)``."""


class Refused(Model):
    """A figure of both studies that is not compared."""

    figure: str
    """The figure."""
    reason: str
    """What differs."""


class RunComparison(Comparison):
    """Two studies, side by side."""

    kind: Literal["runs"] = "runs"
    """What is compared."""
    first: Side
    """The first study."""
    second: Side
    """The second study."""
    pairing: str
    """How people are compared, and why figures that are not paired are inconclusive."""
    differences: list[Difference]
    """What is compared, by recognizer and figure."""
    refused: list[Refused]
    """What is not compared, and why."""
    only_first: list[str]
    """Figures and recognizers of the first study only."""
    only_second: list[str]
    """Figures and recognizers of the second study only."""
    notes: list[str]
    """Other differences between the studies, which may explain those of figures."""


@dataclass(frozen=True)
class Run:
    """A finished study that is compared."""

    folder: RunFolder
    plan: Plan
    summary: Summary
    data: RunData

    @classmethod
    def read(cls, folder: RunFolder, only: Sequence[str] | None = None) -> Run:
        """Read a study, or some of its recognizers.

        Raises:
            StudyError: The study is not finished, or its files are damaged or have changed since.
            InputError: It is an audit, or has none of the recognizers.
        """
        summary = read_summary(folder)
        folder.verify()
        names = [name for name in summary.recognizers if only is None or name in only]
        if not names:
            available = ", ".join(summary.recognizers)
            raise InputError(f"{folder.path}: none of these recognizers; available: {available}")
        plan = folder.plan().only(names)
        if plan.settings.audit:
            raise InputError(
                f"{folder.path}: an audit, which stores no values by person; compare studies of `leam study`"
            )
        return cls(folder, plan, summary, RunData(plan, folder))

    @property
    def named(self) -> bool:
        """Whether people have their names."""
        return self.folder.kept() != "nothing" and bool(self.plan.images)

    @property
    def people(self) -> set[str]:
        """Names of the people."""
        return {image.person for image in self.plan.images}

    @property
    def pictures(self) -> set[str]:
        """SHA-256 of the pictures."""
        return {image.sha256 for image in self.plan.images if image.sha256}

    def side(self) -> Side:
        """What is stated about the study."""
        summary = self.summary
        return Side(
            folder=str(self.folder.path),
            source=self.plan.source,
            people=summary.people,
            pictures=summary.images,
            recognizers={name: summary.recognizers[name].sha256 for name in self.data.recognizers},
            version=self.plan.versions.get("leam", "unknown"),
        )


@dataclass(frozen=True)
class _Kind:
    """Figures that a stage's table has for each person.

    Attributes:
        stage: The stage.
        settings: The settings that must be equal, beside those of the method.
        values: From the study and a recognizer to the values of each figure.
        unit: The unit of the values; empty for similarities, both of which must be of one kind.
        shared: Figures whose value for a person depends on the study's other people.
    """

    stage: str
    settings: tuple[str, ...]
    values: Callable[[RunData, str], Mapping[str, Values]]
    unit: str = ""
    shared: tuple[str, ...] = ()


def compare_runs(
    first: RunFolder,
    second: RunFolder,
    *,
    only: Sequence[str] | None = None,
    progress: Progress = silent,
) -> RunComparison:
    """Compare two finished studies; the rule is that of :mod:`leam.compare.runs`.

    Args:
        first: A run folder.
        second: Another one.
        only: Names of recognizers; all by default.
        progress: Progress callback.

    Raises:
        StudyError: A study is not finished, or its files are damaged or have changed since.
        InputError: It is the same folder twice, or nothing can be compared; the message says what does not match.
    """
    if first.path.resolve() == second.path.resolve():
        raise InputError(f"{first.path} and {second.path}: the same study twice; name two studies")
    runs = Run.read(first, only), Run.read(second, only)
    recognizers = _matched(*runs)
    dependence = _dependence(*runs)
    rows: list[Difference] = []
    refused: list[Refused] = []
    missing: tuple[list[str], list[str]] = (
        _only(runs[0].data.recognizers, [one for one, _ in recognizers]),
        _only(runs[1].data.recognizers, [one for _, one in recognizers]),
    )
    for done, names in enumerate(recognizers):
        progress("comparing studies", done, len(recognizers))
        for kind in KINDS:
            found = [_values(run, kind, name) for run, name in zip(runs, names, strict=True)]
            for place in (0, 1):
                missing[place].extend(
                    f"{figure} ({names[place]})" for figure in _only(found[place], found[1 - place])
                )
            compared = _compared(runs, names, kind, found, independent=not dependence)
            rows += [one for one in compared if isinstance(one, Difference)]
            refused += [one for one in compared if isinstance(one, Refused)]
    progress("comparing studies", len(recognizers), len(recognizers))
    if not rows:
        reasons = "; ".join(dict.fromkeys(one.reason for one in refused)) or "no figure is in both"
        raise InputError(f"{first.path} and {second.path}: nothing can be compared: {reasons}")
    return RunComparison(
        first=runs[0].side(),
        second=runs[1].side(),
        pairing=_pairing(dependence, rows, runs),
        differences=_judged(rows),
        refused=refused,
        only_first=missing[0],
        only_second=missing[1],
        notes=list(_notes(*runs, recognizers)),
    )


def _compared(
    runs: tuple[Run, Run],
    names: tuple[str, str],
    kind: _Kind,
    values: Sequence[Mapping[str, Values]],
    *,
    independent: bool,
) -> list[Difference | Refused]:
    """What is said of each figure that both studies have."""
    common = [figure for figure in values[0] if figure in values[1]]
    if reason := _mismatch(*runs, names, kind) if common else "":
        return [Refused(figure=f"{one} ({_label(names)})", reason=reason) for one in common]
    unit = kind.unit or runs[0].summary.recognizers[names[0]].similarity
    return [
        _difference(
            runs,
            names,
            figure,
            unit,
            (values[0][figure], values[1][figure]),
            independent=independent and figure not in kind.shared,
        )
        for figure in common
    ]


def verdict_of(difference: Estimate, people: int, p_holm: float | None) -> str:
    """The verdict on a difference; see :mod:`leam.compare.runs`.

    Args:
        difference: With its interval.
        people: Number of people; of two samples, that of the smaller one.
        p_holm: The corrected p-value; None with fewer than ten people, and for samples not known to be independent.
    """
    if p_holm is None or difference.low is None or difference.high is None or people < FEWEST:
        return f"inconclusive (n = {people})"
    excluded = difference.low > 0 or difference.high < 0
    return DIFFERS if excluded and p_holm < _LEVEL else NO_DIFFERENCE


def _matched(first: Run, second: Run) -> list[tuple[str, str]]:
    """The recognizers that are compared, by name in the first and in the second study."""
    names, others = first.data.recognizers, second.data.recognizers
    if common := [name for name in names if name in others]:
        return [(name, name) for name in common]
    if len(names) == len(others) == 1:
        return [(names[0], others[0])]
    raise InputError(
        f"{first.folder.path} and {second.folder.path}: no recognizer in common ({', '.join(names)}; "
        f"{', '.join(others)}); compare studies of one recognizer each, or choose recognizers with --models"
    )


def _label(names: tuple[str, str]) -> str:
    return names[0] if names[0] == names[1] else f"{names[0]}, {names[1]}"


def _only(
    some: Mapping[str, object] | Sequence[str], others: Mapping[str, object] | Sequence[str]
) -> list[str]:
    return [name for name in some if name not in others]


def _values(run: Run, kind: _Kind, name: str) -> Mapping[str, Values]:
    """The values of each figure; none if the study has no such stage."""
    if kind.stage not in {stage.name for stage in stages_of(run.plan)}:
        return {}
    return kind.values(run.data, name)


def _mismatch(first: Run, second: Run, names: tuple[str, str], kind: _Kind) -> str:
    """Which settings make figures incomparable; empty if none do."""
    settings = first.plan.settings, second.plan.settings
    leam = all(one.method == LEAM for one in settings)
    needed = (*(_METHOD if leam else _METHOD[:_OF_LEAM]), *kind.settings)
    differing = list(_differing(*settings, needed))
    if not kind.unit:
        kinds = [
            run.summary.recognizers[name].similarity
            for run, name in zip((first, second), names, strict=True)
        ]
        differing += [f"similarity: {kinds[0]}, {kinds[1]}"] if kinds[0] != kinds[1] else []
    return "; ".join(differing)


def _differing(first: Settings, second: Settings, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            yield f"{name}: {_shown(one)}, {_shown(other)}"


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _difference(
    runs: tuple[Run, Run],
    names: tuple[str, str],
    figure: str,
    unit: str,
    values: tuple[Values, Values],
    *,
    independent: bool,
) -> Difference:
    """The difference of a figure, without verdict: p-values are corrected for the number of differences first."""
    seed, (one, other) = runs[0].plan.settings.seed, values
    named = runs[0].named and runs[1].named
    common = [person for person in one if person in other] if named else []
    paired = len(common) >= FEWEST
    p: float | None = None
    if paired:
        before, after = (np.array([found[person] for person in common]) for found in values)
        difference, people = _mean(after - before, seed), len(common)
        p = sign_flip_p(after - before, seed)
    else:
        before, after = (np.array(list(found.values())) for found in values)
        difference, people = bootstrap_difference(after, before, seed), min(len(before), len(after))
        if independent and people >= FEWEST:
            p = label_permutation_p(after, before, seed)
    return Difference(
        figure=figure,
        unit=unit,
        recognizer=_label(names),
        first=_mean(before, seed),
        second=_mean(after, seed),
        difference=difference,
        n=people,
        paired=paired,
        p=p,
        p_holm=None,
        verdict="",
    )


def _mean(values: Numbers, seed: int) -> Estimate:
    return bootstrap_mean(values, np.arange(len(values)), seed) if len(values) else NOTHING


def _judged(rows: Sequence[Difference]) -> list[Difference]:
    """Differences with corrected p-values and verdicts."""
    corrected = map(finite, holm(np.array([one.p for one in rows], dtype=np.float64)).tolist())
    return [
        one.model_copy(update={"p_holm": p, "verdict": verdict_of(one.difference, one.n, p)})
        for one, p in zip(rows, corrected, strict=True)
    ]


def _dependence(first: Run, second: Run) -> str:
    """Why two studies are not known to be independent samples; empty if they are."""
    if removed := [str(run.folder.path) for run in (first, second) if not run.named]:
        return (
            f"the names were removed from {' and '.join(removed)}, so that it is not known whether "
            "the studies share people"
        )
    shared = {
        "people": len(first.people & second.people),
        "pictures": len(first.pictures & second.pictures),
    }
    if not any(shared.values()):
        return ""
    found = " and ".join(f"{what} ({count})" for what, count in shared.items() if count)
    return f"the studies share {found}, so that they are not independent samples"


def _pairing(dependence: str, rows: Sequence[Difference], runs: tuple[Run, Run]) -> str:
    """How people are compared, in a sentence."""
    if all(one.paired for one in rows):
        common = len(runs[0].people & runs[1].people)
        return f"paired by person: {common} people are in both studies"
    if not dependence:
        return (
            "independent samples of people: no person or picture is in both studies; figures of impostor pairs are "
            "inconclusive, since the value of a person depends on the other people of the study"
        )
    if any(one.paired for one in rows):
        return (
            f"paired by person where at least {FEWEST} people have a value in both studies; other figures are "
            f"inconclusive: {dependence}"
        )
    few = (
        f", as fewer than {FEWEST} people have a value in both"
        if all(run.named for run in runs)
        else ""
    )
    return f"not paired by person{few}; all figures are inconclusive: {dependence}"


def _notes(first: Run, second: Run, recognizers: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Differences between the studies that may explain those of figures."""
    sides = first.side(), second.side()
    for line in _differing(first.plan.settings, second.plan.settings, _NOTED):
        yield f"settings differ: {line}"
    if sides[0].version != sides[1].version:
        yield f"versions of LEAM differ: {sides[0].version}, {sides[1].version}"
    for name, other in recognizers:
        one, two = first.summary.recognizers[name], second.summary.recognizers[other]
        if name == other and one.sha256 != two.sha256:
            yield f"{name}: the weights differ"
        if one.precision != two.precision:
            yield f"{_label((name, other))}: the precision differs: {one.precision}, {two.precision}"
    pictures, others = first.pictures, second.pictures
    if pictures and others and pictures != others:
        yield f"{len(pictures & others)} of {len(pictures)} pictures of the first study are in the second"


def _by_person(rows: pl.DataFrame) -> dict[str, dict[str, float]]:
    """The mean of each person's values, by figure, from rows of person, figure and value."""
    known = rows.with_columns(pl.col("value").cast(pl.Float64).fill_nan(None)).drop_nulls()
    means = known.group_by("figure", "person", maintain_order=True).agg(pl.col("value").mean())
    found: dict[str, dict[str, float]] = {}
    for figure, person, value in means.select("figure", "person", "value").iter_rows():
        found.setdefault(figure, {})[person] = value
    return found


def _regions(run: RunData, name: str) -> Mapping[str, Values]:
    columns = ["person", "layer", "region", "share"]
    rows = run.table("regions", name, columns, pl.col("layer") == OVERALL)
    return _by_person(rows.select("person", figure="region", value="share"))


def _drops(run: RunData, name: str) -> Mapping[str, Values]:
    rows = run.table("occlusion", name, ["person", "image", "mask", "drop"])
    return _beyond(rows, CRITICAL, "similarity drop", "drop")


def _effects(run: RunData, name: str) -> Mapping[str, Values]:
    columns = ["person", "image", "fill", "mask", "drop"]
    rows = run.table("effect", name, columns, pl.col("fill") == _EFFECT_FILL)
    return _beyond(
        rows.filter(pl.col("mask").is_in(_EFFECT_MASKS)), _EFFECT_MASKS[0], *_EFFECT_NAMES
    )


def _beyond(rows: pl.DataFrame, mask: str, what: str, short: str) -> Mapping[str, Values]:
    """The drop under a mask, and its margin over each other mask on the same picture."""
    own = rows.filter(pl.col("mask") == mask).select("person", "image", own="drop")
    both = rows.join(own, on=["person", "image"])
    drop = pl.col("drop").cast(pl.Float64)
    margin = both.select(
        "person",
        figure=pl.when(pl.col("mask") == mask)
        .then(pl.lit(what))
        .otherwise(pl.lit(f"{short} - ") + pl.col("mask").str.replace_all("_", " ")),
        value=pl.when(pl.col("mask") == mask).then(drop).otherwise(pl.col("own") - drop),
    )
    return _by_person(margin)


def _overlaps(run: RunData, name: str) -> Mapping[str, Values]:
    rows = run.table("specificity", name, ["person", "critical_genuine", "critical_impostor"])
    genuine, impostor = pl.col("critical_genuine"), pl.col("critical_impostor")
    found = rows.select(
        "person",
        **{
            "bc, one person": genuine,
            _IMPOSTOR: impostor,
            _MARGIN: genuine - impostor,
        },
    )
    return _by_person(found.unpivot(index="person", variable_name="figure", value_name="value"))


def _spreads(run: RunData, name: str) -> Mapping[str, Values]:
    rows = run.table("layers", name, ["person", "layer", "spread"], pl.col("layer") == OVERALL)
    return _by_person(rows.select("person", figure=pl.lit("spread of the map"), value="spread"))


KINDS: Final = (
    _Kind("regions", ("parser", "top"), _regions, SHARE),
    _Kind("occlusion", ("top", "fill"), _drops),
    _Kind("specificity", ("top",), _overlaps, "bc", (_IMPOSTOR, _MARGIN)),
    _Kind("effect", ("top",), _effects),
    _Kind("layers", (), _spreads, "part of the largest entropy"),
)
"""What is compared."""
