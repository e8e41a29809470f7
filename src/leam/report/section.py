"""The unit that a report is made of: when a section applies, and what it shows.

A report knows its sections by this protocol alone, so that a new section is one file: a module in ``report/sections/``,
or a class that an installed package names in the entry point group ``leam.sections``. Figures that no section shows
appear by themselves, see :mod:`leam.report.sections.further`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeVar

from leam.plugins import Registry
from leam.report.parts import Part
from leam.results.figures import Figures
from leam.results.summary import Summary
from leam.study.means import MeanMaps, mean_maps, public_means
from leam.study.plan import Plan, Settings
from leam.study.run_data import RunData

F = TypeVar("F", bound=Figures)
T = TypeVar("T")

DROP_AXES = {
    "cosine": "drop of the cosine similarity",
    "euclidean": "growth of the Euclidean distance",
}
"""What similarity drops are, by the kind of similarity."""


@dataclass
class Context:
    """What a section may show.

    Attributes:
        plan: The study, with the recognizers that did not fail.
        summary: Its figures.
        run: Its shards and tables.
        faces: Whether people of the study may be recognised. Otherwise ``plan`` and ``summary`` have no names and file
            names, and a section must show neither these from ``run`` nor pictures of people.
    """

    plan: Plan
    summary: Summary
    run: RunData
    faces: bool = True

    @property
    def settings(self) -> Settings:
        """The study's settings."""
        return self.plan.settings

    @property
    def recognizers(self) -> list[str]:
        """The recognizers that did not fail, in the order of the plan."""
        return list(self.summary.recognizers)

    @cached_property
    def means(self) -> dict[str, MeanMaps]:
        """Mean face and mean maps by recognizer; read once, since the shards are large.

        If nobody may be recognised, a mean face that is a portrait is left out.
        """
        read = mean_maps if self.faces else public_means
        return {name: read(self.run, name) for name in self.recognizers}

    def measured(self, kind: type[Figures]) -> bool:
        """Whether figures of this type were measured."""
        return self.summary.get(kind) is not None or bool(self.summary.each(kind))

    def by_similarity(self, found: Mapping[str, T]) -> dict[str, dict[str, T]]:
        """Something of each recognizer, by the kind of similarity: cosines and distances do not share an axis."""
        kinds = {name: self.summary.recognizers[name].similarity for name in found}
        return {
            kind: {name: one for name, one in found.items() if kinds[name] == kind}
            for kind in dict.fromkeys(kinds.values())
        }

    def study(self, kind: type[F]) -> F:
        """The study's figures of this type, in a section that applies only where they were measured."""
        found = self.summary.get(kind)
        if found is None:
            raise LookupError(f"{kind.__name__}: not measured; ask `applies` first")
        return found


@dataclass(frozen=True)
class Box:
    """A titled part of the page.

    Attributes:
        title: Its title; empty for none.
        parts: What it shows, from top to bottom.
    """

    title: str
    parts: Sequence[Part]


class Section:
    """One section of a report. A subclass sets the attributes and overrides :meth:`parts` or :meth:`boxes`.

    Attributes:
        name: Names it in the page, as an anchor.
        title: Its title.
        order: Sections are shown by this number; the built-in ones use 0, 10, 20, ...
        shows: The types of figures that it shows; it applies where any of them were measured.
        in_audit: Whether it is part of the document of an audit, too.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    order: ClassVar[float]
    shows: ClassVar[tuple[type[Figures], ...]] = ()
    in_audit: ClassVar[bool] = False

    def applies(self, context: Context) -> bool:
        """Whether the section is part of a report."""
        return not self.shows or any(context.measured(kind) for kind in self.shows)

    def boxes(self, context: Context) -> Iterator[Box]:
        """The section's boxes; one with :attr:`title` by default."""
        yield Box(self.title, list(self.parts(context)))

    def parts(self, context: Context) -> Iterator[Part]:
        """What the section shows, from top to bottom."""
        raise NotImplementedError


SECTIONS: Registry[type[Section]] = Registry(
    "report section", "leam.sections", package="leam.report.sections", one_each=False
)
"""The sections by name."""


def sections_of(context: Context, *, audit: bool = False) -> list[Section]:
    """The sections of a report, or of the document of an audit, in their order."""
    found = [SECTIONS[name]() for name in SECTIONS]
    shown = [one for one in found if (one.in_audit or not audit) and one.applies(context)]
    return sorted(shown, key=lambda section: (section.order, section.name))
