"""``leam models``: the available recognizers, their layers, and a test of one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leam.cli.commands import Entry, LazyGroup
from leam.cli.console import note, progress, show_json, show_table
from leam.cli.faces import find_detector, suggest_aligned
from leam.cli.inputs import Loading, detector_name, layers_named, load_models
from leam.cli.options import (
    LAYERS_HELP,
    MODEL_HELP,
    AlignedOption,
    BatchSizeOption,
    CardsOption,
    DetectorOption,
    DeviceOption,
    JsonOption,
    MemoryLimitOption,
    PrecisionOption,
    TrustOption,
    recognizer_names,
)
from leam.cli.printing import print_check
from leam.errors import InputError

if TYPE_CHECKING:
    from leam.explain.layers import Layer
    from leam.recognizers.catalogue import CatalogueEntry


class _Models(LazyGroup):
    table = {  # noqa: RUF012  a constant of the class
        "layers": Entry("leam.cli.models:layers", "List the layers that can be explained."),
        "check": Entry("leam.cli.models:check", "Test a recognizer before you trust it."),
    }


models_app = typer.Typer(
    cls=_Models, rich_markup_mode=None, invoke_without_command=True, add_completion=False
)

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help=MODEL_HELP, show_default=False, autocompletion=recognizer_names
    ),
]


@models_app.callback()
def models(context: typer.Context, cards: CardsOption = None, as_json: JsonOption = False) -> None:
    """List the available recognizers, or inspect and test one.

    The list names each recognizer's architecture, family, input size, weights and licence. Recognizers whose weights
    are installed come first; the others are downloaded on first use.

    Examples:
        leam models
        leam models --json
        leam models layers dlib_resnet
        leam models check my-model.toml
    """
    if context.invoked_subcommand:
        return
    from leam.recognizers.catalogue import read_catalogue

    catalogue = read_catalogue(folders=cards or ())
    if as_json:
        show_json({name: listed(entry) for name, entry in catalogue.items()})
        return
    installed_first = sorted(catalogue.items(), key=lambda item: item[1].weights is None)
    show_table(
        ("name", "architecture", "family", "input", "weights", "licence"),
        ([name, *summary(entry)] for name, entry in installed_first),
    )


def layers(
    model: ModelArgument,
    layers: Annotated[str, typer.Option(metavar="NAMES", help=LAYERS_HELP)] = "*",
    cards: CardsOption = None,
    _memory_limit: MemoryLimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the layers that can be explained.

    Examples:
        leam models layers dlib_resnet
        leam models layers dlib_resnet --layers stages
    """
    # The library is imported here, so that help and mistakes are quick.
    from leam.explain.explainer import Explainer

    with progress() as report:
        (recognizer,) = load_models([model], Loading(cards), report)
        names = layers_named(layers) or ()
        found = Explainer(recognizer, layers=names[0] if len(names) == 1 else names).layers
    if as_json:
        show_json([_layer_fields(layer) for layer in found])
        return
    show_table(
        ("layer", "taken at", "channels", "size", "note"),
        (
            (
                layer.name,
                layer.place,
                str(layer.channels),
                f"{layer.size[0]}x{layer.size[1]}",
                layer.note,
            )
            for layer in found
        ),
    )


def _layer_fields(layer: Layer) -> dict[str, object]:
    named = ("name", "place", "channels", "size", "extra_tokens", "note")
    return {name: getattr(layer, name) for name in named}


def check(
    model: ModelArgument,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Genuine and impostor pairs: LFW's pairs.txt, the table of BFW, the folder of RFW, a .bin of "
            "InsightFace, or a CSV file with the columns left, right and same (1 or 0).",
        ),
    ] = None,
    faces: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder that contains the pictures of --pairs; by default, the one of its file.",
        ),
    ] = None,
    cards: CardsOption = None,
    detector: DetectorOption = None,
    aligned: AlignedOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    precision: PrecisionOption = "float32",
    trust: TrustOption = False,
    _memory_limit: MemoryLimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test a recognizer before you trust it.

    Loads it, verifies its weights, embeds random pictures, measures the time, lists the layers, and reports the
    verification accuracy if pairs are given.

    Examples:
        leam models check dlib_resnet
        leam models check my-model.toml --pairs pairs.txt --faces lfw/
        leam models check my-model.toml --pairs lfw.bin --aligned
        leam models check my-model.toml --device cuda --precision bfloat16
    """
    if faces and not pairs:
        raise InputError("--faces: needs --pairs")
    chosen = detector_name(detector, aligned)
    # The library is imported here, so that help and mistakes are quick.
    from leam.devices import description
    from leam.faces.people import exclusion_note
    from leam.study.model_check import check_model, read_pairs, verify

    with progress() as report:
        (recognizer,) = load_models(
            [model], Loading(cards, device, precision, batch_size, trust), report
        )
        verification = None
        if pairs:
            dataset = read_pairs(pairs, faces, report)
            for one in filter(None, (*dataset.notes, exclusion_note(dataset.exclusions))):
                note(one)
            finder = find_detector(chosen, {recognizer.name: recognizer.crop})
            suggest_aligned(dataset.samples, finder.name)
            (verification,) = verify([recognizer], dataset, finder, report)
        found = check_model(recognizer, verification)
    ran = {"device": description(recognizer.device), "precision": recognizer.precision}
    if as_json:
        layers = {"layers": [_layer_fields(layer) for layer in found.layers]}
        show_json(asdict(found) | ran | layers)
    else:
        print_check(found, recognizer.card.similarity, **ran)


def summary(entry: CatalogueEntry) -> list[str]:
    """A recognizer as ``leam models`` prints it, without its name."""
    card = entry.card
    weights = "installed" if entry.weights else "to download" if card.url else "missing"
    return [
        card.architecture,
        card.family or "not stated",
        f"{card.input_size[0]}x{card.input_size[1]}",
        weights if card.sha256 else f"{weights}, no sha256",
        card.license or "not stated",
    ]


def listed(entry: CatalogueEntry) -> dict[str, Any]:
    """A recognizer as ``leam models --json`` prints it."""
    return {
        **entry.card.model_dump(mode="json"),
        "card": str(entry.path) if entry.path else None,
        "weights": str(entry.weights) if entry.weights else None,
        "warnings": list(entry.card.warnings),
    }
