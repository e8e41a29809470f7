"""Write docs/results.md from a study's summary.json: the paper's claims beside ours, model by model.

    python benchmarks/results.py RUN/summary.json --copy benchmarks/results.summary.json --page docs/results.md

The text around the tables is written by hand; the tables stand between markers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from markdown import write_between

from leam.report.claims import paper_claims

Summary = dict[str, Any]


def interval(found: dict[str, Any], digits: int = 3, scale: float = 1) -> str:
    """A mean with its interval."""
    if found["mean"] is None:
        return "–"
    mean, low, high = (f"{scale * found[end]:.{digits}f}" for end in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def table(header: str, rows: list[list[str]]) -> str:
    """A Markdown table under a header ``first | second | ...``."""
    cells = header.split(" | ")
    lines = [cells, ["---"] * len(cells), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def claims(summary: Summary) -> str:
    """The paper's claims beside the study's figures, each with a verdict on its direction."""
    rows = [
        [row.claim, row.paper, row.here, f"**{row.verdict}**", row.reading]
        for row in paper_claims(summary)
    ]
    return table("claim | paper | here | direction | because", rows)


def specificity(summary: Summary) -> str:
    """Overlaps of maps of one person and of different people."""
    rows = []
    for name, model in summary["models"].items():
        found, regions = model["bc"]["critical"], model["bc"]["regions"]
        rows.append(
            [name, interval(found["same"]), interval(found["different"]), interval(found["auc"]),
             interval(found["chance"]["auc"]), f"{found['p']:.3f}", interval(regions["auc"])]
        )  # fmt: skip
    header = (
        "model | same person | different people | AUC | AUC by chance | p | AUC of region shares"
    )
    return table(header, rows)


def regions(summary: Summary) -> str:
    """Shares of the critical pixels in the main regions, in percent, and the nose's area."""
    names = ("nose", "eyes", "brows", "lips", "skin", "forehead", "background")
    rows = []
    for model, found in summary["models"].items():
        shares = [f"{100 * found['regions'][name]['share']['mean']:.1f}" for name in names]
        area = f"{100 * found['regions']['nose']['area']['mean']:.1f}"
        rows.append([model, interval(found["regions"]["nose"]["share"], 1, 100), area, *shares[1:]])
    return table(f"model | nose | area of the nose | {' | '.join(names[1:])}", rows)


def patterns(summary: Summary) -> str:
    """What the overlap is of: pictures, halves of a person's pictures, or a picture and its person's pattern."""
    rows = []
    for name, model in summary["models"].items():
        row = [name]
        for operand in ("critical", "halves", "pattern", "dense"):
            found = model["bc"][operand]
            row.append(f"{interval(found['same'], 2)} / {interval(found['different'], 2)}")
        rows.append(row)
    return table("model | pictures | halves | pattern | whole maps", rows)


def drops(summary: Summary) -> str:
    """Drops when the critical pixels are hidden, beside the baselines; margins with effect sizes."""
    kinds = list(next(iter(summary["models"].values()))["occlusion"]["baselines"])
    rows = []
    for name, model in summary["models"].items():
        found = model["occlusion"]
        cells = [
            f"{found['baselines'][kind]['mean']:.4f} (d {found['margins'][kind]['d']:.2f})"
            for kind in kinds
        ]
        rows.append([name, interval(found["drop"], 4), *cells])
    return table(f"model | critical | {' | '.join(kinds)}", rows)


def fills(summary: Summary) -> str:
    """Drops at the top fraction under each fill, on the panel: critical, scattered, moved, centre."""
    rows = []
    top = summary["settings"]["top"]
    for name, model in summary["models"].items():
        row = [name]
        for masks in model["curves"].values():
            cells = []
            for mask in ("critical", "scattered", "moved", "centre"):
                point = next(p for p in masks[mask] if p["fraction"] == top)
                cells.append(f"{point['mean']:.3f}")
            row.append(" / ".join(cells))
        rows.append(row)
    kinds = next(iter(summary["models"].values()))["curves"]
    return table(f"model | {' | '.join(kinds)}", rows)


def panel(summary: Summary) -> str:
    """Verification, sanity, stability and swaps."""
    rows = []
    for name, model in summary["models"].items():
        walks = [
            model["verification"][way][order]["area"]["mean"]
            for way in ("deletion", "insertion")
            for order in ("map", "random")
        ]
        swaps = [found["mean"] for found in model["swap"].values()]
        rows.append(
            [
                name,
                f"{walks[0]:.2f} / {walks[1]:.2f}",
                f"{walks[2]:.2f} / {walks[3]:.2f}",
                interval(model["sanity"][-1]["rank"], 2),
                interval(model["stability"]["max_sensitivity"], 2),
                interval(model["stability"]["flip_consistency"], 2),
                f"{min(swaps):.2f} – {max(swaps):.2f}",
            ]
        )
    walked = "deletion, map / random | insertion, map / random"
    return table(f"model | {walked} | rank, all randomised | sensitivity | mirror | swap", rows)


def transfer(summary: Summary) -> str:
    """The drop on each model under its own mask, other models' masks and random ones."""
    rows = [
        [
            name,
            *(interval(found[key], 4) for key in ("own", "others", "random")),
            interval(found["others_over_random"]["difference"], 4),
            f"{found['others_over_random']['d']:.2f}",
        ]
        for name, found in summary["transfer"]["targets"].items()
    ]
    return table("drop on | own mask | other models' masks | random | others - random | d", rows)


def layers(summary: Summary) -> str:
    """How differently layers see the regions, beside how differently models do."""
    rows = [
        [name, interval(model["layer_divergence"]["mean"], 4)]
        for name, model in summary["models"].items()
    ]
    rows.append(["between two models", interval(summary["agreement"]["divergence"], 4)])
    return table("model | divergence of region profiles, bits", rows)


def groups(summary: Summary) -> str:
    """Gaps of the drop and of the nose's share between groups, of all people and of matched ones."""
    rows = [
        [row["model"], row["of"] if row["of"] == "drop" else f"share of {row['of']}",
         f"{row['first']} – {row['second']}", interval(row["difference"], 4),
         f"{row['p_adjusted']:.4f}", f"{row['d']:.2f}", interval(row["matched"]["difference"], 4),
         f"{row['matched']['p_adjusted']:.4f}", str(row["matched"]["difference"]["n"]),
         f"{interval(row['matched_on_all']['difference'], 4)} ({row['matched_on_all']['difference']['n']})"]
        for found in summary.get("gaps", {}).values()
        for row in found["gaps"]
        if row["of"] in {"drop", "nose"}
    ]  # fmt: skip
    everyone = "model | of | groups | difference | p, corrected | d"
    matched = "matched on pose | p, corrected | pairs | matched on all (pairs)"
    return table(f"{everyone} | {matched}", rows)


def agreement(summary: Summary) -> str:
    """Overlap of models' critical masks on the same face."""
    found = summary["agreement"]
    rows = [
        [name, *(f"{cell['mean']:.2f}" for cell in row)]
        for name, row in zip(found["models"], found["critical"], strict=True)
    ]
    return table(f" | {' | '.join(found['models'])}", rows)


def parsers(summary: Summary) -> str:
    """The nose's share of the critical pixels by each parser."""
    rows = [
        [name, interval(model["regions"]["nose"]["share"], 1, 100),
         interval(model["second_parser"]["nose"]["share"], 1, 100),
         interval(model["second_parser"]["nose"]["moved"], 1, 100)]
        for name, model in summary["models"].items()
    ]  # fmt: skip
    settings = summary["settings"]
    return table(
        f"model | {settings['parser']} | {settings['second_parser']} | moves by, points", rows
    )


PARTS = (claims, regions, parsers, layers, specificity, patterns, drops, fills, panel)
ACROSS = (agreement, transfer, groups)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("summary", type=Path)
    parser.add_argument("--copy", type=Path, help="keep the summary here, without its layers")
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    summary = json.loads(options.summary.read_text(encoding="utf-8"))
    if options.copy:
        for model in summary["models"].values():
            model["layers"] = {}
        options.copy.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for part in (*PARTS, *ACROSS):
        write_between(options.page, part.__name__, part(summary))


if __name__ == "__main__":
    main()
