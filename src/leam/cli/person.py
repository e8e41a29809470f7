"""``leam explain --person``: one map of several pictures of a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leam.cli.console import note, say, show_json, show_table
from leam.cli.faces import (
    faces_of_people,
    folders_for,
    person_in,
    pictures_in,
    place_of,
    samples_of,
)
from leam.errors import InputError, LeamError

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


def find_population(
    folder: Path, detector: Detector, explainer: Method
) -> tuple[Population, list[LeamError]]:
    """The maps of the people in a folder with one subfolder each, and the errors of unusable pictures.

    Raises:
        InputError: There are too few people with several usable pictures.
    """
    from leam.explain.person_explanation import population_of_faces

    faces, people, errors = faces_of_people(samples_of(folder), detector)
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
    explained, known = set(map(person_in, own)), set(map(place_of, own))
    others = [] if population is None else samples_of(population)
    more = [sample for sample in others if place_of(sample) not in known]
    faces, names, errors = faces_of_people([*own, *more], detector)
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
