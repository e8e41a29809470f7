"""What a study has to do: pieces of work that depend on nothing but the plan and on earlier phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from leam.study.plan import Plan

Kind = Literal["faces", "parsing", "templates", "maps", "transfer", "panel", "figures"]

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of work on one slice of the faces, or on all of one recognizer's shards; its result is one shard.

    Attributes:
        kind: What is done.
        name: With what: a recognizer, or a parser and a crop; empty where there is nothing to choose.
        index: The slice; of figures, the recognizer's place in the plan.
    """

    kind: Kind
    name: str
    index: int

    @property
    def stage(self) -> str:
        """The folder of the shard."""
        return f"{self.kind}/{self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Phase:
    """Jobs that can be done in any order, once the phases before are finished.

    Attributes:
        title: What a progress bar says.
        jobs: Slice by slice, so that a slice's pictures are read once for all that is done with them.
    """

    title: str
    jobs: Sequence[Job]


def phases(plan: Plan) -> Iterator[Phase]:
    """All work of a study, in order; the jobs of one phase at a time, since a large study has millions."""
    settings = plan.settings
    models = [model.card.name for model in plan.models]
    yield _phase("finding faces", "faces", [""], plan)
    yield _phase("parsing", "parsing", parsings(plan), plan)
    if settings.target == "contrast":
        yield _phase("embedding", "templates", models, plan)
    yield _phase("explaining", "maps", models, plan)
    if settings.transfer:
        yield _phase("transferring masks", "transfer", models, plan)
    if settings.panel:
        yield _phase("looking closely at the panel", "panel", models, plan)
    figures = [Job("figures", name, place) for place, name in enumerate(models)]
    yield Phase("computing the figures", figures)


def parsings(plan: Plan) -> list[str]:
    """What faces are parsed with: ``PARSER/CROP`` for each parser of a study and each crop of its recognizers."""
    settings = plan.settings
    parsers = dict.fromkeys([settings.parser, settings.second_parser or settings.parser])
    crops = dict.fromkeys(model.card.crop.name for model in plan.models)
    return [f"{parser}/{crop}" for parser, crop in product(parsers, crops)]


def _phase(title: str, kind: Kind, names: Sequence[str], plan: Plan) -> Phase:
    slices = range(len(plan.slices))
    return Phase(title, [Job(kind, name, index) for index, name in product(slices, names)])
