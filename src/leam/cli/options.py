"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leam.explain.aggregates import AGGREGATES
from leam.explain.layers import CONVOLUTIONS, STAGES
from leam.explain.weightings import WEIGHTINGS
from leam.faces.detectors import DETECTORS
from leam.parsers import PARSERS

ModelOption = Annotated[
    str, typer.Option("--model", help="A recognizer's name (see `leam models`) or a .toml card.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write; it is made.")]
WeightingOption = Annotated[
    str, typer.Option(help=f"How a layer's map is made: {', '.join(WEIGHTINGS)}.")
]
AggregateOption = Annotated[
    str, typer.Option(help=f"How layers are joined: {', '.join(AGGREGATES)}.")
]
LayersOption = Annotated[
    str,
    typer.Option(
        help=f"{CONVOLUTIONS}, {STAGES}, or names and globs with commas between (see `leam models layers`)."
    ),
]
TopOption = Annotated[float, typer.Option(help="The critical fraction of the pixels.")]
CardsOption = Annotated[
    list[Path] | None, typer.Option("--cards", help="A folder of .toml cards; may be repeated.")
]
DetectorOption = Annotated[
    str, typer.Option("--detector", help=f"Finds the faces: {', '.join(DETECTORS)}.")
]
ParserOption = Annotated[
    str, typer.Option("--parser", help=f"Names the regions: {', '.join(PARSERS)}.")
]
