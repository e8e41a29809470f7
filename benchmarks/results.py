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


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def claims(summary: Summary) -> str:
    """The paper's figures beside the study's range over models."""
    rows = [[row["claim"], row["paper"], row["here"]] for row in paper_claims(summary["models"])]
    return table(["figure", "paper", "here"], rows)


def specificity(summary: Summary) -> str:
    """Overlaps of maps of one person and of different people."""
    rows = []
    for name, model in summary["models"].items():
        found, regions = model["bc"]["critical"], model["bc"]["regions"]
        rows.append(
            [name, interval(found["same"]), interval(found["different"]), interval(found["auc"]),
             interval(found["chance"]["auc"]), f"{found['p']:.3f}", interval(regions["auc"])]
        )  # fmt: skip
    header = [
        "model",
        "same person",
        "different people",
        "AUC",
        "AUC by chance",
        "p",
        "AUC of region shares",
    ]
    return table(header, rows)


def regions(summary: Summary) -> str:
    """Shares of the critical pixels in the main regions, in percent, and the nose's area."""
    names = ("nose", "eyes", "brows", "lips", "skin", "forehead", "background")
    rows = []
    for model, found in summary["models"].items():
        shares = [f"{100 * found['regions'][name]['share']['mean']:.1f}" for name in names]
        area = f"{100 * found['regions']['nose']['area']['mean']:.1f}"
        rows.append([model, interval(found["regions"]["nose"]["share"], 1, 100), area, *shares[1:]])
    return table(["model", "nose", "area of the nose", *names[1:]], rows)


def drops(summary: Summary) -> str:
    """Drops when the critical pixels are hidden, beside the baselines."""
    kinds = list(next(iter(summary["models"].values()))["occlusion"]["baselines"])
    rows = []
    for name, model in summary["models"].items():
        found = model["occlusion"]
        rows.append(
            [name, interval(found["drop"], 4), *(interval(found["baselines"][k], 4) for k in kinds)]
        )
    return table(["model", "critical", *kinds], rows)


def groups(summary: Summary) -> str:
    """Gaps of the drop between groups."""
    rows = [
        [column, row["model"], f"{row['first']} – {row['second']}", interval(row["difference"], 4),
         f"{row['p_adjusted']:.4f}", f"{row['d']:.2f}"]
        for column, found in summary.get("groups", {}).items()
        for row in found["gaps"]
    ]  # fmt: skip
    return table(["column", "model", "groups", "difference of the drop", "p, corrected", "d"], rows)


def agreement(summary: Summary) -> str:
    """Overlap of models' critical masks on the same face."""
    found = summary["agreement"]
    rows = [
        [name, *(f"{cell['mean']:.2f}" for cell in row)]
        for name, row in zip(found["models"], found["critical"], strict=True)
    ]
    return table(["", *found["models"]], rows)


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
    for part in (claims, regions, specificity, drops, agreement, groups):
        write_between(options.page, part.__name__, part(summary))


if __name__ == "__main__":
    main()
