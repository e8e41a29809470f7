"""``leam explain --person``: one map of several pictures of a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leam.cli.console import note, say, show_json, show_table
from leam.cli.inputs import find_faces, folders_for, place_of
from leam.errors import InputError, LeamError

PERSON = "the person"
"""The name of a person whose pictures are given without one."""

if TYPE_CHECKING:
    from leam.explain.methods import Method
    from leam.explain.person import Population
    from leam.explain.person_explanation import PersonRecord
    from leam.faces.detection import Detector
    from leam.faces.face import Face
    from leam.faces.people import Sample


def check_person(
    other: Path | None,
    target: str | None,
    estimate: str | None,
    population: Path | None,
    *,
    person: bool,
) -> None:
    """Refuse options that do not go together with or without ``--person``.

    Raises:
        InputError: They do not, or there is no such estimate.
    """
    if not person:
        unused: list[tuple[str, object]] = [("--person-map", estimate)]
        if target not in {"template", "contrast"}:
            unused.append(("--population", population))
        for option, value in unused:
            if value is not None:
                raise InputError(f"{option} {value}: add --person, or leave it out")
        return
    if other is not None or target not in {None, "self"}:
        raise InputError(
            f"--person: explains the embedding; leave out --with and --target {target or 'reference'}"
        )
    if estimate is None and population is None:
        return
    from leam.explain.person import PERSON_MAPS

    needed = PERSON_MAPS[estimate or "mean"].needs_population
    if needed and population is None:
        raise InputError(
            f"--person-map {estimate}: needs pictures of other people; name their folder with --population"
        )
    if not needed and population is not None:
        raise InputError(
            f"--population {population}: not used by --person-map {estimate or 'mean'}; leave it out"
        )


def pictures_in(paths: Sequence[Path]) -> list[Path | Sample]:
    """Pictures, those in folders, and the sampled frames of videos. Prints which files of a folder are not used.

    Raises:
        InputError: A folder contains no picture.
    """
    from leam.faces.datasets.folder import is_video_name
    from leam.faces.people import named_exclusions

    found: list[Path | Sample] = []
    for path in paths:
        if not path.is_dir() and not is_video_name(path.name):
            found.append(path)
            continue
        exclusions: dict[str, str] = {}
        inside = list(_samples_in(path, exclusions))
        unused = named_exclusions(exclusions)
        if not inside:
            way_out = "; name one of its folders" if "folder" in exclusions.values() else ""
            raise InputError(f"{path}: contains no pictures{unused and '; '}{unused}{way_out}")
        if unused:
            note(f"{path}: {unused}")
        found += inside
    return found


def _samples_in(path: Path, exclusions: dict[str, str]) -> Iterator[Sample]:
    """The pictures in a folder, without those in its subfolders, or the sampled frames of a video."""
    from leam.faces.datasets.folder import is_video_name, pictures_in
    from leam.faces.people import Sample
    from leam.faces.reading import picture_suffixes, unreadable

    for one in sorted(path.iterdir()) if path.is_dir() else [path]:
        known = one.suffix.lower() in picture_suffixes() or is_video_name(one.name)
        if one.name.startswith("."):
            exclusions[one.name] = "hidden"
        elif one.is_dir():
            exclusions[one.name] = "folder"
        elif not known and (reason := unreadable(one)):
            exclusions[one.name] = reason
        else:
            for place, image, member in pictures_in(one, one.name, exclusions):
                yield Sample(place, image, PERSON, member=member)


def samples_of(source: Path) -> list[Sample]:
    """The pictures of a data set. Prints how it was read, and which of its files are not used.

    Raises:
        InputError: It cannot be read, or contains no picture.
    """
    from leam.faces.people import exclusion_note, read_dataset

    dataset = read_dataset(source)
    for one in (*dataset.notes, exclusion_note(dataset.exclusions)):
        if one:
            note(f"{source}: {one}")
    return dataset.samples


def find_population(
    folder: Path, detector: Detector, explainer: Method
) -> tuple[Population, list[LeamError]]:
    """The maps of the people in a folder with one subfolder each, and the errors of unusable pictures.

    Raises:
        InputError: There are too few people with several usable pictures.
    """
    from leam.explain.person_explanation import population_of_faces

    samples = samples_of(folder)
    person = {place_of(sample): sample.person for sample in samples}
    faces, errors = find_faces(samples, detector)
    people = [person[face.file.path, face.file.member] for face in faces if face.file]
    return population_of_faces(faces, people, explainer), errors


@dataclass(frozen=True)
class People:
    """The faces of people, some of whom are explained.

    Attributes:
        faces: The faces.
        names: The person of each face.
        only: The people who are explained.
        errors: Why the other pictures cannot be used.
    """

    faces: list[Face]
    names: list[str]
    only: list[str]
    errors: list[LeamError]

    def folders(self, out_folder: Path) -> list[Path]:
        """The output folder of each face that is explained: a subfolder for each picture, below one for each person."""
        wanted = [
            (face, name)
            for face, name in zip(self.faces, self.names, strict=True)
            if name in self.only
        ]
        by_person = {name: [face for face, one in wanted if one == name] for name in self.only}
        alone = len(by_person) == 1
        places = {
            name: iter(folders_for(out_folder if alone else out_folder / name, faces, alone=False))
            for name, faces in by_person.items()
        }
        return [next(places[name]) for _, name in wanted]


def find_people(pictures: Sequence[Path], population: Path | None, detector: Detector) -> People:
    """The faces of people: those in a folder with one subfolder each, or one person's and those of a population.

    People with a single usable picture serve as impostors only.

    Raises:
        InputError: There is no person with two usable pictures.
    """
    if (
        len(pictures) == 1
        and pictures[0].is_dir()
        and any(one.is_dir() for one in pictures[0].iterdir())
    ):
        own: list[Path | Sample] = [*samples_of(pictures[0])]
    else:
        own = pictures_in(pictures)
    owners = {place_of(one): PERSON if isinstance(one, Path) else one.person for one in own}
    explained = set(owners.values())
    samples = own
    if population is not None:
        for sample in samples_of(population):
            if place_of(sample) not in owners:
                owners[place_of(sample)] = sample.person
                samples.append(sample)
    faces, errors = find_faces(samples, detector)
    names = [owners[face.file.path, face.file.member] for face in faces if face.file]
    only = sorted(name for name in explained if names.count(name) > 1)
    for name in sorted(explained - set(only)):
        note(f"{name}: fewer than two usable pictures; not explained")
    if not only:
        raise InputError(
            "no person with two usable pictures; a template is made of a person's other pictures"
        )
    return People(faces, names, only, errors)


def show_person(record: PersonRecord, folder: Path, *, as_json: bool) -> None:
    """Print a person's regions by share of the critical pixels, and the folder of the files."""
    if as_json:
        show_json({"folder": str(folder), **record.model_dump(mode="json")})
        return
    from leam.explain.explanation import percent_rows

    of = f" · {record.population.people} other people" if record.population else ""
    say(f"{len(record.pictures)} pictures · {record.model} · {record.estimate}{of}")
    show_table(("region", "critical pixels", "map", "area"), percent_rows(record.regions))
    say("note: do not apply this map to these pictures, or compare it with maps of them")
    say(f"written: {folder}")
