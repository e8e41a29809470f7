"""``leam explain --person``: one map of several pictures of a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from leam.cli.console import say, show_json, show_table
from leam.cli.inputs import find_faces
from leam.errors import InputError, LeamError

if TYPE_CHECKING:
    from leam.explain.methods import Method
    from leam.explain.person import Population
    from leam.explain.person_explanation import PersonRecord
    from leam.faces.detection import Detector


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
        for option, value in (("--person-map", estimate), ("--population", population)):
            if value is not None:
                raise InputError(f"{option} {value}: add --person, or leave it out")
        return
    if other is not None or target == "reference":
        raise InputError(
            "--person: explains the embedding; leave out --with and --target reference"
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


def pictures_in(paths: Sequence[Path]) -> list[Path]:
    """Pictures, and the pictures in folders, in the order of their names.

    Raises:
        InputError: A folder contains no picture.
    """
    from leam.faces.reading import picture_suffixes

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [
            one
            for one in sorted(path.iterdir())
            if one.suffix.lower() in picture_suffixes() and not one.name.startswith(".")
        ]
        if not inside:
            raise InputError(
                f"{path}: contains no pictures; name a folder with pictures of one person"
            )
        found += inside
    return found


def find_population(
    folder: Path, detector: Detector, explainer: Method
) -> tuple[Population, list[LeamError]]:
    """The maps of the people in a folder with one subfolder each, and the errors of unusable pictures.

    Raises:
        InputError: There are too few people with several usable pictures.
    """
    from leam.explain.person_explanation import population_of_faces
    from leam.faces.people import read_people

    samples = read_people(folder)
    person = {sample.path: sample.person for sample in samples}
    faces, errors = find_faces([sample.path for sample in samples], detector)
    people = [person[face.path] for face in faces if face.path]
    return population_of_faces(faces, people, explainer), errors


def show_person(record: PersonRecord, folder: Path, *, as_json: bool) -> None:
    """Print a person's regions by share of the critical pixels, and the folder of the files."""
    if as_json:
        show_json({"folder": str(folder), **record.model_dump(mode="json")})
        return
    of = f" · {record.population.people} other people" if record.population else ""
    say(f"{len(record.pictures)} pictures · {record.model} · {record.estimate}{of}")
    show_table(
        ("region", "critical pixels", "map", "area"),
        (
            (region, *(f"{100 * part:.1f} %" for part in (row.share, row.mass, row.area)))
            for region, row in record.regions.items()
        ),
    )
    say("note: do not apply this map to these pictures, or compare it with maps of them")
    say(f"written: {folder}")
