"""Remove what identifies people from a finished study: for publication, or because it is no longer needed."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from leam.errors import StudyError
from leam.files import private_folder
from leam.progress import Progress, silent
from leam.recognizers.card import Card
from leam.results.figures import Figures, Model, UnknownFigures
from leam.results.shards import Reveals, Shard, specs
from leam.results.summary import Exclusion, Summary
from leam.study.means import MEANS, MeanMaps, public_means
from leam.study.plan import Plan
from leam.study.preparation import DETECT, PARSE, Detections, Parsings
from leam.study.run_data import RunData
from leam.study.schedule import SUMMARISE
from leam.study.stage import STAGES
from leam.study.stages.error_rates import ErrorRateFigures
from leam.study.stages.groups import GroupFigures
from leam.study.store import Keep, RunFolder
from leam.study.summary import read_summary, summary_schema
from leam.study.worker import StoredFigures

KEPT: Final[Mapping[Keep, frozenset[Reveals]]] = {
    "maps": frozenset({"nothing", "number", "text", "map"}),
    "embeddings": frozenset({"nothing", "number", "text", "embedding"}),
    "nothing": frozenset(),
}
"""Which arrays of shards are kept, by what they reveal."""

REMOVED: Final = "[removed]"
"""Stands for a name, a file name or a path in texts."""

# Columns of tables/faces.parquet by which a picture could be found, beside the groups of its person.
_IDENTIFYING = ("sha256", "left", "top", "right", "bottom")
_SHARD = re.compile(r"[0-9]{5,}")
_WORD = re.compile(r"\w+")
# An absolute path, of a Unix system or of Windows, and the name of a picture or table.
_PATH = re.compile(
    r"(?<![\w/.])(?:file://)?/[^\s/:,;\"'()]+(?:/[^\s:,;\"'()]*)+|\b[A-Za-z]:\\[^\s,;\"'()]+"
)
_FILE = re.compile(
    r"\S+\.(?:jpe?g|png|webp|bmp|tiff?|gif|heic|avif|csv|tsv|txt|npz|pt|pth|bin|rec|mp4)\b",
    re.IGNORECASE,
)
# What leam.faces.datasets.folder says of the groups of people, of which some may be small.
_GROUPS = re.compile(r"(?<= has the folders )[^;]+")
# A shorter word that is a name, such as the number of a picture, is also part of other texts.
_LEAST_LETTERS = 2
_LEAST_DIGITS = 4


class Names:
    """Finds the names of people, pictures and files of a study in texts.

    Names are compared word by word, without regard to case and punctuation. Names that are a single character, or a
    number of up to three digits, are not looked for: they would be found in every figure.

    Args:
        plan: The plan of the study.
    """

    def __init__(self, plan: Plan) -> None:
        self._known: set[tuple[str, ...]] = set()
        self._add([plan.source] if "/" in plan.source or "\\" in plan.source else [])
        for image in plan.images:
            self._add([image.person, image.path, image.image, image.member])
        self._add(exclusion.image for exclusion in plan.exclusions)
        self._longest = max(map(len, self._known), default=0)

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            path = Path(name)
            for words in {_words(name), _words(path.name), _words(path.stem)}:
                if len(words) > 1 or (words and _is_name(words[0])):
                    self._known.add(words)

    def removed(self, text: str) -> str:
        """A text without names, file names and absolute paths."""
        text = unicodedata.normalize("NFC", text)
        found = list(_WORD.finditer(text))
        words = tuple(one.group().casefold() for one in found)
        pieces, done, place = [], 0, 0
        while place < len(words):
            length = self._match(words, place)
            if length:
                pieces += [text[done : found[place].start()], REMOVED]
                done = found[place + length - 1].end()
            place += max(length, 1)
        text = "".join([*pieces, text[done:]])
        return _FILE.sub(REMOVED, _PATH.sub(REMOVED, text))

    def _match(self, words: tuple[str, ...], place: int) -> int:
        """The number of words of the longest name that starts at a place; 0 if none does."""
        longest = min(self._longest, len(words) - place)
        return next(
            (n for n in range(longest, 0, -1) if words[place : place + n] in self._known), 0
        )


def _words(name: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(unicodedata.normalize("NFC", name).casefold()))


def _is_name(word: str) -> bool:
    return len(word) >= (_LEAST_DIGITS if word.isdigit() else _LEAST_LETTERS)


def redacted_plan(plan: Plan, names: Names) -> Plan:
    """A plan without pictures, and without names and paths in its texts. Settings and recognizers stay."""
    models = tuple(
        model.model_copy(update={"card": _redacted_card(model.card, names)})
        for model in plan.models
    )
    return plan.model_copy(
        update={
            "source": REMOVED,
            "models": models,
            "images": (),
            "exclusions": (),
            "notes": _redacted_notes(plan.notes, names),
        }
    )


def _redacted_notes(notes: Iterable[str], names: Names) -> tuple[str, ...]:
    return tuple(names.removed(_GROUPS.sub(REMOVED, note)) for note in notes)


def _redacted_card(card: Card, names: Names) -> Card:
    texts = ("url", "license", "source", "training")
    update: dict[str, Any] = {
        name: names.removed(value)
        for name in texts
        if (value := getattr(card, name)) is not None
        and not value.startswith(("https://", "hf://"))
    }
    options = {
        name: names.removed(value) if isinstance(value, str) else value
        for name, value in card.options.items()
    }
    return card.model_copy(update={**update, "options": options, "file": None})


def redacted_summary(summary: Summary, plan: Plan, names: Names) -> Summary:
    """A summary whose excluded pictures are numbered, and without names and paths in its texts."""
    person = {image.image: image.person for image in plan.images}
    return summary.model_copy(
        update={
            "exclusions": [
                Exclusion(
                    image=f"picture {number}",
                    reason=names.removed(
                        one.reason.replace(
                            f"picture of {person.get(one.image)}", "picture of the person"
                        )
                    ),
                )
                for number, one in enumerate(summary.exclusions, 1)
            ],
            "notes": list(_redacted_notes(summary.notes, names)),
            "failed": [
                one.model_copy(update={"reason": names.removed(one.reason)})
                for one in summary.failed
            ],
            "recognizers": {
                name: one.model_copy(update={"figures": _redacted_figures(one.figures, names)})
                for name, one in summary.recognizers.items()
            },
            "figures": _redacted_figures(summary.figures, names),
        }
    )


def _numbered(groups: Mapping[str, int]) -> dict[str, int]:
    """Small groups without their names: a value that few people have can identify them."""
    return {f"group {n}": count for n, count in enumerate(groups.values(), 1)}


def _redacted_figures(figures: Mapping[str, Figures], names: Names) -> dict[str, Any]:
    return {stage: _without_names(one, names) for stage, one in figures.items()}


def _without_names(value: Any, names: Names) -> Any:  # noqa: ANN401  figures of any depth
    """Figures without names in their texts, and in the keys of their dictionaries."""
    if isinstance(value, UnknownFigures):
        return UnknownFigures.model_validate(_without_names(value.model_dump(mode="json"), names))
    if isinstance(value, GroupFigures.Column):
        value = value.model_copy(update={"left_out": _numbered(value.left_out)})
    if isinstance(value, ErrorRateFigures.Column):
        value = value.model_copy(update={"too_few": _numbered(value.too_few)})
    if isinstance(value, Model):
        fields = type(value).model_fields
        return value.model_copy(
            update={name: _without_names(getattr(value, name), names) for name in fields}
        )
    if isinstance(value, str):
        return names.removed(value)
    if isinstance(value, dict):
        return {
            _without_names(key, names): _without_names(one, names) for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_without_names(one, names) for one in value)
    return value


def redact(source: RunFolder, target: RunFolder, progress: Progress = silent) -> None:
    """Write a finished study without what identifies its people into another folder.

    The new folder has the figures, the tables with numbered people and pictures, and the mean maps; no embeddings, maps
    or landmarks of a face, and no names, file names and paths. People are numbered at random.

    Args:
        source: The finished study; it is not changed.
        target: A folder that does not exist or is empty.
        progress: Progress callback.

    Raises:
        StudyError: The study is not finished or has changed since, or the folder exists or cannot be written.
    """
    plan, summary = source.plan(), read_summary(source)
    # Not the tables that somebody else has put into the folder.
    tables = [name for name in source.verify() if name.startswith("tables/")]
    if target.path.exists() and (not target.path.is_dir() or any(target.path.iterdir())):
        raise StudyError(f"{target.path}: exists; choose another --out")
    names = Names(plan)
    with target.locked():
        target.write_text("run.json", redacted_plan(plan, names).model_dump_json(indent=1))
        _write_means(source, target, plan.only(summary.recognizers))
        numbers = _numbers(plan)
        for done, file in enumerate(tables):
            progress("redacting tables", done, len(tables))
            name = file.removeprefix("tables/").removesuffix(".parquet")
            target.write_table(name, [_redacted_table(source.read_table(name), numbers, names)])
        progress("redacting tables", len(tables), len(tables))
        target.keep("nothing")
        target.write_text("summary.schema.json", json.dumps(summary_schema(), indent=1) + "\n")
        target.write_text("summary.json", redacted_summary(summary, plan, names).to_json())
        target.write_manifest()


def redact_in_place(folder: RunFolder, progress: Progress = silent) -> list[str]:
    """:func:`redact` a study in its own folder. What is removed cannot be restored.

    Returns:
        The files in the folder that are not of the study: they stay as they are, and may show people.
    """
    # Beside the folder, so that files are moved, not copied.
    path = folder.path.resolve()
    beside = RunFolder(path.with_name(f".{path.name}-{secrets.token_hex(4)}"))
    try:
        redact(folder, beside, progress)
        with folder.locked():
            folder.clear()
            (path / "log.txt").unlink(missing_ok=True)
            # The plan comes last: until then, the folder counts as unfinished.
            files = [
                one
                for one in beside.path.rglob("*")
                if one.is_file() and not one.name.endswith(".lock")
            ]
            for file in sorted(files, key=lambda one: one.name == "run.json"):
                target = path / file.relative_to(beside.path)
                private_folder(target.parent)
                file.replace(target)
            folder.forget()
            return folder.foreign()
    finally:
        shutil.rmtree(beside.path, ignore_errors=True)


def keep_only(folder: RunFolder, keep: Keep, progress: Progress = silent) -> list[str]:
    """Remove from a finished study what shall not be kept of each face. It can no longer be resumed.

    Returns:
        The files in the folder that are not of the study, which stay as they are.

    Raises:
        StudyError: The study is not finished, or the folder cannot be written.
    """
    if keep == "nothing":
        return redact_in_place(folder, progress)
    folder.verify()
    plan, summary = folder.plan(), read_summary(folder)
    with folder.locked():
        _write_means(folder, folder, plan.only(summary.recognizers))
        folder.keep(keep)
        top = folder.path / "shards"
        shards = [path for path in sorted(top.glob("*/**/*.npz")) if _SHARD.fullmatch(path.stem)]
        for done, path in enumerate(shards):
            progress("removing what is not kept", done, len(shards))
            stage = path.relative_to(top).parent
            kind = _kind(stage.parts[0])
            # Nothing is known of the arrays of a plug-in that is not installed.
            names = (
                {one.name for one in specs(kind) if one.axes.reveals in KEPT[keep]} if kind else {}
            )
            folder.strip_shard(stage.as_posix(), int(path.stem), names)
        progress("removing what is not kept", len(shards), len(shards))
    return folder.foreign()


def _kind(name: str) -> type[Shard] | None:
    """The type of the shards in a folder; None if it is not known."""
    known: dict[str, type[Shard]] = {
        DETECT: Detections, PARSE: Parsings, SUMMARISE: StoredFigures, MEANS: MeanMaps
    }  # fmt: skip
    return known.get(name) or (STAGES[name].shard if name in STAGES else None)


def _write_means(source: RunFolder, target: RunFolder, plan: Plan) -> None:
    run = RunData(plan, source)
    for name in run.recognizers:
        target.write_shard(f"{MEANS}/{name}", 0, public_means(run, name))


def _numbers(plan: Plan) -> dict[str, dict[str, str]]:
    """New names of people and pictures: numbers in random order, since the former order would reveal the names."""
    pictures: dict[str, list[str]] = {}
    for image in plan.images:
        pictures.setdefault(image.person, []).append(image.image)
    shuffle = secrets.SystemRandom().shuffle
    people = list(pictures)
    shuffle(people)
    width = len(str(len(people)))
    numbers: dict[str, dict[str, str]] = {"person": {}, "image": {}}
    for number, person in enumerate(people, 1):
        new = numbers["person"][person] = f"{number:0{width}d}"
        shuffle(pictures[person])
        numbers["image"] |= {
            image: f"{new}/{place}" for place, image in enumerate(pictures[person], 1)
        }
    return numbers


def _redacted_table(
    table: pl.DataFrame, numbers: Mapping[str, Mapping[str, str]], names: Names
) -> pl.DataFrame:
    """A table with numbered people and pictures in random order, and without names in other columns."""
    dropped = [name for name in table.columns if name in _IDENTIFYING or name.startswith("group_")]
    table = table.drop(dropped)
    for name, kind in table.schema.items():
        if name in numbers:
            mapped = pl.col(name).replace_strict(
                numbers[name], default=REMOVED, return_dtype=pl.String
            )
            table = table.with_columns(mapped)
        elif kind == pl.String:
            values = table[name].unique().drop_nulls().to_list()
            cleaned = {value: names.removed(value) for value in values}
            table = table.with_columns(pl.col(name).replace(cleaned))
    keys = [name for name in numbers if name in table.columns]
    return table.sort(keys, maintain_order=True) if keys else table
