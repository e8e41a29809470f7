"""Folders of pictures and videos: one person, one folder per person, or folders of such folders.

Which level of folders are the people is decided level by level, from the top. A level consists of groups of people if
it has at most 20 folders, and either fewer than half of the names below it occur in several of them (so that these are
names of people, not of sessions), or each has more than 20 folders on average, or the names below it are those of
groups, too, as in race/gender/person, or all its folders are parts of a data set, such as train and test; a name in two
of these is one person. Otherwise it consists of people, and the folders below are their sessions. A level
also consists of people if its folders contain pictures, unless these are few beside many more folders: then they are
strays, which are named. A single folder at a level is passed over.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from leam.errors import ImageError, InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.people import Dataset, Sample
from leam.faces.reading import picture_suffixes, unreadable
from leam.faces.tables import normal
from leam.faces.videos import frame_name, sampled_frames
from leam.progress import Progress, silent

Parts = tuple[str, ...]
"""The names of a folder and of those above it, below the source."""

_VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
# More folders than this are not groups of people.
_MOST_GROUPS = 20
_MOST_SESSIONS = 20
# Parts of a data set, in which a person has the same name.
_SPLITS = frozenset(
    {"dev", "eval", "gallery", "probe", "query", "test", "train", "val", "valid", "validation"}
)
# Pictures in folders of groups are at most this part of all; more are those of people who also have sessions.
_MOST_STRAYS = 0.2
_MAX_DEPTH = 16
# Of studies, explanations, maps of a person, parsings, comparisons and protections.
_OUTPUTS = (
    {"run.json", "written.json"},
    {"explanation.json", "maps.npz"},
    {"person.json", "maps.npz"},
    {"areas.json", "labels.png"},
    {"compare.json", "compare.html"},
    {"protect.json", "protect.html"},
)
_REPORT_EVERY = 1000


def read_folder(
    source: Path, _: Path | None = None, progress: Progress = silent, *, column: str = "folder"
) -> Dataset:
    """Read a folder; see the module.

    Args:
        source: The folder.
        progress: Progress callback.
        column: The group column of the level above the people.

    Raises:
        InputError: A file name is not valid Unicode, or two differ only in their Unicode form.
    """
    exclusions: dict[str, str] = {}
    chosen = dict(_walk(source, exclusions, progress))
    level = _level_of_people({parts: len(files) for parts, files in chosen.items()})
    for parts in [parts for parts in chosen if len(parts) < level]:
        for name in chosen.pop(parts):
            exclusions["/".join((*parts, name))] = "above the folders of people"
    columns = _columns(chosen, level, column)
    names = _names(source, chosen, level)
    note = _describe(chosen, level, columns, names)
    samples = []
    none: dict[str, str] = {}
    for parts, files in chosen.items():
        groups = {column: normal(parts[at]) for column, at in columns.items()} or none
        folder, above = source.joinpath(*parts), normal("/".join((*parts, "")))
        for name in files:
            person = _person(names[parts[:level]], name, level, files)
            for path, image, member in pictures_in(folder / name, above + normal(name), exclusions):
                samples.append(Sample(path, image, person, groups, member))
    return Dataset.of(samples, exclusions, notes=(note,) if note else ())


def is_video_name(name: str) -> bool:
    """Whether a file's suffix is that of a video."""
    return _suffix(name) in _VIDEO_SUFFIXES


def pictures_in(
    path: Path, image: str, exclusions: dict[str, str]
) -> Iterator[tuple[Path, str, str]]:
    """A picture as path, name and member, or the sampled frames of a video."""
    if not is_video_name(path.name):
        yield path, image, ""
        return
    try:
        frames = sampled_frames(path)
    except (ImageError, OSError) as error:
        exclusions[image] = str(error).removeprefix(f"{path}: ")
        return
    for number in frames:
        yield path, frame_name(image, number), f"frame={number}"


DATASETS("folder")(
    Layout(
        what="a folder of pictures or videos, with one subfolder per person",
        recognises=Path.is_dir,
        read=read_folder,
        general=True,
    )
)


def _walk(
    source: Path, exclusions: dict[str, str], progress: Progress
) -> Iterator[tuple[Parts, list[str]]]:
    """Each folder with pictures, and the names of these. Records why other files are not used."""
    todo: list[Parts] = [()]
    done = 0
    while todo:
        parts = todo.pop()
        pictures: list[str] = []
        try:
            found = _entries(os.path.join(source, *parts))  # noqa: PTH118  faster for many folders
        except OSError as error:
            exclusions[normal("/".join(parts)) or "."] = f"cannot be read ({error.strerror})"
            continue
        if _is_output(entry.name for entry in found):
            exclusions[normal("/".join(parts)) or "."] = "an output folder of leam"
            continue
        for entry in found:
            name = "/".join((*parts, entry.name))
            _check_text(source, name)
            if reason := _refusal(entry, parts):
                exclusions[normal(name)] = reason
            elif entry.is_dir():
                todo.append((*parts, entry.name))
            else:
                pictures.append(entry.name)
        if not found and parts:
            exclusions[normal("/".join(parts))] = "empty folder"
        if pictures:
            yield parts, pictures
        done += 1
        if done % _REPORT_EVERY == 0:
            progress("reading folders", done, None)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _is_output(names: Iterable[str]) -> bool:
    """Whether a folder with these files is one that a command wrote: its figures are no pictures of people."""
    known = set(names)
    return any(files <= known for files in _OUTPUTS)


def _refusal(entry: os.DirEntry[str], parts: Parts) -> str:
    """Why a file or folder is not used; empty if it is."""
    if entry.name.startswith("."):
        return "hidden"
    try:
        is_folder = entry.is_dir()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if is_folder:
        if entry.is_symlink() and Path(entry.path).resolve() in Path(entry.path).absolute().parents:
            return "a link to a folder above"
        return "nested too deeply" if len(parts) >= _MAX_DEPTH else ""
    suffix = _suffix(entry.name)
    if (suffix in picture_suffixes() or suffix in _VIDEO_SUFFIXES) and entry.is_file():
        return ""
    broken = entry.is_symlink() and not Path(entry.path).exists()
    return "a link to nothing" if broken else unreadable(Path(entry.path))


def _level_of_people(folders: Mapping[Parts, int]) -> int:
    """The number of names that identify a person's folder; 0 if the source is that of one person.

    Args:
        folders: The number of pictures in each folder that has some.
    """
    if all(not parts for parts in folders):
        return 0
    level = 1
    while _are_groups(folders, level):
        level += 1
    return level


def _are_groups(folders: Mapping[Parts, int], level: int) -> bool:
    """Whether the folders at a level are groups of people."""
    here = _heads(folders, level)
    if len(here) > _MOST_GROUPS or not (below := _heads(folders, level + 1)):
        return False
    if all(parts[-1].casefold() in _SPLITS for parts in here):
        return True
    strays = sum(folders.get(parts, 0) for parts in here)
    if strays:
        pictures = sum(count for parts, count in folders.items() if len(parts) >= level)
        if strays > _MOST_STRAYS * pictures or len(below) <= len(here):
            return False
    counts = Counter(parts[-1] for parts in below)
    repeated = sum(count > 1 for count in counts.values())
    if 2 * repeated < len(counts) or len(below) > _MOST_SESSIONS * len(here):
        return True
    # Groups of several kinds: the names repeat here, but not at the next level.
    names = Counter(parts[level + 1] for parts in _heads(folders, level + 2))
    return len(names) > len(counts) > 1 and 2 * sum(n > 1 for n in names.values()) < len(names)


def _heads(folders: Iterable[Parts], level: int) -> set[Parts]:
    """The folders at a level."""
    return {parts[:level] for parts in folders if len(parts) >= level}


def _columns(folders: Collection[Parts], level: int, column: str) -> dict[str, int]:
    """The group columns, and the level of folders that each is about."""
    above = [at for at in range(level - 1) if len({parts[at] for parts in folders}) > 1]
    return {column if not n else f"{column}{n + 1}": at for n, at in enumerate(reversed(above))}


def _names(source: Path, folders: Collection[Parts], level: int) -> dict[Parts, str]:
    """The name of each person's folder: its own, or its path where others have the same."""
    if not level:
        return {(): normal(source.resolve().name)}
    people = {parts[:level] for parts in folders}
    # Two ways to write one name are one person, but one name in two groups is two people.
    group: dict[str, Parts] = {}
    doubled: set[str] = set()
    for parts in people:
        name = normal(parts[-1])
        above = tuple(one for one in parts[:-1] if one.casefold() not in _SPLITS)
        if group.setdefault(name, above) != above:
            doubled.add(name)
    return {
        parts: normal("/".join(parts) if normal(parts[-1]) in doubled else parts[-1])
        for parts in people
    }


def _person(folder: str, name: str, level: int, files: Sequence[str]) -> str:
    """The person of a file. In a folder of videos only, each is of another person."""
    if level or not all(map(is_video_name, files)):
        return folder
    return normal(Path(name).stem)


def _suffix(name: str) -> str:
    """The suffix of a name that does not begin with a dot. A data set has many: this is faster than pathlib."""
    _, dot, suffix = name.rpartition(".")
    return dot + suffix.lower()


def _describe(
    folders: Mapping[Parts, Sequence[str]],
    level: int,
    columns: dict[str, int],
    names: dict[Parts, str],
) -> str:
    """Which levels were found; empty for the usual layout, one folder for each person."""
    if not level:
        videos = all(map(is_video_name, folders.get((), ())))
        return (
            f"layout: {'a person for each video' if videos else 'the folder is that of one person'}"
        )
    deep = any(len(parts) > level for parts in folders)
    if level == 1 and not deep:
        return ""
    above = ["group" if at in columns.values() else "folder" for at in range(level - 1)]
    layout = "/".join([*above, "person", *(["session"] if deep else []), "picture"])
    values = [
        f"; the column {column} has the folders {_some({normal(parts[at]) for parts in folders})}"
        for column, at in columns.items()
    ]
    return f"layout: {layout}, {len(set(names.values()))} people{''.join(values)}"


def _some(names: Collection[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")  # noqa: PLR2004


def _check_text(source: Path, name: str) -> None:
    """Refuse a name that cannot be written to a table."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="backslashreplace").decode()
        raise InputError(f"{source}: the name of {shown} is not UTF-8; rename it") from None
