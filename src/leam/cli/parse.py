"""``leam parse``: the part of the face at each pixel."""

from __future__ import annotations

from leam.cli.console import progress, show_json
from leam.cli.failures import fail_for
from leam.cli.inputs import check_out, find_faces, folders_for
from leam.cli.options import (
    DetectorOption,
    ForceOption,
    JsonOption,
    OutOption,
    ParserOption,
    PicturesArgument,
)
from leam.cli.printing import print_areas
from leam.errors import FaceError


def parse(
    pictures: PicturesArgument,
    out_folder: OutOption,
    parser: ParserOption = None,
    detector: DetectorOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label the part of the face at each pixel.

    Writes labels.png, overlay.png and areas.json into the output folder; with several pictures, into one subfolder for
    each. Prints the area of each region and how certain the parser is of it.

    Examples:
        leam parse ada.jpg --out ada
        leam parse ada.jpg bob.jpg --parser compact --out both
    """
    check_out(out_folder, force=force)
    # The library is imported here, so that help and mistakes are quick.
    from leam.faces.detectors import DEFAULT as DEFAULT_DETECTOR
    from leam.faces.detectors import load_detector
    from leam.parsers import DEFAULT as DEFAULT_PARSER
    from leam.parsers import load_parser
    from leam.parsers.writing import write_parsing

    records = []
    with progress() as report:
        face_parser = load_parser(parser or DEFAULT_PARSER)
        faces, errors = find_faces(pictures, load_detector(detector or DEFAULT_DETECTOR))
        folders = folders_for(out_folder, faces, alone=len(pictures) == 1)
        for done, (face, folder) in enumerate(zip(faces, folders, strict=True)):
            report("parsing", done, len(faces))
            try:
                records.append((write_parsing(face, face_parser, folder), folder))
            except FaceError as error:
                errors.append(error)
    if as_json:
        show_json([{"folder": str(folder), **record.model_dump()} for record, folder in records])
    else:
        for record, folder in records:
            print_areas(record, folder)
    fail_for(errors)
