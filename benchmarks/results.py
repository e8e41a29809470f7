"""Write the tables of docs/appendices/lfw.md and its appendix from a study: claims, and figures by recognizer.

    python benchmarks/results.py RUN --copy benchmarks/results.summary.json

The text around the tables is written by hand; the tables are between markers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from markdown import write_between

from leam.errors import StudyError
from leam.metrics.statistics import Estimate, verdict
from leam.recognizers.card import read_card
from leam.recognizers.catalogue import builtin_cards
from leam.report.claims import paper_claims
from leam.results.figures import Figures
from leam.results.summary import Summary
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.curves import CurveFigures
from leam.study.stages.effect import EffectFigures
from leam.study.stages.groups import DROP, GroupFigures
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
from leam.study.summary import read_summary

F = TypeVar("F", bound=Figures)

NONE = "–"
CARDS = Path(__file__).parents[1] / "examples" / "cards"


def mean(found: Estimate, digits: int = 3, scale: float = 1) -> str:
    """Format a mean without its interval."""
    return NONE if found.mean is None else f"{scale * found.mean:.{digits}f}"


def interval(found: Estimate, digits: int = 3, scale: float = 1) -> str:
    """Format a mean with its interval."""
    if found.mean is None or found.low is None or found.high is None:
        return mean(found, digits, scale)
    low, high = (f"{scale * end:.{digits}f}" for end in (found.low, found.high))
    return f"{mean(found, digits, scale)} [{low}, {high}]"


def number(found: float | None, digits: int) -> str:
    """Format a figure that has no interval."""
    return NONE if found is None else f"{found:.{digits}f}"


def table(header: str, rows: list[list[str]]) -> str:
    """A Markdown table under a header ``first | second | ...``."""
    cells = header.split(" | ")
    lines = [cells, ["---"] * len(cells), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of_study(summary: Summary, kind: type[F]) -> F:
    """The study's figures of a stage.

    Raises:
        StudyError: The study does not have them.
    """
    found = summary.get(kind)
    if found is None:
        raise StudyError(f"the study has no {kind.__name__}; run it with the preset paper")
    return found


def families() -> dict[str, str]:
    """The families of related recognizers, by recognizer."""
    cards = [read_card(path) for path in CARDS.glob("*.toml")]
    return {card.name: card.family for card in [*cards, *builtin_cards().values()] if card.family}


def claims(summary: Summary) -> str:
    """The paper's claims and the study's figures, each with its strongest control and a verdict."""
    rows = [
        [row.claim, row.paper, row.here, row.control, f"**{row.verdict}**", row.reason]
        for row in paper_claims(summary, families())
    ]
    return table("claim | paper | here | strongest control: margin | verdict | because", rows)


def regions(summary: Summary) -> str:
    """Percentages of the critical pixels in the main regions, and the nose's area."""
    names = ("nose", "eyes", "brows", "lips", "skin", "forehead", "background")
    rows = []
    for recognizer, figures in summary.each(RegionFigures).items():
        found = figures.regions
        shares = [mean(found[name].share, 1, 100) for name in names[1:]]
        nose = found["nose"]
        rows.append([recognizer, interval(nose.share, 1, 100), mean(nose.area, 1, 100), *shares])
    return table(f"recognizer | nose | area of the nose | {' | '.join(names[1:])}", rows)


def nose(summary: Summary) -> str:
    """The nose's share of the critical pixels beside its controls, in percent."""
    rows = []
    for recognizer, figures in summary.each(RegionFigures).items():
        found = figures.regions["nose"]
        controls = [found.area, found.edges, found.random_weights]
        rows.append(
            [recognizer, interval(found.share, 1, 100), *(mean(one, 1, 100) for one in controls),
             interval(found.density, 1), str(verdict(found.margins))]
        )  # fmt: skip
    return table("recognizer | share | area | edges | random weights | density | verdict", rows)


def effect(summary: Summary) -> str:
    """Effect sizes (paired d) of the own mask against other people's and the population's, by fill and picture."""
    rows = []
    for name, figures in summary.each(EffectFigures).items():
        for picture, mask in (("same", "own"), ("other", "other_picture")):
            cells = [name, picture]
            for one in figures.fills.values():
                kinds = (f"{mask}_other_person", f"{mask}_population", f"{mask}_beyond_edges")
                found = [one.contrasts[kind] for kind in kinds]
                margins = {kind: part.drop for kind, part in zip(kinds, found, strict=True)}
                values = " / ".join(number(part.d.mean, 2) for part in found)
                cells.append(f"{values} {verdict(margins).word}")
            rows.append(cells)
    fills = next(iter(summary.each(EffectFigures).values())).fills
    return table(f"recognizer | picture | {' | '.join(fills)}", rows)


def person(summary: Summary) -> str:
    """Similarity drops under the mean colour: own mask, another person's, the population's and edges."""
    rows = []
    for name, figures in summary.each(EffectFigures).items():
        found = figures.fills["mean"]
        masks = ("critical", "other_picture", "other_person", "population", "edges")
        margins = {
            "other_person": found.contrasts["other_picture_other_person"].drop,
            "population": found.contrasts["other_picture_population"].drop,
            "edges": found.contrasts["other_picture_beyond_edges"].drop,
        }
        one = verdict(margins)
        drops = [mean(found.drops[mask]) for mask in masks]
        rows.append([name, *drops, str(one.control), interval(one.margin, 4), str(one)])
    header = "recognizer | own | own, other picture | other person | population | edges"
    return table(f"{header} | strongest | margin of the other picture's mask | verdict", rows)


def parsers(summary: Summary) -> str:
    """The nose's share of the critical pixels, by parser."""
    first = summary.each(RegionFigures)
    rows = [
        [
            name,
            interval(first[name].regions["nose"].share, 1, 100),
            interval(found.regions["nose"].share, 1, 100),
            interval(found.regions["nose"].moved, 1, 100),
        ]
        for name, found in summary.each(SecondParserFigures).items()
    ]
    one, other = (str(summary.settings[key]) for key in ("parser", "second_parser"))
    return table(f"recognizer | {one} | {other} | difference in points", rows)


def layers(summary: Summary) -> str:
    """The divergence between the region profiles of two layers of one recognizer, and of two recognizers."""
    found = of_study(summary, AgreementFigures)
    rows = [
        [
            name,
            *(interval(kind, 4) for kind in (one.within, one.between, one.unrelated)),
            interval(one.margin.difference, 4),
            str(verdict({"two recognizers": one.margin.difference})),
        ]
        for name, one in {**found.layers_of, "all": found.layers}.items()
    ]
    header = "recognizer | one recognizer | two, same depth | two, different depths | first minus second | verdict"
    return table(header, rows)


def specificity(summary: Summary) -> str:
    """Bhattacharyya coefficients of genuine and impostor pairs of critical masks."""
    rows = []
    for name, figures in summary.each(SpecificityFigures).items():
        found, density = figures.operands["critical"], figures.operands["density"]
        controls = figures.controls
        aucs = [mean(controls[name].auc) for name in ("edges", "areas", "random_weights")]
        margins = {control: one.difference for control, one in controls.items()}
        matched = [interval(one.change) for one in figures.matched.values()]
        rows.append(
            [name, interval(found.genuine), interval(found.impostor), interval(found.auc), *aucs,
             mean(density.auc), *matched, str(verdict(margins))]
        )  # fmt: skip
    kinds = " | ".join(f"matched on {kind}" for kind in figures.matched)
    header = "recognizer | genuine | impostor | AUC | edges | areas | random weights | densities"
    return table(f"{header} | {kinds} | verdict", rows)


def patterns(summary: Summary) -> str:
    """Coefficients between pictures, between halves of a person's pictures, and between picture and person pattern."""
    rows = []
    for name, figures in summary.each(SpecificityFigures).items():
        found = [figures.operands[key] for key in ("critical", "halves", "pattern", "dense")]
        pairs = [f"{interval(one.genuine, 2)} / {interval(one.impostor, 2)}" for one in found]
        rows.append([name, *pairs])
    return table("recognizer | pictures | halves | pattern | whole maps", rows)


def drops(summary: Summary) -> str:
    """Similarity drops under the critical mask and under the controls; margins with effect sizes."""
    found = summary.each(OcclusionFigures)
    kinds = list(next(iter(found.values())).controls)
    rows = [
        [
            name,
            interval(figures.drop, 4),
            *(
                f"{mean(figures.controls[kind], 4)} (d {number(figures.margins[kind].d, 2)})"
                for kind in kinds
            ),
        ]
        for name, figures in found.items()
    ]
    return table(f"recognizer | critical | {' | '.join(kinds)}", rows)


def fills(summary: Summary) -> str:
    """Similarity drops at the critical fraction under each fill, by mask."""
    found = summary.each(CurveFigures)
    top = float(summary.settings["top"])
    masks = [*next(iter(next(iter(found.values())).curves.values()))]
    rows = []
    for name, figures in found.items():
        row = [name]
        for curves in figures.curves.values():
            points = [next(p for p in curves[mask] if p.fraction == top) for mask in masks]
            row.append(" / ".join(mean(point.value) for point in points))
        rows.append(row)
    kinds = [f"{fill}: {' / '.join(masks)}" for fill in next(iter(found.values())).curves]
    return table(f"recognizer | {' | '.join(kinds)}", rows)


def subset(summary: Summary) -> str:
    """Verification, sanity, stability and region swaps."""
    sanity, stability = summary.each(SanityFigures), summary.each(StabilityFigures)
    swaps = summary.each(SwapFigures)
    rows = []
    for name, figures in summary.each(VerificationFigures).items():
        ranked = [one.mean for one in swaps[name].regions.values() if one.mean is not None]
        rows.append(
            [
                name,
                *(
                    f"{mean(one.map.area, 2)} / {mean(one.random.area, 2)}"
                    for one in (figures.deletion, figures.insertion)
                ),
                interval(sanity[name].steps[-1].rank, 2),
                interval(stability[name].max_sensitivity, 2),
                interval(stability[name].flip_consistency, 2),
                f"{min(ranked):.2f} – {max(ranked):.2f}",
            ]
        )
    walks = "deletion, map / random | insertion, map / random"
    return table(f"recognizer | {walks} | rank, all randomised | sensitivity | mirror | swap", rows)


def agreement(summary: Summary) -> str:
    """Bhattacharyya coefficients of recognizers' critical masks on the same face."""
    found = of_study(summary, AgreementFigures)
    rows = [
        [name, *(mean(cell, 2) for cell in row)]
        for name, row in zip(found.recognizers, found.critical, strict=True)
    ]
    return table(f" | {' | '.join(found.recognizers)}", rows)


def transfer(summary: Summary) -> str:
    """Each recognizer's similarity drop under its own, other recognizers' and random masks."""
    rows = [
        [
            name,
            *(interval(drop, 4) for drop in (found.own, found.others, found.random)),
            interval(found.others_over_random.difference, 4),
            number(found.others_over_random.d, 2),
        ]
        for name, found in of_study(summary, TransferFigures).targets.items()
    ]
    header = "drop of | own mask | other recognizers' masks | random | others - random | d"
    return table(header, rows)


def groups(summary: Summary) -> str:
    """Differences between groups in similarity drop and nose share, for all people and for matched people."""
    found = summary.get(GroupFigures)
    rows = [
        [
            row.recognizer,
            row.of if row.of == DROP else f"share of {row.of}",
            f"{row.first} – {row.second}",
            interval(row.difference, 4),
            number(row.p_adjusted, 4),
            number(row.d, 2),
            interval(row.matched.difference, 4),
            number(row.matched.p_adjusted, 4),
            str(row.matched.difference.n),
            f"{interval(row.matched_on_all.difference, 4)} ({row.matched_on_all.difference.n})",
        ]
        for column in (found.columns.values() if found else ())
        for row in column.gaps
        if row.of in {DROP, "nose"}
    ]
    everyone = "recognizer | of | groups | difference | p, corrected | d"
    matched = "matched on pose | p, corrected | pairs | matched on all (pairs)"
    return table(f"{everyone} | {matched}", rows)


PAGE = (claims, person)
APPENDIX = (
    regions, nose, parsers, layers, specificity, patterns, effect, drops, fills, subset, agreement,
    transfer, groups,
)  # fmt: skip


def without_layers(summary: Summary) -> Mapping[str, object]:
    """A summary as JSON without the figures of each layer, which are its largest part."""
    copy = json.loads(summary.to_json())
    for recognizer in copy["recognizers"].values():
        recognizer["figures"].get("layers", {}).pop("layers", None)
    return dict(copy)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished study")
    parser.add_argument(
        "--copy", type=Path, help="write a copy of the summary without layer figures"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/appendices/lfw.md"))
    parser.add_argument("--appendix", type=Path, default=Path("docs/appendices/results.md"))
    options = parser.parse_args()
    summary = read_summary(RunFolder(options.run))
    if options.copy:
        text = json.dumps(without_layers(summary), indent=1)
        options.copy.write_text(text + "\n", encoding="utf-8")
    for page, parts in ((options.page, PAGE), (options.appendix, APPENDIX)):
        for part in parts:
            write_between(page, part.__name__, part(summary))


if __name__ == "__main__":
    main()
