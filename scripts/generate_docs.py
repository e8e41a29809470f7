"""Write docs/outputs.md and docs/*.schema.json from the models of what is written.

python scripts/generate_docs.py           # write all
python scripts/generate_docs.py --check   # compare, and exit with 1 where one is out of date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from leam.compare.recognizers import RecognizerComparison
from leam.compare.runs import RunComparison
from leam.explain.explanation import ExplanationRecord
from leam.explain.person_explanation import PersonRecord
from leam.metrics.statistics import Estimate
from leam.protect.record import ProtectRecord
from leam.results.shards import REVEALS, Shard, specs
from leam.results.summary import RecognizerSummary, Summary
from leam.study.audit import AuditDocument
from leam.study.means import FEWEST_SHOWN, MOST_OF_ONE, MeanMaps
from leam.study.preparation import Detections, Parsings
from leam.study.redaction import KEPT
from leam.study.stage import PHASES, STAGES, Stage
from leam.study.summary import FACES_COLUMNS, summary_schema

DOCS = Path(__file__).parents[1] / "docs"

INTRODUCTION = """# Output files

This page is generated from the source code by `scripts/generate_docs.py`; a test compares the two.

## `leam explain --out DIR`

| file | content |
|---|---|
| `explanation.json` | everything that made the explanation, and its numbers; see below |
| `maps.npz` | `overall (h, w)` float32, sums to 1; `critical (h, w)` bool; `regions (h, w)` uint8, positions in \
`leam.REGIONS`; `face (h, w, 3)` uint8; `layer/NAME (h_l, w_l)` float32, sums to 1, or 0 where a layer has no map; \
for a pair `difference (h, w)` float32 and `difference_critical (h, w)` bool, what makes the faces different |
| `explanation.html` | one page with all of this, which needs no network |
| `overlay.png` | the face; the overall map with region outlines; the critical pixels. For a pair, both faces, and \
what makes them alike and different on each |
| `layers.png` | every layer's map, early to late, and the overall map last, on one scale; not for methods without \
layer maps |
| `answers.sqlite` | the answers of a black box, by the pictures' bytes |

With `--person`:

| file | content |
|---|---|
| `person.json` | the pictures, how the person map was made, and its numbers; see below |
| `maps.npz` | `person (h, w)` float32, the person map, sums to 1; `critical` and `regions` as above, with the most \
frequent region of each pixel; `face (h, w, 3)` uint8, the mean of the aligned faces; `pictures (n, h, w)` \
float32, the overall map of each picture |
| `explanation.html` | one page with all of this, which needs no network |
| `overlay.png` | the mean face; the person map with region outlines; the critical pixels |

`--format png,svg,pdf` chooses the file types of `overlay` and `layers`. In figures and on pages, a map is divided by
its mean, and a Euclidean similarity is shown as the distance, which is minus the `similarity` and `threshold` of the
JSON files.

"""

STUDY = """## `leam study --out RUN`

| file | content |
|---|---|
| `run.json` | the plan: versions, plug-ins, settings, recognizers and pictures with their SHA-256. A folder is \
resumed only by the same plan |
| `shards/STAGE/NAME/NNNNN.npz` | finished work on one slice of the faces, written atomically; the arrays are listed \
below |
| `tables/*.parquet` | the tables below |
| `summary.json` | every figure, typed; its JSON Schema is `summary.schema.json` beside it, and \
[summary.schema.json](summary.schema.json) for the built-in stages |
| `report.html` | one file that needs no network |
| `figures/*.svg`, `.pdf`, `.png` | every chart of the report for a paper: at most 85 mm wide, or 178 mm if it has \
panels side by side or a large table; text as text; 300 dpi. A file has the name of the chart's link in `report.html` |
| `people.html` | the people of the study, one at a time: pictures, maps, regions, layers; see \
[people-page.md](howto/people-page.md). Not with `--no-faces`, and not if not everything was kept |
| `audit.html`, `audit.json` | by `leam audit`: the document of the audit, and the same for machines, by \
[audit.schema.json](audit.schema.json); see [audit.md](audit.md) |
| `kept.json` | what of each face was kept, if not everything |
| `log.txt` | a line with the time for every excluded picture, failed recognizer and damaged shard |

An estimate is `{"mean", "low", "high", "n"}`: the mean, its 95 % interval (bootstrap over people), and the number of
people; null where there is nothing to estimate from. A verdict is *inconclusive (n = ...)* with fewer than ten
people behind any margin that it rests on, or in one of two groups; charts draw fewer people faint or dotted, with their
number. `schema_version` is checked on reading: an older summary is
refused with one line.

Before a study begins, it prints an estimate of its time and of the disk space. Each network is timed on one blank face.
The number of passes of each picture, of each person of the subset and for `effect`, the time to find and parse a face
and the bytes of shards for each pixel are constants that were measured in studies of 2 and 6 people on one core. Of a
study that is resumed, only the shards that are missing count. The time may be three times as long, or a third; there is
none for other attribution methods.

Recognizers that share a crop share one parsing. Tables and `summary.json` have the same bytes however often a study was
stopped, and on however many processes it ran.

"""


PRIVACY = """### What a run folder reveals

Treat a run folder as biometric data; only the user who ran the study can open it. By default it keeps what resuming and
the report need. `run.json`, `tables/`, `summary.json` and `log.txt` contain the names of people and files; tables also
contain numbers measured on each picture. `report.html` shows faces; with `--no-faces` it shows no picture, name, file
name or path, and no mean face if it is of fewer than {people} people or more than {part} of its pictures are of one
person. The last column of each shard's table below says what its arrays reveal:

| array | reveals |
|---|---|
{reveals}
`leam study --keep NAME` removes the others after the study, which can then not be resumed:

| `--keep` | arrays that stay | names and files |
|---|---|---|
{keep}
`leam redact RUN` writes the folder that `--keep nothing` leaves: people and pictures have numbers in random order,
texts contain no names, file names and absolute paths, tables lack the hashes of pictures, the places of faces and the
columns of groups, and `shards/means` has the mean maps (below). Numbers measured on a picture remain in the tables:
somebody who has the pictures could measure them again and compare.

"""


def main() -> None:
    """Write or compare the generated files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="Compare only.")
    check = parser.parse_args().check
    stale = []
    for name, text in documents().items():
        path = DOCS / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}; run `python {sys.argv[0]}`")


def documents() -> dict[str, str]:
    """The generated files by name, with the built-in stages alone."""
    names = [name for name in sorted(STAGES) if STAGES.origin(name) == "leam"]
    schemas = {
        "summary": summary_schema(names),
        "audit": AuditDocument.model_json_schema(),
        "compare": TypeAdapter(RunComparison | RecognizerComparison).json_schema(),
        "protect": ProtectRecord.model_json_schema(),
    }
    return {
        "outputs.md": _outputs(names),
        **{
            f"{name}.schema.json": json.dumps(one, indent=1) + "\n" for name, one in schemas.items()
        },
    }


def _outputs(names: list[str]) -> str:
    stages = [STAGES[name] for name in names]
    parts = [
        INTRODUCTION,
        "### `explanation.json`\n\n",
        *_fields(ExplanationRecord),
        "### `person.json`\n\n",
        *_fields(PersonRecord),
        STUDY,
        *_privacy(),
        "## Tables\n\n",
        *_table("faces", FACES_COLUMNS, "one row per picture"),
        *(
            line
            for stage in stages
            if stage.columns
            for line in _table(f"{stage.name}/RECOGNIZER", stage.columns, _what(stage))
        ),
        "`group_NAME` in `faces` holds each further column of the people table.\n\n",
        "## `summary.json`\n\n",
        *_fields(Summary, leaves=("recognizers", "figures")),
        "Each entry of `recognizers` has\n\n",
        *_fields(RecognizerSummary, leaves=("figures",)),
        *(line for stage in stages for line in _figures(stage)),
        "## Shards\n\n",
        *_shard("means/RECOGNIZER", MeanMaps, "of a redacted study, or with `--keep`"),
        *_shard("detect", Detections),
        *_shard("parse/PARSER/CROP", Parsings),
        *(
            line
            for stage in stages
            if stage.shard is not None
            for line in _shard(f"{stage.name}/RECOGNIZER", stage.shard, PHASES[stage.phase])
        ),
    ]
    # Docstrings are in reStructuredText, where code has two backticks.
    return "".join(parts).replace("``", "`").rstrip("\n") + "\n"


def _privacy() -> Iterator[str]:
    """What each kind of array reveals, and what stays with each ``--keep``."""
    reveals = "".join(f"| {kind} | {words} |\n" for kind, words in REVEALS.items())
    keep = "".join(
        f"| `{name}` | {', '.join(kind for kind in REVEALS if kind in kinds) or 'none'} | "
        f"{'removed' if name == 'nothing' else 'stay'} |\n"
        for name, kinds in KEPT.items()
    )
    part = f"{100 * MOST_OF_ONE:g} %"
    yield PRIVACY.format(people=FEWEST_SHOWN, part=part, reveals=reveals, keep=keep)


def _what(stage: type[Stage[Shard]]) -> str:
    return (stage.__doc__ or "").strip().splitlines()[0].rstrip(".").lower()


def _table(name: str, columns: Mapping[str, str], what: str) -> Iterator[str]:
    yield f"### `tables/{name}.parquet`: {what}\n\n| column | meaning |\n|---|---|\n"
    for column, meaning in columns.items():
        yield f"| `{column}` | {meaning} |\n"
    yield "\n"


def _figures(stage: type[Stage[Shard]]) -> Iterator[str]:
    if stage.figures is None:
        return
    where = "figures" if stage.of_study() else "recognizers.NAME.figures"
    yield f"### `{where}.{stage.name}`\n\n{_paragraph(stage.figures)}\n\n"
    yield from _fields(stage.figures)


def _shard(name: str, kind: type[Shard], phase: str | None = None) -> Iterator[str]:
    after = f" ({phase})" if phase else ""
    yield f"### `shards/{name}`{after}\n\n{_paragraph(kind)}\n\n"
    yield "| array | type | axes | content | reveals |\n|---|---|---|---|---|\n"
    for spec in specs(kind):
        dtype = "text" if spec.dtype.kind == "U" else spec.dtype.name
        yield (
            f"| `{spec.name}` | {dtype} | {', '.join(map(str, spec.axes.names))} | {spec.axes.doc} | "
            f"{spec.axes.reveals} |\n"
        )
    yield "\n"


def _fields(kind: type[BaseModel], leaves: tuple[str, ...] = ()) -> Iterator[str]:
    yield "| key | type | meaning |\n|---|---|---|\n"
    yield from _rows(kind, "", leaves)
    yield "\n"


def _rows(kind: type[BaseModel], prefix: str, leaves: tuple[str, ...]) -> Iterator[str]:
    kind.model_rebuild()  # nested models that name one another may not be resolved yet
    for name, field in kind.model_fields.items():
        path = f"{prefix}{name}"
        type_name, inner, suffix = _described(field.annotation)
        yield f"| `{path}` | {type_name} | {' '.join((field.description or '').split())} |\n"
        if inner is not None and name not in leaves:
            yield from _rows(inner, f"{path}{suffix}.", ())


_NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "value"}


def _described(annotation: Any) -> tuple[str, type[BaseModel] | None, str]:  # noqa: ANN401, PLR0911  one return a kind
    """A type in words, the model inside it, and how its keys are reached."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _described(arguments[0])
    if annotation is Estimate:
        return "estimate", None, ""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object", annotation, ""
    if origin in {dict, Mapping}:
        inner, model, suffix = _described(arguments[1])
        return f"{inner} by name", model, f".NAME{suffix}"
    if origin is list:
        inner, model, suffix = _described(arguments[0])
        return f"list of {inner}", model, f"[]{suffix}"
    if origin is tuple:
        count = "list of" if Ellipsis in arguments else f"{len(arguments)} x"
        return f"{count} {_described(arguments[0])[0]}", None, ""
    if arguments and type(None) in arguments:
        inner, model, suffix = _described(next(one for one in arguments if one is not type(None)))
        return f"{inner} or null", model, suffix
    if origin is UnionType:
        return " or ".join(_described(one)[0] for one in arguments), None, ""
    if origin is Literal:
        return _described(type(arguments[0]))
    return _NAMES[annotation], None, ""


def _paragraph(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    main()
