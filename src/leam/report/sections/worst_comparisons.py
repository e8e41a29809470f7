"""The worst errors of an audit, with maps of both pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from leam.errors import ImageError
from leam.recognizers.decisions import amount, measured, noun
from leam.report.parts import Cards, Cell, Fold, Heading, Part, Picture, Table, Text, listed
from leam.report.pictures import aligned_face, pair_picture
from leam.report.section import SECTIONS, Context, Section
from leam.results.shards import joined
from leam.study.stages.worst_comparisons import PairMaps, WorstFigures

_TEXT = (
    "The worst errors of each recognizer; each person is in one of a kind. Below the two pictures: what makes them "
    "alike (warm colours), and what makes them different (cold colours), on one scale. A region turns the decision if "
    "hiding it in both pictures moves the similarity across the threshold."
)


@SECTIONS("worst_comparisons")
class WorstComparisons(Section):
    """The worst false matches and false non-matches."""

    name = "worst_comparisons"
    title = "The worst errors"
    order = 7
    in_audit = True
    shows = (WorstFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """Pictures with maps, and the regions that turn the decisions."""
        yield Text(_TEXT)
        for done, (name, found) in enumerate(context.summary.each(WorstFigures).items()):
            parts = list(_of_recognizer(context, name, found))
            yield Fold(name, parts, unfolded=done == 0, recognizer=name)


def _of_recognizer(context: Context, name: str, found: WorstFigures) -> Iterator[Part]:
    for title, errors in (
        ("false matches", found.false_matches),
        ("false non-matches", found.false_non_matches),
    ):
        yield Heading(f"{name}: {title}")
        if not errors:
            yield Text("None at this threshold.")
            continue
        if context.faces:
            yield Cards(list(_pictures(context, name, errors)), size="medium")
        kind = context.plan.model(name).card.similarity
        yield Table(
            ("pictures", noun(kind), "turned by hiding"),
            [
                (
                    Cell(f"{one.first} – {one.second}", "break"),
                    amount(one.similarity, kind),
                    listed(one.turning) if one.turning else "no single region",
                )
                for one in errors
            ],
            folded="" if not context.faces else "Numbers",
        )


def _pictures(
    context: Context, recognizer: str, errors: list[WorstFigures.Comparison]
) -> Iterator[Picture]:
    """Both faces of each error with their maps; errors whose pictures can no longer be read are left out."""
    parts = list(context.run.shards(PairMaps, "worst_comparisons", recognizer))
    if not parts:
        return
    maps = joined(parts)
    place = {image.image: number for number, image in enumerate(context.plan.images)}
    row = {
        pair: n
        for n, pair in enumerate(zip(maps.position.tolist(), maps.mate.tolist(), strict=True))
    }
    kind = context.plan.model(recognizer).card.similarity
    for one in errors:
        ends = place[one.first], place[one.second]
        rows = row[ends], row[ends[::-1]]
        try:
            faces = [aligned_face(context.run, recognizer, end) for end in ends]
        except ImageError:
            continue
        both: dict[str, list[NDArray[np.float64]]] = {
            "alike": [maps.alike[n].astype(np.float64) for n in rows],
            "different": [maps.different[n].astype(np.float64) for n in rows],
        }
        turned = f"; turned by hiding {listed(one.turning)}" if one.turning else ""
        yield pair_picture(
            faces,
            both,
            "Two faces, each with the map of what makes them alike and of what makes them different",
            f"{measured(one.similarity, kind)}{turned}",
        )
