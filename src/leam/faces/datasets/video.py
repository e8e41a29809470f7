"""A single video: sampled frames of one person."""

from __future__ import annotations

from pathlib import Path

from leam.errors import ImageError, InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.people import Dataset, Sample
from leam.faces.tables import normal
from leam.faces.videos import FRAMES, frame_name, is_video, sampled_frames
from leam.files import open_regular
from leam.progress import Progress


def read_video(source: Path, _: Path | None, __: Progress) -> Dataset:
    """Read a video, whose person has the name of the file.

    Raises:
        InputError: It cannot be opened, or does not say how many frames it has.
    """
    try:
        frames = sampled_frames(source)
    except ImageError as error:
        raise InputError(str(error)) from None
    name = normal(source.name)
    samples = [
        Sample(source, frame_name(name, number), normal(source.stem), member=f"frame={number}")
        for number in frames
    ]
    return Dataset.of(samples, notes=(f"layout: {FRAMES} frames of a video of one person",))


def _is_video(source: Path) -> bool:
    if not source.is_file():
        return False
    with open_regular(source) as stream:
        return is_video(stream.read(32))


DATASETS("video")(Layout(what="a video of one person", recognises=_is_video, read=read_video))
