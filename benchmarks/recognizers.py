"""Measure the available recognizers with both detectors, and write the tables of docs/recognizers.md.

python benchmarks/recognizers.py measure --assets FOLDER    # writes benchmarks/recognizers.json
python benchmarks/recognizers.py tables                     # writes the tables from it
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from leam.faces.detectors import DETECTORS, load_detector
from leam.recognizers.catalogue import choose, read_catalogue
from leam.study.model_check import check_model, read_pairs, verify
from leam.version import __version__

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "recognizers.json"
PAGE = ROOT / "docs" / "recognizers.md"
CARDS = ROOT / "examples" / "cards"


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=["measure", "tables"])
    parser.add_argument("--assets", type=Path, help="folder with zoo, lfw and detectors")
    arguments = parser.parse_args()
    if arguments.step == "measure":
        if arguments.assets:
            os.environ["LEAM_ASSETS"] = str(arguments.assets)
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    write_tables(json.loads(RESULTS.read_text(encoding="utf-8")))


def measure() -> dict[str, Any]:
    """Measure speed, size, layers and accuracy of each recognizer, and count the faces found by each detector."""
    torch.set_num_threads(1)
    assets = Path(os.environ["LEAM_ASSETS"])
    pairs = read_pairs(assets / "lfw" / "pairs.csv", assets / "lfw" / "people")
    recognizers = [entry.load() for entry in choose(read_catalogue(folders=[CARDS]), ["all"])]
    results: dict[str, Any] = {
        "leam": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, one thread",
        "pictures": len({name for pair in pairs.pairs for name in (pair.left, pair.right)}),
        "detectors": {},
        "recognizers": {},
    }
    for recognizer in recognizers:
        found = check_model(recognizer)
        results["recognizers"][recognizer.name] = {
            "family": recognizer.card.family,
            "parameters": found.parameters,
            "embedding_size": found.embedding_size,
            "input_size": recognizer.card.input_size,
            "layers": len(found.layers),
            "milliseconds": round(found.milliseconds, 2),
            "license": recognizer.card.license,
            "accuracy": {},
        }
    for name in DETECTORS:
        verified = verify(recognizers, pairs, load_detector(name))
        skipped = list(verified[0].exclusions.values())
        none = sum("no face found" in reason for reason in skipped)
        results["detectors"][name] = {
            "no face": none,
            "several faces": len(skipped) - none,
            "pairs": verified[0].pairs,
        }
        for recognizer, one in zip(recognizers, verified, strict=True):
            accuracy = results["recognizers"][recognizer.name]["accuracy"]
            accuracy[name] = {"value": one.accuracy, "threshold": one.threshold}
    return results


def write_tables(results: dict[str, Any]) -> None:
    """Insert the tables between their markers in the page."""
    page = PAGE.read_text(encoding="utf-8")
    for name, table in (("recognizers", recognizer_table), ("detectors", detector_table)):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        page = before + begin + table(results) + end + rest.partition(end)[2]
    PAGE.write_text(page, encoding="utf-8")


def recognizer_table(results: dict[str, Any]) -> str:
    """Markdown table with one row per recognizer."""
    rows = [
        ["recognizer", "family", "input", "embedding", "parameters", "layers", "ms a face", "accuracy, dlib",
         "accuracy, SCRFD", "licence"]
    ]  # fmt: skip
    for name, one in results["recognizers"].items():
        height, width = one["input_size"]
        accuracies = [f"{one['accuracy'][detector]['value']:.4f}" for detector in ("dlib", "scrfd")]
        rows.append(
            [name, one["family"], f"{height}x{width}", str(one["embedding_size"]), f"{one['parameters']:,}",
             str(one["layers"]), f"{one['milliseconds']:.1f}", *accuracies, one["license"]]
        )  # fmt: skip
    return _markdown(rows)


def detector_table(results: dict[str, Any]) -> str:
    """Markdown table with one row per detector."""
    rows = [["detector", "pictures", "one clear face", "no face", "several, none clear", "pairs"]]
    for name, one in results["detectors"].items():
        clear = results["pictures"] - one["no face"] - one["several faces"]
        counts = (results["pictures"], clear, one["no face"], one["several faces"], one["pairs"])
        rows.append([name, *map(str, counts)])
    return _markdown(rows)


def _markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
