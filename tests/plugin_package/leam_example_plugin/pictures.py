"""A section of the report: how many pictures each person has."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.parts import Part, Table
from leam.report.section import Context, Section


class Pictures(Section):
    """The number of usable pictures of each person."""

    name = "pictures"
    title = "Pictures of each person"
    order = 55

    def parts(self, context: Context) -> Iterator[Part]:
        """A table with one row per person."""
        faces = context.run.folder.read_table("faces", ["person", "reason"])
        counts = faces.filter(faces["reason"] == "")["person"].value_counts().sort("person")
        yield Table(("person", "usable pictures"), [(str(p), str(n)) for p, n in counts.rows()])
