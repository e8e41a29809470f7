"""``leam parse``: the part of the face at each pixel."""

from __future__ import annotations

from leam.cli.console import progress, show_json
from leam.cli.faces import find_detector, find_faces, folders_for, pictures_in
from leam.cli.failures import fail_for
from leam.cli.inputs import check_out, choose_device, detector_name
from leam.cli.options import (
    AlignedOption,
    BatchSizeOption,
    DetectorOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    MemoryLimitOption,
    OutOption,
    ParserOption,
    PicturesArgument,
    PrecisionOption,
)
from leam.cli.printing import print_areas
from leam.errors import FaceError


def parse(
    pictures: PicturesArgument,
    out_folder: OutOption,
    parser: ParserOption = None,
    detector: DetectorOption = None,
    aligned: AlignedOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    precision: PrecisionOption = "float32",
    force: ForceOption = False,
    _memory_limit: MemoryLimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Label the part of the face at each pixel.

    Writes labels.png, overlay.png and areas.json into the output folder; with several pictures, into one subfolder for
    each. Prints the area of each region and how certain the parser is of it.

    Examples:
        leam parse ada.jpg --out ada
        leam parse ada.jpg bob.jpg --parser compact --out both
        leam parse *.jpg --parser compact --device cuda --batch-size 16 --out parsed
    """
    check_out(out_folder, force=force)
    chosen = detector_name(detector, aligned)
    # The library is imported here, so that help and mistakes are quick.
    from leam.devices import check_precision
    from leam.parsers import DEFAULT as DEFAULT_PARSER
    from leam.parsers import load_parser
    from leam.parsers.writing import write_parsings

    records = []
    with progress() as report:
        place, known = choose_device(device), check_precision(precision)
        face_parser = load_parser(parser or DEFAULT_PARSER, place, known)
        inside = pictures_in(pictures)
        faces, errors = find_faces(inside, find_detector(chosen, {}))
        alone = inside == [pictures[0]]
        folders = folders_for(out_folder, faces, alone=alone)
        found = write_parsings(faces, face_parser, folders, batch_size or 1)
        for done, (record, folder) in enumerate(zip(found, folders, strict=True), 1):
            report("parsing", done, len(faces))
            if isinstance(record, FaceError):
                errors.append(record)
            else:
                records.append((record, folder))
    if as_json:
        show_json([{"folder": str(folder), **record.model_dump()} for record, folder in records])
    else:
        for record, folder in records:
            print_areas(record, folder)
    fail_for(errors)
