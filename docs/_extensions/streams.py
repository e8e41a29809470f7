"""Joins the chunks of a stream of a notebook as they came; myst-nb ends each one with a line break."""

from __future__ import annotations

import myst_nb.core.render
from nbformat import NotebookNode
from sphinx.application import Sphinx


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell with one output for each stream, where its first chunk was."""
    streams: dict[str, NotebookNode] = {}
    found = []
    for output in outputs:
        name = output.get("name", "")
        if output["output_type"] == "stream" and name in streams:
            streams[name]["text"] += output["text"]
            continue
        if output["output_type"] == "stream":
            streams[name] = output
        found.append(output)
    return found


def setup(_app: Sphinx) -> dict[str, bool]:
    """Replace the function."""
    myst_nb.core.render.coalesce_streams = joined
    return {"parallel_read_safe": True}
