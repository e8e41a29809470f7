"""``leam models``: the recognizers at hand, their layers, and a check of one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from leam.cli.console import out, progress
from leam.cli.inputs import load_models, split_layers
from leam.cli.options import CardsOption, DetectorOption, LayersOption
from leam.cli.printing import print_check
from leam.errors import InputError
from leam.explain.explainer import Explainer
from leam.faces.detectors import DEFAULT as DEFAULT_DETECTOR
from leam.faces.detectors import load_detector
from leam.recognizers.catalogue import CatalogueEntry, read_catalogue
from leam.study.check import check_model, doubts, read_pairs, verify

models_app = typer.Typer(
    help="The recognizers at hand.\n\n    leam models --json\n\n    leam models layers dlib_resnet",
    invoke_without_command=True,
)


@models_app.callback()
def models_root(
    context: typer.Context,
    cards: CardsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recognizers at hand, and those that can be fetched."""
    if context.invoked_subcommand:
        return
    catalogue = read_catalogue(folders=cards or ())
    if as_json:
        out.print_json(json.dumps({name: listed(entry) for name, entry in catalogue.items()}))
        return
    table = Table(box=None)
    for column in ("name", "architecture", "input", "weights", "licence"):
        table.add_column(column, no_wrap=column == "name")
    for name, entry in catalogue.items():
        card = entry.card
        size = f"{card.input_size[0]}x{card.input_size[1]}"
        state = "at hand" if entry.weights else "to fetch" if card.url else "missing"
        checked = "" if card.sha256 else ", no sha256"
        table.add_row(name, card.architecture, size, state + checked, card.license or "not stated")
    out.print(table)


@models_app.command("layers")
def models_layers(
    model: Annotated[str, typer.Argument(help="A recognizer's name or a .toml card.")],
    layers: LayersOption = "*",
    cards: CardsOption = None,
) -> None:
    """List the layers of a recognizer that can be explained.

    leam models layers dlib_resnet
    """
    with progress() as tell:
        explainer = Explainer(load_models([model], cards, tell)[0], layers=split_layers(layers))
    table = Table("layer", "channels", "size", "note", box=None)
    for layer in explainer.layers:
        table.add_row(
            escape(layer.name), str(layer.channels), f"{layer.size[0]}x{layer.size[1]}", layer.note
        )
    out.print(table)


@models_app.command("check")
def models_check(
    model: Annotated[str, typer.Argument(metavar="CARD", help="A .toml card or a name.")],
    pairs: Annotated[
        Path | None, typer.Option(help="A CSV of pairs: left, right, same (1 or 0).")
    ] = None,
    faces: Annotated[
        Path | None, typer.Option(help="The folder that the pairs' pictures are in.")
    ] = None,
    cards: CardsOption = None,
    detector: DetectorOption = DEFAULT_DETECTOR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a recognizer, verify its file, embed, time it, list its layers, and test it on pairs.

    leam models check my-model.toml --pairs pairs.csv --faces lfw/
    """
    if (pairs is None) != (faces is None):
        raise InputError("--pairs and --faces go together")
    with progress() as tell:
        (recognizer,) = load_models([model], cards, tell)
        verification = None
        if pairs and faces:
            (verification,) = verify(
                [recognizer],
                read_pairs(pairs),
                faces,
                load_detector(detector),
                lambda done, total: tell("finding faces", done, total),
            )
        found = check_model(recognizer, verification)
    if as_json:
        out.print_json(json.dumps(asdict(found)))
        return
    print_check(found)


def listed(entry: CatalogueEntry) -> dict[str, object]:
    """A card as ``leam models --json`` prints it."""
    return {
        **entry.card.model_dump(mode="json"),
        "card": str(entry.path) if entry.path else None,
        "weights": str(entry.weights) if entry.weights else None,
        "doubts": list(doubts(entry.card)),
    }
