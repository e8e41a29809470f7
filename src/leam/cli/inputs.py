"""From arguments to settings and recognizers, and the refusal of arguments before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leam.cli.commands import AS_INPUT
from leam.cli.console import note
from leam.errors import InputError, LayerError, did_you_mean
from leam.files import exists

if TYPE_CHECKING:
    import torch

    from leam.progress import Progress
    from leam.recognizers.recognizer import Recognizer
    from leam.study.plan import Settings


def given(**options: object) -> dict[str, Any]:
    """The options that were given, so that the library's defaults hold for the others."""
    return {name: value for name, value in options.items() if value is not None}


def detector_name(detector: str | None, aligned: str | None) -> str | None:
    """The detector that ``--detector`` and ``--aligned`` choose; None for the default.

    Raises:
        InputError: Both are given, or there is no such template.
    """
    if aligned is None:
        # A study's workers may run in another folder.
        if detector and detector.lower().endswith(".onnx"):
            return str(Path(detector).absolute())
        return detector
    if detector is not None:
        raise InputError(f"--detector {detector}: not used with --aligned; leave it out")
    if aligned == AS_INPUT:
        return "aligned"
    from leam.faces.detectors import aligned_templates

    if aligned not in (names := aligned_templates()):
        raise InputError(f"--aligned {aligned}: no such template; available: {', '.join(names)}")
    return f"aligned_{aligned}"


def check_faces(which: str, rotate: str) -> None:
    """Refuse values of ``--face`` and ``--rotate`` that do not exist.

    Raises:
        InputError: There is no such value.
    """
    if which not in {"main", "largest", "all"} and not (which.isdecimal() and int(which)):
        raise InputError(
            f"--face {which}: no such choice; available: main, largest, all, or a number from 1"
        )
    if rotate not in {"auto", "none"}:
        raise InputError(f"--rotate {rotate}: no such choice; available: auto, none")


def check_out(folder: Path, *, force: bool) -> None:
    """Refuse an output folder that is not empty, unless forced.

    Raises:
        InputError: The folder is not empty, or is a file.
    """
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not empty; choose another --out, or add --force")


def settings_of(preset: str, **options: object) -> Settings:
    """The settings of a preset or a preset file, changed by the options that were given.

    Raises:
        InputError: There is no such preset, the file is invalid, or an option has an invalid value.
    """
    from pydantic import ValidationError

    from leam.study.plan import Settings
    from leam.study.presets import read_preset

    stated = read_preset(preset).model_dump()
    try:
        return Settings.model_validate({**stated, **given(**options)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-")
        expected = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        near = did_you_mean(str(first["input"]), expected)
        raise InputError(f"--{option} {first['input']}: {near}{first['msg']}") from None


def check_names(settings: Settings) -> None:
    """Refuse a method, weighting or aggregate that does not exist, before anything is loaded.

    Raises:
        LeamError: There is no such name.
    """
    from leam.explain.aggregates import AGGREGATES
    from leam.explain.explainer import DEFAULT_WEIGHTING
    from leam.explain.methods import method_named
    from leam.explain.weightings import WEIGHTINGS

    method_named(settings.method)
    if settings.weighting != DEFAULT_WEIGHTING:
        _ = WEIGHTINGS[settings.weighting]
    _ = AGGREGATES[settings.aggregate]


def check_paths(pictures: Sequence[Path], *others: Path | None) -> None:
    """Refuse files and folders that do not exist, before anything is loaded.

    Args:
        pictures: Some of them may be missing; these are reported later.
        others: None of them may be missing.

    Raises:
        InputError: They do not exist.
    """
    missing = [path for path in others if path is not None and not exists(path)]
    if not any(map(exists, pictures)):
        missing += pictures
    if missing:
        raise InputError(f"{missing[0]}: no such file or folder")


def split_names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def layers_named(text: str | None) -> tuple[str, ...] | None:
    """The layers that ``--layers`` names; None if it was not given.

    Raises:
        LayerError: The text contains no name.
    """
    if text is None:
        return None
    if names := split_names(text):
        return tuple(names)
    raise LayerError("--layers: no layer named")


def choose_device(name: str) -> torch.device:
    """The device of this name. If ``auto`` stands for a GPU, the user is told which one.

    Raises:
        InputError: This machine has no such device.
    """
    from leam.devices import AUTO, description, resolve

    device = resolve(name)
    if name == AUTO and device.type != "cpu":
        note(f"using {description(device)}; --device cpu uses the processor")
    return device


@dataclass(frozen=True)
class Loading:
    """How recognizers are loaded, by the options of these names.

    Attributes:
        cards: Folders of cards.
        device: Name of the device.
        precision: ``float32`` or ``bfloat16``.
        batch_size: Faces per pass; None for what suits the device.
        trust: Do not compare the networks of ONNX files with onnxruntime.
    """

    cards: Sequence[Path] | None = None
    device: str = "cpu"
    precision: str = "float32"
    batch_size: int | None = None
    trust: bool = False


def load_models(
    names: Sequence[str | None], loading: Loading, report: Progress
) -> list[Recognizer]:
    """Load recognizers by name or card, None standing for the default; downloads missing weights.

    Raises:
        InputError: There is no such device or precision.
        LeamError: A recognizer cannot be loaded.
    """
    from leam.devices import check_precision
    from leam.recognizers.catalogue import DEFAULT, choose, read_catalogue

    device, precision = choose_device(loading.device), check_precision(loading.precision)
    catalogue = read_catalogue(folders=loading.cards or ())
    return [
        entry.load(
            device, report, precision=precision, batch_size=loading.batch_size, trust=loading.trust
        )
        for entry in choose(catalogue, [name or DEFAULT for name in names])
    ]
