r"""Compare each claim with each of its controls, by recognizer, from a study.

    python benchmarks/controls.py RUN --out benchmarks/controls.json --page docs/appendices/controls.md

RUN is a study with ``--preset paper``, such as that of docs/appendices/lfw.md. A margin is the claim's figure minus the
control's, paired over people, with its 95 % interval.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markdown import show
from recording import arguments, record

from leam.metrics.statistics import tally, verdict
from leam.report.claims import (
    Margins,
    drop_margins,
    fill_margins,
    layer_margins,
    person_margins,
    region_margins,
    specificity_margins,
    transfer_margins,
)
from leam.results.summary import Summary
from leam.study.stages.effect import EffectFigures
from leam.study.store import RunFolder
from leam.study.summary import read_summary
from results import families


def main() -> None:
    """Read the study, write the margins and the table."""
    parser = arguments(__doc__)
    parser.add_argument("run", type=Path)
    options = parser.parse_args()
    summary = read_summary(RunFolder(options.run))
    known = families()
    claims = claims_of(summary)
    record(options.out, "controls", {claim: as_json(found) for claim, found in claims.items()})
    lines = [
        "| claim | control | margin over recognizers | interval above zero |",
        "| --- | --- | --- | --- |",
    ]
    for claim, margins in claims.items():
        controls = dict.fromkeys(control for one in margins.values() for control in one)
        lines += [row(claim, control, margins) for control in controls]
        verdicts = {name: verdict(one) for name, one in margins.items()}
        together = tally(verdicts, known)
        lines.append(f"| {claim} | **all** | **{together}** | {together.counts} |")
    show("\n".join(lines), options.page, "controls")


def claims_of(summary: Summary) -> dict[str, Margins]:
    """The margins of each claim: by recognizer and control."""
    return {
        "layers of one recognizer differ more than those of two": layer_margins(summary),
        "critical masks belong to a person, by overlap (AUC)": specificity_margins(summary),
        "masks belong to a person, by effect on another picture, mean colour": person_margins(
            summary
        ),
        "the critical pixels lie in the nose (share)": region_margins(summary, "nose"),
        "the critical pixels matter (drop)": drop_margins(summary),
        **{
            f"the critical pixels matter, {fill} (drop, subset)": fill_margins(summary, fill)
            for fill in summary.settings["fills"]
        },
        "masks of one recognizer work on others (drop)": transfer_margins(summary),
        **{
            f"own mask, {fill} (drop)": own_margins(summary, fill)
            for fill in ("black", "mean", "blur", "local_blur", "road")
        },
    }


def own_margins(summary: Summary, fill: str) -> Margins:
    """Drop under the own mask on the same picture minus that under masks that are not the person's."""
    contrasts = {
        "other_person": "own_other_person",
        "population": "own_population",
        "edges": "own_beyond_edges",
    }
    return {
        name: {control: found.fills[fill].contrasts[key].drop for control, key in contrasts.items()}
        for name, found in summary.each(EffectFigures).items()
    }


def as_json(margins: Margins) -> dict[str, Any]:
    """Margins with their verdicts."""
    return {
        name: {
            "verdict": str(verdict(one)),
            "margins": {
                control: [found.mean, found.low, found.high, found.n]
                for control, found in one.items()
            },
        }
        for name, one in margins.items()
    }


def row(claim: str, control: str, margins: Margins) -> str:
    """One control of a claim, over recognizers."""
    known = [one[control] for one in margins.values() if control in one]
    means = [found.mean for found in known if found.mean is not None]
    above = sum(found.low is not None and found.low > 0 for found in known)
    span = f"{min(means):.4f} to {max(means):.4f}" if means else "–"
    return f"| {claim} | {control} | {span} | {above} of {len(known)} |"


if __name__ == "__main__":
    main()
